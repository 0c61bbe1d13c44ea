"""A BOLT11 payment request from its text, and whether it is what was asked for: network, sum, expiry, a signature that holds.

Owns the format (BOLT 11, held to its published vectors); must not ask anybody, nor hold a clock.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from btclib import bech32
from btclib.exceptions import BTClibTypeError, BTClibValueError
from ecc.ecc import dsa
from ecc.exceptions import EccException

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.errors import Refused
from bridge.core.money import MAX_MONEY_SAT

MSAT = 1_000
# Our names of the networks by what follows "ln".
NETWORKS = {"bc": "main", "tb": "test", "tbs": "signet", "bcrt": "regtest"}

_HEAD = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([1-9][0-9]{0,17})([munp]?))?")
# Millisatoshi in one unit of a sum; a pico-bitcoin is a tenth of one.
_MSAT_OF = {"": 10**11, "m": 10**8, "u": 10**5, "n": 10**2}
# The most that a QR code holds, and longer than any wallet makes one.
_LONGEST = 4_296
_SIGNATURE_WORDS, _TIME_WORDS = 104, 7
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
# Fields of another length than this are passed over.
_WORDS_OF = {"p": 52, "s": 52, "h": 52, "n": 53}
_ONCE = frozenset("pshndx9c")
# Of the fallback addresses that have versions which we know: what follows is a script's or a key's hash.
_FALLBACK_WORDS = {0: (33, 53), 17: (33,), 18: (33,)}
# Even bits that a payer must know (BOLT 9, context 9): onion, secret, parts, blinded routes, metadata.
_KNOWN_FEATURES = frozenset({8, 14, 16, 24, 48})
_DEFAULT_EXPIRY_SECONDS = 3_600
# One that says more lasts longer than anything here is watched.
_MOST_EXPIRY_SECONDS = 10**9


@dataclass(frozen=True, kw_only=True)
class Bolt11:
    """One payment request. `text` is in lower case; `amount_msat` None: the payer chooses. `payee` is the node's public key."""

    text: str
    network: str
    payment_hash: str
    amount_msat: int | None
    made_at: datetime
    expires_at: datetime
    payee: str
    description: str | None = None
    description_hash: str | None = None


def judged(
    text: str,
    *,
    network: str,
    due_msat: int,
    now: datetime | None,
    expires_at: datetime | None = None,
    field: str = "bolt11",
) -> Bolt11:
    """The request when it is one of `network` for exactly `due_msat` that can still be paid, and not after `expires_at`.
    Without `now` whoever pays it judges whether it still can be.

    Raises Refused naming `field`: `bad_bolt11`, `wrong_network`, `no_amount`, `wrong_amount`, `bolt11_expired` or
    `bolt11_expires_late`. Clocks may differ by what `core.clock` lets them.
    """
    asked = decoded(text, field=field)
    latest = expires_at + CLOCK_TOLERANCE if expires_at is not None else None
    conditions = (
        ("wrong_network", asked.network != network, f"This invoice is of the network {asked.network}, not {network}."),
        ("no_amount", asked.amount_msat is None, "This invoice names no sum."),
        ("wrong_amount", asked.amount_msat != due_msat, f"This invoice is for another sum than {due_msat} msat."),
        ("bolt11_expired", now is not None and asked.expires_at <= now, "This invoice has expired."),
        ("bolt11_expires_late", latest is not None and asked.expires_at > latest, "This invoice can be paid too long."),
    )
    for code, applies, detail in conditions:
        if applies:
            raise Refused(code, detail, field=field)
    return asked


def decoded(text: str, *, field: str = "bolt11") -> Bolt11:
    """What the request says. Raises Refused `bad_bolt11` for what a payer must not pay, whatever is wrong with it."""
    try:
        return _decoded(text)
    except _Unpayable as wrong:
        raise Refused("bad_bolt11", f"This is no Lightning invoice that can be paid: {wrong}.", field=field) from None


class _Unpayable(Exception):
    """Why, in words for a person."""


def _decoded(text: str) -> Bolt11:
    if not isinstance(text, str) or not text.isascii() or len(text) > _LONGEST:
        raise _Unpayable("it is too long or has characters that none has")
    try:
        head, words = bech32.decode(text, bech32.BECH32_1_CONST)
    except (BTClibValueError, BTClibTypeError):
        raise _Unpayable("its checksum is wrong") from None
    said = _HEAD.fullmatch(head)
    if said is None:
        raise _Unpayable("its beginning names no network, or no sum, that is known")
    if len(words) < _TIME_WORDS + _SIGNATURE_WORDS:
        raise _Unpayable("it is too short")
    signed, signature = words[:-_SIGNATURE_WORDS], words[-_SIGNATURE_WORDS:]
    found = _fields(signed[_TIME_WORDS:])
    made_at = datetime.fromtimestamp(_number(signed[:_TIME_WORDS]), UTC)
    expiry = _number(found["x"]) if "x" in found else _DEFAULT_EXPIRY_SECONDS
    return Bolt11(
        text=text.lower(),
        network=NETWORKS[said[1]],
        payment_hash=_bytes(found["p"]).hex(),
        amount_msat=_msat(int(said[2]), said[3]) if said[2] else None,
        made_at=made_at,
        expires_at=made_at + timedelta(seconds=min(expiry, _MOST_EXPIRY_SECONDS)),
        payee=_payee(head.encode() + _bytes(signed, pad=True), _bytes(signature), found.get("n")),
        description=_text(found["d"]) if "d" in found else None,
        description_hash=_bytes(found["h"]).hex() if "h" in found else None,
    )


def _msat(number: int, unit: str) -> int:
    msat, rest = divmod(number, 10) if unit == "p" else (number * _MSAT_OF[unit], 0)
    if rest:
        raise _Unpayable("its sum is not whole millisatoshi")
    if msat > MAX_MONEY_SAT * MSAT:
        raise _Unpayable("its sum is more than there is")
    return msat


def _fields(words: Sequence[int]) -> dict[str, Sequence[int]]:
    """What is said once and must be, or may be; checked as far as a payer has to."""
    found: dict[str, Sequence[int]] = {}
    for tag, content in _tagged(words):
        if tag == "f" and content and content[0] in _FALLBACK_WORDS and len(content) not in _FALLBACK_WORDS[content[0]]:
            raise _Unpayable("its fallback address has a wrong length")
        if tag not in _ONCE or len(content) != _WORDS_OF.get(tag, len(content)):
            continue
        if tag in found:
            # One wallet takes the first, another the last: nobody could say what is paid.
            raise _Unpayable(f"its field {tag} is there twice")
        found[tag] = content
    if "p" not in found or "s" not in found or ("d" in found) == ("h" in found):
        raise _Unpayable("a field that each has is missing")
    bits = _number(found.get("9", ()))
    unknown = [bit for bit in range(0, bits.bit_length(), 2) if bits >> bit & 1 and bit not in _KNOWN_FEATURES]
    if unknown:
        raise _Unpayable(f"it asks for the feature {unknown[0]}, which is not known here")
    return found


def _tagged(words: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    place = 0
    while place < len(words):
        content = words[place + 3 :][: _number(words[place + 1 : place + 3])]
        if len(words) < place + 3 + _number(words[place + 1 : place + 3]):
            raise _Unpayable("a field of it is cut off")
        yield _ALPHABET[words[place]], content
        place += 3 + len(content)


def _payee(message: bytes, signature: bytes, named: Sequence[int] | None) -> str:
    """The node's key: the one that it names if it does, else the one that its signature gives."""
    try:
        pair = dsa.Sig(int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]))
        if named is None:
            return dsa.recover_sec(signature[64], message, pair).hex()
        key = _bytes(named)
        if dsa.verify(message, key, pair):
            return key.hex()
    except (EccException, ValueError):
        pass
    raise _Unpayable("its signature does not hold")


def _number(words: Sequence[int]) -> int:
    number = 0
    for word in words:
        number = number << 5 | word
    return number


def _bytes(words: Sequence[int], *, pad: bool = False) -> bytes:
    """Whole bytes; what is left over is cut off, or filled with zeros where a signature is over it."""
    left_over = len(words) * 5 % 8
    number, bits = _number(words), len(words) * 5
    if not left_over:
        return number.to_bytes(bits // 8)
    if pad:
        return (number << 8 - left_over).to_bytes(bits // 8 + 1)
    return (number >> left_over).to_bytes(bits // 8)


def _text(words: Sequence[int]) -> str:
    try:
        return _bytes(words).decode()
    except UnicodeDecodeError:
        raise _Unpayable("its description is no text") from None
