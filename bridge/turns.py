"""What the workers of all nodes share out among themselves: turns, each once per pause for whoever comes first, and the one budget of
calls to the gateway: so many per minute over all nodes, never more, whoever calls.

Owns the one way to take them, and what a worker that stops gives back; must not know whose a turn is, nor call the gateway. Only
what a person asks by hand (doctor, probe) and the gateway's public health page for `readyz` stand outside the budget.
"""

import time
from datetime import datetime

from bridge.context import Bridge
from bridge.core.errors import Unavailable
from bridge.core.rail import Rail
from bridge.store import invoices, leases
from bridge.store.db import Tx

# The owner of a turn that a worker which stops in good order does not give back: a pause of hours or a day.
NOBODY = "nobody"


def take_turn(
    bridge: Bridge, name: str, *, owner: str, now: datetime, every_seconds: int, durable: bool = True
) -> bool:
    """Whether the caller has the turn. Its lease is not given back after the job: it is the pause until anybody's next turn.

    It is looked for before it is taken, so that who waits for it keeps no writer waiting.
    """
    with bridge.store.read() as tx:
        if not leases.is_free(tx, name, now=now, lease_seconds=every_seconds):
            return False
    with bridge.store.write(durable=durable) as tx:
        return leases.take_free(tx, name, owner=owner, now=now, lease_seconds=every_seconds)


def give_back_leases(bridge: Bridge, *, owner: str) -> None:
    """Ends all leases of `owner`, so that other workers need not wait until they run out."""
    with bridge.store.write() as tx:
        leases.give_back(tx, owner=owner)
        invoices.give_back(tx, owner=owner)


PROVIDER = "provider"
# A second wider than a minute: a call leaves a moment after it was granted.
WINDOW_SECONDS = 61
# Nobody draws more at once than a tenth of a second of the whole budget.
LOTS_PER_MINUTE = 600
WAIT_STEPS, STEP_SECONDS = 2 * WINDOW_SECONDS, 1


def limit_of(bridge: Bridge, purpose: str) -> int:
    """Calls in the window after which this purpose is refused. Who waits longest with least harm leaves most to the others:

    "reconcile" leaves half, "routine" looks and watches a sixth, "plain" (doorbells, balances, spare addresses) a twelfth;
    "urgent" (a payer who waits for an address, money that is leaving) is refused only when there is nothing left.
    """
    limit = bridge.receiving.calls_per_minute
    left = {"reconcile": limit - max(limit // 2, 1), "routine": limit // 6, "plain": limit // 12, "urgent": 0}
    return limit - left[purpose]


def take_calls(
    tx: Tx, bridge: Bridge, *, now: datetime, wanted: int = 1, purpose: str = "plain", rail: Rail | None = None
) -> int:
    """How many of `wanted` calls may be made now, counted over all nodes. Whoever does not make them gives them back.

    A `rail` that is offered beside the first has a budget of its own, the same for every purpose.
    """
    name, limit = PROVIDER, limit_of(bridge, purpose)
    if rail is not None and rail.is_beside:
        name, limit = f"{PROVIDER}:{rail.wallet_id}", rail.calls_per_minute
    return leases.spend(tx, name, now=now, limit=limit, window_seconds=WINDOW_SECONDS, calls=wanted)


def give_back(tx: Tx, *, calls: int) -> None:
    """Returns calls of the newest grant that were not made."""
    leases.refund(tx, PROVIDER, calls=calls)


def require_call_or_lot(tx: Tx, bridge: Bridge, *, now: datetime) -> int:
    """Takes one urgent call: of those drawn ahead, or of a new lot. Raises Unavailable("call_budget_spent").

    Returns how many more were drawn; `bridge.calls_ahead` keeps them as soon as this transaction is committed, not before.
    """
    if bridge.calls_ahead.take(now):
        return 0
    wanted = bridge.calls_ahead.next_lot(now, at_most=bridge.receiving.calls_per_minute // LOTS_PER_MINUTE)
    granted = take_calls(tx, bridge, now=now, wanted=wanted, purpose="urgent")
    if not granted:
        raise _spent()
    return granted - 1


def draw_call(bridge: Bridge, *, purpose: str = "plain", rail: Rail | None = None) -> None:
    """Takes one call in a transaction of its own: never inside another one. Raises Unavailable("call_budget_spent")."""
    with bridge.store.write(durable=False) as tx:
        granted = take_calls(tx, bridge, now=bridge.clock(), purpose=purpose, rail=rail)
    if not granted:
        raise _spent()


def require_rail_call(tx: Tx, bridge: Bridge, rail: Rail, *, now: datetime) -> None:
    """Takes one call of this rail. Raises Unavailable("call_budget_spent")."""
    if not take_calls(tx, bridge, now=now, rail=rail):
        raise _spent()


def wait_for_call(bridge: Bridge) -> None:
    """For long work that a person watches: waits until a call is free. Raises Unavailable after two minutes without one."""
    for _ in range(WAIT_STEPS - 1):
        try:
            draw_call(bridge)
            return
        except Unavailable as spent:
            if spent.code != "call_budget_spent":
                raise
            time.sleep(STEP_SECONDS)
    draw_call(bridge)


def _spent() -> Unavailable:
    detail = "No call to the gateway is left in this minute."
    return Unavailable("call_budget_spent", detail, retry_after_seconds=10)
