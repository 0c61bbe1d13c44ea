"""Opening the bridge for one command, asking who acts, why and when, and printing what people and programs read; while a command works a
person at a terminal sees after two seconds how long it takes already, or a bar.

Owns --config, --actor and --reason of every command, and standard error of a terminal while nothing else is said, where no terminal is
never; must not decide anything: who may do what is the flows' to say.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from bridge.config import Settings, load_settings
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.plain import as_json
from bridge.logs import log
from bridge.people.policy import in_force
from bridge.permit import require_words
from bridge.runtime import build

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


class Moment(click.DateTime):
    """A day or a second in UTC. No other offset is taken, so no value can fall out of the calendar on the way to UTC."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        return super().convert(value, param, ctx).replace(tzinfo=UTC)


class DayOrMoment(Moment):
    """A second in UTC, or a day: as a date, whose beginning the calendar of the books tells."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        return found.date() if isinstance(value, str) and "T" not in value else found


MOMENT = Moment(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
DAY_OR_MOMENT = DayOrMoment(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


def settings_of(ctx: click.Context) -> Settings:
    return load_settings(ctx.obj)


@contextmanager
def opened(ctx: click.Context, *, decides: bool = True) -> Iterator[Bridge]:
    """The bridge of the command's --config under the policy in force, closed afterwards.

    A command that does not decide, such as the doctor, must run without a database too: then it goes by the file.
    """
    with waiting(str(ctx.info_name)):
        bridge = build(settings_of(ctx), is_counted=False)
        try:
            bridge = in_force(bridge) if decides else _as_far_as_known(bridge)
            yield bridge
        finally:
            bridge.close()


def _as_far_as_known(bridge: Bridge) -> Bridge:
    try:
        return in_force(bridge)
    except Exception as trouble:  # a driver's own error too: what is wrong with the database the command itself says
        log("policy.unread", level=logging.WARNING, error=type(trouble).__name__)
        return bridge


def who_and_why(command: Callable[..., None]) -> Callable[..., None]:
    """Every write says who and why. Raises Refused("actor_and_reason_required") before anything is opened."""

    @click.option("--actor", required=True, help="Who: the name of an active operator.")
    @click.option("--reason", required=True, help="Why, in a sentence.")
    @wraps(command)
    def asked(*args: Any, actor: str, reason: str, **options: Any) -> None:
        require_words(actor, reason)
        command(*args, actor=actor, reason=reason, **options)

    return asked


def require_options(ctx: click.Context, *names: str) -> None:
    """What a command needs in one of its forms alone is missed in click's own words. Raises click.MissingParameter."""
    for param in ctx.command.params:
        if param.name in names and ctx.params[param.name] is None:
            raise click.MissingParameter(ctx=ctx, param=param)


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """A command that reads: called with the bridge of --config."""

    @click.pass_context
    @wraps(command)
    def run(ctx: click.Context, /, **options: Any) -> None:
        with opened(ctx) as bridge:
            command(bridge, **options)

    return run


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """A command that writes: as one that reads, and called with `actor` and `reason`."""
    return who_and_why(reading(command))


def given(**options: str | None) -> dict[str, str]:
    """Only the options that were given: what a list is to match."""
    return {name: text for name, text in options.items() if text}


def json_too(command: Callable[..., None]) -> Callable[..., None]:
    """The option of a list that is told to people, for programs."""
    return click.option("--json", "is_json", is_flag=True, help="JSON for programs.")(command)


def for_programs(command: Callable[..., None]) -> Callable[..., None]:
    """The option of a command that tells people a table, and programs JSON as it always did."""
    table = click.option("--table", "form", flag_value="table", help="A table, as on a terminal.")(command)
    return click.option("--json", "form", flag_value="json", help="JSON, as everywhere but on a terminal.")(table)


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()


def tell(shown: Any, lines: Callable[[], Iterable[str]], *, form: str | None) -> None:
    """In the form that `for_programs` asked for."""
    is_table = form == "table" if form else is_terminal()
    for line in lines() if is_table else as_json(shown):
        click.echo(line)


def merchant_of(bridge: Bridge, named: str | None) -> str:
    """The merchant that is named, or the only one there is. Raises Refused("several_merchants")."""
    known = sorted(bridge.merchants)
    if named is None and len(known) != 1:
        raise Refused("several_merchants", f"Name one with --merchant: {', '.join(known)}.", field="merchant")
    return named or known[0]


def show(shown: Any) -> None:
    for line in as_json(shown):
        click.echo(line)
