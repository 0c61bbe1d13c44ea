"""What `make test` leaves to continuous integration: the same once more, on the other engine or with other luck.

Owns the one switch, the variable CI that `.ci/run` sets; must not thin out what is tested nowhere else.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

WHOLE = "CI" in os.environ
ENGINES = ("sqlite", "postgresql")
# The folders of tests that are about the engines themselves.
ON_BOTH = ("store", "upgrade", "durability", "drills")


def on_engines(cases: Iterable[Sequence[Any]], *, whole: bool = WHOLE) -> list[tuple[Any, ...]]:
    """Values for `engine_name` and what follows: each case on both engines, or on one of them in turn."""
    return [
        (engine, *case)
        for number, case in enumerate(cases)
        for engine in (ENGINES if whole else (ENGINES[number % len(ENGINES)],))
    ]


def one_in(step: int, cases: Sequence[Any], *, whole: bool = WHOLE) -> Sequence[Any]:
    """All cases, or the first and every `step`-th after it."""
    return cases if whole else cases[::step]


def in_turn(cases: Iterable[str], *, whole: bool = WHOLE) -> set[str]:
    """Of these ids of tests, those to leave: where one is there for both engines, one of the two, however a run is narrowed."""
    twins: dict[str, dict[str, str]] = {}
    for case in () if whole else cases:
        named = _ENGINE.search(case)
        if named and case.split("/")[1] not in ON_BOTH:
            twins.setdefault(_ENGINE.sub("", case, count=1), {})[named[0]] = case
    return {each[ENGINES[crc32(key.encode()) % 2]] for key, each in twins.items() if len(each) == len(ENGINES)}


_ENGINE = re.compile(rf"(?<=[\[-])({'|'.join(ENGINES)})(?=[]-])")
