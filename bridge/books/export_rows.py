"""The rows of every kind of export: which fields there are, and which pages they come in.

Owns the fields; every row belongs to the one moment it was written, so adjoining periods add up to the whole. Must not
hold more than a page in memory, nor call anything revenue: what is settled is a client's prepayment.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from bridge.books.cells import WAY_COLUMNS, Row, about
from bridge.books.journals import PAGE, Maker, journal_pages, journal_rows, payout_rows, settlement_rows
from bridge.context import Bridge
from bridge.core.ledger import Books
from bridge.invoices.present import COLUMNS
from bridge.payouts.treasury import treasury_rows
from bridge.store import exports, invoice_pages
from bridge.store.invoice_pages import InvoiceFacts

_FIELDS: dict[str, tuple[str, ...]] = {
    "invoices": (
        "invoice_id", "billing_payment_id", "merchant", "created_at", "customer_id", "service_ref", "description",
        "status", "exception", "hold", "reason", "expected", "currency", "expected_sat", "received_sat",
        "confirmed_sat", "settled_sat", "excess_sat", "settled_at", "first_seen_at", "quote_version", "rate",
        "price_sources", "txids", "address", "network", "policy_version", "trace_id",
    ),
    "settlements": (
        "journal_id", "at", "kind", "invoice_id", "billing_payment_id", "merchant", "customer_id", "service_ref",
        "description", "expected", "currency", "settled_sat", "buffer_sat", "absorbed_sat", "excess_sat",
        "refund_due_sat", "fiat_at_receipt", "rate", "quote_version", "quote_kind", "price_sources", "txids",
        "settled_at", "billing_agreed_at", "billing_status", "trace_id",
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
    "treasury": (
        "role", "from", "to", "opening_sat", "in_sat", "out_sat", "fees_sat", "closing_sat", "read_sat", "read_at",
    ),
}  # fmt: skip
# Columns of the invoice's view that came later stand at the end: a reader who counts columns goes on undisturbed.
FIELDS = _FIELDS | {
    kind: _FIELDS[kind] + tuple(name for name in COLUMNS if name not in _FIELDS[kind]) + WAY_COLUMNS
    for kind in ("invoices", "settlements")
}
KINDS = tuple(FIELDS)


def rows_of(bridge: Bridge, *, kind: str, from_at: datetime, to_at: datetime) -> Iterator[list[Row]]:
    """The rows of one kind as pages of values."""
    if kind == "treasury":
        return iter([treasury_rows(bridge, from_at=from_at, to_at=to_at)])
    if kind == "invoices":
        return _invoices(bridge, from_at, to_at)
    page_of, make = _JOURNALS[kind]
    return journal_pages(bridge, from_at, to_at, page_of, make)


def _invoices(bridge: Bridge, from_at: datetime, to_at: datetime) -> Iterator[list[Row]]:
    after: tuple[datetime, str] | None = None
    while True:
        with bridge.store.read() as tx:
            page = invoice_pages.created_page(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
        yield [_invoice_row(facts) for facts in page]
        if len(page) < PAGE:
            return
        after = page[-1].row.created_at, page[-1].row.id


def _invoice_row(facts: InvoiceFacts) -> Row:
    row, books = facts.row, Books.of_balances(facts.balances)
    present = [p for p in facts.payments if not p.replaced]
    made = about(facts) | {
        "expected_sat": facts.quote_rows[0].due_sat,
        "settled_sat": books.used_sat - books.buffer_sat + books.absorbed_sat,
        "excess_sat": books.over_sat,
        "first_seen_at": min((p.first_seen_at for p in present), default=None),
    }
    # The rest are columns of the invoice.
    return {name: made[name] if name in made else getattr(row, name) for name in FIELDS["invoices"]}


_JOURNALS: dict[str, tuple[Callable[..., Sequence[Any]], Maker]] = {
    "settlements": (exports.settlement_page, settlement_rows),
    "payouts": (exports.payout_page, payout_rows),
    "journal": (exports.journal_page, journal_rows),
}
