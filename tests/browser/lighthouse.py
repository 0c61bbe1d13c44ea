"""`make lighthouse`: what Lighthouse says of the pages of payers and operators, on a phone and on a screen.

Owns the pages that are asked about and the least score; must not set a page up otherwise than the other browser tests do.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bridge.web.admin.door import COOKIE
from tests.browser import desk
from tests.browser.chromium import FLAGS, chromium_path, served
from tests.browser.states import Stage

ROOM = Path(__file__).parent / "lighthouse"
LEAST = 95
PAYERS = {"pay page": ("awaiting_payment", ""), "receipt": ("settled", "/receipt")}
OPERATORS = {"today": ("vic", "/"), "list": ("vic", "/invoices")}
FORMS = {"phone": [], "screen": ["--preset=desktop"]}
# Not how well search engines find a page: they are told to stay away from these.
ASKED = ("--quiet", "--output=json", "--only-categories=performance,accessibility,best-practices")


def main() -> int:
    """Prints each score; returns 1 when one is below LEAST."""
    poor = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, url, cookie in pages(stack, folder):
            for form, flags in FORMS.items():
                scores, faults = ask(url, [*flags, *cookie])
                poor += sum(score < LEAST for score in scores.values())
                print(f"{name}, {form}: {', '.join(f'{what} {score}' for what, score in scores.items())}")
                print(*(f"    {fault}\n" for fault in faults), sep="", end="", flush=True)
    return 1 if poor else 0


def pages(stack: ExitStack, folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name, address and the flags of who looks."""
    stage = stack.enter_context(closing(Stage(folder=folder).set_up_all()))
    base = stack.enter_context(served(stage))
    for name, (state, suffix) in PAYERS.items():
        yield name, f"{base}{stage.paths[state]}{suffix}", []
    office = stack.enter_context(desk.open_office(folder))
    for name, (person, path) in OPERATORS.items():
        office.office.client(person)
        yield name, office.url(path), [f"--extra-headers={json.dumps({'Cookie': f'{COOKIE}=session-of-{person}'})}"]


def ask(url: str, flags: list[str]) -> tuple[dict[str, int], list[str]]:
    """The scores of the categories, of 100, and what took points away. Another program's load lowers a score and nothing raises
    one, so up to three tries are made. Raises RuntimeError with Lighthouse's own words where none came to an end.
    """
    best, said = dict[str, int](), ""
    faults = list[str]()
    for _ in range(3):
        done = subprocess.run(
            [
                "node",
                "node_modules/lighthouse/cli/index.js",
                url,
                *ASKED,
                *flags,
                f"--chrome-flags=--headless {' '.join(FLAGS)}",
            ],
            cwd=ROOM,
            env=os.environ | {"CHROME_PATH": chromium_path() or ""},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = done.stderr
            continue
        found = json.loads(done.stdout)
        scores = {each["title"]: round(100 * (each["score"] or 0)) for each in found["categories"].values()}
        if sum(scores.values()) > sum(best.values()):
            best, faults = scores, list(taken(found))
        if min(best.values()) >= LEAST:
            break
    if not best:
        raise RuntimeError(said)
    return best, faults


def taken(found: dict[str, Any]) -> Iterator[str]:
    for category in found["categories"].values():
        for ref in category["auditRefs"]:
            audit = found["audits"][ref["id"]]
            if ref["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                yield f"{ref['id']}: {audit.get('displayValue', audit['title'])}"


if __name__ == "__main__":
    sys.exit(main())
