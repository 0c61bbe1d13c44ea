"""Receipts that go to payers by mail: a row for each invoice that was settled while that was wanted.

Owns the queries and the claim; must not send, nor hold an address: that is the invoice's, and is purged with it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from bridge.store.db import insert_into
from bridge.store.tables import invoices, receipt_mails


def add(tx: Connection, invoice_id: str, *, now: datetime) -> None:
    """Once for an invoice, however often it is settled again."""
    values = {"invoice_id": invoice_id, "state": "waiting", "attempts": 0, "created_at": now, "next_try_at": now}
    tx.execute(insert_into(tx, receipt_mails).values(**values).on_conflict_do_nothing(index_elements=["invoice_id"]))


def due(tx: Connection, *, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """What is to be tried, those first that have been due for longest, each with its invoice's address and public id.

    What was written or tried ahead of now, by a clock that was set back since, is due too.
    """
    its = receipt_mails.c
    is_due = or_(its.next_try_at <= now, its.tried_at > now, its.created_at > now)
    query = select(receipt_mails, invoices.c.customer_email, invoices.c.public_id)
    query = query.join(invoices, invoices.c.id == receipt_mails.c.invoice_id)
    query = query.where(receipt_mails.c.state == "waiting", is_due)
    return tx.execute(query.order_by(receipt_mails.c.next_try_at).limit(limit)).all()


def claim(tx: Connection, row: Any, *, now: datetime, next_try_at: datetime) -> bool:
    """Whether the next try is the caller's: of two at once, one's. It counts before it is made, and the one behind it is due at
    `next_try_at`, however it ends.
    """
    unchanged = (receipt_mails.c.invoice_id == row.invoice_id, receipt_mails.c.attempts == row.attempts)
    claimed = update(receipt_mails).where(*unchanged, receipt_mails.c.state == "waiting")
    values = {"attempts": row.attempts + 1, "tried_at": now, "next_try_at": next_try_at}
    return tx.execute(claimed.values(**values)).rowcount == 1


def end(tx: Connection, row: Any, *, state: str, error: str, now: datetime) -> None:
    """It was sent, or is given up; a try that merely failed stays waiting and says why. A try that took so long that the next one was
    claimed only says when it has sent it.
    """
    done = {"ended_at": now} if state != "waiting" else {}
    its = update(receipt_mails).where(receipt_mails.c.invoice_id == row.invoice_id, receipt_mails.c.state == "waiting")
    its = its if state == "sent" else its.where(receipt_mails.c.attempts == row.attempts + 1)
    tx.execute(its.values(state=state, error=error, **done))
