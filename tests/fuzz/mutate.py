"""New inputs from old ones: bytes turned, cut and joined, and JSON with one value replaced by a nasty one.

Owns the mutations; must not know a target. The same seed gives the same inputs.
"""

import json
import random
from typing import Any

NASTY_BYTES = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"%00", b"%2e%2e%2f", b"../", b"'\"<script>", b"=cmd|' /C calc'!A0",
    b"99999999999999999999", b"-1", b"1e999", b"NaN", b"0x10", "\u0661".encode(), "\u202e".encode(), b"\r\n", b"\x1f",
)  # fmt: skip
NASTY_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 2**64, 10**40, -(10**40), 1.5, "", " ", "0", "-0", "1e5", "\u0000", "\ud800", "\u0661\u0662",
    "a" * 5_000, [], {}, [[]], [None], {"": ""}, "true", "NaN", "10.00\n", "USD", "../..", "=1+1",
)  # fmt: skip
LONGEST = 20_000


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """One new input near `seed`, at most LONGEST bytes."""
    if chance.random() < 0.5 and (changed := _json(seed, chance)) is not None:
        return changed[:LONGEST]
    raw = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        chance.choice(_MOVES)(raw, chance)
    return bytes(raw[:LONGEST])


def _json(seed: bytes, chance: random.Random) -> bytes | None:
    try:
        tree = json.loads(seed)
    except (ValueError, RecursionError):
        return None
    places = list(_places(tree))
    if not places:
        return json.dumps(chance.choice(NASTY_VALUES)).encode()
    for _ in range(chance.choice((1, 1, 1, 2))):
        parent, key = chance.choice(places)
        try:
            _change(parent, key, chance)
        except (KeyError, IndexError):
            continue  # an earlier change took this place away
    return json.dumps(tree).encode()


def _change(parent: Any, key: Any, chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[key + chance.choice(("", " ", "x", "\u0000"))] = chance.choice(NASTY_VALUES)
        case 2:
            parent[key] = [parent[key]] * chance.choice((1, 2, 50))
        case _:
            parent[key] = chance.choice(NASTY_VALUES)


def _places(tree: Any) -> Any:
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from _places(value)


def _flip(raw: bytearray, chance: random.Random) -> None:
    if raw:
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


def _insert(raw: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(raw) + 1)
    raw[at:at] = chance.choice(NASTY_BYTES)


def _cut(raw: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(raw) + 1)
    del raw[at : at + chance.randrange(1, 20)]


def _repeat(raw: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(raw) + 1)
    raw[at:at] = raw[at : at + 40] * chance.choice((1, 3, 100))


def _replace(raw: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(raw) + 1)
    nasty = chance.choice(NASTY_BYTES)
    raw[at : at + len(nasty)] = nasty


def _end(raw: bytearray, chance: random.Random) -> None:
    del raw[chance.randrange(len(raw) + 1) :]


_MOVES = (_flip, _insert, _cut, _repeat, _replace, _end)
