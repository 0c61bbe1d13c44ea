"""Checks a Bitcoin address and a gateway wallet id against the one network this process serves.

Owns checksum, prefix and witness rules (BIP-173, BIP-350, base58check); must not ask anybody about an address.
"""

import re
from dataclasses import dataclass

from bridge.core.errors import Refused

NETWORKS = ("main", "test", "signet", "regtest")

# test and signet share every prefix, so an address alone cannot tell them apart.
_HRP = {"main": "bc", "test": "tb", "signet": "tb", "regtest": "bcrt"}
_BASE58_FAMILY = {"main": "mainnet", "test": "testnet", "signet": "testnet", "regtest": "testnet"}
_WALLET_ID = re.compile(r"(?P<prefix>wm|wt|w)_[A-Za-z0-9]{1,128}")
_LONGEST_ADDRESS = 90


_LIGHTNING = re.compile(r"(?i)\s*(?:lightning:|ln[a-z0-9]{5}|[^\s@]+@)")


def is_lightning(text: str) -> bool:
    """Whether a text is meant for Lightning: a payment request or a Lightning address. Nothing of it is checked."""
    return _LIGHTNING.match(text) is not None


@dataclass(frozen=True, kw_only=True)
class Address:
    """One address in its canonical spelling. `kind` "future" is valid but has no spending rules yet: never pay it."""

    text: str
    kind: str
    witness_version: int | None
    script_hex: str


def check_address(text: str, *, network: str, field: str = "address") -> Address:
    """Return the address in canonical spelling, or raise Refused `bad_address` or `wrong_network` naming `field`.

    Bech32 is returned in lower case; base58 keeps its case because there it carries meaning.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}")
    if not isinstance(text, str) or not text.isascii() or not text.isalnum() or len(text) > _LONGEST_ADDRESS:
        raise Refused("bad_address", "This is not a Bitcoin address.", field=field)
    address, belongs = _segwit(text, network) or _base58(text, network) or (None, False)
    if address is None:
        raise Refused("bad_address", "This is not a Bitcoin address, or it was mistyped.", field=field)
    if not belongs:
        raise Refused("wrong_network", f"This address is not of the network {network!r}.", field=field)
    return address


def check_payable(text: str, *, network: str, field: str = "address") -> Address:
    """Like `check_address`, and also refuse witness versions without spending rules: anybody could take that money."""
    address = check_address(text, network=network, field=field)
    if address.kind == "future":
        raise Refused("bad_address", "This kind of address cannot be spent from yet.", field=field)
    return address


def check_wallet_net(wallet_id: str, network: str) -> None:
    """Raise Refused unless the wallet id may belong to `network` (SUBTC contract 4.1, 9.2).

    A bare `w_` id says nothing certain: V4.2 gave it to both networks, so there only the address prefix can guard.
    """
    match = _WALLET_ID.fullmatch(wallet_id)
    if match is None:
        raise Refused("bad_wallet_id", "This is not a gateway wallet id.", field="wallet_id")
    if (match["prefix"] == "wm" and network != "main") or (match["prefix"] == "wt" and network == "main"):
        raise Refused("wrong_network", f"This wallet is not of the network {network!r}.", field="wallet_id")


def _segwit(text: str, network: str) -> tuple[Address, bool] | None:
    from btclib import b32
    from btclib.exceptions import BTClibTypeError, BTClibValueError

    try:
        version, program, _ = b32.witness_from_address(text)
    except (BTClibValueError, BTClibTypeError):
        return None
    canonical = text.lower()
    opcode = version + 0x50 if version else 0
    script_hex = bytes([opcode, len(program)]).hex() + program.hex()
    kind = _segwit_kind(version, len(program))
    address = Address(text=canonical, kind=kind, witness_version=version, script_hex=script_hex)
    return address, canonical.rpartition("1")[0] == _HRP[network]


def _segwit_kind(version: int, size: int) -> str:
    if version == 0:
        return "p2wpkh" if size == 20 else "p2wsh"
    return "p2tr" if version == 1 and size == 32 else "future"


def _base58(text: str, network: str) -> tuple[Address, bool] | None:
    from btclib import b58
    from btclib.exceptions import BTClibTypeError, BTClibValueError

    try:
        kind, digest, family = b58.h160_from_address(text)
    except (BTClibValueError, BTClibTypeError):
        return None
    script_hex = f"76a914{digest.hex()}88ac" if kind == "p2pkh" else f"a914{digest.hex()}87"
    address = Address(text=text, kind=str(kind), witness_version=None, script_hex=script_hex)
    return address, family == _BASE58_FAMILY[network]
