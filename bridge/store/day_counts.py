"""Counts of a period, and the money that waited for a person at a moment.

Owns these reads; reviews keep when they were opened and resolved, so a past day can be counted again.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select

from bridge.core.kinds import HOLDING
from bridge.core.money import BTC
from bridge.store.tables import entries, events, invoices, journals, reviews


def counts(tx: Connection, *, from_at: datetime, to_at: datetime, merchant: str | None) -> dict[str, int]:
    """Invoices opened, and how many changes of each kind merchants heard of, in [from, to)."""

    def of(table: Any, at: Any, *where: Any) -> int:
        query = select(func.count()).select_from(table).where(at >= from_at, at < to_at, *where)
        query = query.where(*([table.c.merchant == merchant] if merchant is not None else []))
        return int(tx.execute(query).scalar_one())

    told = {name: f"invoice.{name}" for name in ("settled", "expired", "cancelled", "invalid")}
    return {
        "opened": of(invoices, invoices.c.created_at),
        **{name: of(events, events.c.created_at, events.c.type == kind) for name, kind in told.items()},
        "reviews_opened": of(reviews, reviews.c.opened_at),
        "reviews_open": _open_reviews(tx, at=to_at, merchant=merchant),
    }


def under_review_sat(tx: Connection, *, at: datetime, merchant: str | None) -> int:
    """Satoshi that were nobody's yet before `at` on invoices that a person had to rule on then."""
    held = select(reviews.c.invoice_id).where(_open_at(at), reviews.c.kind.in_(HOLDING))
    query = (
        select(func.coalesce(func.sum(entries.c.units), 0))
        .join(journals, journals.c.id == entries.c.journal_id)
        .where(entries.c.account == "customer:unallocated", entries.c.asset == BTC, journals.c.at < at)
        .where(journals.c.invoice_id.in_(held))
        .where(*([journals.c.merchant == merchant] if merchant is not None else []))
    )
    return -int(tx.execute(query).scalar_one())


def _open_reviews(tx: Connection, *, at: datetime, merchant: str | None) -> int:
    query = select(func.count()).select_from(reviews).where(_open_at(at))
    query = query.where(*([reviews.c.merchant == merchant] if merchant is not None else []))
    return int(tx.execute(query).scalar_one())


def _open_at(at: datetime) -> Any:
    return (reviews.c.opened_at < at) & or_(reviews.c.resolved_at.is_(None), reviews.c.resolved_at >= at)
