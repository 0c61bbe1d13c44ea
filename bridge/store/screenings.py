"""What screenings said of payers: appended, never changed.

Owns its rows; what a verdict means for an invoice is `core.invoice`'s.
"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.screening import Screened
from bridge.store.rows import Rows
from bridge.store.tables import screenings

_SCREENINGS = Rows(table=screenings, told=screenings.c.id)
of_invoice = _SCREENINGS.of_invoice


def add(
    tx: Connection, invoice_id: str, *, at: datetime, screened: Screened, subject: str, subject_sha256: str
) -> None:
    said = {"verdict": screened.verdict, "matched": screened.matched, "detail": screened.detail}
    asked = {"invoice_id": invoice_id, "at": at, "subject": subject, "subject_sha256": subject_sha256}
    _SCREENINGS.add(tx, asked | said)


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
