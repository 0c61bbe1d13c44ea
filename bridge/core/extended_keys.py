"""Extended public keys (BIP-32) in every spelling that wallets export (SLIP-132), and the keys that follow from them.

Owns their decoding and public derivation; must not accept a private key, nor say what a key is used for.
"""

import hmac
from dataclasses import dataclass

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
