"""Manual marks and their approvals: a person's word that an invoice counts as paid, and who else said so.

Owns these rows; who may propose and approve is the flows' to say.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from bridge.store.rows import Rows
from bridge.store.tables import mark_approvals, marks

_MARKS = Rows(table=marks, order=(marks.c.proposed_at.desc(), marks.c.id.desc()))
_APPROVALS = Rows(table=mark_approvals, told=mark_approvals.c.id)
# The database refuses a second one that waits for the same review item.
propose, find, listing = _MARKS.add, _MARKS.find, _MARKS.listing


def approve(tx: Connection, row: Row[Any], *, actor: str, reason: str, now: datetime) -> None:
    """Keeps one person's approval; the database refuses the proposer's and anybody's second one."""
    values = {"mark_id": row.id, "proposed_by": row.proposed_by, "actor": actor, "reason": reason, "at": now}
    _APPROVALS.add(tx, values)


def approvals_of(tx: Connection, mark_id: str) -> Sequence[Row[Any]]:
    """Oldest first."""
    return _APPROVALS.of(tx, mark_id=mark_id)


def end(tx: Connection, mark_id: str, *, state: str, now: datetime) -> None:
    _MARKS.change(tx, {"state": state, "ended_at": now}, id=mark_id, state="proposed")


def lapse(tx: Connection, review_id: str, *, now: datetime) -> None:
    """The item was answered otherwise: what waited for an approval is void."""
    _MARKS.change(tx, {"state": "lapsed", "ended_at": now}, review_id=review_id, state="proposed")
