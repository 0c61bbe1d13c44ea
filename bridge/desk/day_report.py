"""The report of one day: expected, received, confirmed, settled, refunded, under review, with figures that add up.

Owns the definitions; they rest on journals, which never change, so an old day says the same for ever. None of these
figures is revenue: what is settled is a client's prepayment.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.ledger import RECEIVING
from bridge.core.money import BTC, minor_text
from bridge.invoices.present import time_text
from bridge.store import counts, ledger

Moved = Mapping[tuple[str, str, str], int]
Balances = Mapping[tuple[str, str], int]


# What must be equal on every day, in the names of its satoshi.
SUMS = (
    "opening_waiting + received = settled + excess + refund_due + closing_waiting",
    "opening_unconfirmed + received = confirmed + closing_unconfirmed",
    "closing_waiting = under_review + in_progress",
)


def report(bridge: Bridge, day: date, *, days: int = 1, merchant: str | None = None) -> dict[str, Any]:
    """The day of the books, or as many days from it on, of one merchant or of all. Raises Refused("bad_period")."""
    try:
        from_at, to_at = (bridge.calendar.begin_of(each) for each in (day, day + timedelta(days=days)))
    except OverflowError:
        raise Refused("bad_period", "The calendar ends before these days do.", field="day") from None
    return period_report(bridge, from_at=from_at, to_at=to_at, merchant=merchant)


def period_report(bridge: Bridge, *, from_at: datetime, to_at: datetime, merchant: str | None = None) -> dict[str, Any]:
    """The same over any period: satoshi under "sat", expected money by currency, counts, and the sums that hold."""
    with bridge.store.read() as tx:
        moved = ledger.moved(tx, from_at=from_at, to_at=to_at, merchant=merchant)
        opening = ledger.balances_at(tx, from_at, merchant=merchant)
        closing = ledger.balances_at(tx, to_at, merchant=merchant)
        counted = counts.of_period(tx, from_at=from_at, to_at=to_at, merchant=merchant)
        review_sat = counts.under_review_sat(tx, at=to_at, merchant=merchant)
    sat = _satoshi(moved, opening, closing, review_sat)
    return {
        "from": time_text(from_at),
        "to": time_text(to_at),
        "merchant": merchant,
        "counts": counted,
        "expected": _expected(moved, opening, closing),
        "sat": sat,
        "sums": [_sum(each, sat) for each in SUMS],
    }


def _of(moved: Moved, account: str, *kinds: str) -> int:
    wanted = {*kinds, *(f"{kind}_reverse" for kind in kinds)}
    return sum(
        units for (kind, name, asset), units in moved.items() if name == account and asset == BTC and kind in wanted
    )


def _satoshi(moved: Moved, opening: Balances, closing: Balances, review_sat: int) -> dict[str, int]:
    waiting_sat = -closing.get(("customer:unallocated", BTC), 0)
    return {
        "opening_waiting": -opening.get(("customer:unallocated", BTC), 0),
        "received": -_of(moved, "customer:unallocated", "detect"),
        "confirmed": sum(_of(moved, account, "capture") for account in RECEIVING),
        "opening_unconfirmed": opening.get(("inflight:unconfirmed", BTC), 0),
        "closing_unconfirmed": closing.get(("inflight:unconfirmed", BTC), 0),
        "settled": _of(moved, "customer:unallocated", "settle"),
        "excess": _of(moved, "customer:unallocated", "over"),
        "refund_due": _of(moved, "customer:unallocated", "refund_due", "refund_approve"),
        "refunded": _of(moved, "refunds_payable", "refund_send"),
        "fees": sum(_of(moved, account, "refund_send", "sweep_send") for account in ("provider_fee", "network_fee")),
        "under_review": review_sat,
        "in_progress": waiting_sat - review_sat,
        "closing_waiting": waiting_sat,
    }


def _sum(name: str, sat: Mapping[str, int]) -> dict[str, Any]:
    left, right = (sum(sat[each] for each in side.split(" + ")) for side in name.split(" = "))
    return {"name": name, "left": left, "right": right, "ok": left == right}


def _expected(moved: Moved, opening: Balances, closing: Balances) -> dict[str, dict[str, str]]:
    """Money asked for by currency: open at the beginning, asked anew, no longer asked (settled or given up), still open."""
    currencies = {asset for account, asset in (*opening, *closing) if account == "reserved"}
    currencies |= {asset for _, account, asset in moved if account == "reserved"}
    shown = {}
    for currency in sorted(currencies):
        asked = moved.get(("reserve", "reserved", currency), 0)
        ended = -moved.get(("release", "reserved", currency), 0)
        figures = {
            "opening": opening.get(("reserved", currency), 0),
            "asked": asked,
            "ended": ended,
            "closing": closing.get(("reserved", currency), 0),
        }
        shown[currency] = {name: minor_text(minor, currency) for name, minor in figures.items()}
    return shown
