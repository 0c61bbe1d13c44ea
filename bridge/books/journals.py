"""The journals of a period for accountants: as rows, and as a beancount file.

Owns both forms; the journals themselves are written with what they tell of.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from bridge.books.cells import Row, about, fiat_of, money
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.ledger import ASSETS, EQUITY, EXPENSES, INCOME, LIABILITIES
from bridge.core.money import BTC, minor_text
from bridge.store import invoice_pages, ledger
from bridge.store.db import Tx

PAGE = 500
Maker = Callable[[Any, list[Any], "Known"], list[Row]]


class Known:
    """What a page of journals refers to, read at once."""

    def __init__(self, tx: Tx, journals: Sequence[Any]):
        self.invoices = invoice_pages.of_ids(tx, {j.invoice_id for j in journals if j.invoice_id})
        self.payouts = ledger.payouts_by_id(tx, {j.payout_id for j in journals if j.payout_id})
        self.agreed = ledger.told_paid(tx, self.invoices)


def journal_pages(
    bridge: Bridge, from_at: datetime, to_at: datetime, page_of: Callable[..., Sequence[Any]], make: Maker
) -> Iterator[list[Row]]:
    after = 0
    while True:
        with bridge.store.read() as tx:
            journals = page_of(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
            legs, known = ledger.entries_of(tx, [j.id for j in journals]), Known(tx, journals)
        yield [row for journal in journals for row in make(journal, legs[journal.id], known)]
        if len(journals) < PAGE:
            return
        after = journals[-1].id


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
            "billing_agreed_at": known.agreed.get(journal.invoice_id),
            "billing_status": facts.billing.status if facts.billing is not None else None,
        }
    ]


def payout_rows(journal: Any, legs: list[Any], known: Known) -> list[Row]:
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


def journal_rows(journal: Any, legs: list[Any], _known: Known) -> list[Row]:
    memo = journal.memo
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
    after = 0
    while True:
        with bridge.store.read() as tx:
            journals = ledger.journal_page(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
            legs = ledger.entries_of(tx, [journal.id for journal in journals])
        yield "".join(_transaction(journal, legs[journal.id]) for journal in journals)
        if len(journals) < PAGE:
            return
        after = journals[-1].id


def _transaction(journal: Any, legs: Sequence[Any]) -> str:
    """Its id, invoice, merchant and time as metadata; each satoshi leg with its worth at the price of the journal."""
    memo = journal.memo
    head = [f'{journal.at:%Y-%m-%d} * "{_text(journal.merchant)}" "{_text(journal.kind)}"']
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
