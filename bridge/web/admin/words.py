"""How the operators' pages look and speak: the catalogues in texts/admin on top of the payer's, style and script.

Owns their loading; must not know a sentence.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path

from bridge.web.language import CATALOGUES, Languages, Texts

_STATIC = Path(__file__).parent.parent / "static"


class DeskLanguages(Languages):
    """The payer's grammar with the operators' sentences under "desk"."""

    @cached_property
    def all(self) -> dict[str, Texts]:
        """By language code, those that have both catalogues."""
        found = {}
        for path in sorted((CATALOGUES / "admin").glob("*.json")):
            grammar = json.loads((CATALOGUES / path.name).read_text(encoding="utf-8"))
            found[path.stem] = Texts(grammar | {"desk": json.loads(path.read_text(encoding="utf-8"))})
        return found


class DeskLook:
    """Made once per application. The addresses of style and script carry their hash, so they may be kept for ever."""

    def __init__(self) -> None:
        self.languages = DeskLanguages()
        self.style_version = _version("admin.css")
        self.script_version = _version("admin.js")


def _version(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
