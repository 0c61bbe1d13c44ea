"""The cells that several exports share: what is said of an invoice, of its transactions, of satoshi in money.

Owns these values; must not read the database.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.core.columns import Cell
from bridge.core.evidence import FINAL
from bridge.core.money import SAT_PER_BTC, minor_text
from bridge.invoices.present import COLUMNS
from bridge.invoices.record import sources_of
from bridge.store.invoice_pages import InvoiceFacts

Row = dict[str, Cell]
NO_TXID = "txid unknown (provider)"
# Over which rails money came, and what they know it by where that is no transaction.
WAY_COLUMNS = ("rails", "keys")


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
    minor = abs(sat) * int(memo["price_minor"]) // SAT_PER_BTC
    return money(minor if sat >= 0 else -minor, memo["currency"])
