"""Arming the gateway's watch on open addresses, off the hot path, and again before it lapses.

Owns when a watch is due; losing every callback only delays, so a failed arming is no error.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from bridge.core.errors import BridgeError
from bridge.core.rail import Doorbell, WalletReader
from bridge.flows.call_budget import WINDOW_SECONDS, take_calls
from bridge.flows.context import Bridge
from bridge.flows.modes import may_call_provider
from bridge.logs import log
from bridge.store import invoices, leases


def arm_watches(bridge: Bridge, *, limit: int) -> int:
    """Arms up to `limit` watches whose time is over (SUBTC contract 5.11: a watch dies silently). Returns how many were tried."""
    now, bells = bridge.clock(), _bells(bridge)
    if not bells:
        return 0
    with bridge.store.read() as tx:
        # Each is asked of the gateway under its own wallet; what the gateway does not know it cannot watch.
        wallet_ids = [each for each in bells if may_call_provider(tx, each)]
        lasts = max(bell.seconds for bell, _ in bells.values())
        due = invoices.watch_due(tx, wallet_ids=wallet_ids, now=now, watch_seconds=lasts, limit=limit)
    tried = 0
    for row in due:
        bell, reader = bells[row.wallet_id]
        with bridge.store.write(durable=False) as tx:
            if not may_call_provider(tx, row.wallet_id):
                continue
            # A sixth of the calls at most: a watch is only a hope for a callback, a look is certain.
            share = max(bridge.receiving.calls_per_minute // 6, 1)
            is_allowed = leases.spend(tx, "watches", now=now, limit=share, window_seconds=WINDOW_SECONDS)
            if not is_allowed or not take_calls(tx, bridge, now=now, purpose="routine"):
                return tried
            # Taken before the call: another worker must not arm the same watch, and a failed one is tried again soon.
            until = now + timedelta(seconds=60)
            if not invoices.take_watch(tx, row.id, now=now, watch_seconds=bell.seconds, until=until):
                continue
        tried += 1
        bridge.crash_point("watch.claimed")
        try:
            reader.watch(
                address=row.address,
                expected_sat=max(row.remaining_sat + row.received_sat, 1),
                timeout_seconds=bell.seconds,
                callback_url=f"{bell.url}/{bridge.callback_token(row.id)}",
            )
        except BridgeError as error:
            log("watch.not_armed", level=logging.WARNING, invoice_id=row.id, trace_id=row.trace_id, code=error.code)
            continue
        bridge.crash_point("watch.armed")
        with bridge.store.write(durable=False) as tx:
            # A minute early: the next watch stands before this one lapses.
            invoices.set_watched(tx, row.id, until=now + timedelta(seconds=max(bell.seconds - 60, 30)))
    return tried


def _bells(bridge: Bridge) -> Mapping[str, tuple[Doorbell, WalletReader]]:
    """By wallet id what can ring, of the rails that payers pay over."""
    paid = (rail for rail in bridge.rails if rail.role != "billing")
    return {r.wallet_id: (r.doorbell, r.reader) for r in paid if r.doorbell is not None and r.reader is not None}
