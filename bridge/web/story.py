"""What a payer is told: the scene of an invoice and its four sentences.

Owns the way from a view to its scene; must not hold a sentence (the catalogues do) nor decide about money.
"""

from dataclasses import dataclass
from datetime import datetime

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.kinds import SCENES, Scene
from bridge.core.money import btc_text
from bridge.invoices.pay import PayView
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


def tell(view: PayView, texts: Texts, *, shop_name: str, key: str | None = None) -> Story:
    """The story of `view`; `key` forces a scene that only the request knows of, such as a price that cannot be had."""
    key = key or scene_key(view)
    scene = SCENES[key]
    values = _values(view, texts, shop_name=shop_name)
    sentences = {name: texts(f"kinds.{key}.page.{name}", **values) for name in ("title", "happened", "next", "you")}
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


def _is_good_address(view: PayView) -> bool:
    """The last look before a payer sees it: checksum and network (SUBTC contract 4.2 names no guard but the prefix)."""
    try:
        return bool(check_payable(view.invoice["address"], network=view.invoice["network"]))
    except Refused:
        return False


def _values(view: PayView, texts: Texts, *, shop_name: str) -> dict[str, str]:
    needed = max(view.confirmations_needed, 1)
    missing = max(needed - view.confirmations_seen, 1)
    return {
        "received": btc_text(view.invoice["received_sat"]),
        "remaining": btc_text(view.invoice["remaining_sat"]),
        "seen": str(view.confirmations_seen),
        "needed": texts.count("confirmation", needed),
        "of_needed": texts.count("of_confirmation", needed),
        "minutes": texts.count("minute", missing * MINUTES_PER_BLOCK),
        "shop": shop_name,
    }
