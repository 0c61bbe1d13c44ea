"""Events for merchants: appended with their state change, numbered after commit, read as a feed.

Owns the order of events; must not deliver them, see `store.deliveries`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

from bridge.core.money import BTC
from bridge.store import archive
from bridge.store.rows import Rows, between
from bridge.store.tables import deliveries, event_positions, events, unnumbered_events
from bridge.store.together import Together, ask, put

# Readers of the feed remember a position of the lost days: new events must come after it.
GAP = 1_000_000
_EVENTS = Rows(table=events, order=(events.c.created_at.desc(), events.c.sequence.desc()), told=(events.c.sequence,))
# Those of one invoice have numbers, which no clock that was put back disorders.
_OF_ONE = Rows(table=events, order=(events.c.sequence.desc(),))
_FEED = Rows(table=event_positions, order=(event_positions.c.position,))
find, of_invoice = _EVENTS.find, _EVENTS.of
# Statements are built once: building one costs several times its execution.
_APPEND, _QUEUE, _OWE = insert(events), insert(unnumbered_events), insert(deliveries)
_OLDEST_FIRST = (events.c.created_at, events.c.invoice_id, events.c.sequence)
_ANY_UNNUMBERED = select(unnumbered_events.c.event_id).limit(1)
_LAST = select(func.coalesce(func.max(event_positions.c.position), 0))
_NUMBER = insert(event_positions).from_select(
    ["position", "event_id", "merchant"],
    select(bindparam("last") + func.row_number().over(order_by=_OLDEST_FIRST), events.c.id, events.c.merchant)
    .join(unnumbered_events, unnumbered_events.c.event_id == events.c.id)
    .order_by(*_OLDEST_FIRST)
    .limit(bindparam("most")),
)
_NEW = select(event_positions.c.event_id).where(event_positions.c.position > bindparam("last"))
_NUMBERED = delete(unnumbered_events).where(unnumbered_events.c.event_id.in_(_NEW))


def append(
    tx: Connection | Together,
    *,
    event_id: str,
    delivery_id: str | None,
    invoice_id: str | None,
    merchant: str,
    type: str,
    sequence: int,
    body: str,
    now: datetime,
    asset: str = BTC,
    lease: Mapping[str, Any] | None = None,
) -> None:
    """Stores an event and, where the merchant wants a push, the delivery that it owes: both commit with the change they tell of.

    `lease` are the columns of a delivery that somebody has in hand already.
    """
    shared = {"invoice_id": invoice_id, "merchant": merchant, "sequence": sequence, "created_at": now}
    put(tx, _APPEND, {"id": event_id, "type": type, "body": body, "asset": asset} | shared)
    put(tx, _QUEUE, {"event_id": event_id})
    if delivery_id is not None:
        owed = {"id": delivery_id, "event_id": event_id, "state": "pending", "next_try_at": now}
        put(tx, _OWE, owed | shared | dict(lease or {}))


def number(tx: Connection, *, limit: int) -> int:
    """Gives positions to committed events, oldest first, and returns how many.

    The caller holds the numbering lease: with one writer a reader that has seen position N has seen all below it.
    """
    last = end(tx)
    tx.execute(_NUMBER, {"last": last, "most": limit})
    return tx.execute(_NUMBERED, {"last": last}).rowcount


def feed(tx: Connection, *, merchant: str, after: int, limit: int) -> Sequence[Any]:
    """Rows (position, body, …) of the merchant's events above `after`, in order."""
    told = (event_positions.c.position, events.c.body, events.c.id, events.c.invoice_id)
    query = select(*told).join(events, events.c.id == event_positions.c.event_id)
    rows = _FEED.listing(tx, match={"merchant": merchant}, cursor=(after,), limit=limit, query=query)
    return archive.filled(tx, events, rows)


def end(tx: Connection) -> int:
    """The newest position of all merchants, 0 without any."""
    return int(ask(tx, _LAST).scalar_one())


def leave_gap(tx: Connection, *, merchants: Sequence[str], after: int, now: datetime, cause: str) -> None:
    """A mark for each merchant so far behind `after` that no position which a reader has seen is given out again."""
    for number, merchant in enumerate(merchants):
        marker = f"evt_{cause}_{now:%Y%m%dT%H%M%S%fZ}_{number}"
        body = f'{{"id":"{marker}","type":"test","sequence":0,"created_at":"{now:%Y-%m-%dT%H:%M:%S.%fZ}"}}'
        row = {"id": marker, "invoice_id": None, "merchant": merchant, "type": "test", "sequence": 0}
        tx.execute(insert(events).values(**row, created_at=now, body=body))
        tx.execute(insert(event_positions).values(position=after + GAP + number, event_id=marker, merchant=merchant))


def listing(
    tx: Connection, *, match: Mapping[str, str], since: datetime | None, until: datetime | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first; `match` may name merchant, invoice_id and type; times are inclusive."""
    ordered = _OF_ONE if "invoice_id" in match else _EVENTS
    return ordered.listing(tx, *between(events.c.created_at, since, until), match=match, limit=limit)


def any_unnumbered(tx: Connection) -> bool:
    return ask(tx, _ANY_UNNUMBERED).first() is not None
