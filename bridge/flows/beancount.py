"""The journal of a period as a beancount file: every journal a transaction, satoshi as the commodity SAT.

Owns the names of accounts there; what is settled is a liability to the client until the billing system books revenue.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from bridge.core.errors import Refused
from bridge.core.ledger import ASSETS, EQUITY, EXPENSES, INCOME, LIABILITIES
from bridge.core.money import BTC, minor_text
from bridge.flows.context import Bridge
from bridge.flows.export_cells import fiat_of
from bridge.flows.export_journals import PAGE
from bridge.store import exports

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
            journals = exports.journal_page(tx, from_at=from_at, to_at=to_at, after=after, limit=PAGE)
            legs = exports.entries_of(tx, [journal.id for journal in journals])
        yield "".join(_transaction(journal, legs[journal.id]) for journal in journals)
        if len(journals) < PAGE:
            return
        after = journals[-1].id


def _transaction(journal: Any, legs: Sequence[Any]) -> str:
    """Its id, invoice, merchant and time as metadata; each satoshi leg with its worth at the price of the journal."""
    memo = json.loads(journal.memo or "{}")
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
