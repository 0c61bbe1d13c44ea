"""The rows of every kind of export: what is said of an invoice, a settlement, a payout, an entry.

Owns the fields; every row belongs to the one moment it was written, so adjoining periods add up to the whole. Must not
hold more than a page in memory, nor call anything revenue: what is settled is a client's prepayment.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.core.columns import Cell
from bridge.core.ledger import BTC, Books
from bridge.core.money import SAT_PER_BTC, minor_text
from bridge.flows.context import Bridge
from bridge.flows.record import sources_of
from bridge.flows.treasury_snapshot import treasury_rows
from bridge.store import exports, invoice_pages
from bridge.store.db import Tx
from bridge.store.invoice_pages import InvoiceFacts

PAGE = 500
Row = dict[str, Cell]
NO_TXID = "txid unknown (provider)"

FIELDS: dict[str, tuple[str, ...]] = {
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
KINDS = tuple(FIELDS)


def rows_of(bridge: Bridge, *, kind: str, from_at: datetime, to_at: datetime) -> Iterator[list[Row]]:
    """The rows of one kind as pages of values."""
    if kind == "treasury":
        return iter([treasury_rows(bridge, from_at=from_at, to_at=to_at)])
    if kind == "invoices":
        return _invoices(bridge, from_at, to_at)
    page_of, make = _JOURNALS[kind]
    return _journals(bridge, from_at, to_at, page_of, make)


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
    return _about(facts) | {
        "created_at": row.created_at,
        "status": row.status,
        "exception": row.exception,
        "hold": row.hold,
        "reason": row.reason,
        "expected_sat": facts.quote_rows[0].due_sat,
        "received_sat": row.received_sat,
        "confirmed_sat": row.confirmed_sat,
        "settled_sat": books.used_sat - books.buffer_sat + books.absorbed_sat,
        "excess_sat": books.over_sat,
        "first_seen_at": min((p.first_seen_at for p in present), default=None),
        "address": row.address,
        "network": row.network,
        "policy_version": row.policy_version,
    }


def _about(facts: InvoiceFacts, *, at: datetime | None = None) -> Row:
    """What every row about an invoice says of it; the quote is the newest one, or the newest at a moment."""
    row = facts.row
    quotes = [q for q in facts.quote_rows if at is None or q.created_at <= at] or facts.quote_rows[:1]
    quote = quotes[-1]
    return {
        "invoice_id": row.id,
        "billing_payment_id": row.billing_payment_id,
        "merchant": row.merchant,
        "customer_id": row.customer_id,
        "service_ref": row.service_ref,
        "description": row.description,
        "expected": money(row.amount_minor, row.currency),
        "currency": row.currency,
        "settled_at": row.settled_at,
        "quote_version": quote.version,
        "quote_kind": quote.kind,
        "rate": money(quote.price_minor, quote.currency),
        "price_sources": " ".join(sources_of(quote)),
        "txids": txids_of(facts),
        "trace_id": row.trace_id,
    }


def txids_of(facts: InvoiceFacts) -> str:
    """The transactions that count, or why there are none to name."""
    keys = [p.key for p in facts.payments if not p.replaced]
    txids = sorted({key.partition(":")[0] for key in keys if ":" in key})
    return " ".join(txids) if txids or not keys else NO_TXID


def money(minor: int, currency: str) -> Decimal:
    """Minor units as an exact decimal with the currency's digits."""
    return Decimal(minor_text(minor, currency))


def fiat_of(sat: int, memo: Mapping[str, Any]) -> Decimal | None:
    """What satoshi were worth at the price of their journal, toward zero; None when the journal names no price."""
    if not memo.get("price_minor") or not memo.get("currency"):
        return None
    minor = abs(sat) * int(memo["price_minor"]) // SAT_PER_BTC
    return money(minor if sat >= 0 else -minor, memo["currency"])


Maker = Callable[[Any, list[Any], "_Known"], list[Row]]


class _Known:
    """What a page of journals refers to, read at once."""

    def __init__(self, tx: Tx, journals: Sequence[Any]):
        self.invoices = invoice_pages.of_ids(tx, {j.invoice_id for j in journals if j.invoice_id})
        self.payouts = exports.payouts_by_id(tx, {j.payout_id for j in journals if j.payout_id})
        self.agreed = exports.told_paid(tx, self.invoices)


def _journals(
    bridge: Bridge, from_at: datetime, to_at: datetime, page_of: Callable[..., Sequence[Any]], make: Maker
) -> Iterator[list[Row]]:
    after = 0
    while True:
        with bridge.store.read() as tx:
            journals = page_of(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
            legs, known = exports.entries_of(tx, [j.id for j in journals]), _Known(tx, journals)
        yield [row for journal in journals for row in make(journal, legs[journal.id], known)]
        if len(journals) < PAGE:
            return
        after = journals[-1].id


def _settlement_rows(journal: Any, legs: list[Any], known: _Known) -> list[Row]:
    facts, memo, sat = known.invoices[journal.invoice_id], json.loads(journal.memo or "{}"), _by_account(legs)
    settled_sat, buffer_sat = -sat.get("customer:prepayment", 0), -sat.get("quote_buffer", 0)
    absorbed_sat, excess_sat = sat.get("tolerance", 0), -sat.get("customer:overpayment", 0)
    refund_due_sat = -sat.get("refunds_payable", 0)
    moved_sat = settled_sat + buffer_sat - absorbed_sat + excess_sat + refund_due_sat
    return [
        _about(facts, at=journal.at)
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
            "billing_agreed_at": known.agreed.get(journal.invoice_id),
            "billing_status": facts.billing.status if facts.billing is not None else None,
        }
    ]


def _payout_rows(journal: Any, legs: list[Any], known: _Known) -> list[Row]:
    """Only what left a wallet, or came back to it: approvals move money between liabilities and are no payout."""
    sat, payout = _by_account(legs), known.payouts.get(journal.payout_id)
    gross_sat = -sum(units for account, units in sat.items() if account.startswith("wallet:"))
    if payout is None or not gross_sat or journal.kind.startswith("sweep_done"):
        return []
    provider_fee_sat, network_fee_sat = sat.get("provider_fee", 0), sat.get("network_fee", 0)
    net_sat = gross_sat - provider_fee_sat - network_fee_sat
    price = {"price_minor": payout.price_minor, "currency": payout.currency}
    return [
        {
            "journal_id": journal.id,
            "at": journal.at,
            "kind": journal.kind,
            "payout_id": payout.id,
            "invoice_id": payout.invoice_id,
            "billing_payment_id": payout.billing_payment_id,
            "merchant": payout.merchant,
            "customer_id": payout.customer_id,
            "service_ref": payout.service_ref,
            "variant": payout.variant,
            "role": payout.role,
            "destination": payout.destination,
            "txid": payout.txid,
            "gross_sat": gross_sat,
            "net_sat": net_sat,
            "provider_fee_sat": provider_fee_sat,
            "network_fee_sat": network_fee_sat,
            "currency": payout.currency,
            "rate": money(payout.price_minor, payout.currency) if payout.price_minor else None,
            "fiat_at_receipt": fiat_of(net_sat, price),
            "requested_at": payout.requested_at,
            "sent_at": payout.sent_at,
            "reason": payout.reason,
        }
    ]


def _journal_rows(journal: Any, legs: list[Any], _known: _Known) -> list[Row]:
    memo = json.loads(journal.memo or "{}")
    currency = memo.get("currency", "")
    price_minor = memo.get("price_minor")
    rate = money(price_minor, currency) if currency and price_minor else None
    return [
        {
            "journal_id": journal.id,
            "entry_id": leg.id,
            "at": journal.at,
            "kind": journal.kind,
            "family": journal.family,
            "reverses_id": journal.reverses_id,
            "account": leg.account,
            "asset": leg.asset,
            "units": leg.units,
            "debit": max(leg.units, 0),
            "credit": max(-leg.units, 0),
            "invoice_id": journal.invoice_id,
            "payout_id": journal.payout_id,
            "merchant": journal.merchant,
            "service_ref": leg.service_ref,
            "currency": currency,
            "rate": rate,
            "fiat_at_receipt": fiat_of(leg.units, memo) if leg.asset == BTC else money(leg.units, leg.asset),
        }
        for leg in legs
    ]


def _by_account(legs: list[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for leg in legs:
        found[leg.account] = found.get(leg.account, 0) + (leg.units if leg.asset == BTC else 0)
    return found


_JOURNALS: dict[str, tuple[Callable[..., Sequence[Any]], Maker]] = {
    "settlements": (exports.settlement_page, _settlement_rows),
    "payouts": (exports.payout_page, _payout_rows),
    "journal": (exports.journal_page, _journal_rows),
}
