"""Addresses of a wallet that only its owner can spend from, derived from public keys: `wpkh`, `tr`, `wsh(sortedmulti)`.

Owns the reading of descriptors (BIP-380 to 389), no laxer than Bitcoin Core's, of extended public keys (BIP-32) in every spelling
that wallets export (SLIP-132), and the address of an index; must not accept a private key, nor remember which index was given out.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from bridge.core.errors import Refused

# No wallet derives further without hardening.
MAX_INDEX = 2**31 - 1

_PLAIN = {"main": bytes.fromhex("0488b21e"), "test": bytes.fromhex("043587cf")}
# The four bytes in front of a key: how its text begins, and whether it is of the real network.
_SPELLINGS = {
    _PLAIN["main"]: ("xpub", "main"),
    bytes.fromhex("049d7cb2"): ("ypub", "main"),
    bytes.fromhex("04b24746"): ("zpub", "main"),
    bytes.fromhex("0295b43f"): ("Ypub", "main"),
    bytes.fromhex("02aa7ed3"): ("Zpub", "main"),
    _PLAIN["test"]: ("tpub", "test"),
    bytes.fromhex("044a5262"): ("upub", "test"),
    bytes.fromhex("045f1cf6"): ("vpub", "test"),
    bytes.fromhex("024289ef"): ("Upub", "test"),
    bytes.fromhex("02575483"): ("Vpub", "test"),
}


@dataclass(frozen=True, kw_only=True)
class Xpub:
    """A public key with its chain code, from which the keys below it follow."""

    sec: bytes
    chain_code: bytes

    def child(self, index: int) -> "Xpub":
        """The key at an unhardened index. The rare index without one (less than 1 in 2^127) raises Refused."""
        from btclib.key import PubKeyData
        from ecc.curves import bytes_from_point, secp256k1, tweak_add_var

        both = hmac.digest(self.chain_code, self.sec + index.to_bytes(4, "big"), "sha512")
        tweak = int.from_bytes(both[:32], "big")
        if tweak >= secp256k1.n:
            raise Refused("bad_descriptor", f"There is no key at index {index}.", field="descriptor")
        point = tweak_add_var(PubKeyData(self.sec).point_var, tweak)
        return Xpub(sec=bytes_from_point(point), chain_code=both[32:])


@dataclass(frozen=True, kw_only=True)
class Spelled:
    """A key as it was written: `prefix` is how its text begins, `plain` the same key as xpub or tpub."""

    prefix: str
    plain: str
    is_main: bool
    key: Xpub

    @property
    def is_plain(self) -> bool:
        return self.prefix in ("xpub", "tpub")


def read_extended(text: str) -> Spelled | None:
    """The key that a text spells (version, depth, parent, index, chain code, key), or None when it spells none."""
    from btclib import base58
    from btclib.exceptions import BTClibException
    from btclib.key import PubKeyData

    try:
        raw = base58.decode(text, 78)
        sec, is_rooted = raw[45:], raw[4] > 0 or raw[5:13] == bytes(8)
        PubKeyData(sec).point_var  # noqa: B018 - the lift proves that the key is on the curve
    except (BTClibException, ValueError):
        return None
    prefix, family = _SPELLINGS.get(raw[:4], ("", ""))
    if not prefix or not is_rooted:
        return None
    plain = base58.encode(_PLAIN[family] + raw[4:]).decode()
    return Spelled(prefix=prefix, plain=plain, is_main=family == "main", key=Xpub(sec=sec, chain_code=raw[13:45]))


# What the id of a wallet begins with that is known by its descriptor.
ID_PREFIX = "own_"
NETWORKS = {"main": "mainnet", "test": "testnet", "signet": "signet", "regtest": "regtest"}
# What OP_CHECKMULTISIG takes, and with it wsh. A sh(…) ends at 15 by the size of its script, but none is known here.
MAX_KEYS = 20

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_INPUT = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_KNOWN = f"Only wpkh(KEY), tr(KEY) and wsh(sortedmulti(K,KEY,…)) with at most {MAX_KEYS} keys are known here"
_WRAPPED = re.compile(
    r"(?P<kind>wpkh|tr)\((?P<key>[^(),]+)\)|wsh\(sortedmulti\((?P<needed>[0-9]{1,2}),(?P<keys>[^()]+)\)\)"
)
_BARE = re.compile(r"(?P<origin>\[[^]]*\])?(?P<key>[xyztuvYZUV]pub[0-9A-Za-z]+)(?P<rest>[/#].*)?")
_KEY = re.compile(r"(?:\[(?P<origin>[^][]*)\])?(?P<key>[0-9A-Za-z]+)(?P<path>/.*)?")
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{8}")
_NUMBER = re.compile(r"(?P<number>[0-9]{1,20})(?P<mark>['hH]?)")
# An extended private key, or a single one as wallets export it (WIF).
_PRIVATE = re.compile(
    r"[xtyzuvYZUV]prv[1-9A-HJ-NP-Za-km-z]{20}|(?<![1-9A-Za-z])[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51}(?![1-9A-Za-z])"
)
# What a bare key is to be written as; wallets begin the text of a key by what they use it for (SLIP-132).
_USES = {
    **dict.fromkeys(("xpub", "tpub"), "write wpkh({key}/0/*) for segwit addresses or tr({key}/0/*) for taproot ones"),
    **dict.fromkeys(("zpub", "vpub"), "write wpkh({key}/0/*)"),
    **dict.fromkeys(
        ("ypub", "upub"), "it is of a wallet of sh(wpkh(…)), not known here; make a segwit or taproot account"
    ),
    **dict.fromkeys(("Zpub", "Vpub"), "it is one KEY of a wsh(sortedmulti(K,KEY,…)), as {key}/0/*"),
    **dict.fromkeys(("Ypub", "Upub"), "it is one key of a sh(wsh(…)), not known here; make a wsh account"),
}


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """One wallet's receiving addresses. `wallet_id` is the same however its text is spelled: it names the first address."""

    kind: str
    keys: tuple[Xpub, ...]
    needed: int
    network: str
    is_change: bool = False

    @cached_property
    def wallet_id(self) -> str:
        return ID_PREFIX + hashlib.sha256(self.address(0).encode()).hexdigest()[:32]

    @property
    def warning(self) -> str:
        """What a person should look at though it can be used; empty when nothing is to be said."""
        return "its addresses are of the branch /1/*, where wallets put their change" if self.is_change else ""

    def address(self, index: int) -> str:
        """The address at an index; the same for ever. Raises Refused beyond the last one."""
        if not 0 <= index <= MAX_INDEX:
            raise Refused("addresses_used_up", "The wallet has no address beyond this index.", field="descriptor")
        children = [key.child(index).sec for key in self.keys]
        return _ADDRESSES[self.kind](children, self.needed, NETWORKS[self.network])


@dataclass(frozen=True, kw_only=True)
class _Branch:
    """Where one key's addresses begin: of so many alternatives in `<…>` the first, at the last step before the /*."""

    key: Xpub
    alternatives: int
    last_step: int | None


def parse_descriptor(text: str, *, network: str, field: str = "descriptor") -> Descriptor:
    """Reads `wpkh(KEY)`, `tr(KEY)` or `wsh(sortedmulti(K,KEY,…))` with its checksum, each KEY an xpub that ends in /*.

    Of a step `<0;1>` the first branch is taken: those are the receiving addresses (BIP-389).
    Raises Refused (private_key, bad_descriptor, wrong_network, bad_checksum): first what the text is, the checksum last.
    No message repeats a private key.
    """
    try:
        return _parsed(text.strip(), network)
    except Refused as wrong:
        raise Refused(wrong.code, wrong.detail, field=field) from None


def _parsed(text: str, network: str) -> Descriptor:
    _refuse_other_texts(text)
    body, mark, checksum = text.partition("#")
    match = _WRAPPED.fullmatch(body)
    if match is None:
        raise _bad(_unknown(body))
    texts = [match["key"]] if match["key"] else match["keys"].split(",")
    needed = int(match["needed"] or 1)
    if len(texts) > MAX_KEYS:
        raise _bad(f"A wsh(sortedmulti) of {len(texts)} keys cannot be: it holds at most {MAX_KEYS}.")
    if not 1 <= needed <= len(texts):
        raise _bad(f"{needed} signatures of {len(texts)} keys cannot be.")
    branches = [_branch(each, network) for each in texts]
    if len({each.alternatives for each in branches} - {1}) > 1:
        raise _bad("The steps <…;…> of the keys must hold equally many alternatives: all keys take the same one.")
    _check_checksum(body, mark, checksum)
    is_change = all(each.last_step == 1 for each in branches)
    keys = tuple(each.key for each in branches)
    return Descriptor(kind=match["kind"] or "wsh", keys=keys, needed=needed, network=network, is_change=is_change)


def _refuse_other_texts(text: str) -> None:
    """What people paste instead of one descriptor is called by its name."""
    if _PRIVATE.search(text):
        detail = "This holds a private key. The bridge takes public keys alone: export the watch-only descriptor."
        raise Refused("private_key", detail)
    words = text.split()
    if len(words) > 1 and all("(" in word for word in words):
        raise _bad(f"These are {len(words)} descriptors: give the first (receiving) one, the others are for change.")
    if len(words) > 1:
        raise _bad("A descriptor holds no space and no line break.")
    bare = _BARE.fullmatch(text)
    if bare is not None:
        raise _bad(_said_of_bare(bare))
    if "@" in text:
        raise _bad("This is a wallet policy (BIP-388): write each key for its @ number, and /<0;1>/* for /**.")
    if "/**" in text:
        raise _bad("/** is short for both branches: that is /<0;1>/*, write it so.")


def _said_of_bare(bare: re.Match[str]) -> str:
    spelled, prefix = read_extended(bare["key"]), bare["key"][:4]
    if spelled is None:
        return f"This is a bare {prefix}, not a descriptor, and a character of it was lost or changed."
    use = _USES[spelled.prefix].format(key=(bare["origin"] or "") + spelled.plain)
    return f"This is a bare {prefix}, not a descriptor;{_plain_form(spelled)} {use}."


def _plain_form(spelled: Spelled) -> str:
    return "" if spelled.is_plain else f" its {spelled.plain[:4]} form is {spelled.plain};"


def _unknown(body: str) -> str:
    """Which of the known kinds it nearly is, if any."""
    if body.startswith("wsh("):
        return "Of wsh(…) only sortedmulti(K,KEY,…) is known here."
    if body.startswith("tr("):
        return "Of tr(…) only a single KEY without a tree of scripts is known here."
    return f"{_KNOWN}."


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


def _check_checksum(body: str, mark: str, given: str) -> None:
    """It must be there and right."""
    wanted = checksum_of(body)
    if not mark:
        detail = f"The checksum is missing. Copy it from the wallet; for exactly this text it is #{wanted}."
        raise Refused("bad_checksum", detail)
    if not hmac.compare_digest(wanted.encode(), given.encode()):
        raise Refused("bad_checksum", "The checksum does not fit: a character was lost or changed.")


def _branch(text: str, network: str) -> _Branch:
    """One key expression: an optional origin, an xpub or tpub, unhardened steps, and the wildcard at the end."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise _bad("A key is an xpub with its path, such as [73c5da0a/84h/0h/0h]xpub…/0/*.")
    if match["origin"] is not None:
        _check_origin(match["origin"])
    key = _key(match["key"], network)
    *path, last = (match["path"] or "").split("/")
    if last[:1] == "*" and last != "*":
        raise _bad("The last /* is hardened: no public key leads there.")
    if last != "*":
        raise _bad("A key ends in /*, such as xpub…/0/*: else every invoice would have the same address.")
    steps = [_step(each) for each in path[1:]]
    if sum(len(each) > 1 for each in steps) > 1:
        raise _bad("A key holds two steps <…;…>: only one may have alternatives.")
    for step in steps:
        key = key.child(step[0])
    alternatives = max((len(each) for each in steps), default=1)
    return _Branch(key=key, alternatives=alternatives, last_step=steps[-1][0] if steps else None)


def _check_origin(origin: str) -> None:
    fingerprint, *steps = origin.split("/")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise _bad("The origin [ ] of a key begins with the eight hexadecimal digits of its fingerprint.")
    for step in steps:
        _number(step, may_harden=True)


def _step(text: str) -> tuple[int, ...]:
    """The alternatives of one step: a single one, or several different ones in `<…;…>`."""
    if not (text.startswith("<") and text.endswith(">")):
        return (_number(text, may_harden=False),)
    if ";" not in text:
        raise _bad("A step <…> holds at least two alternatives, such as <0;1>.")
    numbers = tuple(_number(each, may_harden=False) for each in text[1:-1].split(";"))
    if len(set(numbers)) < len(numbers):
        raise _bad("A step <…;…> holds the same alternative twice.")
    return numbers


def _number(text: str, *, may_harden: bool) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _bad("A step of the path is no number; each is one, a <0;1>, or the * at the end.")
    if match["mark"] == "H":
        raise _bad("A capital H marks no hardened step: write h or ', then take the new checksum.")
    if match["mark"] and not may_harden:
        raise _bad("A step behind the xpub is hardened: no public key leads there; export the key of the account.")
    if int(match["number"]) > MAX_INDEX:
        raise _bad(f"A step of the path is above {MAX_INDEX}, the largest index.")
    return int(match["number"])


def _key(text: str, network: str) -> Xpub:
    spelled = read_extended(text)
    if spelled is None:
        raise _bad("A key is not an extended public key (xpub or tpub), or a character of it was lost or changed.")
    if not spelled.is_plain:
        raise _bad(f"A key is written as {spelled.prefix};{_plain_form(spelled)} write that in its place.")
    if spelled.is_main != (network == "main"):
        raise Refused("wrong_network", f"The descriptor's key is not of the network {network!r}.")
    return spelled.key


def _bad(detail: str) -> Refused:
    return Refused("bad_descriptor", detail)


def _wpkh(children: list[bytes], _needed: int, network: str) -> str:
    from btclib import b32
    from btclib.key import PubKeyData

    return b32.p2wpkh(PubKeyData(children[0], network))


def _tr(children: list[bytes], _needed: int, network: str) -> str:
    from btclib import b32
    from btclib.key import PubKeyData
    from btclib.script.taproot import output_pubkey

    return b32.p2tr(output_pubkey(PubKeyData(children[0], network))[0], network)


def _wsh(children: list[bytes], needed: int, network: str) -> str:
    """BIP-67: the keys in the order of their bytes, so that every signer builds the same script."""
    from btclib import b32

    pushes = b"".join(b"\x21" + sec for sec in sorted(children))
    script = _count(needed) + pushes + _count(len(children)) + b"\xae"
    return b32.address_from_witness(0, hashlib.sha256(script).digest(), network)


def _count(number: int) -> bytes:
    """A number as a script pushes it: one opcode up to 16, above it a byte of its own."""
    return bytes([0x50 + number]) if number <= 16 else bytes([1, number])


_ADDRESSES: dict[str, Callable[[list[bytes], int, str], str]] = {"wpkh": _wpkh, "tr": _tr, "wsh": _wsh}
