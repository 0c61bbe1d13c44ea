"""Manual marks and their approvals: a person's word that an invoice counts as paid, and who else said so.

Owns these rows; who may propose and approve is the flows' to say.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from bridge.store.tables import mark_approvals, marks


def propose(tx: Connection, values: Mapping[str, Any]) -> None:
    """Adds a mark that waits; the database refuses a second one for the same review item."""
    tx.execute(insert(marks).values(**values))


def find(tx: Connection, *, lock: bool = False, **match: str) -> Row[Any] | None:
    """The one mark with these columns."""
    query = select(marks).where(*(marks.c[name] == value for name, value in match.items()))
    return tx.execute(query.with_for_update() if lock else query).one_or_none()


def listing(tx: Connection, *, match: Mapping[str, str], limit: int) -> Sequence[Row[Any]]:
    """Newest first; `match` may name state, review_id, invoice_id and merchant."""
    query = select(marks).where(*(marks.c[name] == value for name, value in match.items()))
    return tx.execute(query.order_by(marks.c.proposed_at.desc(), marks.c.id.desc()).limit(limit)).all()


def approve(tx: Connection, row: Row[Any], *, actor: str, reason: str, now: datetime) -> None:
    """Keeps one person's approval; the database refuses the proposer's and anybody's second one."""
    values = {"mark_id": row.id, "proposed_by": row.proposed_by, "actor": actor, "reason": reason, "at": now}
    tx.execute(insert(mark_approvals).values(**values))


def approvals_of(tx: Connection, mark_id: str) -> Sequence[Row[Any]]:
    """Oldest first."""
    query = select(mark_approvals).where(mark_approvals.c.mark_id == mark_id)
    return tx.execute(query.order_by(mark_approvals.c.id)).all()


def end(tx: Connection, mark_id: str, *, state: str, now: datetime) -> None:
    waiting = update(marks).where(marks.c.id == mark_id, marks.c.state == "proposed")
    tx.execute(waiting.values(state=state, ended_at=now))


def lapse(tx: Connection, review_id: str, *, now: datetime) -> None:
    """The item was answered otherwise: what waited for an approval is void."""
    waiting = update(marks).where(marks.c.review_id == review_id, marks.c.state == "proposed")
    tx.execute(waiting.values(state="lapsed", ended_at=now))
