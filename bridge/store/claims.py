"""Clients' claims: rows in and out.

Owns these rows; which moves are legal is core.claims', who may make them the desk's.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from bridge.store.rows import Rows
from bridge.store.tables import claims

# The database refuses a second claim of the same invoice while one is open.
_CLAIMS = Rows(table=claims, order=(claims.c.opened_at.desc(), claims.c.id.desc()), told=(claims.c.opened_at,))
find, listing, of_invoice, add, change = _CLAIMS.find, _CLAIMS.listing, _CLAIMS.of, _CLAIMS.add, _CLAIMS.change
_DUE = Rows(table=claims, order=(claims.c.due_at, claims.c.id))
_BOOKED = Rows(table=claims, order=(claims.c.opened_at, claims.c.id))


def opened_page(
    tx: Connection, *, from_at: datetime, to_at: datetime, after: tuple[datetime, str] | None, limit: int
) -> list[Any]:
    """Claims that were entered in [from, to), oldest first, behind the cursor (opened_at, id)."""
    period = (claims.c.opened_at >= from_at, claims.c.opened_at < to_at)
    return list(_BOOKED.listing(tx, *period, cursor=after, limit=limit))


def is_open(tx: Connection, invoice_id: str | None) -> bool:
    return _CLAIMS.any(tx, claims.c.due_at.is_not(None), invoice_id=invoice_id)


def count_overdue(tx: Connection, *, now: datetime) -> int:
    return _CLAIMS.count(tx, claims.c.due_at < now)


def next_due(tx: Connection, *, after: datetime | None = None) -> Row[Any] | None:
    """The open claim whose stage ends first, of all or of those that end after a moment."""
    still = claims.c.due_at.is_not(None) if after is None else claims.c.due_at >= after
    return next(iter(_DUE.listing(tx, still, limit=1)), None)
