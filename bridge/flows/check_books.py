"""Checking the books: the journals of every invoice against books rebuilt from its facts, and balances for people.

Owns the comparison and the balances; must not post or repair anything: a difference is for a person.
"""

from dataclasses import asdict, dataclass
from typing import Any

from bridge.core.invoice import decide
from bridge.core.ledger import Books
from bridge.flows.context import Bridge
from bridge.flows.record import rule_of
from bridge.store import invoices, ledger
from bridge.store.db import Tx

PAGE = 500


@dataclass(frozen=True, kw_only=True)
class BookDifference:
    """One figure of one invoice whose journals say something else than its facts, in the unit of the figure's suffix."""

    invoice_id: str
    figure: str
    booked: int
    rebuilt: int


def book_differences(bridge: Bridge) -> list[BookDifference]:
    """Rebuilds the books of every invoice from quotes, payments and rulings; empty when the journals say the same."""
    found: list[BookDifference] = []
    after = ""
    while True:
        with bridge.store.read() as tx:
            rows = invoices.page(tx, after=after, limit=PAGE)
            found += [difference for row in rows for difference in _differences(tx, bridge, row)]
        if len(rows) < PAGE:
            return found
        after = rows[-1].id


def balances(
    bridge: Bridge, *, invoice_id: str | None = None, merchant: str | None = None, service_ref: str | None = None
) -> dict[str, dict[str, int]]:
    """Signed balance by asset and account (debit positive): of one invoice, merchant or service, or of everything."""
    with bridge.store.read() as tx:
        totals = ledger.totals(tx, invoice_id=invoice_id, merchant=merchant, service_ref=service_ref)
    shown: dict[str, dict[str, int]] = {}
    for (account, asset), units in sorted(totals.items()):
        shown.setdefault(asset, {})[account] = units
    return shown


def _differences(tx: Tx, bridge: Bridge, row: Any) -> list[BookDifference]:
    booked = asdict(Books.of_balances(ledger.balances(tx, invoice_id=row.id)))
    rebuilt = asdict(_rebuilt(tx, bridge, row))
    return [
        BookDifference(invoice_id=row.id, figure=figure, booked=booked[figure], rebuilt=rebuilt[figure])
        for figure in booked
        if booked[figure] != rebuilt[figure]
    ]


def _rebuilt(tx: Tx, bridge: Bridge, row: Any) -> Books:
    """The decision of the moment the invoice last changed, made again from nothing but facts."""
    decision = decide(
        invoices.facts(tx, row, has_chain_evidence=bridge.chain is not None),
        quotes=invoices.quotes_of(tx, row.id, currency=row.currency),
        payments=invoices.payments_of(tx, row.id),
        now=row.updated_at,
        rule=rule_of(bridge, row),
    )
    return Books.of_decision(decision, amount_minor=row.amount_minor, verdict=row.verdict)
