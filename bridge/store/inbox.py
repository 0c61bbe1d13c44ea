"""What we were told: raw callbacks, unique, kept before they are answered.

Owns the inbox rows; must not believe them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.store.tables import inbox


def put(
    tx: Connection,
    *,
    source: str,
    event_key: str,
    invoice_id: str | None,
    headers: str,
    body: bytes,
    state: str,
    now: datetime,
    note: str = "",
) -> bool:
    """Stores the raw bytes; False when the same event was stored before, which only counts another copy."""
    values = {
        "source": source,
        "event_key": event_key,
        "invoice_id": invoice_id,
        "received_at": now,
        "headers": headers,
        "body": body,
        "state": state,
        "note": note,
    }
    insert_of = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    fresh = insert_of(inbox).values(**values).on_conflict_do_nothing(index_elements=["source", "event_key"])
    if tx.execute(fresh.returning(inbox.c.id)).one_or_none() is not None:
        return True
    same = (inbox.c.source == source, inbox.c.event_key == event_key)
    tx.execute(update(inbox).where(*same).values(copies=inbox.c.copies + 1))
    return False


def waiting(tx: Connection, *, limit: int) -> Sequence[Any]:
    """Doorbells not answered yet, oldest first: (id, invoice_id)."""
    query = select(inbox.c.id, inbox.c.invoice_id).where(inbox.c.state == "new").order_by(inbox.c.id).limit(limit)
    return tx.execute(query).all()


def mark(tx: Connection, ids: Sequence[int], *, state: str, note: str) -> None:
    tx.execute(update(inbox).where(inbox.c.id.in_(ids)).values(state=state, note=note))


def mark_answered(tx: Connection, invoice_id: str, *, up_to: datetime, note: str) -> list[datetime]:
    """Every doorbell of the invoice that rang before our read was asked has been answered by that read. When each rang."""
    rung = (inbox.c.invoice_id == invoice_id, inbox.c.state == "new", inbox.c.received_at <= up_to)
    answered = update(inbox).where(*rung).values(state="done", note=note).returning(inbox.c.received_at)
    return list(tx.execute(answered).scalars())


def of_invoice(tx: Connection, invoice_id: str) -> Sequence[Row[Any]]:
    return tx.execute(select(inbox).where(inbox.c.invoice_id == invoice_id).order_by(inbox.c.id)).all()


def listing(
    tx: Connection, *, match: Mapping[str, str], since: datetime | None, until: datetime | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first; `match` may name invoice_id, source and state; times are inclusive."""
    query = select(inbox).where(*(inbox.c[name] == value for name, value in match.items()))
    query = query.where(*([inbox.c.received_at >= since] if since else []))
    query = query.where(*([inbox.c.received_at <= until] if until else []))
    return tx.execute(query.order_by(inbox.c.id.desc()).limit(limit)).all()


def find(tx: Connection, inbox_id: int) -> Row[Any] | None:
    return tx.execute(select(inbox).where(inbox.c.id == inbox_id)).one_or_none()
