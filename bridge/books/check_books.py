"""Checking the books: the journals of every invoice against books rebuilt from its facts, and balances for people.

Owns the comparison and the balances; must not post or repair anything: a difference is for a person.
"""

from dataclasses import asdict, dataclass

from bridge.books.compare import rebuilt_books
from bridge.context import Bridge
from bridge.core.ledger import Books
from bridge.store import invoice_pages, ledger
from bridge.store.invoice_pages import InvoiceFacts

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
            page = invoice_pages.page(tx, after=after, limit=PAGE)
        found += [difference for facts in page for difference in _differences(bridge, facts)]
        if len(page) < PAGE:
            return found
        after = page[-1].row.id


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


def _differences(bridge: Bridge, facts: InvoiceFacts) -> list[BookDifference]:
    booked = asdict(Books.of_balances(facts.balances))
    rebuilt = asdict(rebuilt_books(bridge, facts))
    return [
        BookDifference(invoice_id=facts.row.id, figure=figure, booked=booked[figure], rebuilt=rebuilt[figure])
        for figure in booked
        if booked[figure] != rebuilt[figure]
    ]
