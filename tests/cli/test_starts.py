"""A command starts with what it needs: the first page of help with nothing, each command without the others'."""

import json
import subprocess
import sys

import click
import pytest

from bridge.cli import table
from bridge.cli.group import main

PRINT_LOADED = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
sys.argv = ["subtc-bridge", *sys.argv[1:]]
from bridge.cli import main
main()
"""
# Of the standard library no more than the terminal's width costs.
WITH_HELP = {"bridge", "bz2", "errno", "fnmatch", "lzma", "shutil", "threading", "zlib"}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a fresh Python has imported when this command ends, but for what each Python has."""
    command = [sys.executable, "-c", PRINT_LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def rooms_of(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules if not name.startswith("_")}


def test_the_first_page_of_help_imports_no_command():
    loaded = loaded_by("--help")
    assert {name for name in loaded if name.startswith("bridge")} == {"bridge", "bridge.cli", "bridge.cli.table"}
    of_everybody = {"collections", "copyreg", "enum", "functools", "operator", "re", "types"}
    assert rooms_of(loaded) - of_everybody <= WITH_HELP


def test_the_first_page_of_help_is_what_click_would_say():
    context = click.Context(main, info_name="subtc-bridge", terminal_width=table.COLUMNS - 2)
    assert table.page() == main.get_help(context)


@pytest.mark.parametrize("name", table.NAMES)
def test_a_command_is_listed_with_the_first_sentence_of_its_help(name):
    command = main.commands[name]
    assert (command.name, command.get_short_help_str(1_000)) == (name, table.COMMANDS[name][1])


def test_the_list_of_commands_is_in_order_and_whole():
    assert list(table.COMMANDS) == sorted(table.COMMANDS)
    assert set(table.NAMES) == set(main.commands)
    with pytest.raises(KeyError):
        main.commands["no-such"]
