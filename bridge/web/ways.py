"""The ways to pay as the page shows them: the tabs, the way that is open, what a wallet needs for it, and the QR code of that.

Owns which one is open, its link and the code's text and density; must not offer one (`invoices.offer_beside` does), ask for another
sum than the price's, nor change what a wallet reads.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import segno

from bridge.core.addresses import check_address
from bridge.core.offering import BITCOIN, LIGHTNING
from bridge.invoices.pay import PayView
from bridge.invoices.present import time_text
from bridge.invoices.ways import OFFERED, POSSIBLE, REFUSED, ShownWay
from bridge.language import Texts
from bridge.web.story import ends_of, groups_of_four


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
        return texts(f"ways.refused.{shown.code}", way=texts(f"story.ways.{shown.way}"))
    beside = next((way for way in (shown.way, *(each.way for each in view.ways)) if way != BITCOIN), "")
    # The code comes from an address that anybody may write: what was made meanwhile says more.
    if not refused or not beside or all(each.state == OFFERED for each in view.ways):
        return ""
    return texts(f"ways.by.{beside}.{'busy' if refused == 'offering_in_progress' else 'failed'}")


def _wallet(view: PayView, shown: ShownWay, texts: Texts) -> dict[str, Any]:
    """What a wallet needs. Link, code and text always ask for the same."""
    link, network = unified(view, shown), view.invoice["network"]
    label = "labels.qr" if shown.way == BITCOIN else f"ways.by.{shown.way}.qr"
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


# A longer text is a coarser code with less spare: a screen is clean, and a camera fails at small modules first.
_LONG = 120


def qr_text(link: str, *, network: str) -> str:
    """The wallet link as the code holds it: scheme, bech32 address and Lightning invoice in upper case, which makes the code
    coarser.

    Base58 keeps its case, there it carries meaning; so does what else is behind the question mark (BIP-21).
    """
    return "".join(_parts(link, network=network))


def qr_svg(link: str, *, network: str, label: str) -> str:
    """The code as an <svg> element that any page may hold, with a quiet zone of four modules."""
    parts = [part for part in _parts(link, network=network) if part]
    is_long = len(link) > _LONG
    # A sequence of segments is what the encoder takes, though its stub says text.
    segments: Any = [(part, None, None) for part in parts]
    code = segno.make(segments, micro=False, error="l" if is_long else "m", boost_error=is_long)
    return _svg(code, label)


def plain_qr_svg(text: str, *, label: str) -> str:
    """Any text as a code, as an <svg> element that any page may hold."""
    return _svg(segno.make(text, micro=False, error="m", boost_error=False), label)


def _svg(code: segno.QRCode, label: str) -> str:
    out = io.BytesIO()
    code.save(
        out, kind="svg", xmldecl=False, svgns=False, svgclass="qr", lineclass=None, omitsize=True, title=label, border=4
    )
    return out.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)


def _parts(link: str, *, network: str) -> tuple[str, ...]:
    """What may be upper-cased and what not by turns: segments of the code, each in its densest mode."""
    scheme, _, rest = link.partition(":")
    if scheme != BITCOIN:
        return (link.upper() if scheme == LIGHTNING else link,)
    address, mark, tail = rest.partition("?")
    is_bech32 = check_address(address, network=network).witness_version is not None
    head = f"{scheme}:{address}"
    plain, name, invoice = tail.partition("lightning=")
    return (head.upper() if is_bech32 else head), mark + plain + name, invoice.upper()
