"""The figures of a pay page, worked out for people.

Owns how an amount is explained; must not change one: what is due was fixed by the quote.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from bridge.core.money import minor_text, to_minor
from bridge.invoices.pay import PayView
from bridge.web.context import Shop

_BASIS = 10_000
_LINK = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """How the quote's satoshi came about, in decimal text of the invoice's currency."""

    base: str
    risk: str
    risk_percent: str
    fee_buffer: str
    together: str
    shown: str
    has_buffers: bool


@dataclass(frozen=True, kw_only=True)
class ShownPayment:
    """One payment for the payer's eyes. One over Lightning has a payment hash instead of a txid, and counts no confirmations."""

    way: str
    amount_sat: int
    confirmations: int
    has_depth: bool
    txid: str
    payment_hash: str
    explorer_url: str
    replaced: bool
    first_seen_at: datetime


def breakdown(view: PayView) -> Breakdown:
    """The parts of the newest quote; `shown` is what `shown_sat` is worth of it, both rounded up to a minor unit."""
    currency = view.invoice["currency"]
    base, fee_buffer = to_minor(view.base, currency), _minor(view.fee_buffer, currency)
    risk = -(-base * view.risk_bps // _BASIS)
    together = base + risk + fee_buffer
    due_sat = view.invoice["quote"]["due_sat"]
    shown = -(-together * view.shown_sat // due_sat)
    return Breakdown(
        base=view.base,
        risk=minor_text(risk, currency),
        risk_percent=_percent(view.risk_bps),
        fee_buffer=view.fee_buffer,
        together=minor_text(together, currency),
        shown=minor_text(shown, currency),
        has_buffers=together != base,
    )


def shown_payments(view: PayView, shop: Shop) -> list[ShownPayment]:
    """Every payment seen, the vanished ones too: the payer should find what his wallet shows."""
    return [
        ShownPayment(
            way=payment["way"],
            amount_sat=payment["amount_sat"],
            confirmations=payment["confirmations"] or 0,
            has_depth=payment["confirmations"] is not None,
            txid=payment["txid"] or "",
            payment_hash=payment["payment_hash"] or "",
            explorer_url=shop.explorer_url(payment["txid"]) if payment["txid"] else "",
            replaced=payment["replaced"],
            first_seen_at=_time(payment["first_seen_at"]),
        )
        for payment in view.payments
    ]


def groups_of_four(address: str) -> list[str]:
    """An address as people compare it."""
    return [address[i : i + 4] for i in range(0, len(address), 4)]


def ends_of(address: str) -> list[str]:
    """The groups a person should compare: the first, and the last with at least four characters in all."""
    groups = groups_of_four(address)
    return [groups[0], *(groups[-1:] if len(groups[-1]) == 4 else groups[-2:])]


def page_link(url: str) -> str:
    """The shop's return address if it is a plain web address, else nothing: never javascript: or the like."""
    return url if _LINK.fullmatch(url) else ""


def _minor(text: str, currency: str) -> int:
    return to_minor(text, currency) if text.strip("0.") else 0


def _percent(bps: int) -> str:
    """Hundredths of a percent as percent, without idle zeros: 100 is "1", 125 is "1.25"."""
    return minor_text(bps, "USD").rstrip("0").rstrip(".")


def _time(text: str | datetime) -> datetime:
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)
