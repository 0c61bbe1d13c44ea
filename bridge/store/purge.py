"""What may be purged, and nothing else: the classes, the tables, the columns.

Owns the only statements that remove records; a test names every table that they never touch, and compares both with the
schema and the docs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, literal, select, text, tuple_, update

from bridge.store.idempotency import OPENING
from bridge.store.tables import (
    ANSWERS,
    BODIES,
    CONTACTS,
    SESSIONS,
    billing_reports,
    billing_statuses,
    events,
    idempotency,
    inbox,
    invoices,
    observations,
    operator_sessions,
)


@dataclass(frozen=True, kw_only=True)
class RecordClass:
    """One class of records. `emptied` are the columns that lose their content; without them whole rows go.

    Records are found by `by`, a time that is never after `age` and has an index of what `only` leaves. `days` is for a class
    that no setting names.
    """

    name: str
    table: Table
    age: str
    emptied: dict[str, Any]
    only: Callable[[], Any] | None = None
    by: str = ""
    days: int = 0


def _is_told_again() -> Any:
    """The event of the opening ends with just this answer: `store.idempotency` reads it there."""
    begin = func.length(events.c.body) - func.length(idempotency.c.answer) - len(OPENING)
    its = (events.c.invoice_id == idempotency.c.invoice_id, events.c.sequence == 1)
    said = func.substr(events.c.body, begin) == literal(OPENING) + idempotency.c.answer + "}"
    return exists().where(*its, said)


# Invoices, callbacks and keys stay as rows: what identifies them and when they came is never emptied.
CLASSES = (
    RecordClass(
        name="callback_bodies",
        table=inbox,
        age="received_at",
        emptied={"body": b""},
        only=lambda: (inbox.c.state != "new") & text(BODIES),
    ),
    RecordClass(
        name="callback_sessions",
        table=inbox,
        age="received_at",
        emptied={"headers": "{}"},
        only=lambda: (inbox.c.state != "new") & text(SESSIONS),
    ),
    RecordClass(name="observations", table=observations, age="asked_at", emptied={}),
    RecordClass(
        name="payer_contacts",
        table=invoices,
        age="updated_at",
        by="created_at",
        emptied={"customer_email": "", "return_url": ""},
        only=lambda: (
            (invoices.c.settled_at.is_not(None) | invoices.c.closed_at.is_not(None) | invoices.c.verdict.is_not(None))
            & text(f"({CONTACTS})")
        ),
    ),
    RecordClass(name="billing_statuses", table=billing_statuses, age="reported_at", emptied={}),
    RecordClass(name="billing_statuses", table=billing_reports, age="started_at", emptied={}),
    RecordClass(name="operator_sessions", table=operator_sessions, age="expires_at", emptied={}),
    # What was answered twice is kept once; a module asks again within minutes.
    RecordClass(
        name="answers",
        table=idempotency,
        age="created_at",
        emptied={"answer": ""},
        only=lambda: text(ANSWERS) & (idempotency.c.state == "done") & _is_told_again(),
        days=2,
    ),
)


def purge(tx: Connection, each: RecordClass, *, before: datetime, limit: int) -> int:
    """Empties or removes up to `limit` of the oldest records of a class. Returns how many."""
    keys = list(each.table.primary_key.columns)
    due = select(*keys).where(*_due(each, before)).order_by(each.table.c[each.by or each.age]).limit(limit)
    change = update(each.table).values(**each.emptied) if each.emptied else delete(each.table)
    is_due = tuple_(*keys).in_(due) if len(keys) > 1 else keys[0].in_(due)
    return tx.execute(change.where(is_due)).rowcount


def count_due(tx: Connection, each: RecordClass, *, before: datetime) -> int:
    query = select(func.count()).select_from(each.table).where(*_due(each, before))
    return int(tx.execute(query).scalar_one())


def _due(each: RecordClass, before: datetime) -> list[Any]:
    ages = dict.fromkeys((each.by or each.age, each.age))
    return [*(each.table.c[age] < before for age in ages), *([each.only()] if each.only is not None else [])]
