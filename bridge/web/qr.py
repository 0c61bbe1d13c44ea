"""The QR code of a payment request, as SVG inside the page.

Owns its text and its density; must not change what a wallet reads.
"""

import io

import segno

from bridge.core.addresses import check_address


def qr_text(bip21: str, *, network: str) -> str:
    """The wallet link as the code holds it: scheme and bech32 address in upper case, which makes the code coarser.

    Base58 keeps its case, there it carries meaning; so does everything behind the question mark (BIP-21).
    """
    return "".join(_parts(bip21, network=network))


def qr_svg(bip21: str, *, network: str, label: str) -> str:
    """The code as an <svg> element that any page may hold, with a quiet zone of four modules."""
    parts = [part for part in _parts(bip21, network=network) if part]
    # A sequence of segments is what the encoder takes, though its stub says text.
    code = segno.make([(part, None, None) for part in parts], micro=False, error="m", boost_error=False)  # type: ignore[arg-type]
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


def _parts(bip21: str, *, network: str) -> tuple[str, str]:
    """What may be upper-cased, and the rest: two segments of the code, each in its densest mode."""
    head, mark, tail = bip21.partition("?")
    address = head.removeprefix("bitcoin:")
    is_bech32 = check_address(address, network=network).witness_version is not None
    return (head.upper() if is_bech32 else head), mark + tail
