"""How many invoices and deliveries there are in each state, at a cost that does not grow with all that there ever were.

Owns what this process remembers of that; must not be asked for what decides anything.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from bridge.context import Bridge
from bridge.core.invoice import STATUSES
from bridge.store import deliveries, invoices
from bridge.store.db import Tx

# Of what is over there is more each day. Where it is so many rows they are counted again only once there was a second for each so many
# of them: 12 seconds later of 120,000, a quarter of an hour later of ten million.
MANY, ROWS_PER_SECOND = 100_000, 10_000
_OPEN = ("new", "processing")


def invoices_by_status(bridge: Bridge, tx: Tx) -> Mapping[str, int]:
    over = tuple(status for status in STATUSES if status not in _OPEN)
    return _counted(bridge, tx, invoices.count_by_status, now=_OPEN, over=over)


def deliveries_by_state(bridge: Bridge, tx: Tx) -> Mapping[str, int]:
    return _counted(bridge, tx, deliveries.count_by_state, now=("pending", "parked"), over=("delivered",))


def _counted(
    bridge: Bridge,
    tx: Tx,
    count: Callable[[Tx, tuple[str, ...]], dict[str, int]],
    *,
    now: tuple[str, ...],
    over: tuple[str, ...],
) -> Mapping[str, int]:
    """States with what is in them: `now` as it is, `over` perhaps as it was."""
    at = bridge.clock()
    counted_at, counted = bridge.counted.get(over, (at, {}))
    rows = sum(counted.values())
    if rows < MANY or abs(at - counted_at) >= timedelta(seconds=rows // ROWS_PER_SECOND):
        counted = count(tx, over)
        bridge.counted[over] = (at, counted)
    return {**counted, **count(tx, now)}
