"""Commands of policy versions that no row of the table makes: show, diff.

Owns arguments and output; each command calls one flow.
"""

import sys

import click

from bridge.cli.opened import opened, reading, show
from bridge.context import Bridge
from bridge.people.policy import compare_versions, show_policy, show_version


@click.group()
def policy() -> None:
    """What decides about money, version by version: who proposed it, who approved it, what is in force."""


@policy.command("show")
@click.argument("number", type=int, required=False)
@reading
def policy_show(bridge: Bridge, number: int | None) -> None:
    """Show version NUMBER, or what is in force, what waits for people and whether the file says the same."""
    show(show_policy(bridge) if number is None else show_version(bridge, number))


@policy.command("diff")
@click.argument("before", type=int, required=False)
@click.argument("after", type=int, required=False)
@click.pass_context
def policy_diff(ctx: click.Context, before: int | None, after: int | None) -> None:
    """Compare versions BEFORE and AFTER; without them the one in force and the settings file. Exit code 1 if they differ."""
    if (before is None) != (after is None):
        raise click.UsageError("Name two versions, or none.")
    with opened(ctx) as bridge:
        changes = (
            show_policy(bridge)["file_changes"]
            if before is None or after is None
            else compare_versions(bridge, before, after)
        )
    for each in changes:
        click.echo(f"{each['setting']}: {_or_nothing(each['before'])} → {_or_nothing(each['after'])}")
    sys.exit(1 if changes else 0)


def _or_nothing(text: str | None) -> str:
    return "(not set)" if text is None else text or "(empty)"


COMMANDS = (policy,)
