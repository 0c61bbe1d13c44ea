"""Asking for the whole wallet's balance: one call that tells whether hundreds of quiet addresses can wait.

Owns the hint of which invoice to look at first; must not believe it, only an own look at the address counts.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bridge.core.errors import BridgeError
from bridge.core.schedule import RESTING_SECONDS
from bridge.flows.call_budget import give_back, take_calls
from bridge.flows.context import Bridge
from bridge.flows.modes import may_call_provider
from bridge.logs import log
from bridge.store import invoices, leases
from bridge.store.db import Tx

# The lease is not given back after the job: it also is the pause until any worker asks again.
ASK_EVERY_SECONDS = 6
RESTS = {each: timedelta(seconds=seconds) for each, seconds in RESTING_SECONDS.items()}
RESTS_AT_ONCE = 1_000
YOUNG_COMPARED, NEAREST = 2_000, 6


def sense_balance(bridge: Bridge, *, owner: str) -> int:
    """Asks at most once per pause over all workers, and only while looks are due. Returns how many invoices rest or hurry."""
    now = bridge.clock()
    reader = bridge.receiving.reader
    if reader is None:
        return 0
    with bridge.store.read() as tx:
        if not invoices.any_due(tx, now=now):
            return 0
        if not leases.is_free(tx, "sense_balance", now=now, lease_seconds=ASK_EVERY_SECONDS):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        if not take_calls(tx, bridge, now=now):
            return 0
        if not leases.take_free(tx, "sense_balance", owner=owner, now=now, lease_seconds=ASK_EVERY_SECONDS):
            give_back(tx, calls=1)
            return 0
    try:
        balance_sat = reader.balance().balance_sat
    except BridgeError as error:
        log("balance.not_sensed", level=logging.WARNING, code=error.code)
        return 0
    with bridge.store.write() as tx:
        change_sat = leases.mark_balance(tx, bridge.wallet_id, balance_sat=balance_sat, asked_at=now)
        mark = leases.balance_mark(tx, bridge.wallet_id)
        meant = _meant(tx, change_sat)
        invoices.hurry(tx, meant, now=now)
        since = mark.changed_at if mark is not None else now
        return len(meant) + invoices.rest_quiet(
            tx, wallet_id=bridge.wallet_id, since=since, now=now, pauses=RESTS, limit=RESTS_AT_ONCE
        )


def _meant(tx: Tx, change_sat: int) -> Sequence[str]:
    """Invoices that the change is likely to be for: they ask for just that, two together do, or the young that come nearest.

    Most payers pay exactly what they are shown; a wallet that takes its fee from the sum misses it by little.
    """
    if change_sat <= 0:
        return []
    if exact := invoices.unpaid_asking_for(tx, change_sat):
        return exact
    young = invoices.young_unpaid(tx, limit=YOUNG_COMPARED)
    nearest = sorted(young, key=lambda row: abs(row.remaining_sat - change_sat))[:NEAREST]
    return _pair(young, change_sat) or [row.id for row in nearest]


def _pair(candidates: Sequence[Any], change_sat: int) -> Sequence[str]:
    by_sat = {row.remaining_sat: row.id for row in candidates}
    for row in candidates:
        other = by_sat.get(change_sat - row.remaining_sat)
        if other is not None and other != row.id:
            return [row.id, other]
    return []
