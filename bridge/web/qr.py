"""The QR code of a payment request, as SVG inside the page.

Owns its text and its density; must not change what a wallet reads.
"""

import io
from typing import Any

import segno

from bridge.core.addresses import check_address
from bridge.core.offering import LIGHTNING

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
    if scheme == LIGHTNING:
        return (link.upper(),)
    address, mark, tail = rest.partition("?")
    is_bech32 = check_address(address, network=network).witness_version is not None
    head = f"{scheme}:{address}"
    plain, name, invoice = tail.partition("lightning=")
    return (head.upper() if is_bech32 else head), mark + plain + name, invoice.upper()
