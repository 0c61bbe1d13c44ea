"""A stranger's words where a line of a terminal or a letter shows them.

Owns what is left of them; must not know who shows them.
"""


def one_line(text: str, *, longest: int = 160) -> str:
    """On one line, cut, and without what could steer it: control characters, line ends, directions."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * longest]).split())[:longest]
