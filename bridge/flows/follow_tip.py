"""Following the chain's tip: a new block makes every confirming invoice due at once, and readings are held to the highest.

Owns the one cheap question that spares many polls, and what the highest block is; without a chain reader the schedule alone
goes on.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from bridge.core.clock import believed
from bridge.core.coverage import Horizon
from bridge.core.errors import BridgeError
from bridge.core.evidence import Tip
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import invoices, leases
from bridge.store.db import Tx

# The lease is not given back after the job: it also is the pause until any worker asks again.
ASK_EVERY_SECONDS = 5
SAID_AGAIN_AFTER = timedelta(hours=1)
# A height that no source has shown for so long was a source's error: one of another network, say. Without it a source that is
# far behind is still known by the age of its newest block; where that says nothing, heights are kept.
FORGOTTEN_AFTER = timedelta(days=1)


def follow_tip(bridge: Bridge, *, owner: str) -> int:
    """Asks for the tip at most once per pause over all workers; returns how many invoices a new block woke."""
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not leases.is_free(tx, "follow_tip", now=now, lease_seconds=ASK_EVERY_SECONDS):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not leases.take_free(tx, "follow_tip", owner=owner, now=now, lease_seconds=ASK_EVERY_SECONDS):
            return 0
    try:
        tip = bridge.chain.tip()
    except BridgeError as error:
        log("tip.unavailable", level=logging.WARNING, code=error.code)
        return 0
    return note_tip(bridge, tip, now=now)


def note_tip(bridge: Bridge, tip: Tip, *, now: datetime) -> int:
    """Keeps the highest block that was shown; when this one is higher, returns how many invoices it woke."""
    with bridge.store.read() as tx:
        if not _is_news(leases.best_tip(tx, bridge.network), bridge, tip, now=now):
            return 0
    with bridge.store.write() as tx:
        # Another worker may have been faster.
        best = leases.best_tip(tx, bridge.network)
        if not _is_news(best, bridge, tip, now=now):
            return 0
        leases.set_tip(tx, bridge.network, height=tip.height, block_time=tip.time, now=now)
        is_higher = best is None or tip.height > best.height
        woken = invoices.wake_confirming(tx, now=now) if is_higher else 0
        bridge.crash_point("tip.committing")
        return woken


def horizon(tx: Tx, bridge: Bridge, *, now: datetime) -> Horizon:
    """What a reading that is asked for now is held to."""
    best = leases.best_tip(tx, bridge.network)
    height = 0 if best is None or _is_forgotten(best.seen_at, bridge.oldest_tip, now=now) else best.height
    return Horizon(height=height, oldest_tip=bridge.oldest_tip)


def _is_news(best: Any, bridge: Bridge, tip: Tip, *, now: datetime) -> bool:
    if best is None or tip.height > best.height or _is_forgotten(best.seen_at, bridge.oldest_tip, now=now):
        return True
    seen_at = believed(best.seen_at, now=now)
    return tip.height == best.height and (seen_at is None or now - seen_at > SAID_AGAIN_AFTER)


def _is_forgotten(seen_at: datetime, oldest_tip: timedelta | None, *, now: datetime) -> bool:
    told_at = believed(seen_at, now=now)
    return oldest_tip is not None and told_at is not None and now - told_at > FORGOTTEN_AFTER
