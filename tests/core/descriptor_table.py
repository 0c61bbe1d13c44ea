"""Descriptors and what is to be said of each; the real node of tests/node is asked about the same ones.

Owns the table; must not know who reads it.
"""

from itertools import product

from btclib import base58

# The account keys of BIP-84's and BIP-86's words, and two keys of BIP-32's second vector, as test networks write them.
_MAIN = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V",
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ",
    "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5",
    "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV",
)


def spelled(key: str, version: str) -> str:
    """The same key with the version bytes of another prefix."""
    return base58.encode(bytes.fromhex(version) + base58.decode(key, 78)[4:]).decode()


A, B, C, D = (spelled(key, "043587cf") for key in _MAIN)
VPUB = spelled(A, "045f1cf6")
ORIGIN = "[73c5da0a/84h/1h/0h]"


def several(count: int, needed: int = 1) -> str:
    keys = [f"{key}/{step}/*" for step, key in product(range(6), (A, B, C, D))][:count]
    return f"wsh(sortedmulti({needed},{','.join(keys)}))"


ACCEPTED = [
    f"wpkh({A}/0/*)",
    f"wpkh({A}/*)",
    f"wpkh({ORIGIN}{A}/0/*)",
    f"wpkh([73C5DA0A/84'/1h/0']{A}/0/*)",
    f"wpkh([73c5da0a]{A}/0/*)",
    f"wpkh([73c5da0a/2147483647h]{A}/2147483647/*)",
    f"wpkh({A}/<0;1>/*)",
    f"wpkh({A}/<1;0>/*)",
    f"wpkh({A}/1/*)",
    f"wpkh({A}/00/*)",
    f"wpkh({A}/5/<0;1;2>/7/*)",
    f"tr({ORIGIN}{B}/<0;1>/*)",
    f"wsh(sortedmulti(2,{A}/<0;1>/*,{B}/<2;3>/*,{C}/4/*))",
    f"wsh(sortedmulti(2,{A}/<0;1;2>/*,{B}/<5;4;3>/*))",
    f"wsh(sortedmulti(1,{A}/0/*))",
    f"wsh(sortedmulti(02,{A}/0/*,{B}/0/*))",
    several(15, 11),
    several(16, 16),
    several(17, 17),
    several(20, 1),
    several(20, 20),
]

# Refused here and by Bitcoin Core: the text, and a part of the sentence.
REFUSED = [
    (f"wpkh({A}/<0;0>/*)", "the same alternative twice"),
    (f"wpkh({A}/<0;1;0>/*)", "the same alternative twice"),
    (f"wpkh({A}/<0;00>/*)", "the same alternative twice"),
    (f"wpkh({A}/<0;1>/<2;3>/*)", "two steps <…;…>"),
    (f"wpkh({A}/<0;1>/0/<0;1>/*)", "two steps <…;…>"),
    (f"wsh(sortedmulti(1,{A}/<0;1>/*,{B}/<2;3;4>/*))", "equally many alternatives"),
    (f"wsh(sortedmulti(1,{A}/<0;1>/*,{B}/0/*,{C}/<2;3;4>/*))", "equally many alternatives"),
    (f"wpkh({A}/2147483648/*)", "above 2147483647"),
    (f"wpkh({A}/<0;2147483648>/*)", "above 2147483647"),
    (f"wpkh({A}/4294967296/*)", "above 2147483647"),
    (f"wpkh([73c5da0a/2147483648]{A}/0/*)", "above 2147483647"),
    (f"wpkh([73c5da0a/2147483648h]{A}/0/*)", "above 2147483647"),
    (f"wpkh([73c5da0a/84H/1H/0H]{A}/0/*)", "capital H"),
    (f"wpkh({A}/0H/*)", "capital H"),
    (f"wpkh({A}/0/*H)", "is hardened"),
    (f"wpkh({A}/<0>/*)", "at least two alternatives"),
    (f"wpkh({A}/<>/*)", "at least two alternatives"),
    (f"wpkh({A}/<0;>/*)", "no number"),
    (f"wpkh({A}/<0;1/*)", "no number"),
    (f"wpkh({A}/0;1>/*)", "no number"),
    (f"wpkh({A}/-1/*)", "no number"),
    (f"wpkh({A}//*)", "no number"),
    (f"wpkh({A}/*/0/*)", "no number"),
    (f"wpkh({A}/٣/*)", "no number"),
    (f"wpkh({A}/*/0)", "ends in /*"),
    (f"wpkh({A}/**)", "that is /<0;1>/*"),
    (f"wsh(sortedmulti(2,{A}/**,{B}/**))", "that is /<0;1>/*"),
    ("wpkh(@0/**)", "wallet policy (BIP-388)"),
    ("wpkh(@0/<0;1>/*)", "wallet policy (BIP-388)"),
    (f"wpkh([73c5da0a/]{A}/0/*)", "no number"),
    (f"wpkh([73c5da0a/*]{A}/0/*)", "no number"),
    (f"wpkh([73c5da0a/<0;1>]{A}/0/*)", "no number"),
    (f"wpkh([73c5da0/84h]{A}/0/*)", "eight hexadecimal digits"),
    (f"wpkh([73c5da0a][73c5da0a]{A}/0/*)", "an xpub with its path"),
    (f"wpkh({A[:-1]}/0/*)", "not an extended public key"),
    (f"wpkh({VPUB}/0/*)", f"its tpub form is {A};"),
    (several(21), "21 keys cannot be: it holds at most 20"),
    (several(2, 0), "0 signatures of 2 keys"),
    (several(2, 3), "3 signatures of 2 keys"),
    (several(16).replace("wsh(", "sh("), "at most 20 keys are known here"),
    (A, f"wpkh({A}/0/*)"),
    (f"{ORIGIN}{A}/0/*", f"tr({ORIGIN}{A}/0/*)"),
    (VPUB, f"its tpub form is {A}; write wpkh({A}/0/*)."),
    (f"wpkh({A}/0/*)\nwpkh({A}/1/*)", "give the first (receiving) one"),
    (f"wpkh({A}/0/ *)", "no space"),
    ("", "Only wpkh(KEY)"),
    ("bcrt1qqjsf6q3kaduz2uj9nseq8t2u7z42v6dcace6n7", "Only wpkh(KEY)"),
]

# Good enough for Bitcoin Core and not for us, by what is said.
NOT_OURS = [
    (f"pkh({A}/0/*)", "Only wpkh(KEY)"),
    (f"sh(wpkh({A}/0/*))", "Only wpkh(KEY)"),
    (f"sh(wsh(sortedmulti(1,{A}/0/*)))", "Only wpkh(KEY)"),
    (several(15).replace("wsh(", "sh("), "at most 20 keys are known here"),
    (f"wsh(multi(1,{A}/0/*))", "only sortedmulti"),
    (f"tr({A}/0/*,pk({B}/0/*))", "without a tree of scripts"),
    (f"wpkh({A}/0)", "ends in /*"),
    (f"wpkh({A})", "ends in /*"),
    (f"wpkh({A}/0h/*)", "behind the xpub is hardened"),
    (f"wpkh({A}/<0h;1h>/*)", "behind the xpub is hardened"),
    (f"wpkh({A}/0/*')", "The last /* is hardened"),
    ("wpkh(02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5)", "not an extended public key"),
    ("addr(bcrt1qqjsf6q3kaduz2uj9nseq8t2u7z42v6dcace6n7)", "Only wpkh(KEY)"),
]
