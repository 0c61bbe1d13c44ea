"""Addresses of a wallet that only its owner can spend from, derived from public keys: `wpkh`, `tr`, `wsh(sortedmulti)`.

Owns the reading of descriptors (BIP-380 to 389), public derivation (BIP-32) and the address of an index; must not
accept a private key, nor remember which index was given out.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from btclib import b32, base58
from btclib.exceptions import BTClibException
from btclib.key import PubKeyData
from btclib.script.taproot import output_pubkey
from ecc.curves import bytes_from_point, secp256k1, tweak_add_var

from bridge.core.errors import Refused
from bridge.core.ledger import OWN_WALLET

NETWORKS = {"main": "mainnet", "test": "testnet", "signet": "signet", "regtest": "regtest"}
# No wallet derives further without hardening, and no bridge opens so many invoices.
MAX_INDEX = 2**31 - 1
MAX_KEYS = 15

_XPUB, _TPUB = bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_INPUT = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_WRAPPED = re.compile(
    r"(?P<kind>wpkh|tr)\((?P<key>[^(),]+)\)|wsh\(sortedmulti\((?P<needed>\d{1,2}),(?P<keys>[^()]+)\)\)"
)
_ORIGIN = re.compile(r"\[[0-9a-f]{8}(?:/\d+['h]?)*\]", re.IGNORECASE)
_PATH = re.compile(r"(?:/(?:\d{1,10}|<\d{1,10}(?:;\d{1,10})+>))*/\*")
# An extended private key, or a single one as wallets export it (WIF).
_PRIVATE = re.compile(
    r"[xtyzuvYZUV]prv[1-9A-HJ-NP-Za-km-z]{20}|(?<![1-9A-Za-z])[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51}(?![1-9A-Za-z])"
)


@dataclass(frozen=True, kw_only=True)
class Xpub:
    """A public key with its chain code, from which the keys below it follow (BIP-32)."""

    sec: bytes
    chain_code: bytes

    def child(self, index: int) -> "Xpub":
        """The key at an unhardened index. The rare index without one (less than 1 in 2^127) raises Refused."""
        both = hmac.digest(self.chain_code, self.sec + index.to_bytes(4, "big"), "sha512")
        tweak = int.from_bytes(both[:32], "big")
        if tweak >= secp256k1.n:
            raise Refused("bad_descriptor", f"There is no key at index {index}.", field="descriptor")
        point = tweak_add_var(PubKeyData(self.sec).point_var, tweak)
        return Xpub(sec=bytes_from_point(point), chain_code=both[32:])


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """One wallet's receiving addresses. `wallet_id` is the same however its text is spelled: it names the first address."""

    kind: str
    keys: tuple[Xpub, ...]
    needed: int
    network: str

    @cached_property
    def wallet_id(self) -> str:
        return OWN_WALLET + hashlib.sha256(self.address(0).encode()).hexdigest()[:32]

    def address(self, index: int) -> str:
        """The address at an index; the same for ever. Raises Refused beyond the last one."""
        if not 0 <= index <= MAX_INDEX:
            raise Refused("addresses_used_up", "The wallet has no address beyond this index.", field="descriptor")
        children = [key.child(index).sec for key in self.keys]
        return _ADDRESSES[self.kind](children, self.needed, NETWORKS[self.network])


def parse_descriptor(text: str, *, network: str, field: str = "descriptor") -> Descriptor:
    """Reads `wpkh(KEY)`, `tr(KEY)` or `wsh(sortedmulti(K,KEY,…))` with its checksum, each KEY an xpub that ends in /*.

    Of a step `<0;1>` the first branch is taken: those are the receiving addresses (BIP-389).
    Raises Refused (private_key, bad_checksum, bad_descriptor, wrong_network); no message repeats a key.
    """
    if _PRIVATE.search(text):
        detail = "This holds a private key. The bridge takes public keys alone: export the watch-only descriptor."
        raise Refused("private_key", detail, field=field)
    body = _checked(text.strip(), field)
    match = _WRAPPED.fullmatch(body)
    if match is None:
        detail = "Only wpkh(KEY), tr(KEY) and wsh(sortedmulti(K,KEY,…)) are known."
        raise Refused("bad_descriptor", detail, field=field)
    kind = match["kind"] or "wsh"
    texts = [match["key"]] if match["key"] else match["keys"].split(",")
    needed = int(match["needed"] or 1)
    if not 1 <= needed <= len(texts) <= MAX_KEYS:
        raise Refused("bad_descriptor", "So many signatures of so many keys cannot be.", field=field)
    keys = tuple(_key(each, network, field) for each in texts)
    return Descriptor(kind=kind, keys=keys, needed=needed, network=network)


def checksum_of(body: str) -> str:
    """The eight characters of BIP-380 after the `#`. Raises ValueError for a character no descriptor has."""
    symbols, classes = [], list[int]()
    for character in body:
        position = _INPUT.index(character)
        symbols.append(position & 31)
        classes.append(position >> 5)
        if len(classes) == 3:
            symbols.append(classes[0] * 9 + classes[1] * 3 + classes[2])
            classes.clear()
    if classes:
        symbols.append(classes[0] if len(classes) == 1 else classes[0] * 3 + classes[1])
    total = _polymod([*symbols, *[0] * 8]) ^ 1
    return "".join(_CHARSET[(total >> (5 * (7 - place))) & 31] for place in range(8))


def _polymod(symbols: list[int]) -> int:
    check = 1
    for symbol in symbols:
        top = check >> 35
        check = (check & 0x7FFFFFFFF) << 5 ^ symbol
        for place, generator in enumerate(_GENERATOR):
            check ^= generator if (top >> place) & 1 else 0
    return check


def _checked(text: str, field: str) -> str:
    """The text without its checksum, which must be there and right."""
    body, mark, given = text.partition("#")
    try:
        wanted = checksum_of(body)
    except ValueError:
        raise Refused("bad_descriptor", "A descriptor holds no such character.", field=field) from None
    if not mark:
        detail = f"The checksum is missing. Copy it from the wallet; for exactly this text it is #{wanted}."
        raise Refused("bad_checksum", detail, field=field)
    if not hmac.compare_digest(wanted, given):
        raise Refused("bad_checksum", "The checksum does not fit: a character was lost or changed.", field=field)
    return body


def _key(text: str, network: str, field: str) -> Xpub:
    """One key expression: an optional origin, an xpub or tpub, unhardened steps, and the wildcard at the end."""
    bare = _ORIGIN.sub("", text, count=1) if text.startswith("[") else text
    encoded, slash, rest = bare.partition("/")
    if not slash or not _PATH.fullmatch(slash + rest):
        detail = "A key is an xpub followed by steps without hardening and a last /*, such as xpub…/0/*."
        raise Refused("bad_descriptor", detail, field=field)
    key = _xpub(encoded, network, field)
    for step in rest.split("/")[:-1]:
        index = int(step.strip("<>").split(";")[0])
        if index > MAX_INDEX:
            raise Refused("bad_descriptor", "A step of the path is too large.", field=field)
        key = key.child(index)
    return key


def _xpub(encoded: str, network: str, field: str) -> Xpub:
    """The 78 bytes of BIP-32: version, depth, parent, index, chain code, key."""
    try:
        raw = base58.decode(encoded, 78)
        version, depth, sec = raw[:4], raw[4], raw[45:]
        is_rooted = depth > 0 or raw[5:13] == bytes(8)
        if version not in (_XPUB, _TPUB) or not is_rooted:
            raise ValueError
        PubKeyData(sec).point_var  # noqa: B018 - the lift proves that the key is on the curve
    except (BTClibException, ValueError):
        detail = "A key is not an extended public key (xpub or tpub); a ypub or zpub is written as xpub."
        raise Refused("bad_descriptor", detail, field=field) from None
    if (version == _XPUB) != (network == "main"):
        raise Refused("wrong_network", f"The descriptor's key is not of the network {network!r}.", field=field)
    return Xpub(sec=sec, chain_code=raw[13:45])


def _wpkh(children: list[bytes], _needed: int, network: str) -> str:
    return b32.p2wpkh(PubKeyData(children[0], network))


def _tr(children: list[bytes], _needed: int, network: str) -> str:
    return b32.p2tr(output_pubkey(PubKeyData(children[0], network))[0], network)


def _wsh(children: list[bytes], needed: int, network: str) -> str:
    """BIP-67: the keys in the order of their bytes, so that every signer builds the same script."""
    pushes = b"".join(b"\x21" + sec for sec in sorted(children))
    script = bytes([0x50 + needed]) + pushes + bytes([0x50 + len(children)]) + b"\xae"
    return b32.address_from_witness(0, hashlib.sha256(script).digest(), network)


_ADDRESSES: dict[str, Callable[[list[bytes], int, str], str]] = {"wpkh": _wpkh, "tr": _tr, "wsh": _wsh}
