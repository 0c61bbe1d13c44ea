"""Commands about people: operators, their passwords and their API tokens.

Owns arguments and output; a password never stands on a command line, where every process could read it.
"""

import sys
from datetime import datetime
from typing import Any

import click

from bridge.cli.opened import MOMENT, acting, reading, show
from bridge.core.roles import ROLES
from bridge.flows import operators
from bridge.flows.context import Bridge


@click.group()
def operator() -> None:
    """People who may act, and what each of them may do."""


@operator.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(sorted(ROLES)), required=True)
@click.option("--expires", type=MOMENT, help="The day their access ends, UTC.")
@acting
def operator_add(bridge: Bridge, name: str, role: str, expires: datetime | None, **who: str) -> None:
    """Add an operator; the password is asked for, or read from standard input. The first one must be an admin."""
    url = operators.add_operator(bridge, name=name, role=role, password=_password(), expires_at=expires, **who)
    click.echo(f"Added. For the authenticator app, shown this once:\n{url}")


@operator.command("list")
@reading
def operator_list(bridge: Bridge) -> None:
    """List everybody, the disabled too."""
    people = operators.list_operators(bridge)
    for person in people:
        state = "active" if person["is_active"] else "disabled"
        state = "locked" if person["is_locked"] else state
        click.echo(
            f"{person['name']:32}  {person['role']:9}  {state:8}  until {person['expires_at'] or 'further notice'}"
        )
    click.echo(f"{len(people)} operators")


@operator.command("disable")
@click.argument("name")
@acting
def operator_disable(bridge: Bridge, name: str, **who: Any) -> None:
    """End an operator's access at once: sessions and tokens with it."""
    operators.change_operator(bridge, name, is_active="disabled", **who)
    click.echo(f"{name} is disabled.")


@operator.command("enable")
@click.argument("name")
@acting
def operator_enable(bridge: Bridge, name: str, **who: Any) -> None:
    """Give a disabled or locked operator access again."""
    operators.change_operator(bridge, name, is_active="enabled", **who)
    click.echo(f"{name} is enabled.")


@operator.command("change")
@click.argument("name")
@click.option("--role", type=click.Choice(sorted(ROLES)))
@click.option("--expires", type=MOMENT, help="The day their access ends, UTC.")
@click.option("--endless", "is_endless", is_flag=True, help="Their access has no end any more.")
@acting
def operator_change(
    bridge: Bridge, name: str, role: str | None, expires: datetime | None, is_endless: bool, **who: Any
) -> None:
    """Change an operator's role or the end of their access."""
    operators.change_operator(bridge, name, role=role, expires_at=expires, is_endless=is_endless, **who)
    click.echo(f"{name} is changed.")


@operator.command("password")
@click.argument("name")
@acting
def operator_password(bridge: Bridge, name: str, **who: str) -> None:
    """Set a new password; it is asked for, or read from standard input."""
    operators.set_password(bridge, name, password=_password(), **who)
    click.echo("The password is set; open sessions have ended.")


@operator.command("totp")
@click.argument("name")
@acting
def operator_totp(bridge: Bridge, name: str, **who: str) -> None:
    """Make a new one-time secret for a lost authenticator."""
    url = operators.renew_totp(bridge, name, **who)
    click.echo(f"For the authenticator app, shown this once:\n{url}")


@operator.group("token")
def token() -> None:
    """API tokens of operators."""


@token.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(sorted(ROLES)), required=True, help="The operator's own role, or viewer.")
@click.option("--from", "starts_at", type=MOMENT, help="Good from this day on, UTC (default: at once).")
@click.option("--until", "ends_at", type=MOMENT, required=True, help="Good until this day, UTC.")
@click.option("--note", default="", help="What it is for.")
@acting
def token_add(bridge: Bridge, /, name: str, **wanted: Any) -> None:
    """Make a token; it is shown this once."""
    made = operators.issue_token(bridge, operator=name, **wanted)
    click.echo(f"{made.id}\n{made.token}")


@token.command("list")
@click.option("--operator", "name", help="Only this operator's.")
@reading
def token_list(bridge: Bridge, name: str | None) -> None:
    """List tokens by id; the tokens themselves nobody has."""
    show(operators.list_tokens(bridge, name))


@token.command("revoke")
@click.argument("token_id")
@acting
def token_revoke(bridge: Bridge, token_id: str, **who: str) -> None:
    """End a token at once."""
    operators.revoke_token(bridge, token_id, **who)
    click.echo(f"{token_id} is revoked.")


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


COMMANDS = (operator,)
