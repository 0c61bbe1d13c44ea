"""Bitcoin addresses of the simulated chain: minted with a valid checksum, and read back strictly.

Must not know wallets, keys or the network: the hashes are random, so nobody can spend what is sent to them.
"""

from __future__ import annotations

import hashlib
import random

HRP = {"main": "bc", "test": "tb", "regtest": "bcrt"}
BASE58_VERSIONS = {"main": (0, 5), "test": (111, 196), "regtest": (111, 196)}

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32, _BECH32M = 1, 0x2BC830A3


class BadAddress(ValueError):
    """The text is no address of the net that was asked for."""


def random_address(net: str, rng: random.Random) -> str:
    """A fresh native segwit v0 key-hash address of `net` (SUBTC contract 4.1: 42 characters on main and test)."""
    return encode_segwit(HRP[net], 0, rng.randbytes(20))


def random_taproot(net: str, rng: random.Random) -> str:
    """A fresh taproot address (BIP-341, BIP-350)."""
    return encode_segwit(HRP[net], 1, rng.randbytes(32))


def encode_segwit(hrp: str, version: int, program: bytes) -> str:
    """The bech32 (v0) or bech32m (v1 and later) text of a witness program (BIP-173, BIP-350)."""
    return bech32(hrp, [version, *words_of(program)], m=_BECH32 if version == 0 else _BECH32M)


def words_of(content: bytes) -> list[int]:
    """Bytes in words of five bits, filled up with zeros."""
    return _regroup(content, 8, 5, pad=True)


def bech32(hrp: str, values: list[int], *, m: int = _BECH32) -> str:
    """The text of words of five bits with its checksum (BIP-173)."""
    residue = _polymod([*_expand(hrp), *values, 0, 0, 0, 0, 0, 0]) ^ m
    checksum = [(residue >> 5 * (5 - place)) & 31 for place in range(6)]
    return hrp + "1" + "".join(_CHARSET[value] for value in values + checksum)


def script_of(address: str, net: str) -> bytes:
    """The output script `address` stands for on `net`; raises BadAddress for a wrong checksum, form or net."""
    if address.lower().startswith(HRP[net] + "1"):
        version, program = _decode_segwit(address, HRP[net])
        return bytes([version + 0x50 if version else 0, len(program)]) + program
    return _base58_script(address, BASE58_VERSIONS[net])


def script_type(script: bytes) -> str:
    """The name Esplora gives to the kind of `script`."""
    if script[:1] == b"\x00":
        return "v0_p2wpkh" if len(script) == 22 else "v0_p2wsh"
    return {0x51: "v1_p2tr", 0x76: "p2pkh", 0xA9: "p2sh"}.get(script[0], "unknown")


def _decode_segwit(address: str, hrp: str) -> tuple[int, bytes]:
    text = address.lower()
    if address not in (text, address.upper()) or not 14 <= len(text) <= 90:
        raise BadAddress("mixed case or impossible length")
    values = [_CHARSET.find(letter) for letter in text[len(hrp) + 1 :]]
    if len(values) < 7 or min(values) < 0:
        raise BadAddress("a letter outside the bech32 alphabet")
    version = values[0]
    if _polymod([*_expand(hrp), *values]) != (_BECH32 if version == 0 else _BECH32M):
        raise BadAddress("wrong checksum")
    program = bytes(_regroup(values[1:-6], 5, 8, pad=False))
    if version > 16 or not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        raise BadAddress("impossible witness program")
    return version, program


def _base58_script(address: str, versions: tuple[int, int]) -> bytes:
    if not 25 <= len(address) <= 36 or any(letter not in _BASE58 for letter in address):
        raise BadAddress("neither bech32 of this net nor base58")
    number = 0
    for letter in address:
        number = number * 58 + _BASE58.index(letter)
    if number.bit_length() > 200:
        raise BadAddress("too long for a base58 address")
    raw = number.to_bytes(25, "big")
    if hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] != raw[21:]:
        raise BadAddress("wrong checksum")
    if raw[0] == versions[0]:
        return b"\x76\xa9\x14" + raw[1:21] + b"\x88\xac"
    if raw[0] == versions[1]:
        return b"\xa9\x14" + raw[1:21] + b"\x87"
    raise BadAddress("an address of another net")


def _expand(hrp: str) -> list[int]:
    return [ord(letter) >> 5 for letter in hrp] + [0] + [ord(letter) & 31 for letter in hrp]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            if top >> place & 1:
                checksum ^= term
    return checksum


def _regroup(values: bytes | list[int], width: int, to_width: int, *, pad: bool) -> list[int]:
    pool, bits, out = 0, 0, []
    for value in values:
        pool, bits = pool << width | value, bits + width
        while bits >= to_width:
            bits -= to_width
            out.append(pool >> bits & (1 << to_width) - 1)
        pool &= (1 << bits) - 1
    if pad and bits:
        out.append(pool << to_width - bits & (1 << to_width) - 1)
    elif not pad and (bits >= width or pool):
        raise BadAddress("wrong padding")
    return out
