"""Reading for the billing system: one invoice, many, and the ordered feed of events.

Owns paging; must not write, but for the mark where a feed goes on that has lost its end.
"""

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.rail import Target
from bridge.core.reconciliation import Finding
from bridge.invoices.present import invoice_json
from bridge.invoices.record import open_loose_review, sources_of
from bridge.invoices.targets import all_of, targets_of
from bridge.logs import log
from bridge.store import events, invoices, targets
from bridge.store.db import Tx, queue_up

MAX_LIMIT = 500
# No feed was ever so far behind a reader: a position beyond that is no memory, and would use up the numbers.
MOST_AHEAD = 100 * events.GAP


def shown(tx: Tx, bridge: Bridge, row: Any) -> dict[str, Any]:
    """The invoice's JSON with its newest quote."""
    payments = invoices.payment_rows(tx, row.id)
    return shown_with(bridge, row, invoices.quote_rows(tx, row.id)[-1], targets_of(tx, bridge, row), payments)


def shown_with(
    bridge: Bridge, row: Any, newest: Any, targets: Sequence[Target], payments: Sequence[Any]
) -> dict[str, Any]:
    """The same with a quote, targets and payments that were read already."""
    return invoice_json(bridge, row, invoices.quote_of_row(newest), sources_of(newest), targets, payments)


def shown_of(tx: Tx, bridge: Bridge, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The same of many, with three questions for all of them."""
    ids = [row.id for row in rows]
    offered, quotes = targets.of_invoices(tx, ids), invoices.quotes_of_each(tx, ids)
    paid = invoices.payments_of_each(tx, ids)
    return [
        shown_with(bridge, row, quotes[row.id][-1], all_of(offered[row.id], bridge, row), paid[row.id]) for row in rows
    ]


def invoice_by_id(bridge: Bridge, merchant_id: str, invoice_id: str) -> dict[str, Any]:
    """Raises Refused("unknown_invoice"), also for another merchant's."""
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
        if row is None or row.merchant != merchant_id:
            raise Refused("unknown_invoice", "There is no such invoice.")
        return shown(tx, bridge, row)


def list_invoices(
    bridge: Bridge, merchant_id: str, *, match: dict[str, str], limit: int, cursor: str | None
) -> dict[str, Any]:
    """Newest first; `match` may name billing_payment_id and status. Raises Refused("invalid_cursor")."""
    limit = max(1, min(limit, MAX_LIMIT))
    before = read_cursor(cursor) if cursor else None
    with bridge.store.read() as tx:
        rows = invoices.listing(tx, match=match | {"merchant": merchant_id}, cursor=before, limit=limit + 1)
        found = shown_of(tx, bridge, rows[:limit])
    return {"invoices": found, "next_cursor": next_cursor(rows, limit, "created_at")}


def read_feed(bridge: Bridge, merchant_id: str, *, after: int, limit: int) -> dict[str, Any]:
    """Events above position `after`, in the order of their positions; no reader ever skips one."""
    limit = max(1, min(limit, MAX_LIMIT))
    with bridge.store.read() as tx:
        rows = events.feed(tx, merchant=merchant_id, after=after, limit=limit + 1)
        end = events.end(tx) if after and not rows else after
    if end < after:
        _note_ahead(bridge, merchant_id, after=after)
    found = [json.loads(row.body) | {"position": row.position} for row in rows[:limit]]
    next_after = found[-1]["position"] if found else after
    return {"events": found, "next_after": next_after, "has_more": len(rows) > limit}


def _note_ahead(bridge: Bridge, merchant_id: str, *, after: int) -> None:
    """Somebody has read further than the feed goes: events were told that this database has not. What comes next is told behind
    that position, and a person is asked. Nothing is switched: the word of one merchant must not stop the others.
    """
    now = bridge.clock()
    with bridge.store.write() as tx:
        queue_up(tx, "feed_ahead")
        end = events.end(tx)
        if not end < after <= end + MOST_AHEAD:
            return
        events.leave_gap(tx, merchants=[merchant_id], after=after, now=now, cause="ahead")
        what = Finding(code="feed_ahead", ours=f"the feed ends at {end}", theirs=f"events were read up to {after}")
        shown = {"side": what.side, "kind": what.kind} | asdict(what)
        open_loose_review(tx, bridge, merchant=merchant_id, kind="recon_diff", what={"findings": [shown]}, now=now)
    log("feed.ahead", level=logging.ERROR, merchant=merchant_id, end=end, after=after)


def next_cursor(rows: Sequence[Any], limit: int, at: str) -> str | None:
    """Where a page of `limit` rows ends, in the order of the column `at`; None unless a row more than those was read."""
    return write_cursor(getattr(rows[limit - 1], at), rows[limit - 1].id) if len(rows) > limit else None


def write_cursor(at: datetime, row_id: str) -> str:
    """Where a page ended, as text for the next one."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{row_id}".encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """What `write_cursor` made, and nothing else: a time without its zone or an id with a NUL would fail later and louder."""
    try:
        at_text, _, invoice_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        at = datetime.fromisoformat(at_text)
        if at.tzinfo is None or not invoice_id.isprintable() or not invoice_id:
            raise ValueError("not one of our cursors")
        return at.astimezone(UTC), invoice_id
    except (ValueError, OverflowError):
        raise Refused("invalid_cursor", "Use the next_cursor of the page before.", field="cursor") from None
