"""Payment requests of the emulated Lightning nodes: written and signed here, and taken apart as far as a payer must.

Must not know wallets or time; whoever makes one says everything that is in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ecc.ecc import dsa

from sandbox.addresses import bech32, words_of

PREFIXES = {"main": "bc", "test": "tb", "signet": "tbs", "regtest": "bcrt"}
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
# Onion and payment secret are required, sums in parts may come (BOLT 9): 8, 14 and 17.
_FEATURES = 1 << 8 | 1 << 14 | 1 << 17
# A pico-bitcoin is a tenth of a millisatoshi; the largest unit that says the sum in whole numbers is taken.
_UNITS = (("", 10**11), ("m", 10**8), ("u", 10**5), ("n", 10**2))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one request says."""

    prefix: str
    payment_hash: str
    made_at: int
    amount_msat: int | None = None
    expiry_s: int = 3_600
    memo: str = ""
    secret: bytes = b"\x11" * 32


def write(asked: Asked, *, private_key: int) -> str:
    """The request's text, signed."""
    head = f"ln{asked.prefix}{'' if asked.amount_msat is None else _sum(asked.amount_msat)}"
    fields = [
        ("p", words_of(bytes.fromhex(asked.payment_hash))),
        ("s", words_of(asked.secret)),
        ("d", words_of(asked.memo.encode()[:639])),
        ("x", _number(asked.expiry_s)),
        ("c", _number(18)),
        ("9", _number(_FEATURES)),
    ]
    words = _number(asked.made_at, width=7)
    for tag, content in fields:
        words += [_CHARSET.index(tag), *_number(len(content), width=2), *content]
    pair, key_id = dsa.sign_recoverable(head.encode() + _filled(words), private_key)
    signature = pair.r.to_bytes(32, "big") + pair.s.to_bytes(32, "big") + bytes([key_id])
    return bech32(head, words + words_of(signature))


def public_key(private_key: int) -> str:
    """The node that signs with it."""
    pair, key_id = dsa.sign_recoverable(b"", private_key)
    return dsa.recover_sec(key_id, b"", pair).hex()


def payment_hash_of(text: str) -> str:
    """The hash that a payer of `text` pays for. Raises ValueError for what is no request."""
    text = text.lower()
    words = [_CHARSET.find(letter) for letter in text[text.rfind("1") + 1 : -6]]
    if not text.startswith("ln") or len(words) < 111 or min(words) < 0:
        raise ValueError("no payment request")
    words = words[7:-104]
    while len(words) >= 3:
        tag, size = words[0], words[1] << 5 | words[2]
        if _CHARSET[tag] == "p" and size == 52:
            return _filled(words[3:55])[:32].hex()
        words = words[3 + size :]
    raise ValueError("no payment request")


def hash_of(preimage: bytes) -> str:
    return hashlib.sha256(preimage).hexdigest()


def _sum(msat: int) -> str:
    for letter, unit in _UNITS:
        if msat % unit == 0:
            return f"{msat // unit}{letter}"
    return f"{msat * 10}p"


def _number(number: int, *, width: int = 0) -> list[int]:
    words: list[int] = []
    while number or len(words) < width or not words:
        words.insert(0, number & 31)
        number >>= 5
    return words


def _filled(words: list[int]) -> bytes:
    """Words of five bits as bytes, filled up with zeros."""
    number, bits = 0, len(words) * 5
    for word in words:
        number = number << 5 | word
    fill = -bits % 8
    return (number << fill).to_bytes((bits + fill) // 8, "big")
