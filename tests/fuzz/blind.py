"""Mutation without knowing what is reached: the way where atheris does not install.

Owns the loop; exit code 1 when there is a finding.
"""

import random
import time
from collections import Counter

from tests.fuzz.findings import attempt, grown_of, keep_finding, seeds_of
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target


def run(known: dict[str, Target], *, seconds: int) -> int:
    """Throws mutated inputs at every target until the time is over."""
    chance = random.Random()
    counted: Counter[str] = Counter()
    seeds = {name: [*seeds_of(name, target), *grown_of(name)] for name, target in known.items()}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        name = chance.choice(list(known))
        raw = mutated(chance.choice(seeds[name]), chance)
        counted[name] += 1
        if trouble := attempt(known[name], raw):
            keep_finding(name, raw, trouble)
            return 1
    print(f"{sum(counted.values())} inputs to {len(known)} targets, blindly; no finding")
    return 0
