"""The chain as it is asked about invoices: the highest block that is known, and from when on a past is wanted.

Owns both rules for everyone who asks; what a reading means is `core.coverage`'s to say, what it changes `invoices.observe`'s.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.coverage import Horizon, known_outputs
from bridge.core.credit import Payment
from bridge.core.errors import BridgeError
from bridge.core.evidence import ChainReading, Tip
from bridge.core.rail import Evidence, Target
from bridge.logs import log
from bridge.store import invoices, leases
from bridge.store.db import Tx
from bridge.turns import take_turn

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
    if not take_turn(bridge, "follow_tip", owner=owner, now=now, every_seconds=ASK_EVERY_SECONDS, durable=False):
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
    if best is None:
        return Horizon(oldest_tip=bridge.oldest_tip)
    return horizon_of(bridge, best.height, best.seen_at, now=now)


def horizon_of(bridge: Bridge, height: int | None, seen_at: datetime | None, *, now: datetime) -> Horizon:
    """The same by the highest block that was shown, and when it last was; None when none was yet."""
    is_known = seen_at is not None and not _is_forgotten(seen_at, bridge.oldest_tip, now=now)
    return Horizon(height=height or 0 if is_known else 0, oldest_tip=bridge.oldest_tip)


def _is_news(best: Any, bridge: Bridge, tip: Tip, *, now: datetime) -> bool:
    if best is None or tip.height > best.height or _is_forgotten(best.seen_at, bridge.oldest_tip, now=now):
        return True
    seen_at = believed(best.seen_at, now=now)
    return tip.height == best.height and (seen_at is None or now - seen_at > SAID_AGAIN_AFTER)


def _is_forgotten(seen_at: datetime, oldest_tip: timedelta | None, *, now: datetime) -> bool:
    told_at = believed(seen_at, now=now)
    return oldest_tip is not None and told_at is not None and now - told_at > FORGOTTEN_AFTER


def read_chain(
    evidence: Evidence, row: Any, target: Target, *, payments: Sequence[Payment], now: datetime
) -> ChainReading:
    """What pays the invoice's target, and what became of its `payments`. Raises what the port raises."""
    since = _searched_from(row, now=now)
    return evidence.read(target.text, born_at=since, asked_at=now, known=known_outputs(payments))


def _searched_from(row: Any, *, now: datetime) -> datetime:
    """From when on a source has to search: its past decides nothing any more about an invoice that is over, and a node that is
    new would search years for each of them.
    """
    return now if is_over(row, now=now) else min(row.created_at, now)


def is_over(row: Any, *, now: datetime) -> bool:
    """Whether nothing that a source may still find in the past changes what became of the invoice."""
    return now >= row.monitor_until and (row.settled_at is not None or row.closed_at is not None)
