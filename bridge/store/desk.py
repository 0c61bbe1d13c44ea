"""The few series that are drawn on the operators' pages.

Owns these reads; every one is bounded, by a limit or a window. Must not change or decide anything.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, case, func, select, type_coerce

from bridge.core.money import BTC
from bridge.store.tables import (
    delivery_attempts,
    entries,
    events,
    invoices,
    journals,
    payments,
    quotes,
)

DAY_MICROSECONDS = 86_400_000_000
# The newest tries say how deliveries go; older ones would only make the page slow.
NEWEST_ATTEMPTS = 20_000


def settled_by_day(tx: Connection, *, since: datetime) -> dict[int, tuple[int, int, int]]:
    """By day since 1970: invoices told as settled, their satoshi, and the sum of microseconds from first money to it."""
    first = select(func.min(payments.c.first_seen_at)).where(payments.c.invoice_id == events.c.invoice_id)
    told = type_coerce(events.c.created_at, BigInteger)
    lag = told - func.coalesce(type_coerce(first.scalar_subquery(), BigInteger), told)
    day = (told // DAY_MICROSECONDS).label("day")
    query = (
        select(day, func.count(), func.sum(invoices.c.confirmed_sat), func.sum(lag))
        .join(invoices, invoices.c.id == events.c.invoice_id)
        .where(events.c.created_at >= since, events.c.type == "invoice.settled")
        .group_by(day)
    )
    return {int(day): (int(count), int(sat), int(lag)) for day, count, sat, lag in tx.execute(query)}


def attempts_by_day(tx: Connection, *, since: datetime) -> dict[int, tuple[int, int]]:
    """By day since 1970: tries of deliveries, and how many of them were accepted."""
    newest = select(func.coalesce(func.max(delivery_attempts.c.id), 0)).scalar_subquery()
    day = (type_coerce(delivery_attempts.c.at, BigInteger) // DAY_MICROSECONDS).label("day")
    good = func.sum(case((delivery_attempts.c.outcome == "delivered", 1), else_=0))
    query = select(day, func.count(), good).where(
        delivery_attempts.c.id > newest - NEWEST_ATTEMPTS, delivery_attempts.c.at >= since
    )
    return {int(day): (int(count), int(done)) for day, count, done in tx.execute(query.group_by(day))}


def newest_currency(tx: Connection) -> str | None:
    """The currency of the newest invoice, None before the first."""
    return tx.execute(select(invoices.c.currency).order_by(invoices.c.created_at.desc()).limit(1)).scalar()


def last_price(tx: Connection, currency: str, *, since: datetime, until: datetime) -> Row[Any, Any] | None:
    """price_minor and samples of the first quote of the last invoice that was opened between two moments."""
    opened = (invoices.c.created_at >= since, invoices.c.created_at < until, invoices.c.currency == currency)
    last = select(invoices.c.id).where(*opened).order_by(invoices.c.created_at.desc()).limit(1).scalar_subquery()
    first = select(quotes.c.price_minor, quotes.c.samples).where(quotes.c.invoice_id == last)
    return tx.execute(first.where(quotes.c.currency == currency).order_by(quotes.c.version).limit(1)).one_or_none()


def moved_by_day(tx: Connection, account: str, *, since: datetime) -> dict[int, int]:
    """By day since 1970: signed satoshi booked on an account."""
    day = (type_coerce(journals.c.at, BigInteger) // DAY_MICROSECONDS).label("day")
    query = select(day, func.sum(entries.c.units)).join(journals, journals.c.id == entries.c.journal_id)
    query = query.where(entries.c.account == account, entries.c.asset == BTC, journals.c.at >= since)
    return {int(day): int(sat) for day, sat in tx.execute(query.group_by(day))}
