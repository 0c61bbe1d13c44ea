"""The `subtc-bridge` command: every action of an operator.

Owns arguments and output; must not hold a rule, each command calls one flow.
"""

from importlib import import_module
from pathlib import Path

import click

from bridge.cli import actions, books, desk, first_config, operate, serve
from bridge.config import ConfigError
from bridge.core.errors import BridgeError


class _Commands(click.Group):
    """Turns the errors a person can act on into one line and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise click.ClickException(f"the configuration cannot be used:\n{error}") from None
        except BridgeError as error:
            raise click.ClickException(f"{error.code}: {error.detail}") from None


@click.group(cls=_Commands)
@click.option("--config", "config_path", default="config.yaml", show_default=True, help="The YAML file.")
@click.version_option(package_name="subtc-billmanager-bridge")
@click.pass_context
def main(ctx: click.Context, config_path: str) -> None:
    """Hosting invoices of BILLmanager paid in Bitcoin through a SUBTC gateway."""
    ctx.obj = config_path


# The emulated worlds lie beside this package in a checkout, and are absent where the bridge is installed.
HAS_SANDBOX = Path(__file__).parents[2].joinpath("sandbox", "commands.py").is_file()
TRYING: tuple[click.Command, ...] = import_module("sandbox.commands").COMMANDS if HAS_SANDBOX else ()
BY_HAND: tuple[click.Command, ...] = (
    *serve.COMMANDS,
    *operate.COMMANDS,
    *first_config.COMMANDS,
    *desk.COMMANDS,
    *books.COMMANDS,
)
for command in (*BY_HAND, *TRYING):
    main.add_command(command)
actions.add_made(main)
