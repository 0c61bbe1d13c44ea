"""Invoices by the page, each with everything the books need to know of it: a page costs a handful of queries.

Owns these bulk reads; must not decide or change anything.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.visitors import InternalTraversal

from bridge.core.credit import Payment
from bridge.core.invoice import Invoice
from bridge.core.quote import Quote
from bridge.core.rail import Target
from bridge.store import archive, ledger, rows
from bridge.store import invoices as invoice_rows
from bridge.store import targets as target_rows
from bridge.store.db import go_by_keys
from bridge.store.tables import (
    UNSETTLED,
    UNUSUAL,
    billing_statuses,
    entries,
    events,
    invoices,
    journals,
    payments,
    reviews,
)

Match = Mapping[str, str | tuple[str, ...]]
_OLDEST = (invoices.c.created_at, invoices.c.id)
# Sums of different currencies are no order: a currency's sums stand together.
_SMALLEST = (invoices.c.currency, invoices.c.amount_minor, *_OLDEST)
ORDERS: Mapping[str, tuple[Any, ...]] = {
    "newest": tuple(column.desc() for column in _OLDEST),
    "oldest": _OLDEST,
    "largest": tuple(column.desc() for column in _SMALLEST),
    "smallest": _SMALLEST,
}
BY_SUM = ("largest", "smallest")


@dataclass(frozen=True, kw_only=True)
class InvoiceFacts:
    """One invoice as it stands. `balances` are its receipt journals', `billing` the newest word of the billing system."""

    row: Row[Any]
    quote_rows: Sequence[Row[Any]]
    payments: Sequence[Payment]
    targets: Sequence[Target]
    review_rows: Sequence[Row[Any]]
    balances: dict[str, int] = field(default_factory=dict)
    unbalanced_journals: Sequence[int] = ()
    settled_events: int = 0
    shared_outputs: Sequence[str] = ()
    billing: Row[Any] | None = None

    def quotes(self) -> list[Quote]:
        """The quotes that can value something: those in the invoice's own currency."""
        return [invoice_rows.quote_of_row(q) for q in self.quote_rows if q.currency == self.row.currency]

    def decided_on(self, *, has_chain_evidence: bool, is_told: bool, beside: Iterable[int]) -> Invoice:
        return invoice_rows.facts_of(
            self.row, self.review_rows, has_chain_evidence=has_chain_evidence, is_told=is_told, beside=beside
        )


def page(tx: Connection, *, after: str, limit: int) -> list[InvoiceFacts]:
    """All invoices in the order of their ids, `limit` at a time; `tx` is a snapshot."""
    go_by_keys(tx)
    known = invoice_rows.page(tx, after=after, limit=limit)
    return _facts(tx, known, rows.Run(row.id for row in known))


@dataclass(frozen=True, kw_only=True)
class Narrowed:
    """Which invoices: of these columns, each a value or some, created in [from, to), or `moved` then: by a journal of these kinds."""

    match: Match = field(default_factory=dict)
    from_at: datetime | None = None
    to_at: datetime | None = None
    moved: tuple[str, ...] = ()

    def of(self, query: Select[Any], *, walked: Collection[str] = ()) -> Select[Any]:
        """The query narrowed; of the `walked` columns no index shall be read whole, the order has a better one."""
        at = journals.c.at if self.moved else invoices.c.created_at
        ends = [*([at >= self.from_at] if self.from_at else []), *([at < self.to_at] if self.to_at else [])]
        if self.moved:
            ends = [invoices.c.id.in_(select(journals.c.invoice_id).where(journals.c.kind.in_(self.moved), *ends))]
        return query.where(*ends, *(each for name, value in self.match.items() for each in _is(name, value, walked)))


class _Hidden(ColumnElement[str]):
    """A column that SQLite, which knows nothing of how many rows have a value, takes no index for. PostgreSQL has counted."""

    inherit_cache = True
    _traverse_internals = [("column", InternalTraversal.dp_clauseelement)]  # noqa: RUF012 - as its base declares it

    def __init__(self, column: ColumnElement[str]):
        self.column, self.type = column, column.type


@compiles(_Hidden)
def _plain(hidden: _Hidden, compiler: Any, **options: Any) -> str:
    return str(compiler.process(hidden.column, **options))


@compiles(_Hidden, "sqlite")
def _hidden(hidden: _Hidden, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(hidden.column, **options)}"


def _is(name: str, value: str | tuple[str, ...], walked: Collection[str]) -> list[Any]:
    """That a column is so, and the condition of the index that has the few such invoices.

    What most invoices are is hidden from the indexes that begin with it: they would be read whole, then sorted, where a walk
    along the order finds a page at once.
    """
    column = invoices.c[name]
    if isinstance(value, tuple):
        return [column.in_(value)]
    rare = {"exception": (UNUSUAL, "none"), "status": (UNSETTLED, "settled")}
    condition, usual = rare.get(name, ("", ""))
    if value == usual or name in walked:
        return [_Hidden(column) == value]
    return [column == value, *([text(condition)] if condition else [])]


def created_page(
    tx: Connection, narrowed: Narrowed, *, after: tuple[datetime, str] | None, limit: int
) -> list[InvoiceFacts]:
    """Such invoices in the order they were created, above the cursor `after` (created_at, id)."""
    return of_rows(tx, listing(tx, narrowed, cursor=after, limit=limit, order="oldest"))


def listing(
    tx: Connection,
    narrowed: Narrowed,
    *,
    cursor: rows.Cursor | None,
    limit: int,
    order: str = "newest",
) -> Sequence[Row[Any]]:
    """Such invoices in one of the ORDERS, behind the row whose columns of it the cursor has."""
    walked = ("merchant",) if order in BY_SUM else ()
    query = narrowed.of(select(invoices), walked=walked)
    return archive.filled(tx, invoices, rows.page(tx, query, order=ORDERS[order], cursor=cursor, limit=limit))


def totals(tx: Connection, narrowed: Narrowed, *, most: int) -> Sequence[Row[Any]]:
    """By currency: how many, and what was asked for (minor units), received and confirmed (satoshi); of the newest `most`."""
    summed = ("amount_minor", "received_sat", "confirmed_sat")
    wanted = narrowed.of(select(invoices.c.currency, *(invoices.c[name] for name in summed)))
    newest = wanted.order_by(invoices.c.created_at.desc(), invoices.c.id.desc()).limit(most).subquery()
    sums = (func.sum(newest.c[name]).label(name) for name in summed)
    query = select(newest.c.currency, func.count().label("invoices"), *sums)
    return tx.execute(query.group_by(newest.c.currency).order_by(newest.c.currency)).all()


def of_ids(tx: Connection, ids: Iterable[str]) -> dict[str, InvoiceFacts]:
    wanted = sorted(set(ids))
    known = tx.execute(select(invoices).where(invoices.c.id.in_(wanted))).all() if wanted else []
    return {facts.row.id: facts for facts in of_rows(tx, archive.filled(tx, invoices, known))}


def of_rows(tx: Connection, known: Sequence[Row[Any]]) -> list[InvoiceFacts]:
    """The facts of invoices that were read already, in their order."""
    return _facts(tx, known, [row.id for row in known])


def _facts(tx: Connection, known: Sequence[Row[Any]], ids: Sequence[str]) -> list[InvoiceFacts]:
    if not ids:
        return []
    quotes_by, payments_by = invoice_rows.quotes_of_each(tx, ids), invoice_rows.payments_of_each(tx, ids)
    offered = target_rows.of_invoices(tx, ids)
    ruled = select(reviews.c.invoice_id, reviews.c.kind, reviews.c.state, reviews.c.decision)
    reviews_by = _grouped(tx, ruled.where(rows.among(reviews.c.invoice_id, ids)))
    balances, unbalanced = _booked(tx, ids)
    settled, shared, billing = _settled_events(tx, ids), _shared_outputs(tx, ids), _billing(tx, ids)
    return [
        InvoiceFacts(
            row=row,
            quote_rows=quotes_by[row.id],
            payments=[invoice_rows.payment_of_row(p) for p in payments_by[row.id]],
            targets=offered[row.id],
            review_rows=reviews_by[row.id],
            balances=balances[row.id],
            unbalanced_journals=unbalanced[row.id],
            settled_events=settled.get(row.id, 0),
            shared_outputs=shared[row.id],
            billing=billing.get(row.id),
        )
        for row in known
    ]


def _grouped(tx: Connection, query: Any, column: str = "") -> dict[str, list[Any]]:
    """The rows of each invoice, or of each row this column alone."""
    found: dict[str, list[Any]] = defaultdict(list)
    for row in tx.execute(query).all():
        found[row.invoice_id].append(getattr(row, column) if column else row)
    return found


def _booked(tx: Connection, ids: Sequence[str]) -> tuple[Mapping[str, dict[str, int]], Mapping[str, list[int]]]:
    """What the receipt journals of each invoice left on which account, and those of its journals that do not balance.

    Each leg is read once and summed here, not twice by the database. An outer join: from journals to their legs, never the other way.
    """
    query = (
        select(
            journals.c.invoice_id, journals.c.id, journals.c.family, entries.c.account, entries.c.asset, entries.c.units
        )
        .outerjoin(entries, journals.c.id == entries.c.journal_id)
        .where(rows.among(journals.c.invoice_id, ids))
    )
    balances: dict[str, dict[str, int]] = defaultdict(dict)
    left: dict[tuple[str, int, str], int] = defaultdict(int)
    for invoice_id, journal_id, family, account, asset, units in tx.execute(query).all():
        if account is None:
            continue
        left[invoice_id, journal_id, asset] += units
        if family == ledger.RECEIPTS:
            on = balances[invoice_id]
            on[account] = on.get(account, 0) + units
    unbalanced: dict[str, list[int]] = defaultdict(list)
    for (invoice_id, journal_id, _), units in left.items():
        if units:
            unbalanced[invoice_id].append(journal_id)
    return balances, unbalanced


def _settled_events(tx: Connection, ids: Sequence[str]) -> dict[str, int]:
    query = select(events.c.invoice_id, func.count()).where(
        rows.among(events.c.invoice_id, ids), events.c.type == "invoice.settled"
    )
    return {invoice_id: int(count) for invoice_id, count in tx.execute(query.group_by(events.c.invoice_id))}


def _shared_outputs(tx: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    """Outputs of these invoices that another invoice counts too: money cannot pay two addresses at once."""
    other = payments.alias("other")
    query = (
        select(payments.c.invoice_id, payments.c.key)
        .join(other, (other.c.key == payments.c.key) & (other.c.invoice_id != payments.c.invoice_id))
        .where(rows.among(payments.c.invoice_id, ids), payments.c.key.contains(":"))
        .distinct()
    )
    return _grouped(tx, query, "key")


def _billing(tx: Connection, ids: Sequence[str]) -> dict[str, Row[Any]]:
    query = select(invoices.c.id.label("invoice_id"), billing_statuses).join(
        billing_statuses,
        (billing_statuses.c.merchant == invoices.c.merchant)
        & (billing_statuses.c.billing_payment_id == invoices.c.billing_payment_id),
    )
    return {row.invoice_id: row for row in tx.execute(query.where(rows.among(invoices.c.id, ids)))}
