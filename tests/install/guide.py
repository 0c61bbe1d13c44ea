"""The commands of the operator guide, read from the page itself.

Owns the marks (`<!-- walk: ... -->`) and what stands under them; must not run anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
NAMES, RUN, CONNECT, ORDER, AFTER = "names", "run", "connect", "order", "after"
# Of the chapter on two database servers, whose names come with it: how they are made and one takes over; what is done after a loss.
SERVERS, LOSS = "servers", "loss"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One mark of the page: at `connect` and `order` a person uses BILLmanager, all others have a block of commands."""

    kind: str
    heading: str
    commands: str


def steps(page: Path) -> list[Step]:
    """The marked blocks in the page's order. Raises ValueError when a mark has no block."""
    found, heading = [], ""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.startswith("## "):
            heading = line[3:].strip()
        elif mark := re.fullmatch(r"<!-- walk: (\w+) -->\n", line):
            commands = "" if mark[1] in (CONNECT, ORDER) else _block("".join(lines[number + 1 :]), page, number)
            found.append(Step(kind=mark[1], heading=heading, commands=commands))
    return found


def _block(text: str, page: Path, number: int) -> str:
    block = re.match(r"```sh\n(.*?)```\n", text, re.DOTALL)
    if block is None:
        raise ValueError(f"{page.name}:{number + 1}: no block of commands follows this mark")
    return block[1]


def command_blocks(page: Path) -> list[str]:
    """Every block of commands, marked or not, without comments."""
    return [
        without_comments(block) for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]


def without_comments(commands: str) -> str:
    """The commands alone: comments are in the page's language."""
    return "\n".join(re.sub(r"\s+# .*", "", line) for line in commands.splitlines())


def with_values(names: str, values: dict[str, str]) -> str:
    """The block of names with other values for some. Raises ValueError for a name that the block does not have."""
    for name, value in values.items():
        names, count = re.subn(rf"^{name}=\S*", lambda _, n=name, v=value: f"{n}='{v}'", names, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"the guide names no {name}")
    return names
