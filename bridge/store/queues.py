"""How much waits in each queue, and since when.

Owns these reads, for the metrics; the queues themselves are their own modules'.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from bridge.core.schedule import LOOK_CLASSES
from bridge.store.tables import UtcTime, budget_calls, deliveries, events, inbox, invoices, unnumbered_events

QUEUES = ("doorbells", "looks", "deliveries", "numbering")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Rows of one queue that could be worked on now; `since` is when the oldest of them became due."""

    depth: int
    since: datetime | None


def waiting(tx: Connection, *, now: datetime) -> dict[str, Waiting]:
    """Every queue by its name of QUEUES."""
    found = {name: tx.execute(query, {"now": now}).one() for name, query in _QUERIES.items()}
    return {name: Waiting(depth=int(row.depth), since=row.since) for name, row in found.items()}


def calls_in_window(tx: Connection, name: str, *, since: datetime) -> int:
    """Calls that a budget granted after `since`, over all nodes."""
    spent = select(func.coalesce(func.sum(budget_calls.c.spent), 0))
    return int(tx.execute(spent.where(budget_calls.c.name == name, budget_calls.c.at > since)).scalar_one())


def _count(at: Any, *where: Any) -> Any:
    return select(func.count().label("depth"), func.min(at, type_=UtcTime).label("since")).where(*where)


_NOW = bindparam("now", type_=UtcTime)
_QUERIES = {
    "doorbells": _count(inbox.c.received_at, inbox.c.state == "new"),
    "looks": _count(invoices.c.next_look_at, invoices.c.look_class.in_(LOOK_CLASSES), invoices.c.next_look_at <= _NOW),
    "deliveries": _count(deliveries.c.next_try_at, deliveries.c.state == "pending", deliveries.c.next_try_at <= _NOW),
    "numbering": _count(events.c.created_at).select_from(
        unnumbered_events.join(events, events.c.id == unnumbered_events.c.event_id)
    ),
}
