"""Opening the bridge for one command, and printing what people and programs read.

Owns the --config handling of every command; must not decide anything.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bridge.config import Settings, load_settings
from bridge.flows.context import Bridge
from bridge.runtime import build


def settings_of(ctx: click.Context) -> Settings:
    return load_settings(ctx.obj)


@contextmanager
def opened(ctx: click.Context) -> Iterator[Bridge]:
    """The bridge of the command's --config, closed afterwards."""
    bridge = build(settings_of(ctx))
    try:
        yield bridge
    finally:
        bridge.store.close()


def show(shown: Any) -> None:
    """JSON for people: indented, in the writer's own letters."""
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False, default=str))
