"""What a payer is told: the scene of an invoice with its four sentences, and its figures worked out for people.

Owns the way from a view to its scene, and how an amount is explained; must not hold a sentence (the catalogues do), decide about
money nor change an amount: what is due was fixed by the quote.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.kinds import SCENES, Scene
from bridge.core.money import btc_text, minor_text
from bridge.core.offering import BITCOIN
from bridge.invoices.pay import PayView
from bridge.invoices.ways import OFFERED, REFUSED, ShownWay
from bridge.language import Texts
from bridge.web.context import Shop

MINUTES_PER_BLOCK = 10


@dataclass(frozen=True, kw_only=True)
class Story:
    """One view told in one language."""

    key: str
    scene: Scene
    title: str
    happened: str
    service: str
    next: str
    you: str
    shows_address: bool
    can_requote: bool


def tell(view: PayView, texts: Texts, *, shop_name: str, opened: ShownWay, key: str | None = None) -> Story:
    """The story of `view`; `key` forces a scene that only the request knows of, such as a price that cannot be had.

    `opened` is the way that is open on the page.
    """
    key = key or scene_key(view)
    scene = SCENES[key]
    values = _values(view, texts, shop_name=shop_name)
    sentences = {name: texts(f"kinds.{key}.page.{name}", **values) for name in ("title", "happened", "next", "you")}
    sentences |= {name: texts(f"ways.{told}.{name}", **values) for name, told in _by_way(view, key, opened)}
    is_open = view.hold is None and view.status in ("new", "expired") and view.closed_at is None
    return Story(
        key=key,
        scene=scene,
        service=texts(f"service.{scene.service}"),
        shows_address=scene.may_pay and view.shown_sat > 0,
        can_requote=scene.may_requote and is_open and not view.is_quote_active,
        **sentences,
    )


def scene_key(view: PayView) -> str:
    """The reason, told apart where the same reason leaves the payer with something else to do."""
    if view.shown_sat > 0 and not _is_good_address(view):
        return "suspicious_address"
    if view.reason == "partial":
        if view.hold is not None:
            return "partial_held"
        if view.shown_sat > 0:
            return "partial"
        # The worker may not have written the expiry yet; a new price would come too late already.
        is_over = view.now >= datetime.fromisoformat(view.invoice["expires_at"])
        return "partial_expired" if is_over else "partial_lapsed"
    if view.reason == "replaced" and view.shown_sat == 0:
        return "replaced_over"
    return view.reason


def _by_way(view: PayView, key: str, opened: ShownWay) -> Iterator[tuple[str, str]]:
    """The sentences that are others because of a way: name and under which name the catalogue has them."""
    paid = {payment["way"] for payment in view.payments if not payment["replaced"]}
    beside = sorted(paid - {BITCOIN})
    its = f"by.{opened.way}.page"
    if key == "overpaid" and len(paid) > 1:
        yield "happened", f"by.{beside[0]}.page.paid_twice" if len(beside) == 1 else "page.paid_twice"
    elif key in ("settled", "overpaid") and len(paid) == len(beside) == 1:
        yield "happened", f"by.{beside[0]}.page.{'paid' if key == 'settled' else 'paid_more'}"
    elif SCENES[key].may_pay and view.shown_sat > 0 and (opened.way != BITCOIN or opened.state != OFFERED):
        if opened.way != BITCOIN and opened.state != REFUSED:
            yield "next", f"{its}.offered"
        # What to do about a payment that was replaced comes before any way to pay again.
        if key != "replaced":
            yield "you", "page.refused" if opened.state == REFUSED else f"{its}.{opened.state}"
        if key == "awaiting_payment":
            yield "happened", f"{its}.offered" if opened.state == OFFERED else "page.possible"


def _is_good_address(view: PayView) -> bool:
    """The last look before a payer sees it: checksum and network (SUBTC contract 4.2 names no guard but the prefix)."""
    try:
        return bool(check_payable(view.invoice["address"], network=view.invoice["network"]))
    except Refused:
        return False


def _values(view: PayView, texts: Texts, *, shop_name: str) -> dict[str, str]:
    needed = max(view.confirmations_needed, 1)
    missing = max(needed - view.confirmations_seen, 1)
    came = [(p["way"] == BITCOIN, p["amount_sat"]) for p in view.payments if not p["replaced"]]
    return {
        "bitcoin": btc_text(sum(sat for is_first, sat in came if is_first)),
        "beside": btc_text(sum(sat for is_first, sat in came if not is_first)),
        "received": btc_text(view.invoice["received_sat"]),
        "remaining": btc_text(view.invoice["remaining_sat"]),
        "seen": str(view.confirmations_seen),
        "needed": texts.count("confirmation", needed),
        "of_needed": texts.count("of_confirmation", needed),
        "minutes": texts.count("minute", missing * MINUTES_PER_BLOCK),
        "shop": shop_name,
    }


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


def excess_parts(view: PayView) -> list[tuple[str, int, str]]:
    """What was too much: what becomes of each part, its satoshi and their money, which add up."""
    told, before_sat, before_minor, parts = view.statement, 0, 0, []
    for state, sat in view.excess_parts:
        minor = told.excess_minor * (before_sat + sat) // told.excess_sat - before_minor
        before_sat, before_minor = before_sat + sat, before_minor + minor
        parts.append((state, sat, minor_text(minor, view.invoice["currency"])))
    return parts


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


def shown_payments(view: PayView, shop: Shop, sums: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every payment seen, the vanished ones too: the payer should find what his wallet shows. One that the chain does not know has a
    key instead of a txid, and counts no confirmations. `line` is its line of `sums`, the statement's; what vanished has none.
    """
    lines = {line["key"]: line for line in sums["payments"]}
    return [
        payment
        | {
            "has_depth": payment["confirmations"] is not None,
            "explorer_url": shop.explorer_url(payment["txid"]) if payment["txid"] else "",
            "first_seen_at": datetime.fromisoformat(payment["first_seen_at"]),
            "line": lines.get(payment["key"]),
        }
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
