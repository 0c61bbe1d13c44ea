"""Plain text: JSON for people, and a stranger's words where a line of a terminal or a letter shows them.

Owns how both look; must not know what they say or who shows them.
"""

import json
from typing import Any


def as_json(shown: Any) -> list[str]:
    """Indented, in the writer's own letters."""
    return [json.dumps(shown, indent=2, ensure_ascii=False, default=str)]


def one_line(text: str, *, longest: int = 160) -> str:
    """On one line, cut, and without what could steer it: control characters, line ends, directions."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * longest]).split())[:longest]
