"""Commands for every row of the table of actions that needs no hand of its own.

Owns how a row becomes a command: its words, arguments and options; must not know one of them.
"""

import io
import secrets
import sys
from datetime import datetime
from typing import Any

import click
from pydantic import SecretStr

from bridge.actions import ROWS
from bridge.actions.row import Action, Argument, Asked, Command, Option, Row, asked_of, matched
from bridge.cli.opened import MOMENT, acting, is_terminal, quiet, reading
from bridge.context import Bridge
from bridge.core.plain import as_json

# What the others are about `bridge.cli.table` says.
INNER_GROUPS = {"operator token": "API tokens of operators."}


def made(name: str, by_hand: click.Command | None) -> click.Command:
    """The command or group of this name: what is written by hand of it, and every row beneath it."""
    top = click.Group(commands={} if by_hand is None else {name: by_hand})
    for row in ROWS:
        if isinstance(row.command, Command):
            *groups, last = row.command.words.split()
            if [*groups, last][0] == name:
                _group_of(top, groups).add_command(_command(row, row.command, last))
    return top.commands[name]


def _group_of(main: click.Group, words: list[str]) -> click.Group:
    """The group of these words, made where nobody wrote it."""
    group = main
    for count, word in enumerate(words, start=1):
        found = group.commands.get(word)
        if found is None:
            found = click.Group(word, help=INNER_GROUPS.get(" ".join(words[:count])))
            group.add_command(found)
        assert isinstance(found, click.Group), f"{word} is no group"
        group = found
    return group


def _command(row: Row, said: Command, name: str) -> click.Command:
    fields = [each for each in asked_of(row.asks) if each.by or each.kind is SecretStr]
    params: list[click.Parameter] = [click.Argument([each], type=kind) for each, kind in row.places.items()]
    params += [_param(each, each.by) for each in fields if each.by]
    if isinstance(row, Action) and row.keyed:
        params.append(click.Option(["--key"], default=_key, help="The same key asks once."))
    is_told = not isinstance(row, Action) and said.said is not as_json
    params += [click.Option(["--json", "is_json"], is_flag=True, help="JSON for programs.")] * is_told
    secret_names = [each.name for each in fields if each.kind is SecretStr]

    def run(bridge: Bridge, /, **given: Any) -> None:
        is_json = given.pop("is_json", False)
        place = [given.pop(each) for each in row.places]
        given |= {each: _secret() for each in secret_names}
        if not isinstance(row, Action):
            given = matched(row.asks, {each: value for each, value in given.items() if value != ""})
        result = row.do(bridge, *place, **given)
        for line in as_json(result) if is_json else said.said(result):
            click.echo(line)
        if said.scanned is not None and is_terminal():
            for line in drawn_code(said.scanned(result)):
                click.echo(line)
        for line in said.beside(result):
            click.echo(line, err=True)

    called = acting(run) if isinstance(row, Action) else reading(run)
    return click.command(name, help=said.help, params=params)(called)


def drawn_code(text: str) -> list[str]:
    """The text as a QR code for a camera before the terminal: black on white whatever the terminal's own colours are."""
    import segno  # for these few commands alone

    out = io.StringIO()
    segno.make(text, micro=False, error="l", boost_error=False).terminal(out, border=2, compact=True)
    # What is drawn are the light modules.
    return [f"\x1b[97;40m{line}\x1b[0m" for line in out.getvalue().splitlines()]


def _param(asked: Asked, by: Argument | Option) -> click.Parameter:
    choices = by.choices or asked.choices
    kind = click.Choice(choices) if choices else MOMENT if asked.kind is datetime else asked.kind
    if isinstance(by, Argument):
        return click.Argument([asked.name], type=kind)
    words = [by.flag or f"--{asked.name.replace('_', '-')}", asked.name]
    if asked.kind is bool:
        return click.Option(words, is_flag=True, help=by.help)
    default = asked.default if by.default is None else by.default
    # What has a sentence of its own says there what it is when it is left out.
    usual = {} if default is None else {"default": default, "show_default": default != "" and not by.help}
    return click.Option(words, type=kind, required=asked.is_required and default is None, help=by.help or None, **usual)


def _key() -> str:
    """Repeating a command with its key asks for nothing new."""
    return f"cli-{secrets.token_hex(8)}"


def _secret() -> str:
    """A password never stands on a command line, where every process could read it."""
    if sys.stdin.isatty():
        quiet()
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
