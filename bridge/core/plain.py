"""Plain text: JSON for people, and a stranger's words where a line of a terminal or a letter shows them.

Owns how both look; must not know what they say or who shows them.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(shown: Any) -> list[str]:
    """Indented, in the writer's own letters."""
    return [json.dumps(shown, indent=2, ensure_ascii=False, default=str)]


def one_line(text: str, *, longest: int = 160) -> str:
    """On one line, cut, and without what could steer it: control characters, line ends, directions."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * longest]).split())[:longest]


def as_table(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> list[str]:
    """Columns for people under their names; those whose name begins with > stand to the right. Numbers are in groups of three,
    texts on one line.
    """
    lines = [[name.removeprefix(">") for name in heads]]
    lines += [
        [f"{cell:,}".replace(",", " ") if isinstance(cell, int) else one_line(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    is_right = [name.startswith(">") for name in heads]
    padded = (
        (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_right, strict=True)
        )
        for line in lines
    )
    return ["  ".join(line).rstrip() for line in padded]
