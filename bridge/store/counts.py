"""What is counted: by day for the operators' pages, over a period for reports, in the queues for the metrics.

Owns these reads; every one is bounded, by a limit or a window. Must not change or decide anything.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, case, func, literal, or_, select, type_coerce

from bridge.core.clock import latest_end
from bridge.core.kinds import HOLDING
from bridge.core.money import BTC
from bridge.store import archive, ledger, sums
from bridge.store.ahead import is_free
from bridge.store.invoices import IS_CLASSED
from bridge.store.rows import Rows
from bridge.store.tables import (
    UtcTime,
    deliveries,
    delivery_attempts,
    entries,
    events,
    inbox,
    invoices,
    journals,
    payments,
    quotes,
    reviews,
    unnumbered_events,
)
from bridge.store.together import ask

# The newest tries say how deliveries go; older ones would only make the page slow.
NEWEST_ATTEMPTS = 20_000


def _place(at: Any, starts: Sequence[datetime]) -> Any:
    """The place of the last of these rising moments that is not after `at`: days of a zone differ in length."""
    later = [(at < start, place) for place, start in enumerate(starts[1:])]
    return (case(*later, else_=len(starts) - 1) if later else literal(0)).label("place")


def settled_by_day(tx: Connection, starts: Sequence[datetime]) -> dict[int, tuple[int, int, int]]:
    """By place among the days that begin then: invoices told as settled, their satoshi, and the sum of microseconds from
    first money to it.
    """
    first = select(func.min(payments.c.first_seen_at)).where(payments.c.invoice_id == events.c.invoice_id)
    told = type_coerce(events.c.created_at, BigInteger)
    lag = told - func.coalesce(type_coerce(first.scalar_subquery(), BigInteger), told)
    place = _place(events.c.created_at, starts)
    query = (
        select(place, func.count(), func.sum(invoices.c.confirmed_sat), func.sum(lag))
        .join(invoices, invoices.c.id == events.c.invoice_id)
        .where(events.c.created_at >= starts[0], events.c.type == "invoice.settled")
        .group_by(place)
    )
    return {int(place): (int(count), int(sat), int(lag)) for place, count, sat, lag in tx.execute(query)}


def attempts_by_day(tx: Connection, starts: Sequence[datetime]) -> dict[int, tuple[int, int]]:
    """By place among the days that begin then: tries of deliveries, and how many of them were accepted."""
    newest = select(func.coalesce(func.max(delivery_attempts.c.id), 0)).scalar_subquery()
    place = _place(delivery_attempts.c.at, starts)
    good = func.sum(case((delivery_attempts.c.outcome == "delivered", 1), else_=0))
    query = select(place, func.count(), good).where(
        delivery_attempts.c.id > newest - NEWEST_ATTEMPTS, delivery_attempts.c.at >= starts[0]
    )
    return {int(place): (int(count), int(done)) for place, count, done in tx.execute(query.group_by(place))}


def newest_currency(tx: Connection) -> str | None:
    """The currency of the newest invoice, None before the first."""
    return tx.execute(select(invoices.c.currency).order_by(invoices.c.created_at.desc()).limit(1)).scalar()


def invoices_moved(tx: Connection, *, from_at: datetime, to_at: datetime) -> dict[str, int]:
    """How many invoices have a journal of a kind in [from, to), by kind."""
    period = (journals.c.at >= from_at, journals.c.at < to_at, journals.c.invoice_id.is_not(None))
    query = select(journals.c.kind, func.count(journals.c.invoice_id.distinct())).where(*period)
    return {kind: int(count) for kind, count in tx.execute(query.group_by(journals.c.kind))}


def last_price(tx: Connection, currency: str, *, since: datetime, until: datetime) -> Row[Any, Any] | None:
    """The first quote of the last invoice that was opened between two moments."""
    opened = (invoices.c.created_at >= since, invoices.c.created_at < until, invoices.c.currency == currency)
    last = select(invoices.c.id).where(*opened).order_by(invoices.c.created_at.desc()).limit(1).scalar_subquery()
    first = select(quotes).where(quotes.c.invoice_id == last, quotes.c.currency == currency)
    rows = archive.filled(tx, quotes, tx.execute(first.order_by(quotes.c.version).limit(1)).all())
    return rows[0] if rows else None


def moved_by_day(tx: Connection, account: str, starts: Sequence[datetime], *, end: datetime) -> dict[int, int]:
    """By place among the days that begin then, the last until `end`: signed satoshi booked on an account."""
    days = enumerate(pairwise([*starts, end]))
    wanted = {"account": account, "asset": BTC}
    of = {place: sums.moved(tx, "account", from_at=since, to_at=until, **wanted) for place, (since, until) in days}
    return {place: found[account] for place, found in of.items() if found}


def of_period(tx: Connection, *, from_at: datetime, to_at: datetime, merchant: str | None) -> dict[str, int]:
    """Invoices opened, and how many changes of each kind merchants heard of, in [from, to)."""

    def of(at: Any, **match: str) -> int:
        return Rows(table=at.table).count(tx, at >= from_at, at < to_at, **match, **_of(merchant))

    told = {name: f"invoice.{name}" for name in ("settled", "expired", "cancelled", "invalid")}
    return {
        "opened": of(invoices.c.created_at),
        **{name: of(events.c.created_at, type=kind) for name, kind in told.items()},
        "reviews_opened": of(reviews.c.opened_at),
        "reviews_open": Rows(table=reviews).count(tx, _open_at(to_at), **_of(merchant)),
    }


def under_review_sat(tx: Connection, *, at: datetime, merchant: str | None) -> int:
    """Satoshi that were nobody's yet before `at` on invoices that a person had to rule on then."""
    held = select(reviews.c.invoice_id).where(_open_at(at), reviews.c.kind.in_(HOLDING))
    where = [entries.c.account == "customer:unallocated", entries.c.asset == BTC, journals.c.at < at]
    where += [journals.c.invoice_id.in_(held), *(journals.c[name] == value for name, value in _of(merchant).items())]
    return -sum(ledger.units_by(tx, entries.c.account, where=where).values())


def _of(merchant: str | None) -> dict[str, str]:
    return {"merchant": merchant} if merchant is not None else {}


def _open_at(at: datetime) -> Any:
    return (reviews.c.opened_at < at) & or_(reviews.c.resolved_at.is_(None), reviews.c.resolved_at >= at)


def due(tx: Connection, *, now: datetime, lease_seconds: int) -> frozenset[str]:
    """Which there are: "doorbells" that nobody answered, "looks" and "deliveries" that are due; none that somebody has in hand."""
    found = ask(tx, _DUE, {"now": now, "latest": latest_end(now, lasts_seconds=lease_seconds)}).one()
    return frozenset(name for name, is_there in found._mapping.items() if is_there)


def waiting(tx: Connection, *, now: datetime) -> dict[str, Row[Any]]:
    """Every queue by its name: `depth` rows could be worked on now, the oldest became due at `since`, None without one."""
    return {name: tx.execute(query, {"now": now}).one() for name, query in _QUERIES.items()}


def _count(at: Any, *where: Any) -> Any:
    return select(func.count().label("depth"), func.min(at, type_=UtcTime).label("since")).where(*where)


_NOW = bindparam("now", type_=UtcTime)
# What the worker's loop asks for, by name: since when a row waits, and which rows do.
_WAITING: dict[str, tuple[Any, ...]] = {
    "doorbells": (inbox.c.received_at, inbox.c.state == "new"),
    "looks": (invoices.c.next_look_at, IS_CLASSED, invoices.c.next_look_at <= _NOW),
    "deliveries": (deliveries.c.next_try_at, deliveries.c.state == "pending", deliveries.c.next_try_at <= _NOW),
}
# What is under way says so by its lease: else the loop would try to claim it all the time, and wait for writers for that.
_FREE: dict[str, tuple[Any, ...]] = {
    "doorbells": (inbox.c.invoice_id == invoices.c.id, is_free(invoices.c.lease_until)),
    "looks": (is_free(invoices.c.lease_until),),
    "deliveries": (is_free(deliveries.c.lease_until),),
}
_DUE = select(*(select(at).where(*where, *_FREE[name]).exists().label(name) for name, (at, *where) in _WAITING.items()))
_QUERIES = {
    **{name: _count(at, *where) for name, (at, *where) in _WAITING.items()},
    "numbering": _count(events.c.created_at).select_from(
        unnumbered_events.join(events, events.c.id == unnumbered_events.c.event_id)
    ),
}
