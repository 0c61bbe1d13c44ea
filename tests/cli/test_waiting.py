"""What is told on a terminal while a command works, and that nothing is told where none is."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import click
import pytest

from bridge.actions.reviews import claim_lines
from bridge.cli import opened
from bridge.cli.group import main
from bridge.core.plain import as_table


class Terminal(io.StringIO):
    """A terminal that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.is_written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        self.is_written.set()
        return written


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Standard error, and standard output of the same shown. No fixture: pytest puts its own streams in place after those."""
    shown = Terminal()
    with pytest.MonkeyPatch.context() as patched, redirect_stderr(shown), redirect_stdout(shown):
        patched.setattr(opened, "PATIENCE_SECONDS", 0)
        yield shown


def test_a_command_that_works_says_so_and_clears_the_line_before_its_first_word() -> None:
    with terminal() as shown, opened.waiting("export"):
        assert shown.is_written.wait(60)
        click.echo("done")
        click.echo("and over")
    said = shown.getvalue()
    assert said.startswith("\r\x1b[Kexport: 0 s")
    assert said.endswith("\r\x1b[Kdone\nand over\n")


def test_how_far_it_is_stands_beside() -> None:
    with terminal() as shown, opened.waiting("export"):
        opened.counted("1.5 MB")
        while ", 1.5 MB" not in shown.getvalue():
            shown.is_written.clear()
            assert shown.is_written.wait(60)


def test_a_question_and_a_bar_end_the_line_first() -> None:
    with terminal() as shown, opened.waiting("replay"):
        assert shown.is_written.wait(60)
        with opened.bar("Replaying", length=2) as drawn:
            drawn.update(2)
    before, _, drawing = shown.getvalue().partition("Replaying")
    assert "replay: " in before
    assert "replay: " not in drawing and "100%" in drawing


def test_without_a_terminal_nothing_is_told() -> None:
    shown, before = io.StringIO(), threading.active_count()
    with redirect_stderr(shown), opened.waiting("export"), opened.bar("Comparing", length=1) as drawn:
        assert threading.active_count() == before
        drawn.update(1)
    assert shown.getvalue() == ""


def test_what_fails_leaves_no_line_and_no_thread() -> None:
    before = threading.active_count()
    with terminal() as shown, pytest.raises(RuntimeError), opened.waiting("export"):
        assert shown.is_written.wait(60)
        raise RuntimeError
    assert shown.getvalue().endswith("\r\x1b[K")
    assert threading.active_count() == before


def test_a_table_has_names_over_columns_and_numbers_to_the_right() -> None:
    assert as_table(("invoice", ">sat", "note"), [("a", 1_234_567, "x"), ("longer", 5, "")]) == [
        "invoice        sat  note",
        "a        1 234 567  x",
        "longer           5",
    ]
    assert as_table(("invoice", ">sat"), []) == ["invoice  sat"]


STEERING = "VPS\x1b[2J\nall paid\x9b31m \u202eevil\u2066 end"


def test_the_words_of_clients_steer_no_terminal() -> None:
    _, line = as_table(("note",), [(STEERING,)])
    assert line == "VPS [2J all paid 31m evil end"
    _, line = as_table(("note",), [("x" * 5_000,)])
    assert line == "x" * 160
    claim = {"is_overdue": False, "due_at": "soon", "closed_at": None, "id": "clm_1", "stage": "inquiry"}
    first, _ = claim_lines([claim | {"invoice_id": "inv_1", "said": STEERING + "y" * 2_000}])
    assert first.isprintable() and first.endswith("evil end" + "y" * 31)


def lists_below(command: click.Command, *words: str) -> Iterator[tuple[str, set[str]]]:
    """Each list with its options."""
    for name, each in getattr(command, "commands", {}).items():
        yield from lists_below(each, *words, name)
    if words[-1:] == ("list",):
        yield " ".join(words), {option for each in command.params for option in each.opts}


def test_every_list_is_told_to_programs_too() -> None:
    options = dict(lists_below(main))
    assert {"review list", "events list", "payouts list"} <= set(options)
    # Tokens are told as JSON alone.
    assert {words for words, its in options.items() if "--json" not in its} == {"operator token list"}
