"""`python -m tests.fuzz SECONDS [TARGET…]`: throws inputs at every target until the time is over.

Owns the choice between the guided way and the blind one; exit code 1 when there is a finding.
"""

import argparse
import contextlib
import io
import logging
import sys
import tempfile
from typing import Any

OURS = ["bridge", "subtc"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=60)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--keep", action="store_true", help="keep what reached something new in tests/fuzz/grown.txt")
    options = parser.parse_args()
    logging.disable()  # what a parser logs about nonsense would bury a finding
    with tempfile.TemporaryDirectory() as place:
        with instrumented() as atheris:
            from bridge.store.db import migrate
            from tests.fuzz import blind, guided, targets
            from tests.web.conftest import build_site

            migrate(f"sqlite:///{place}/fuzz.db")
            site = build_site(f"sqlite:///{place}/fuzz.db")
            # The module's own files are imported here, and must be instrumented too.
            every = targets.targets(site)
        known = {name: target for name, target in every.items() if not options.targets or name in options.targets}
        with contextlib.closing(site.bridge.store):
            if atheris is None:
                return blind.run(known, seconds=options.seconds)
            guided.run(known, seconds=options.seconds, atheris=atheris, keeps=options.keep)
    return 0


@contextlib.contextmanager
def instrumented() -> Any:
    """atheris, while every module of ours that is imported reports its branches to it; None, and said so, without it."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed (extra `fuzz`): nothing guides the fuzzer", file=sys.stderr)
        yield None
        return
    # It names every module that it instruments.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=OURS):
        yield atheris


if __name__ == "__main__":
    sys.exit(main())
