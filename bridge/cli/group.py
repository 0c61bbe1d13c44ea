"""The commands for click, each imported when it is first asked for.

Owns the options in front of a command and how errors end; must not know a command but by its row in the table.
"""

import errno
import gc
from collections import UserDict
from collections.abc import Iterator
from importlib import import_module

import click

from bridge.cli.table import ABOUT, ACTIONS, COMMANDS, NAMES


class _Imported(UserDict[str, click.Command]):
    """Knows every name, and a command from when it was asked for on."""

    def __missing__(self, name: str) -> click.Command:
        if name not in NAMES:
            raise KeyError(name)
        modules, sentence = COMMANDS[name]
        by_hand = {
            each.name: each for module in modules if module != ACTIONS for each in import_module(module).COMMANDS
        }
        found: click.Command | None = by_hand.get(name)
        if ACTIONS in modules:
            from bridge.cli.actions import made

            found = made(name, found)
        assert found is not None, f"no module of {name} has it"
        found.help = found.help or sentence
        self.data[name] = found
        # Until here it was off, see `bridge.cli.main`. What is there by now stays: nobody looks it through, not at the end either.
        gc.freeze()
        gc.enable()
        return found

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


class _Commands(click.Group):
    """Turns the errors a person can act on into one line and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        from bridge.config import ConfigError
        from bridge.core.errors import BridgeError
        from bridge.settings_file import NotThere

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            first = "\n`subtc-bridge init` writes a first one; --config FILE, before the command, names another."
            hint = first if isinstance(error, NotThere) else ""
            raise click.ClickException(f"the configuration cannot be used:\n{error}{hint}") from None
        except BridgeError as error:
            raise click.ClickException(f"{error.code}: {error.detail}") from None
        except UnicodeEncodeError as error:
            # A byte of the command line that is no UTF-8 is a letter that no database takes, in whichever transaction it was met.
            if not any("\ud800" <= each <= "\udfff" for each in error.object[error.start : error.end]):
                raise
            raise click.ClickException("not_utf8: What is typed must be UTF-8; nothing was written.") from None
        except OSError as error:
            # A file that somebody named, or a disk without room for it; what else fails so is a fault of the program.
            if error.filename is None and error.errno != errno.ENOSPC:
                raise
            raise click.ClickException(": ".join(map(str, filter(None, (error.filename, error.strerror))))) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Of the table, or the list of what there is would import all of it."""
        named = [click.Command(name, help=COMMANDS[name][1]) for name in NAMES]
        click.Group(commands=named).format_commands(ctx, formatter)


@click.group(cls=_Commands, commands=_Imported(), help=ABOUT)
@click.option("--config", "config_path", default="config.yaml", show_default=True, help="The YAML file.")
@click.version_option(package_name="subtc-billmanager-bridge")
@click.pass_context
def main(ctx: click.Context, config_path: str) -> None:
    ctx.obj = config_path
