"""What waits for a person, and what persons gave: review items, manual marks with their approvals, time to pay.

Owns these rows; what an item means for an invoice is `core.invoice`'s, when a grace ends `core.policy`'s, who may propose and
approve the desk's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from bridge.core.kinds import WITHDRAWN
from bridge.store.rows import Rows
from bridge.store.tables import grace_grants, mark_approvals, marks, reviews

_REVIEWS = Rows(table=reviews, order=(reviews.c.due_at, reviews.c.id), told=(reviews.c.opened_at,))
find, listing, of_invoice = _REVIEWS.find, _REVIEWS.listing, _REVIEWS.of
# The database refuses a second mark that waits for the same item, and a second grant for an invoice.
MARKS = Rows(table=marks, order=(marks.c.proposed_at.desc(), marks.c.id.desc()))
GRANTS = Rows(table=grace_grants, order=(grace_grants.c.granted_at.desc(), grace_grants.c.invoice_id))
_MARK_APPROVALS = Rows(table=mark_approvals, told=(mark_approvals.c.id,), under="mark_id")
approvals_of_mark = _MARK_APPROVALS.of


def open_item(
    tx: Connection,
    *,
    review_id: str,
    invoice_id: str | None,
    merchant: str,
    kind: str,
    severity: str,
    now: datetime,
    due_at: datetime,
    blocks: Mapping[str, Any],
    is_refreshed: bool = False,
) -> bool:
    """Opens an item, or counts one more sight of the open item of the same kind and invoice; True when it is new.

    `is_refreshed`: another sight replaces what the item shows.
    """
    same = (reviews.c.invoice_id == invoice_id, reviews.c.kind == kind, reviews.c.state == "open")
    seen_again = update(reviews).where(*same, reviews.c.merchant == merchant)
    values = {"last_seen_at": now, "times_seen": reviews.c.times_seen + 1} | (
        {"blocks": blocks} if is_refreshed else {}
    )
    again = tx.execute(seen_again.values(**values))
    if again.rowcount:
        return False
    what = {"id": review_id, "invoice_id": invoice_id, "merchant": merchant, "kind": kind, "severity": severity}
    _REVIEWS.add(
        tx, what | {"state": "open", "opened_at": now, "last_seen_at": now, "due_at": due_at, "blocks": blocks}
    )
    return True


def resolve(tx: Connection, review_id: str, *, decision: str, actor: str, note: str, now: datetime) -> None:
    """Answers an item; a manual mark of it that still waits lapses."""
    MARKS.change(tx, {"state": "lapsed", "ended_at": now}, review_id=review_id, state="proposed")
    values = {"state": "resolved", "decision": decision, "actor": actor, "note": note, "resolved_at": now}
    _REVIEWS.change(tx, values, id=review_id, state="open")


def withdraw(tx: Connection, review_id: str, *, note: str, now: datetime) -> None:
    """Ends an item that has answered itself: nobody ruled, so nothing is let pass by it."""
    resolve(tx, review_id, decision=WITHDRAWN, actor="worker", note=note, now=now)


def is_ruled(tx: Connection, invoice_id: str, kind: str) -> bool:
    """Whether a person has ruled on an item of this kind before."""
    return _REVIEWS.any(tx, reviews.c.decision != WITHDRAWN, invoice_id=invoice_id, kind=kind, state="resolved")


def count_overdue(tx: Connection, *, now: datetime) -> int:
    return _REVIEWS.count(tx, reviews.c.due_at < now, state="open")


def count_open_by_kind(tx: Connection) -> dict[str, int]:
    query = select(reviews.c.kind, func.count()).where(reviews.c.state == "open").group_by(reviews.c.kind)
    return {kind: int(count) for kind, count in tx.execute(query)}


def approve_mark(tx: Connection, row: Row[Any], *, actor: str, reason: str, now: datetime) -> None:
    """Keeps one person's approval; the database refuses the proposer's and anybody's second one."""
    values = {"mark_id": row.id, "proposed_by": row.proposed_by, "actor": actor, "reason": reason, "at": now}
    _MARK_APPROVALS.add(tx, values)


def end_mark(tx: Connection, mark_id: str, *, state: str, now: datetime) -> None:
    MARKS.change(tx, {"state": state, "ended_at": now}, id=mark_id, state="proposed")


def end_grace(tx: Connection, invoice_id: str, *, state: str, now: datetime) -> None:
    GRANTS.change(tx, {"state": state, "ended_at": now}, invoice_id=invoice_id, state="open")
