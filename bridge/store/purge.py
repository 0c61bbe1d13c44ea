"""What may be purged, and nothing else: the classes, the tables, the columns.

Owns the only statements that remove records; a test names every table that they never touch, and compares both with the
schema and the docs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update

from bridge.store.tables import (
    billing_reports,
    billing_statuses,
    inbox,
    invoices,
    observations,
    operator_sessions,
)


@dataclass(frozen=True, kw_only=True)
class RecordClass:
    """One class of records. `emptied` are the columns that lose their content; without them whole rows go."""

    name: str
    table: Table
    age: str
    emptied: dict[str, Any]
    only: Callable[[], Any] | None = None


# Invoices and callbacks stay as rows: what identifies them and when they came is never emptied.
CLASSES = (
    RecordClass(
        name="callback_bodies",
        table=inbox,
        age="received_at",
        emptied={"body": b""},
        only=lambda: (inbox.c.state != "new") & (func.length(inbox.c.body) > 0),
    ),
    RecordClass(
        name="callback_sessions",
        table=inbox,
        age="received_at",
        emptied={"headers": "{}"},
        only=lambda: (inbox.c.state != "new") & (inbox.c.headers != "{}"),
    ),
    RecordClass(name="observations", table=observations, age="asked_at", emptied={}),
    RecordClass(
        name="payer_contacts",
        table=invoices,
        age="updated_at",
        emptied={"customer_email": "", "return_url": ""},
        only=lambda: (
            (invoices.c.settled_at.is_not(None) | invoices.c.closed_at.is_not(None) | invoices.c.verdict.is_not(None))
            & ((invoices.c.customer_email != "") | (invoices.c.return_url != ""))
        ),
    ),
    RecordClass(name="billing_statuses", table=billing_statuses, age="reported_at", emptied={}),
    RecordClass(name="billing_statuses", table=billing_reports, age="started_at", emptied={}),
    RecordClass(name="operator_sessions", table=operator_sessions, age="expires_at", emptied={}),
)


def purge(tx: Connection, each: RecordClass, *, before: datetime, limit: int) -> int:
    """Empties or removes up to `limit` of the oldest records of a class. Returns how many."""
    keys = list(each.table.primary_key.columns)
    rows = tx.execute(select(*keys).where(*_due(each, before)).order_by(each.table.c[each.age]).limit(limit)).all()
    for row in rows:
        is_it = [key == value for key, value in zip(keys, row, strict=True)]
        change = update(each.table).values(**each.emptied) if each.emptied else delete(each.table)
        tx.execute(change.where(*is_it))
    return len(rows)


def count_due(tx: Connection, each: RecordClass, *, before: datetime) -> int:
    query = select(func.count()).select_from(each.table).where(*_due(each, before))
    return int(tx.execute(query).scalar_one())


def _due(each: RecordClass, before: datetime) -> list[Any]:
    return [each.table.c[each.age] < before, *([each.only()] if each.only is not None else [])]
