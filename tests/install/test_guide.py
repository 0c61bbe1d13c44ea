"""The operator guide's commands: the same in both languages, and marked so that the walk finds them."""

import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.install.guide import (
    AFTER,
    CONNECT,
    DOCS,
    LOSS,
    NAMES,
    ORDER,
    RUN,
    SERVERS,
    command_blocks,
    steps,
    with_values,
    without_comments,
)

ENGLISH, RUSSIAN = DOCS / "operator-guide.en.md", DOCS / "operator-guide.ru.md"


def test_both_guides_have_the_same_commands():
    assert command_blocks(ENGLISH) == command_blocks(RUSSIAN)


def test_both_guides_are_walked_the_same_way():
    english, russian = steps(ENGLISH), steps(RUSSIAN)
    kinds = [NAMES, RUN, RUN, RUN, RUN, CONNECT, ORDER, RUN, NAMES, *[SERVERS] * 7, LOSS, AFTER]
    assert [step.kind for step in english] == kinds
    assert [(s.kind, without_comments(s.commands)) for s in english] == [
        (s.kind, without_comments(s.commands)) for s in russian
    ]


def test_every_name_that_a_command_takes_is_named_first():
    named: set[str] = set()
    for step in steps(ENGLISH):
        if step.kind == NAMES:
            named |= set(re.findall(r"^(\w+)=", step.commands, re.MULTILINE))
        here = set(re.findall(r"\bfor (\w+) in", step.commands))
        assert set(re.findall(r"\$(\w+)", step.commands)) <= named | here


def test_security_txt_is_dated_less_than_a_year_ahead_where_it_is_installed_and_at_each_upgrade(tmp_path):
    served = "/var/www/subtc-bridge/.well-known"
    lines = [line for block in command_blocks(ENGLISH) for line in block.splitlines() if "security.txt" in line]
    install, *dating = [line.replace(served, str(tmp_path)) for line in lines]

    def dates() -> list[datetime]:
        told = (tmp_path / "security.txt").read_text()
        return [datetime.fromisoformat(date) for date in re.findall(r"^Expires: (\S+Z)$", told, re.MULTILINE)]

    subprocess.run(["bash", "-ec", install], cwd=DOCS.parent, check=True)
    assert dates() == []
    for step in dating:
        subprocess.run(["bash", "-ec", step], cwd=DOCS.parent, check=True)
        (date,) = dates()
        assert timedelta(days=300) < date - datetime.now(UTC) < timedelta(days=365)
    assert len(dating) == 2


def test_only_names_of_the_guide_can_be_given_a_value():
    names = steps(ENGLISH)[0].commands
    assert "MORE='--listen 127.0.0.1:1'" in with_values(names, {"MORE": "--listen 127.0.0.1:1"})
    with pytest.raises(ValueError, match="names no OTHER"):
        with_values(names, {"OTHER": "x"})
