"""What the operators' pages show that no other flow reads: long lists by cursor, one invoice with everything, series.

Owns these reads and what of a row they show; must not change anything.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bridge.books.counted import deliveries_by_state
from bridge.context import Bridge
from bridge.core.errors import Refused, there
from bridge.core.evidence import FINAL
from bridge.core.money import BTC, minor_text, worth_minor
from bridge.core.rail import Target
from bridge.desk.explain import story
from bridge.desk.find import MOVED
from bridge.desk.grant_grace import GrantShape, may_have_grace
from bridge.desk.resolve_review import review_json
from bridge.invoices.deliver import DeliveryView
from bridge.invoices.present import QuoteView, about, cells, columns, depth_of, time_text, way_of
from bridge.invoices.read_invoices import read_cursor, shown_with, write_cursor
from bridge.invoices.targets import all_of
from bridge.language import plain_texts
from bridge.payouts.steps import payout_with, refundable_in
from bridge.people.policy import versions_of
from bridge.permit import scopes
from bridge.store import audit, counts, deliveries, dossier, invoices, leases, ledger, payouts, reviews
from bridge.store.db import Tx

PAGE = 50
# How long a price is good enough to tell a worth by, where a day had none of its own.
PRICE_DAYS = 30
# How much of one invoice a page shows: a flood of dust must not make it long.
MOST_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a list; `next_cursor` is None on the last one."""

    rows: list[dict[str, Any]]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day of the drawn series. `lag_seconds` is the mean from first money to settled, None without any.

    `hot_sat` is what the books hold where payers pay to. `price_minor` is a bitcoin's price in `currency` at the day's
    last invoice, `spread_bps` how far its sources were apart.
    """

    day: date
    settled: int
    settled_sat: int
    lag_seconds: int | None
    tries: int
    tries_good: int
    hot_sat: int
    price_minor: int | None = None
    spread_bps: int | None = None
    currency: str = ""


def reviews_page(bridge: Bridge, *, match: dict[str, str], cursor: str = "") -> Page:
    """Items by due time. Raises Refused("invalid_cursor")."""
    now, after = bridge.clock(), read_cursor(cursor) if cursor else None
    with bridge.store.read() as tx:
        rows = reviews.listing(tx, match=match, cursor=after, limit=PAGE + 1)
    return _page(rows, PAGE, lambda row: review_json(row, now=now), lambda row: write_cursor(row.due_at, row.id))


def deliveries_page(bridge: Bridge, *, match: dict[str, str], cursor: str = "") -> Page:
    """Deliveries, newest first. Raises Refused("invalid_cursor")."""
    before = read_cursor(cursor) if cursor else None
    with bridge.store.read() as tx:
        rows = deliveries.pages(tx, match=match, cursor=before, limit=PAGE + 1)
    return _page(rows, PAGE, DeliveryView.of, lambda row: write_cursor(row.created_at, row.id))


def audit_page(bridge: Bridge, *, match: dict[str, str], cursor: str = "", limit: int = PAGE) -> Page:
    """Who did what, newest first. Raises Refused("invalid_cursor")."""
    if cursor and not (cursor.isdecimal() and cursor.isascii() and len(cursor) < 19):
        raise Refused("invalid_cursor", "Use the next_cursor of the page before.", field="cursor")
    with bridge.store.read() as tx:
        rows = audit.listing(tx, match=match, cursor=(int(cursor),) if cursor else None, limit=limit + 1)
    return _page(rows, limit, lambda row: columns(row, *_AUDITED), lambda row: str(row.id))


def delivery_counts(bridge: Bridge) -> Mapping[str, int]:
    """How many deliveries are in each state."""
    with bridge.store.read() as tx:
        return deliveries_by_state(bridge, tx)


def open_review_counts(bridge: Bridge) -> dict[str, int]:
    """Open review items by kind."""
    with bridge.store.read() as tx:
        return reviews.count_open_by_kind(tx)


def invoice_dossier(bridge: Bridge, invoice_id: str, *, lang: str = "en") -> dict[str, Any]:
    """One invoice with everything that is stored about it, and its story. Raises Refused("unknown_invoice")."""
    with bridge.store.read() as tx:
        found = there(dossier.find(tx, id=invoice_id), "unknown_invoice", "invoice")
    row, targets = found.invoice, all_of(found.offered(), bridge, found.invoice)
    return {
        "story": story(bridge, found, plain_texts(lang).by(bridge.calendar)),
        "invoice": shown_with(bridge, row, found.quotes[-1], targets, found.payments),
        "about": about(row),
        "cells": cells(row),
        "policy": versions_of(found).get(row.policy_version),
        "quotes": [
            QuoteView.of(each) | columns(each, "currency", "policy_version") for each in found.quotes[-MOST_ROWS:]
        ],
        "payments": [_payment(each, targets, needed=row.confirmations_needed) for each in found.payments[-MOST_ROWS:]],
        "beside": [_offered(each) for each in targets[1:][-MOST_ROWS:]],
        "journals": [_journal(each, found.legs[each.id]) for each in found.journals[-MOST_ROWS:]],
        "balances": found.balances(BTC),
        "deliveries": [DeliveryView.of(each) for each in found.deliveries[:MOST_ROWS]],
        "attempts": [columns(each, *_ATTEMPT) for each in found.attempts[-MOST_ROWS:]],
        "callbacks": [_callback(each) for each in found.callbacks[-MOST_ROWS:]],
        "reviews": [
            review_json(each, now=bridge.clock()) | columns(each, "decision", "note") for each in found.reviews
        ],
        "payouts": [payout_with(each, found.payout_approvals[each.id]) for each in found.payouts],
        "refundable_sat": refundable_in(found).left_sat,
        "grant": GrantShape.of(found.grant) if found.grant is not None else None,
        "may_have_grace": found.grant is None and may_have_grace(row),
    }


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many invoices stand behind the figures of a day; and the price of a bitcoin then, None where none was quoted yet."""

    received: int
    confirmed: int
    settled: int
    refunded: int
    held: int
    payouts_to_approve: int
    currency: str
    price_minor: int | None

    def worth(self, sat: int) -> str | None:
        """Satoshi in the shop's currency by that price, rounded toward zero."""
        if self.price_minor is None:
            return None
        return minor_text(worth_minor(sat, self.price_minor), self.currency)


def counted(bridge: Bridge, day: date) -> Counted:
    """Of a day of the books; `held` and `payouts_to_approve` are of now. The currency is the first one of the first merchant."""
    from_at, to_at = bridge.calendar.begin_of(day), bridge.calendar.begin_of(day + timedelta(days=1))
    before = min(timedelta(days=PRICE_DAYS), from_at - datetime.min.replace(tzinfo=UTC))
    currency = next((code for each in bridge.merchants.values() for code in each.currencies), "")
    with bridge.store.read() as tx:
        moved = counts.invoices_moved(tx, from_at=from_at, to_at=to_at)
        price = counts.last_price(tx, currency, since=from_at - before, until=to_at)
        held, to_approve = invoices.count(tx, hold="review"), payouts.count(tx, state="requested")
    return Counted(
        **{name: moved.get(kinds[0], 0) for name, kinds in MOVED.items()},
        held=held,
        payouts_to_approve=to_approve,
        currency=currency,
        price_minor=price.price_minor if price is not None else None,
    )


def series(bridge: Bridge, *, days: int = 14) -> list[Day]:
    """The last days of the books, oldest first, today included."""
    today = bridge.calendar.day_of(bridge.clock())
    dates = [today - timedelta(days=days - 1 - place) for place in range(days)]
    starts = [bridge.calendar.begin_of(day) for day in dates]
    ends = [*starts[1:], bridge.calendar.begin_of(today + timedelta(days=1))]
    with bridge.store.read() as tx:
        settled, tries = _settled(tx, bridge, list(zip(starts, ends, strict=True))), counts.attempts_by_day(tx, starts)
        account = bridge.receiving.account
        moved = counts.moved_by_day(tx, account, starts, end=ends[-1])
        hot_sat = ledger.sums(tx, (account,))[account]
        currency = counts.newest_currency(tx) or ""
        prices = [
            counts.last_price(tx, currency, since=start, until=end) for start, end in zip(starts, ends, strict=True)
        ]
    found: list[Day] = []
    for place in reversed(range(days)):
        count, sat, lag = settled.get(place, (0, 0, 0))
        tried, good = tries.get(place, (0, 0))
        lag_seconds = lag // count // 1_000_000 if count else None
        found.append(
            Day(
                day=dates[place],
                settled=count,
                settled_sat=sat,
                lag_seconds=lag_seconds,
                tries=tried,
                tries_good=good,
                hot_sat=hot_sat,
                currency=currency,
                **_price_of(prices[place]),
            )
        )
        hot_sat -= moved.get(place, 0)
    return found[::-1]


# A transaction may commit a while after the moment that it says.
OVER_AFTER = timedelta(hours=1)


def _settled(tx: Tx, bridge: Bridge, days: Sequence[tuple[datetime, datetime]]) -> dict[int, tuple[int, int, int]]:
    """As `counts.settled_by_day`, by place; what is over does not change, and is read once in the life of a process."""
    known, now = bridge.days_over, bridge.clock()
    first = next(place for place, day in enumerate(days) if day not in known or day[1] + OVER_AFTER > now)
    read = counts.settled_by_day(tx, [begin for begin, _ in days[first:]])
    found = {place: known[day] for place, day in enumerate(days[:first])}
    for place, day in enumerate(days[first:]):
        found[first + place] = read.get(place, (0, 0, 0))
        if day[1] + OVER_AFTER <= now:
            known[day] = found[first + place]
    return found


def _price_of(row: Any) -> dict[str, int]:
    """The price a quote was made at, and the distance of its sources in parts of ten thousand of it, rounded up."""
    if row is None:
        return {}
    told = [sample["price_minor"] for sample in json.loads(row.samples)]
    apart = max(told, default=0) - min(told, default=0)
    return {"price_minor": row.price_minor, "spread_bps": -(-apart * 10_000 // row.price_minor)}


def policies(bridge: Bridge) -> list[dict[str, Any]]:
    """Every merchant's policy as it is configured: its version, and each tier's settings beside the default's."""
    return [
        {
            "merchant": merchant.id,
            "currencies": merchant.currencies,
            "version": merchant.policy.version,
            "exact_tier": merchant.policy.exact_tier,
            "tiers": {"default": merchant.policy.default} | dict(merchant.policy.tiers),
            "settings": _settings({"default": merchant.policy.default} | dict(merchant.policy.tiers)),
        }
        for merchant in bridge.merchants.values()
    ]


def switches(bridge: Bridge) -> list[dict[str, Any]]:
    """The bridge and every wallet with their mode, since when, by whom and why."""
    with bridge.store.read() as tx:
        rows = {row.scope: row for row in leases.all_modes(tx)}
    untouched = {"mode": "normal", "since": None, "actor": "", "reason": ""}
    return [
        {"scope": scope} | (columns(rows[scope], *untouched) if scope in rows else untouched)
        for scope in scopes(bridge)
    ]


def _page(rows: Sequence[Any], limit: int, show: Callable[[Any], dict[str, Any]], cursor: Callable[[Any], str]) -> Page:
    """Reads one row more than it shows, so that it knows whether there is a next page."""
    more = cursor(rows[limit - 1]) if len(rows) > limit else None
    return Page(rows=[show(row) for row in rows[:limit]], next_cursor=more)


def _settings(tiers: dict[str, Any]) -> dict[str, list[Any]]:
    """Each setting's value in every tier, in the order of the tiers."""
    dumped = [rule.values() for rule in tiers.values()]
    return {name: [each[name] for each in dumped] for name in dumped[0] if name != "name"}


# What of a stored row is shown; times are text.
_PAYMENT = ("key", "amount_sat", "replaceable", "replaced", "source", "first_seen_at", "asked_at")
_ATTEMPT = ("delivery_id", "outcome", "status", "latency_ms", "answer_excerpt", "error", "at")
_AUDITED = (
    *("id", "invoice_id", "actor", "action", "from_status", "to_status", "reason", "rule", "policy_version"),
    *("detail", "position", "at"),
)


def _payment(row: Any, targets: Sequence[Target], *, needed: int) -> dict[str, Any]:
    way, is_final = way_of(row, targets), row.confirmations is not None and row.confirmations >= FINAL
    # What stands in no blocks has no output to point at: it is known by its payment hash alone.
    known_by = row.key.partition(":")[0] if is_final else row.key
    shown = {"confirmations": depth_of(row, needed=needed), "way": way, "known_by": known_by}
    return columns(row, *_PAYMENT) | shown


def _offered(target: Target) -> dict[str, Any]:
    """What was offered beside the first, by what its rail knows it by."""
    ends = time_text(target.expires_at) if target.expires_at is not None else None
    known_by = {"known_by": target.key or target.text, "expires_at": ends}
    return {"way": target.way, "rail": target.rail, "due_units": target.due_units} | known_by


def _journal(row: Any, legs: Sequence[Any]) -> dict[str, Any]:
    return columns(row, "id", "kind", "family", "at") | {
        "legs": [columns(leg, "account", "asset", "units") for leg in legs]
    }


def _callback(row: Any) -> dict[str, Any]:
    body = bytes(row.body).decode(errors="replace")
    names = ("source", "state", "note", "copies", "headers", "received_at")
    return columns(row, *names) | {"id": f"in:{row.id}", "body": body}
