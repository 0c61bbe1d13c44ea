"""What a payer is told: the scene of an invoice and its four sentences.

Owns the way from a view to its scene; must not hold a sentence (the catalogues do) nor decide about money.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.kinds import SCENES, Scene
from bridge.core.money import btc_text
from bridge.core.offering import BITCOIN, LIGHTNING
from bridge.invoices.pay import PayView
from bridge.invoices.ways import OFFERED, POSSIBLE, REFUSED, ShownWay
from bridge.language import Texts

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
    sentences |= {name: texts(f"ways.page.{told}.{name}", **values) for name, told in _by_way(view, key, opened)}
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
    if key == "overpaid" and len(paid) > 1:
        yield "happened", "paid_twice"
    elif key in ("settled", "overpaid") and paid == {LIGHTNING}:
        yield "happened", "paid" if key == "settled" else "paid_more"
    elif SCENES[key].may_pay and view.shown_sat > 0 and (opened.way == LIGHTNING or opened.state != OFFERED):
        if opened.way == LIGHTNING and opened.state != REFUSED:
            yield "next", OFFERED
        # What to do about a payment that was replaced comes before any way to pay again.
        if key != "replaced":
            yield "you", opened.state
        if key == "awaiting_payment":
            yield "happened", OFFERED if opened.state == OFFERED else POSSIBLE


def _is_good_address(view: PayView) -> bool:
    """The last look before a payer sees it: checksum and network (SUBTC contract 4.2 names no guard but the prefix)."""
    try:
        return bool(check_payable(view.invoice["address"], network=view.invoice["network"]))
    except Refused:
        return False


def _values(view: PayView, texts: Texts, *, shop_name: str) -> dict[str, str]:
    needed = max(view.confirmations_needed, 1)
    missing = max(needed - view.confirmations_seen, 1)
    by_way = {
        way: sum(p["amount_sat"] for p in view.payments if p["way"] == way and not p["replaced"])
        for way in (BITCOIN, LIGHTNING)
    }
    return {
        **{way: btc_text(sat) for way, sat in by_way.items()},
        "received": btc_text(view.invoice["received_sat"]),
        "remaining": btc_text(view.invoice["remaining_sat"]),
        "seen": str(view.confirmations_seen),
        "needed": texts.count("confirmation", needed),
        "of_needed": texts.count("of_confirmation", needed),
        "minutes": texts.count("minute", missing * MINUTES_PER_BLOCK),
        "shop": shop_name,
    }
