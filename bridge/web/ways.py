"""The ways to pay as the page shows them: the tabs, the way that is open, and what a wallet needs for it.

Owns which one is open and its link and code; must not offer one (`invoices.offer_beside` does), nor ask for another sum than the
price's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.core.offering import BITCOIN, LIGHTNING
from bridge.invoices.pay import PayView
from bridge.invoices.present import time_text
from bridge.invoices.ways import OFFERED, POSSIBLE, REFUSED, ShownWay
from bridge.language import Texts
from bridge.web.figures import ends_of, groups_of_four
from bridge.web.qr import plain_qr_svg, qr_svg, qr_text


@dataclass(frozen=True, kw_only=True)
class OpenWay:
    """The way that is open on a page, and `tabs` to all of them, none where there is one way only.

    `note` says why it cannot be had, or not now. `makes` is the way that the page's script may ask for by itself. `expires_at` is
    of the price, or of what is offered where that ends before it.
    """

    way: str
    state: str
    tabs: Sequence[ShownWay]
    note: str
    makes: str
    was_made: bool
    expires_at: str
    wallet: dict[str, Any] | None


def open_way(view: PayView, texts: Texts, *, asked: str, refused: str) -> OpenWay:
    """`asked` is the way that the payer chose; `refused` is the code of what was just asked for in vain."""
    shown = way_of(view, asked)
    earlier = [each for each in view.invoice["ways"] if each["way"] == shown.way]
    is_offered = shown.state == OFFERED
    ends = [view.invoice["quote"]["expires_at"]]
    ends += [time_text(shown.expires_at)] if is_offered and shown.expires_at is not None else []
    return OpenWay(
        way=shown.way,
        state=shown.state,
        tabs=view.ways if len(view.ways) > 1 else (),
        note=_note(view, shown, texts, refused=refused),
        makes=next((each.way for each in view.ways if each.state == POSSIBLE), ""),
        was_made=any(datetime.fromisoformat(each["expires_at"]) <= view.now for each in earlier),
        expires_at=min(ends),
        wallet=_wallet(view, shown, texts) if is_offered else None,
    )


def way_of(view: PayView, asked: str) -> ShownWay:
    """The way that is asked for, else the first that can be had."""
    by_name = {each.way: each for each in view.ways}
    return by_name.get(asked) or next((each for each in view.ways if each.state != REFUSED), view.ways[0])


def unified(view: PayView, shown: ShownWay) -> str:
    """The wallet's link to `shown`. That to the address has the Lightning invoice too: each wallet takes what it can (BIP-321)."""
    beside = next((each for each in view.ways if each.way == LIGHTNING and each.state == OFFERED), None)
    return shown.uri if shown.way != BITCOIN or beside is None else f"{shown.uri}&lightning={beside.text}"


def _note(view: PayView, shown: ShownWay, texts: Texts, *, refused: str) -> str:
    if shown.state == REFUSED:
        return texts(f"ways.refused.{shown.code}")
    # The code comes from an address that anybody may write: what was made meanwhile says more.
    if not refused or all(each.state == OFFERED for each in view.ways):
        return ""
    return texts("ways.busy" if refused == "offering_in_progress" else "ways.failed")


def _wallet(view: PayView, shown: ShownWay, texts: Texts) -> dict[str, Any]:
    """What a wallet needs. Link, code and text always ask for the same."""
    link, network = unified(view, shown), view.invoice["network"]
    label = "labels.qr" if shown.way == BITCOIN else "ways.qr"
    return {
        "text": shown.text,
        "groups": groups_of_four(shown.text) if shown.way == BITCOIN else [],
        "ends": ends_of(shown.text),
        "link": link,
        "is_for_both": link != shown.uri,
        "qr_text": qr_text(link, network=network),
        "qr_svg": qr_svg(link, network=network, label=texts(label)),
        "plain_svg": plain_qr_svg(shown.text, label=texts("labels.plain_qr")) if shown.way == BITCOIN else "",
    }
