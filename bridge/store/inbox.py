"""What we were told: raw callbacks, unique, kept before they are answered, and what screenings said of payers.

Owns these rows; must not believe a callback, nor say what a verdict means: that is `core.invoice`'s.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Text, bindparam, func, literal_column, or_, select, update

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.evidence import Screened
from bridge.store.db import insert_into
from bridge.store.rows import Rows, between, moment
from bridge.store.tables import inbox, invoices, screenings
from bridge.store.together import ask, first_row

_INBOX = Rows(table=inbox, order=(inbox.c.id.desc(),), told=(inbox.c.id,))
find, of_invoice = _INBOX.find, _INBOX.of
_SCREENINGS = Rows(table=screenings, told=(screenings.c.id,))
screenings_of = _SCREENINGS.of
# Statements are built once: building one costs several times its execution.
_WAITING = select(inbox.c.id, inbox.c.invoice_id).where(inbox.c.state == "new").order_by(inbox.c.id)
_WAITING = _WAITING.limit(bindparam("most"))
_ANSWERED = update(inbox).where(
    inbox.c.invoice_id == bindparam("its_invoice"),
    inbox.c.state == "new",
    # What rang ahead of now was written by a clock that was wrong, and would ring until then.
    or_(inbox.c.received_at <= bindparam("up_to"), inbox.c.received_at > bindparam("latest")),
)
_ANSWERED = _ANSWERED.values(state="done", note=bindparam("its_note")).returning(inbox.c.received_at)


_GIVEN = ("source", "event_key", "received_at", "headers", "body", "state", "note")
_OPEN = select(invoices.c.id, *(bindparam(name, type_=inbox.c[name].type) for name in _GIVEN))
_OPEN = _OPEN.where(invoices.c.callback_token_sha256 == bindparam("token"), invoices.c.closed_at.is_(None))
# As text, because SQLAlchemy leaves the tables' names out of what SQLite returns. What SQLite returns has no type either, and
# without one it would look for the invoice through the whole table.
_ITS_TRACE = "(SELECT its.trace_id FROM invoices AS its WHERE its.id = CAST(invoice_id AS TEXT))"
_TRACE = literal_column(_ITS_TRACE, Text).label("trace_id")


@cache
def _put(dialect: str) -> Any:
    fresh = insert_into(dialect, inbox).from_select(["invoice_id", *_GIVEN], _OPEN)
    again = {"copies": inbox.c.copies + 1}
    fresh = fresh.on_conflict_do_update(index_elements=["source", "event_key"], set_=again)
    return fresh.returning(inbox.c.invoice_id, inbox.c.copies, _TRACE)


class Kept(NamedTuple):
    """What was kept, and how many copies of the same event came before: more than 0 changes nothing but that count."""

    invoice_id: str
    copies: int
    trace_id: str


def put(
    tx: Connection,
    *,
    token_sha256: str,
    source: str,
    event_key: str,
    headers: str,
    body: bytes,
    state: str,
    now: datetime,
    note: str = "",
) -> Kept | None:
    """Stores the raw bytes for the open invoice with this callback token; None when there is none."""
    values = {"source": source, "event_key": event_key, "received_at": now, "headers": headers, "body": body}
    values |= {"state": state, "note": note, "token": token_sha256}
    kept = first_row(tx, _put, values)
    return None if kept is None else Kept(*kept)


def waiting(tx: Connection, *, limit: int) -> Sequence[Any]:
    """Doorbells not answered yet, oldest first: (id, invoice_id)."""
    return ask(tx, _WAITING, {"most": limit}).all()


def mark_answered(tx: Connection, invoice_id: str, *, up_to: datetime, now: datetime, note: str) -> list[datetime]:
    """Every doorbell of the invoice that rang before our read was asked has been answered by that read. When each rang."""
    answered = {"its_invoice": invoice_id, "up_to": up_to, "latest": now + CLOCK_TOLERANCE, "its_note": note}
    return list(ask(tx, _ANSWERED, answered).scalars())


def listing(
    tx: Connection, *, match: Mapping[str, str], since: datetime | None, until: datetime | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first; `match` may name invoice_id, source and state; times are inclusive."""
    return _INBOX.listing(tx, *between(inbox.c.received_at, since, until), match=match, limit=limit)


def add_screening(
    tx: Connection, invoice_id: str, *, at: datetime, screened: Screened, subject: str, subject_sha256: str
) -> None:
    said = {"verdict": screened.verdict, "matched": screened.matched, "detail": screened.detail}
    asked = {"invoice_id": invoice_id, "at": at, "subject": subject, "subject_sha256": subject_sha256}
    _SCREENINGS.add(tx, asked | said)


def screening_pending_since(tx: Connection, invoice_id: str, *, now: datetime) -> datetime | None:
    """Since when no screening of the invoice could say anything; None when the newest one did, or there is none by now."""
    said = select(func.max(screenings.c.id)).where(
        screenings.c.invoice_id == invoice_id, screenings.c.verdict != "pending"
    )
    query = select(func.min(screenings.c.at)).where(
        screenings.c.invoice_id == invoice_id,
        screenings.c.id > func.coalesce(said.scalar_subquery(), 0),
        screenings.c.at <= now + CLOCK_TOLERANCE,
    )
    return moment(tx, query)
