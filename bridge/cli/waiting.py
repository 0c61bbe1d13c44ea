"""What a person at a terminal sees while a command works: after two seconds how long it takes already, or a bar.

Owns standard error of a terminal while nothing else is said; must not write where no terminal is, nor to standard output.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any

import click

PATIENCE_SECONDS = 2
_CLEAR_LINE = "\r\x1b[K"


class _Telling:
    """A line that is written anew each second until it ends, which it does before anything else is written."""

    def __init__(self, label: str, began: float):
        self.label, self.note, self._began = label, "", began
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True, name="waiting")
        self._thread.start()

    def end(self) -> None:
        if not self._is_over.is_set():
            self._is_over.set()
            self._thread.join()

    def _tell(self) -> None:
        pause = PATIENCE_SECONDS
        while not self._is_over.wait(pause):
            pause, seconds = 1, int(time.monotonic() - self._began)
            click.echo(f"{_CLEAR_LINE}{self.label}: {seconds} s{self.note}", nl=False, err=True)
        if pause == 1:
            click.echo(_CLEAR_LINE, nl=False, err=True)


class _EndsIt:
    """Standard output on a terminal, whose first word ends the line that is told beside it."""

    def __init__(self, stream: Any, telling: _Telling):
        self._stream, self._telling = stream, telling

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._telling.end()
        return int(self._stream.write(text))


_telling: _Telling | None = None


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Tells on a terminal's standard error that the command still works, from its third second on."""
    global _telling
    if not sys.stderr.isatty() or _telling is not None:
        yield
        return
    _telling = _Telling(label, time.monotonic())
    try:
        with redirect_stdout(_EndsIt(sys.stdout, _telling)):
            yield
    finally:
        _telling.end()
        _telling = None


def quiet() -> None:
    """Before something is asked on the terminal, or drawn there."""
    if _telling is not None:
        _telling.end()


def counted(note: str) -> None:
    """How far it is, such as "12,000 lines"."""
    if _telling is not None:
        _telling.note = f", {note}"


def bar(label: str, *, length: int) -> AbstractContextManager[Any]:
    """A bar for what has a known length; nothing where no terminal is."""
    quiet()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
