"""Journals, entries and payouts of a period, in the order they were written, a page at a time.

Owns these reads; a period is [from, to) of the moment of the journal, which never changes: adjoining periods add up.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, func, select

from bridge.core.money import BTC
from bridge.store.ledger import PAYOUT, RECEIPTS
from bridge.store.rows import Rows, page
from bridge.store.tables import deliveries, entries, events, journals, payouts

journals_of_invoice = Rows(table=journals, told=journals.c.id).of_invoice
payouts_of_invoice = Rows(table=payouts, told=payouts.c.requested_at).of_invoice
SETTLING = ("settle", "absorb", "over", "refund_due")


def journal_page(
    tx: Connection,
    *,
    from_at: datetime,
    to_at: datetime,
    after: int,
    limit: int,
    family: str | None = None,
    kinds: Sequence[str] = (),
) -> Sequence[Row[Any]]:
    """Journals above the id `after`; `kinds` and their mirrors only, where given."""
    query = select(journals).where(journals.c.at >= from_at, journals.c.at < to_at)
    if family is not None:
        query = query.where(journals.c.family == family)
    if kinds:
        query = query.where(journals.c.kind.in_([*kinds, *(f"{kind}_reverse" for kind in kinds)]))
    return page(tx, query, order=(journals.c.id,), cursor=(after,), limit=limit)


def settlement_page(
    tx: Connection, *, from_at: datetime, to_at: datetime, after: int, limit: int
) -> Sequence[Row[Any]]:
    return journal_page(tx, from_at=from_at, to_at=to_at, after=after, limit=limit, family=RECEIPTS, kinds=SETTLING)


def payout_page(tx: Connection, *, from_at: datetime, to_at: datetime, after: int, limit: int) -> Sequence[Row[Any]]:
    return journal_page(tx, from_at=from_at, to_at=to_at, after=after, limit=limit, family=PAYOUT)


def entries_of(tx: Connection, journal_ids: Iterable[int]) -> dict[int, list[Row[Any]]]:
    """The legs of each journal."""
    wanted = list(journal_ids)
    found: dict[int, list[Row[Any]]] = {journal_id: [] for journal_id in wanted}
    if wanted:
        query = select(entries).where(entries.c.journal_id.in_(wanted)).order_by(entries.c.id)
        for row in tx.execute(query):
            found[row.journal_id].append(row)
    return found


def moved(
    tx: Connection, *, from_at: datetime, to_at: datetime, merchant: str | None = None
) -> dict[tuple[str, str, str], int]:
    """Signed units by (kind of journal, account, asset) of a period."""
    query = select(journals.c.kind, entries.c.account, entries.c.asset, func.sum(entries.c.units)).join(
        journals, journals.c.id == entries.c.journal_id
    )
    query = query.where(journals.c.at >= from_at, journals.c.at < to_at)
    if merchant is not None:
        query = query.where(journals.c.merchant == merchant)
    grouped = query.group_by(journals.c.kind, entries.c.account, entries.c.asset)
    return {(kind, account, asset): int(units) for kind, account, asset, units in tx.execute(grouped)}


def balances_at(tx: Connection, at: datetime, *, merchant: str | None = None) -> dict[tuple[str, str], int]:
    """Signed balance by (account, asset) of everything booked before `at`."""
    query = select(entries.c.account, entries.c.asset, func.sum(entries.c.units)).join(
        journals, journals.c.id == entries.c.journal_id
    )
    query = query.where(journals.c.at < at, *([journals.c.merchant == merchant] if merchant is not None else []))
    grouped = query.group_by(entries.c.account, entries.c.asset)
    return {(account, asset): int(units) for account, asset, units in tx.execute(grouped)}


def wallet_moves(tx: Connection, *, from_at: datetime, to_at: datetime) -> Mapping[str, tuple[int, int, int]]:
    """By wallet account: satoshi in, satoshi out, and how many of those out were fees, in a period."""
    leg = entries.alias("leg")
    fee_sat = func.coalesce(
        select(func.sum(leg.c.units))
        .where(leg.c.journal_id == entries.c.journal_id, leg.c.account.in_(("provider_fee", "network_fee")))
        .scalar_subquery(),
        0,
    )
    units = entries.c.units
    query = (
        select(
            entries.c.account,
            func.sum(case((units > 0, units), else_=0)),
            func.sum(case((units < 0, -units), else_=0)),
            func.sum(fee_sat),
        )
        .join(journals, journals.c.id == entries.c.journal_id)
        .where(journals.c.at >= from_at, journals.c.at < to_at, entries.c.asset == BTC)
        .where(entries.c.account.like("wallet:%"))
        .group_by(entries.c.account)
    )
    return {account: (int(into), int(out), int(fees)) for account, into, out, fees in tx.execute(query)}


def payouts_by_id(tx: Connection, ids: Iterable[str]) -> dict[str, Row[Any]]:
    wanted = list(ids)
    rows = tx.execute(select(payouts).where(payouts.c.id.in_(wanted))).all() if wanted else []
    return {row.id: row for row in rows}


def told_paid(tx: Connection, invoice_ids: Iterable[str]) -> dict[str, datetime]:
    """When the billing system accepted each invoice's settlement: it answers so only after reading the payment back."""
    query = (
        select(deliveries.c.invoice_id, func.max(deliveries.c.finished_at))
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.invoice_id.in_(list(invoice_ids)), deliveries.c.state == "delivered")
        .where(events.c.type == "invoice.settled")
        .group_by(deliveries.c.invoice_id)
    )
    return {invoice_id: at for invoice_id, at in tx.execute(query)}
