"""The list of invoices as people narrow it: by merchant, status, exception, client, currency and days of the books.

Owns what a list may be narrowed to, and its totals; must not change anything.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.money import minor_text
from bridge.invoices.read_invoices import next_cursor, read_cursor, shown_of
from bridge.store import invoice_pages
from bridge.store.invoice_pages import Narrowed

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
ORDERS = ("newest", "oldest")


def narrowed_by(bridge: Bridge, asked: Mapping[str, str]) -> Narrowed:
    """The filters of FILTERS, and the days "from" and "to", which both belong to it. Raises Refused("bad_period")."""
    first, last = (_day(asked, name) for name in ("from", "to"))
    if first is not None and last is not None and first > last:
        raise Refused("bad_period", "The period ends before it begins.", field="to")
    return Narrowed(
        match={column: asked[name] for name, column in FILTERS.items() if asked.get(name)},
        from_at=bridge.calendar.begin_of(first) if first is not None else None,
        to_at=bridge.calendar.begin_of(last + timedelta(days=1)) if last not in (None, date.max) else None,
    )


def _day(asked: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(asked[name]) if asked.get(name) else None
    except ValueError:
        raise Refused("bad_period", "Write the day as 2026-04-01.", field=name) from None


def list_narrowed(bridge: Bridge, asked: Mapping[str, str], *, cursor: str = "") -> dict[str, Any]:
    """One page, ordered as `asked["order"]` says, and the totals by currency of what the filters leave.

    Raises Refused (bad_period, invalid_cursor).
    """
    narrowed, behind = narrowed_by(bridge, asked), read_cursor(cursor) if cursor else None
    is_oldest_first = asked.get("order") == "oldest"
    with bridge.store.read() as tx:
        rows = invoice_pages.listing(tx, narrowed, cursor=behind, limit=PAGE + 1, is_oldest_first=is_oldest_first)
        sums = invoice_pages.totals(tx, narrowed, most=MOST_COUNTED)
        found = shown_of(tx, bridge, rows[:PAGE])
    clients = {row.id: {"customer_id": row.customer_id, "description": row.description} for row in rows}
    return {
        "invoices": [clients[each["id"]] | each for each in found],
        "next_cursor": next_cursor(rows, PAGE, "created_at"),
        "totals": [_total(each) for each in sums],
        "is_cut": sum(each.invoices for each in sums) >= MOST_COUNTED,
    }


def _total(row: Any) -> dict[str, Any]:
    return {
        "currency": row.currency,
        "count": row.invoices,
        "amount": minor_text(int(row.amount_minor), row.currency),
        "received_sat": int(row.received_sat),
        "confirmed_sat": int(row.confirmed_sat),
    }
