"""The figures of a pay page, worked out for people.

Owns how an amount is explained; must not change one: what is due was fixed by the quote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bridge.core.money import minor_text
from bridge.invoices.pay import PayView
from bridge.web.context import Shop

_LINK = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ToPay:
    """What `shown_sat` is made of, in decimal text of the invoice's currency: `worth` = `order` + `surcharge`. In satoshi it is the
    newest price's less what came at it already (`here_sat`) and `rounding_sat`.
    """

    worth: str
    order: str
    surcharge: str
    has_surcharge: bool
    here_sat: int
    rounding_sat: int


@dataclass(frozen=True, kw_only=True)
class ShownPayment:
    """One payment for the payer's eyes. One over Lightning has a payment hash instead of a txid, and counts no confirmations. `line`
    is its line of the statement; what vanished has none.
    """

    way: str
    amount_sat: int
    confirmations: int
    has_depth: bool
    txid: str
    payment_hash: str
    explorer_url: str
    replaced: bool
    first_seen_at: datetime
    line: Mapping[str, Any] | None


def excess_parts(view: PayView) -> list[tuple[int, str]]:
    """What was too much, in satoshi and money: what the payer asked for, all of it before he did, and what came beside that."""
    told = view.statement
    first_sat = min(view.excess_asked_sat, told.excess_sat) or told.excess_sat
    first_minor = told.excess_minor * first_sat // (told.excess_sat or 1)
    parts = [(first_sat, first_minor), (told.excess_sat - first_sat, told.excess_minor - first_minor)]
    return [(sat, minor_text(minor, view.invoice["currency"])) for sat, minor in parts if sat]


def to_pay(view: PayView) -> ToPay:
    """What is to be paid now; the order's part is what of its amount is open."""
    told, currency = view.statement, view.invoice["currency"]
    newest = told.newest
    # Where less is missing than the network carries, the smallest sum that it does is asked for.
    is_missing = view.shown_sat == told.missing_sat
    worth_minor = told.charge_open_minor if is_missing else newest.owed_minor(view.shown_sat)
    here_sat = sum(line.used_sat for line in told.lines if line.version == newest.version)
    return ToPay(
        worth=minor_text(worth_minor, currency),
        order=minor_text(told.missing_minor, currency),
        surcharge=minor_text(worth_minor - told.missing_minor, currency),
        has_surcharge=worth_minor > told.missing_minor,
        here_sat=here_sat,
        rounding_sat=view.shown_sat - newest.due_sat + here_sat,
    )


def shown_payments(view: PayView, shop: Shop, sums: Mapping[str, Any]) -> list[ShownPayment]:
    """Every payment seen, the vanished ones too: the payer should find what his wallet shows. `sums` are the statement's."""
    lines = {line["key"]: line for line in sums["payments"]}
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
            line=lines.get(payment["key"]),
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


def elsewhere_link(return_url: str) -> str:
    """Where the order can be paid another way: BILLmanager's list of the client's payments, whose pages of one payment are what its
    module gives as return address; of any other shop that address itself.
    """
    address = urlsplit(page_link(return_url))
    asked = dict(parse_qsl(address.query))
    is_of_one_payment = asked.get("func", "").startswith("payment.")
    return address._replace(query="func=payment", fragment="").geturl() if is_of_one_payment else address.geturl()


def _time(text: str | datetime) -> datetime:
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)
