"""The books of a period: the rows of every kind of export, as CSV and JSON lines, and the journals as a beancount file.

Owns the fields and the formats; every row belongs to the one moment it was written, so adjoining periods add up to the whole.
Must not hold more than a page in memory, nor call anything revenue: what is settled is a client's prepayment. What makes a cell
harmless is `core.columns`'.
"""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from bridge.context import Bridge
from bridge.core.columns import Cell, ColumnMap
from bridge.core.errors import Refused
from bridge.core.evidence import FINAL
from bridge.core.ledger import ASSETS, EQUITY, EXPENSES, INCOME, LIABILITIES, Books
from bridge.core.money import BTC, minor_text, worth_minor
from bridge.core.reconciliation import BILLING_PAID
from bridge.invoices.present import COLUMNS, time_text
from bridge.invoices.record import sources_of
from bridge.payouts.treasury import treasury_rows
from bridge.store import claims, invoice_pages, ledger
from bridge.store.db import Tx
from bridge.store.invoice_pages import InvoiceFacts, Narrowed

Row = dict[str, Cell]
NO_TXID = "txid unknown (provider)"


def about(facts: InvoiceFacts, *, at: datetime | None = None) -> Row:
    """What every row about an invoice says of it; the quote is the newest one, or the newest at a moment."""
    row = facts.row
    quotes = [q for q in facts.quote_rows if at is None or q.created_at <= at] or facts.quote_rows[:1]
    quote = quotes[-1]
    return {
        **{name: getattr(row, name) for name in COLUMNS},
        "invoice_id": row.id,
        "expected": money(row.amount_minor, row.currency),
        "settled_at": row.settled_at,
        "quote_version": quote.version,
        "quote_kind": quote.kind,
        "rate": money(quote.price_minor, quote.currency),
        "price_sources": " ".join(sources_of(quote)),
        "txids": txids_of(facts.payments),
        **_came_over(facts),
    }


def _came_over(facts: InvoiceFacts) -> Row:
    """Over which rails money came, and what they know it by where that is no transaction."""
    paid = {p.target_id for p in facts.payments if not p.replaced}
    # What names no target came to the first.
    first = facts.targets[:1] if None in paid else []
    targets = [*first, *(each for each in facts.targets if each.id in paid and each not in first)]
    return {
        "rails": " ".join(sorted({each.rail for each in targets})),
        "keys": " ".join(each.key for each in targets if each.key is not None),
    }


def txids_of(payments: Iterable[Any]) -> str:
    """The transactions that count, or why there are none to name."""
    keys = [p.key for p in payments if not p.replaced and (p.confirmations or 0) < FINAL]
    txids = sorted({key.partition(":")[0] for key in keys if ":" in key})
    return " ".join(txids) if txids or not keys else NO_TXID


def money(minor: int, currency: str) -> Decimal:
    """Minor units as an exact decimal with the currency's digits."""
    return Decimal(minor_text(minor, currency))


def fiat_of(sat: int, memo: Mapping[str, Any]) -> Decimal | None:
    """What satoshi were worth at the price of their journal, toward zero; None when the journal names no price."""
    if not memo.get("price_minor") or not memo.get("currency"):
        return None
    return money(worth_minor(sat, int(memo["price_minor"])), memo["currency"])


PAGE, JOURNALS_PAGE = 500, 2_000
Made = TypeVar("Made")
Maker = Callable[[Any, list[Any], "Known"], list[Made]]


class Known:
    """What a page of journals refers to and its kind of row asks for, each read at once."""

    def __init__(self, tx: Tx, journals: Sequence[Any], *, wants: Collection[str]):
        invoices = {j.invoice_id for j in journals if j.invoice_id} if "invoices" in wants else set()
        payouts = {j.payout_id for j in journals if j.payout_id} if "payouts" in wants else set()
        self.invoices = invoice_pages.of_ids(tx, invoices)
        self.payouts = ledger.payouts_by_id(tx, payouts)
        self.agreed = ledger.told_paid(tx, self.invoices) if invoices else {}


def journal_pages(
    bridge: Bridge,
    from_at: datetime,
    to_at: datetime,
    page_of: Callable[..., Sequence[Any]],
    make: Maker[Made],
    *wants: str,
) -> Iterator[list[Made]]:
    """What `make` makes of each journal of the period; `wants` names what of Known it looks at."""
    after, limit = None, PAGE if wants else JOURNALS_PAGE
    while True:
        with bridge.store.read() as tx:
            journals = page_of(tx, from_at=from_at, to_at=to_at, after=after, limit=limit)
            legs, known = ledger.entries_of(tx, [j.id for j in journals]), Known(tx, journals, wants=wants)
        yield [row for journal in journals for row in make(journal, legs[journal.id], known)]
        if len(journals) < limit:
            return
        after = journals[-1].at, journals[-1].id


def settlement_rows(journal: Any, legs: list[Any], known: Known) -> list[Row]:
    facts, memo, sat = known.invoices[journal.invoice_id], journal.memo, _by_account(legs)
    settled_sat, buffer_sat = -sat.get("customer:prepayment", 0), -sat.get("quote_buffer", 0)
    absorbed_sat, excess_sat = sat.get("tolerance", 0), -sat.get("customer:overpayment", 0)
    refund_due_sat = -sat.get("refunds_payable", 0)
    moved_sat = settled_sat + buffer_sat - absorbed_sat + excess_sat + refund_due_sat
    return [
        about(facts, at=journal.at)
        | {
            "journal_id": journal.id,
            "at": journal.at,
            "kind": journal.kind,
            "settled_sat": settled_sat,
            "buffer_sat": buffer_sat,
            "absorbed_sat": absorbed_sat,
            "excess_sat": excess_sat,
            "refund_due_sat": refund_due_sat,
            "fiat_at_receipt": fiat_of(moved_sat, memo),
            **_billing_word(facts.billing, agreed_at=known.agreed.get(journal.invoice_id)),
        }
    ]


def _billing_word(told: Any, *, agreed_at: datetime | None) -> Row:
    """The newest status that the billing system is known to have had, and as of when: it read itself as paid when it agreed, so
    a report from before then says nothing any more.
    """
    status, at = (told.status, told.reported_at) if told is not None else (None, None)
    if agreed_at is not None and (at is None or at < agreed_at):
        status, at = BILLING_PAID, agreed_at
    return {"billing_agreed_at": agreed_at, "billing_status": status, "billing_status_at": at}


def payout_rows(journal: Any, legs: list[Any], known: Known) -> list[Row]:
    """Only what left a wallet, or came back to it: approvals move money between liabilities and are no payout."""
    sat, payout = _by_account(legs), known.payouts.get(journal.payout_id)
    gross_sat = -sum(units for account, units in sat.items() if account.startswith("wallet:"))
    if payout is None or not gross_sat or journal.kind.startswith("sweep_done"):
        return []
    provider_fee_sat, network_fee_sat = sat.get("provider_fee", 0), sat.get("network_fee", 0)
    net_sat = gross_sat - provider_fee_sat - network_fee_sat
    price = {"price_minor": payout.price_minor, "currency": payout.currency}
    made = {
        "journal_id": journal.id,
        "at": journal.at,
        "kind": journal.kind,
        "payout_id": payout.id,
        "gross_sat": gross_sat,
        "net_sat": net_sat,
        "provider_fee_sat": provider_fee_sat,
        "network_fee_sat": network_fee_sat,
        "rate": money(payout.price_minor, payout.currency) if payout.price_minor else None,
        "fiat_at_receipt": fiat_of(net_sat, price),
    }
    return [_filled("payouts", made, payout)]


def journal_rows(journal: Any, legs: list[Any], _known: Known) -> list[Row]:
    memo = journal.memo
    currency = memo.get("currency", "")
    price_minor = memo.get("price_minor")
    rate = money(price_minor, currency) if currency and price_minor else None
    made = {"journal_id": journal.id, "currency": currency, "rate": rate}
    of_all = {name: made[name] if name in made else getattr(journal, name) for name in _OF_JOURNAL}
    return [of_all | _leg(leg, memo) for leg in legs]


def _leg(leg: Any, memo: Mapping[str, Any]) -> Row:
    asset, units = leg.asset, leg.units
    return {
        "entry_id": leg.id,
        "account": leg.account,
        "asset": asset,
        "units": units,
        "debit": max(units, 0),
        "credit": max(-units, 0),
        "service_ref": leg.service_ref,
        "fiat_at_receipt": fiat_of(units, memo) if asset == BTC else money(units, asset),
    }


def _filled(kind: str, made: Row, row: Any) -> Row:
    """A row of an export: its fields as they are made, the others are the row's columns of their name."""
    return {name: made[name] if name in made else getattr(row, name) for name in FIELDS[kind]}


def _by_account(legs: list[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for leg in legs:
        found[leg.account] = found.get(leg.account, 0) + (leg.units if leg.asset == BTC else 0)
    return found


_FIELDS: dict[str, tuple[str, ...]] = {
    "invoices": (
        "invoice_id", "billing_payment_id", "merchant", "created_at", "customer_id", "service_ref", "description",
        "status", "exception", "hold", "reason", "expected", "currency", "expected_sat", "received_sat",
        "confirmed_sat", "settled_sat", "excess_sat", "settled_at", "first_seen_at", "quote_version", "rate",
        "price_sources", "txids", "address", "network", "policy_version", "trace_id", "rails", "keys",
    ),
    "settlements": (
        "journal_id", "at", "kind", "invoice_id", "billing_payment_id", "merchant", "customer_id", "service_ref",
        "description", "expected", "currency", "settled_sat", "buffer_sat", "absorbed_sat", "excess_sat",
        "refund_due_sat", "fiat_at_receipt", "rate", "quote_version", "quote_kind", "price_sources", "txids",
        "settled_at", "billing_agreed_at", "billing_status", "trace_id", "rails", "keys", "billing_status_at",
    ),
    "payouts": (
        "journal_id", "at", "kind", "payout_id", "invoice_id", "billing_payment_id", "merchant", "customer_id",
        "service_ref", "variant", "role", "destination", "txid", "gross_sat", "net_sat", "provider_fee_sat",
        "network_fee_sat", "currency", "rate", "fiat_at_receipt", "requested_at", "sent_at", "reason",
    ),
    "journal": (
        "journal_id", "entry_id", "at", "kind", "family", "reverses_id", "account", "asset", "units", "debit", "credit",
        "invoice_id", "payout_id", "merchant", "service_ref", "currency", "rate", "fiat_at_receipt",
    ),
    "claims": (
        "claim_id", "opened_at", "invoice_id", "billing_payment_id", "merchant", "customer_id", "service_ref", "expected",
        "currency", "claimed_sat", "txid", "said", "stage", "stage_since", "due_at", "owner", "outcome", "answer",
        "closed_at", "closed_by",
    ),
    "treasury": (
        "role", "from", "to", "opening_sat", "in_sat", "out_sat", "fees_sat", "closing_sat", "read_sat", "read_at",
    ),
}  # fmt: skip
_OF_LEG = ("entry_id", "account", "asset", "units", "debit", "credit", "service_ref", "fiat_at_receipt")
_OF_JOURNAL = tuple(name for name in _FIELDS["journal"] if name not in _OF_LEG)
# Columns of the invoice's view that came later stand at the end: a reader who counts columns goes on undisturbed.
FIELDS = _FIELDS | {
    kind: _FIELDS[kind] + tuple(name for name in COLUMNS if name not in _FIELDS[kind])
    for kind in ("invoices", "settlements")
}
KINDS = tuple(FIELDS)


_ALL = Narrowed()


def rows_of(
    bridge: Bridge, *, kind: str, from_at: datetime, to_at: datetime, narrowed: Narrowed = _ALL
) -> Iterator[list[Row]]:
    """The rows of one kind as pages of values; invoices are `narrowed` besides."""
    if kind == "treasury":
        return iter([treasury_rows(bridge, from_at=from_at, to_at=to_at)])
    if kind == "claims":
        return _claims(bridge, from_at, to_at)
    if kind == "invoices":
        return _invoices(bridge, replace(narrowed, from_at=from_at, to_at=to_at))
    return journal_pages(bridge, from_at, to_at, *_JOURNALS[kind])


def _invoices(bridge: Bridge, narrowed: Narrowed) -> Iterator[list[Row]]:
    after: tuple[datetime, str] | None = None
    while True:
        with bridge.store.read() as tx:
            page = invoice_pages.created_page(tx, narrowed, after=after, limit=PAGE)
        yield [_invoice_row(facts) for facts in page]
        if len(page) < PAGE:
            return
        after = page[-1].row.created_at, page[-1].row.id


def _claims(bridge: Bridge, from_at: datetime, to_at: datetime) -> Iterator[list[Row]]:
    """Claims that were entered in the period, as they stand now."""
    after: tuple[datetime, str] | None = None
    while True:
        with bridge.store.read() as tx:
            page = claims.opened_page(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
            invoices = invoice_pages.of_ids(tx, {row.invoice_id for row in page})
        yield [_claim_row(row, invoices[row.invoice_id].row) for row in page]
        if len(page) < PAGE:
            return
        after = page[-1].opened_at, page[-1].id


def _claim_row(row: Any, invoice: Any) -> Row:
    of_invoice = ("billing_payment_id", "service_ref", "currency")
    made = {name: getattr(invoice, name) for name in of_invoice}
    made |= {"claim_id": row.id, "expected": money(invoice.amount_minor, invoice.currency)}
    return _filled("claims", made, row)


def _invoice_row(facts: InvoiceFacts) -> Row:
    row, books = facts.row, Books.of_balances(facts.balances)
    present = [p for p in facts.payments if not p.replaced]
    made = about(facts) | {
        "expected_sat": facts.quote_rows[0].due_sat,
        "settled_sat": books.used_sat - books.buffer_sat + books.absorbed_sat,
        "excess_sat": books.over_sat,
        "first_seen_at": min((p.first_seen_at for p in present), default=None),
    }
    return _filled("invoices", made, row)


_JOURNALS: dict[str, tuple[Any, ...]] = {
    "settlements": (ledger.settlement_page, settlement_rows, "invoices"),
    "payouts": (ledger.payout_page, payout_rows, "payouts"),
    "journal": (ledger.journal_page, journal_rows),
}


FORMATS = ("csv", "jsonl")


def export(
    bridge: Bridge,
    *,
    kind: str,
    format: str,
    from_at: datetime,
    to_at: datetime,
    columns: ColumnMap | None = None,
    narrowed: Narrowed = _ALL,
) -> Iterator[str]:
    """The text of the export, a page at a time; times of CSV are in the time zone of the books. Invoices are `narrowed` besides.

    Raises Refused before the first line: unknown_kind, unknown_format, empty_period, unknown_field.
    """
    if kind not in FIELDS:
        raise Refused("unknown_kind", f"The kind must be one of {', '.join(KINDS)}.", field="kind")
    if format not in FORMATS:
        raise Refused("unknown_format", f"The format must be one of {', '.join(FORMATS)}.", field="format")
    if from_at >= to_at:
        raise Refused("empty_period", "The period ends before it begins.", field="to")
    chosen = columns or ColumnMap.plain(FIELDS[kind])
    chosen.check(FIELDS[kind])
    chosen = replace(chosen, time_zone=chosen.time_zone or bridge.calendar.time_zone)
    pages = rows_of(bridge, kind=kind, from_at=from_at, to_at=to_at, narrowed=narrowed)
    return _csv(pages, chosen) if format == "csv" else _json_lines(pages, chosen)


def _csv(pages: Iterator[list[Row]], columns: ColumnMap) -> Iterator[str]:
    yield _csv_lines([columns.header()], columns.delimiter)
    for page in pages:
        yield _csv_lines(columns.lines(page), columns.delimiter)


def _csv_lines(lines: Sequence[Sequence[str]], delimiter: str) -> str:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\r\n").writerows(lines)
    return written.getvalue()


def _json_lines(pages: Iterator[list[Row]], columns: ColumnMap) -> Iterator[str]:
    """Satoshi and ids as numbers, money of a currency as decimal text, times as RFC 3339."""
    for page in pages:
        lines = []
        for row in page:
            named = {c.name: c.value if c.field is None else _json_value(row[c.field]) for c in columns.columns}
            lines.append(json.dumps(named, ensure_ascii=False) + "\n")
        yield "".join(lines)


def _json_value(value: Cell) -> str | int | None:
    if isinstance(value, datetime):
        return time_text(value)
    return format(value, "f") if isinstance(value, Decimal) else value


OPENED = "2009-01-03"
_ROOTS = {
    **dict.fromkeys(ASSETS, "Assets"),
    **dict.fromkeys(LIABILITIES, "Liabilities"),
    **dict.fromkeys(EXPENSES, "Expenses"),
    **dict.fromkeys(INCOME, "Income"),
    **dict.fromkeys(EQUITY, "Equity"),
    "reserved": "Equity:Memo",
    "reserved_contra": "Equity:Memo",
}


def account_name(account: str) -> str:
    """Our account in beancount's spelling: "customer:prepayment" is Liabilities:Customer:Prepayment."""
    words = (part.replace("_", "-").capitalize() for part in account.split(":"))
    return ":".join((_ROOTS[account], *words))


def beancount(bridge: Bridge, *, from_at: datetime, to_at: datetime, is_bare: bool = False) -> Iterator[str]:
    """The text of the file, a page at a time; `is_bare` leaves out the accounts, for a file that another one includes.

    Raises Refused("empty_period").
    """
    if from_at >= to_at:
        raise Refused("empty_period", "The period ends before it begins.", field="to")
    return _lines(bridge, from_at, to_at, is_bare)


def _lines(bridge: Bridge, from_at: datetime, to_at: datetime, is_bare: bool) -> Iterator[str]:
    if not is_bare:
        yield f'option "title" "{_text(bridge.public_url)}"\n\n'
        yield "".join(f"{OPENED} open {account_name(account)}\n" for account in _ROOTS) + "\n"

    def transaction(journal: Any, legs: list[Any], _known: Known) -> list[str]:
        return [_transaction(journal, legs, bridge.calendar.day_of(journal.at))]

    yield from map("".join, journal_pages(bridge, from_at, to_at, ledger.journal_page, transaction))


def _transaction(journal: Any, legs: Sequence[Any], day: date) -> str:
    """Its id, invoice, merchant and time as metadata; each satoshi leg with its worth at the price of the journal."""
    memo = journal.memo
    head = [f'{day:%Y-%m-%d} * "{_text(journal.merchant)}" "{_text(journal.kind)}"']
    head += [f'  journal: "{journal.id}"', f'  at: "{journal.at:%Y-%m-%dT%H:%M:%SZ}"']
    head += [f'  invoice: "{_text(journal.invoice_id)}"'] if journal.invoice_id else []
    head += [f'  payout: "{_text(journal.payout_id)}"'] if journal.payout_id else []
    if memo.get("price_minor") and memo.get("currency"):
        head.append(f"  rate: {minor_text(memo['price_minor'], memo['currency'])} {memo['currency']}")
    lines = []
    for leg in legs:
        units = f"{leg.units} SAT" if leg.asset == BTC else f"{minor_text(leg.units, leg.asset)} {leg.asset}"
        lines.append(f"  {account_name(leg.account)}  {units}")
        worth = fiat_of(leg.units, memo) if leg.asset == BTC else None
        lines += [f"    fiat: {worth:f} {memo['currency']}"] if worth is not None else []
    return "\n".join([*head, *lines]) + "\n\n"


def _text(text: str) -> str:
    """A stranger's text inside quotes, on one line."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())
