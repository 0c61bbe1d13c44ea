"""Commands of policy versions: list, show, diff, propose, approve, reject.

Owns arguments and output; each command calls one flow.
"""

import sys
from typing import Any

import click

from bridge.cli.opened import acting, opened, reading, show
from bridge.flows import decide_policy
from bridge.flows.context import Bridge


@click.group()
def policy() -> None:
    """What decides about money, version by version: who proposed it, who approved it, what is in force."""


@policy.command("list")
@click.option("--limit", default=50, show_default=True)
@click.option("--before", type=int, help="The next_before of the page before.")
@reading
def policy_list(bridge: Bridge, limit: int, before: int | None) -> None:
    """List versions, newest first."""
    found = decide_policy.list_versions(bridge, limit=limit, before=before)
    for row in found["versions"]:
        given = f"{len(row['approvals'])}/{row['approvals_needed']} approvals"
        click.echo(f"{row['number']:>5}  {row['status']:10}  {row['proposed_by']:16}  {given}  {row['reason']}")
    more = f", next {found['next_before']}" if found["next_before"] else ""
    click.echo(f"{len(found['versions'])} versions{more}")


@policy.command("show")
@click.argument("number", type=int, required=False)
@reading
def policy_show(bridge: Bridge, number: int | None) -> None:
    """Show version NUMBER, or what is in force, what waits for people and whether the file says the same."""
    show(decide_policy.show_policy(bridge) if number is None else decide_policy.show_version(bridge, number))


@policy.command("diff")
@click.argument("before", type=int, required=False)
@click.argument("after", type=int, required=False)
@click.pass_context
def policy_diff(ctx: click.Context, before: int | None, after: int | None) -> None:
    """Compare versions BEFORE and AFTER; without them the one in force and the settings file. Exit code 1 if they differ."""
    if (before is None) != (after is None):
        raise click.UsageError("Name two versions, or none.")
    with opened(ctx) as bridge:
        if before is None or after is None:
            changes = decide_policy.show_policy(bridge)["file_changes"]
        else:
            changes = decide_policy.compare_versions(bridge, before, after)
    for each in changes:
        click.echo(f"{each['setting']}: {_or_nothing(each['before'])} → {_or_nothing(each['after'])}")
    sys.exit(1 if changes else 0)


@policy.command("propose")
@acting
def policy_propose(bridge: Bridge, **who: str) -> None:
    """Propose what the settings file says, under your name. Without approvals it is in force at once."""
    _say(decide_policy.propose(bridge, **who))


@policy.command("approve")
@click.argument("number", type=int)
@acting
def policy_approve(bridge: Bridge, number: int, **who: str) -> None:
    """Approve what somebody else proposed; with the last approval it is in force on every node."""
    _say(decide_policy.approve(bridge, number, **who))


@policy.command("reject")
@click.argument("number", type=int)
@acting
def policy_reject(bridge: Bridge, number: int, **who: str) -> None:
    """End a proposal, or take your own back; what is in force stays."""
    _say(decide_policy.reject(bridge, number, **who))


def _say(version: dict[str, Any]) -> None:
    missing = version["approvals_needed"] - len(version["approvals"])
    waits = f" and waits for {missing} more approval(s)" if version["status"] == "proposed" else ""
    click.echo(f"Policy version {version['number']} is {version['status']}{waits}.")


def _or_nothing(text: str | None) -> str:
    return "(not set)" if text is None else text or "(empty)"


COMMANDS = (policy,)
