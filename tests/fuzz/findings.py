"""What counts as a finding, and where findings and good beginnings are kept.

Owns the corpus on disk; must not mutate anything.
"""

import base64
import hashlib
import traceback
from pathlib import Path

from tests.fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"
GROWN = Path(__file__).parent / "grown.txt"


def seeds_of(name: str, target: Target) -> list[bytes]:
    """The target's own seeds and every kept finding."""
    return [*target.seeds, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]


def grown_of(name: str) -> list[bytes]:
    """Inputs that a long guided run found to reach something new."""
    lines = (line.split() for line in GROWN.read_text().splitlines()) if GROWN.exists() else ()
    return [base64.b64decode(text) for known, text in lines if known == name]


def keep_grown(found: list[tuple[str, bytes]]) -> None:
    lines = sorted(f"{name} {base64.b64encode(raw).decode()}" for name, raw in found if raw)
    GROWN.write_text("\n".join(lines) + "\n")


def attempt(target: Target, raw: bytes) -> str:
    """The traceback of a finding, or nothing."""
    try:
        target.run(raw)
    except target.expected:
        return ""
    except Exception:
        return traceback.format_exc()
    return ""


def keep_finding(name: str, raw: bytes, trouble: str) -> None:
    """Makes the finding a file of the corpus, which the tests run from then on."""
    path = CORPUS / name / hashlib.sha256(raw).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    print(f"{trouble}\nfound in {name}; kept as {path}", flush=True)
