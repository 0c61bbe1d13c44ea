"""What screenings said of payers: appended, never changed.

Owns its rows; what a verdict means for an invoice is `core.invoice`'s.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.screening import Screened
from bridge.store.tables import screenings


def add(
    tx: Connection, invoice_id: str, *, at: datetime, screened: Screened, subject: str, subject_sha256: str
) -> None:
    tx.execute(
        insert(screenings).values(
            invoice_id=invoice_id,
            at=at,
            verdict=screened.verdict,
            subject=subject,
            subject_sha256=subject_sha256,
            matched=screened.matched,
            detail=screened.detail,
        )
    )


def pending_since(tx: Connection, invoice_id: str, *, now: datetime) -> datetime | None:
    """Since when no screening of the invoice could say anything; None when the newest one did, or there is none by now."""
    said = select(func.max(screenings.c.id)).where(
        screenings.c.invoice_id == invoice_id, screenings.c.verdict != "pending"
    )
    query = select(func.min(screenings.c.at)).where(
        screenings.c.invoice_id == invoice_id,
        screenings.c.id > func.coalesce(said.scalar_subquery(), 0),
        screenings.c.at <= now + CLOCK_TOLERANCE,
    )
    since: datetime | None = tx.execute(query).scalar()
    return since


def of_invoice(tx: Connection, invoice_id: str) -> Sequence[Row[Any]]:
    return tx.execute(select(screenings).where(screenings.c.invoice_id == invoice_id).order_by(screenings.c.id)).all()
