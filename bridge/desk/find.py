"""Finding invoices by whatever somebody has in hand: an id, an address, a transaction, a client, a document, a sum, a description;
and their list as people narrow it: by merchant, status, exception, client, currency and days of the books.

Owns what is looked for in which order, what a list may be narrowed to, how much is shown, and totals; must not change anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.money import minor_text
from bridge.core.reference import asks_of
from bridge.invoices.present import columns, time_text
from bridge.invoices.read_invoices import read_cursor, shown_of, write_cursor
from bridge.store import dossier, invoice_pages
from bridge.store.db import Tx
from bridge.store.dossier import Dossier
from bridge.store.invoice_pages import BY_SUM, Match
from bridge.store.invoice_pages import Narrowed as Narrowed
from bridge.store.rows import Cursor
from bridge.store.search import Search

MOST = 50
# Descriptions are searched where nothing else was found, so many at a time: an index of words would cost every invoice bytes.
MOST_READ = 50_000
_EXACT = ("reference", "transaction")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The invoices as JSON, newest first, each with `found_by` (kinds of core.reference), customer_id and description.

    `is_cut`: there are more. Where older descriptions were not searched, `searched_back_to` says since when they were, and
    `next_cursor` goes on there.
    """

    invoices: list[dict[str, Any]]
    is_cut: bool = False
    searched_back_to: str | None = None
    next_cursor: str | None = None


def find(bridge: Bridge, text: str, *, cursor: str = "", among: int | None = None) -> Found:
    """Invoices that a text may mean; what it can be, is core.reference's. Behind a cursor only
    descriptions are searched, `among` or MOST_READ at a time. Raises Refused("invalid_cursor").
    """
    asks = asks_of(text, currencies={code for each in bridge.merchants.values() for code in each.currencies})
    with bridge.store.read() as tx:
        search = _search(tx, bridge)
        why: dict[str, list[str]] = {}
        for ask in asks:
            if ask.kind != "description" and not cursor:
                for invoice_id in search.by(ask):
                    why.setdefault(invoice_id, []).append(ask.kind)
        last = None
        if not why and any(ask.kind == "description" for ask in asks):
            ids, last = search.described(
                text.casefold().split(), among=among or MOST_READ, behind=read_cursor(cursor) if cursor else None
            )
            why = {each: ["description"] for each in ids}
        rows = search.rows(list(why))
        shown = _shown(tx, bridge, rows[:MOST])
    found = [each | {"found_by": sorted(set(why[each["id"]]))} for each in shown]
    return Found(
        invoices=found,
        is_cut=len(rows) > MOST,
        searched_back_to=time_text(last.created_at) if last else None,
        next_cursor=write_cursor(last.created_at, last.id) if last else None,
    )


def dossier_of(tx: Tx, bridge: Bridge, reference: str) -> Dossier:
    """The dossier of the one invoice that a reference names. Raises Refused("unknown_invoice") for none and for several."""
    search, asks = _search(tx, bridge), asks_of(reference, currencies=())
    ids = list(dict.fromkeys(each for ask in asks if ask.kind in _EXACT for each in search.by(ask)))
    found = dossier.find(tx, id=ids[0]) if len(ids) == 1 else None
    if found is None:
        raise Refused("unknown_invoice", f"{len(ids)} invoices match; use the invoice id.")
    return found


def _shown(tx: Tx, bridge: Bridge, rows: Sequence[Any]) -> list[dict[str, Any]]:
    shown = shown_of(tx, bridge, rows)
    return [each | columns(row, "customer_id", "description") for each, row in zip(shown, rows, strict=True)]


def _search(tx: Tx, bridge: Bridge) -> Search:
    return Search(tx=tx, merchants=sorted(bridge.merchants), most=MOST + 1)


PAGE = 50
# More than these are not summed up for one page; an export has them all.
MOST_COUNTED = 20_000
# What the address of a list may name, and the column that it narrows.
FILTERS = {
    "merchant": "merchant",
    "status": "status",
    "exception": "exception",
    "hold": "hold",
    "currency": "currency",
    "customer": "customer_id",
}
ORDERS = tuple(invoice_pages.ORDERS)
# What may have happened in the days that are asked for, instead of that it was made: the journals of the figures of a day.
MOVED = {"received": ("detect",), "confirmed": ("capture",), "settled": ("settle",), "refunded": ("refund_send",)}


def narrowed_by(bridge: Bridge, asked: Mapping[str, str]) -> Narrowed:
    """The filters of FILTERS, and the days "from" and "to", which both belong to it. Raises Refused("bad_period")."""
    first, last = (_day(asked, name) for name in ("from", "to"))
    if first is not None and last is not None and first > last:
        raise Refused("bad_period", "The period ends before it begins.", field="to")
    match: Match = {column: asked[name] for name, column in FILTERS.items() if asked.get(name)}
    # The index of a client begins with the merchant.
    merchants: Match = {"merchant": tuple(bridge.merchants)} if "customer_id" in match else {}
    return Narrowed(
        match={**merchants, **match},
        from_at=bridge.calendar.begin_of(first) if first is not None else None,
        to_at=bridge.calendar.begin_of(last + timedelta(days=1)) if last not in (None, date.max) else None,
        moved=MOVED.get(asked.get("moved", ""), ()),
    )


def _day(asked: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(asked[name]) if asked.get(name) else None
    except ValueError:
        raise Refused("bad_period", "Write the day as 2026-04-01.", field=name) from None


def list_narrowed(bridge: Bridge, asked: Mapping[str, str], *, cursor: str = "") -> dict[str, Any]:
    """One page, in that of the ORDERS which `asked["order"]` names, and the totals by currency of what the filters leave.

    Raises Refused (bad_period, invalid_cursor).
    """
    order = asked["order"] if asked.get("order") in ORDERS else "newest"
    narrowed, behind = narrowed_by(bridge, asked), _behind(cursor, order) if cursor else None
    with bridge.store.read() as tx:
        rows = invoice_pages.listing(tx, narrowed, cursor=behind, limit=PAGE + 1, order=order)
        sums = invoice_pages.totals(tx, narrowed, most=MOST_COUNTED)
        found = _shown(tx, bridge, rows[:PAGE])
    return {
        "invoices": found,
        "next_cursor": _cursor(rows[PAGE - 1], order) if len(rows) > PAGE else None,
        "totals": [_total(each) for each in sums],
        "is_cut": sum(each.invoices for each in sums) >= MOST_COUNTED,
    }


def _cursor(row: Any, order: str) -> str:
    """Where a page ended: by sum the currency and the sum stand before the time."""
    at = write_cursor(row.created_at, row.id)
    return f"{row.currency}.{row.amount_minor}.{at}" if order in BY_SUM else at


def _behind(cursor: str, order: str) -> Cursor:
    currency, _, rest = cursor.partition(".") if order in BY_SUM else ("", "", f".{cursor}")
    minor, _, at = rest.partition(".")
    if order not in BY_SUM:
        return read_cursor(at)
    if not (currency.isalnum() and minor.isascii() and minor.isdecimal() and len(minor) < 19):
        raise Refused("invalid_cursor", "Use the next_cursor of the page before.", field="cursor")
    return (currency, int(minor), *read_cursor(at))


def _total(row: Any) -> dict[str, Any]:
    return {
        "currency": row.currency,
        "count": row.invoices,
        "amount": minor_text(int(row.amount_minor), row.currency),
        "received_sat": int(row.received_sat),
        "confirmed_sat": int(row.confirmed_sat),
    }
