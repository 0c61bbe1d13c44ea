"""What `make test` leaves to continuous integration: the same once more, on the other engine or with other luck.

Owns the one switch, the variable CI that `.ci/run` sets; must not thin out what is tested nowhere else.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

WHOLE = "CI" in os.environ
ENGINES = ("sqlite", "postgresql")


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
