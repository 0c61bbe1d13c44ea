"""`python -m tests.fuzz SECONDS [TARGET…]`: throws mutated inputs at every target until the time is over.

Owns the loop and the keeping of findings; exit code 1 when there is one.
"""

import hashlib
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from bridge.store.db import migrate
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target, targets
from tests.web.conftest import build_site

CORPUS = Path(__file__).parent / "corpus"


def seeds_of(name: str, target: Target) -> list[bytes]:
    """The target's own seeds and every kept finding."""
    return [*target.seeds, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]


def attempt(target: Target, raw: bytes) -> str:
    """The traceback of a finding, or nothing."""
    try:
        target.run(raw)
    except target.expected:
        return ""
    except Exception:
        return traceback.format_exc()
    return ""


def main(seconds: int, wanted: list[str]) -> int:
    logging.disable()  # what a parser logs about nonsense would bury a finding
    chance = random.Random()
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        url = f"sqlite:///{place}/fuzz.db"
        migrate(url)
        site = build_site(url)
        known = {name: target for name, target in targets(site).items() if not wanted or name in wanted}
        seeds = {name: seeds_of(name, target) for name, target in known.items()}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            name = chance.choice(list(known))
            raw = mutated(chance.choice(seeds[name]), chance)
            counted[name] += 1
            if trouble := attempt(known[name], raw):
                path = CORPUS / name / hashlib.sha256(raw).hexdigest()[:16]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
                print(f"{trouble}\nfound in {name}; kept as {path}")
                return 1
        site.bridge.store.close()
    print(f"{sum(counted.values())} inputs to {len(known)} targets, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:]))
