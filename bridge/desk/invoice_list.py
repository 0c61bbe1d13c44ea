"""The list of invoices as people narrow it: by merchant, status, exception, client, currency and days of the books.

Owns what a list may be narrowed to, and its totals; must not change anything.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.money import minor_text
from bridge.invoices.read_invoices import read_cursor, shown_of, write_cursor
from bridge.store import invoice_pages
from bridge.store.invoice_pages import BY_SUM, Match
from bridge.store.invoice_pages import Narrowed as Narrowed
from bridge.store.rows import Cursor

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
        found = shown_of(tx, bridge, rows[:PAGE])
    clients = {row.id: {"customer_id": row.customer_id, "description": row.description} for row in rows}
    return {
        "invoices": [clients[each["id"]] | each for each in found],
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
