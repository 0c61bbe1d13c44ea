"""Commands that only a checkout has: demo, sandbox, probe.

Owns their arguments and output; `bridge.cli` adds them to its own where this package lies beside it.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bridge.cli.opened import opened, settings_of, waiting
from sandbox import play, probe
from sandbox.demo import run_demo
from sandbox.scenario import ScenarioFailed


@click.command()
@click.option("--once", is_flag=True, help="Walk the job once and end; the exit code says whether it came true.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to keep its files (default: a new one).")
@click.option(
    "--node", type=click.Path(exists=True, path_type=Path), help="Real blocks: a folder of scripts/get_node.sh."
)
@click.option("--scenario", type=click.Path(exists=True, path_type=Path), help="Play this file instead of the walk.")
def demo(once: bool, directory: Path | None, node: Path | None, scenario: Path | None) -> None:
    """The whole job on this machine: both outside worlds, the bridge, an order paid in Bitcoin."""
    if scenario is None:
        with waiting("starting"):
            code = run_demo(once=once, directory=directory, node=node)
        sys.exit(code)
    with waiting("starting"), _clear_failure():
        play.play_in_new_demo(scenario, directory=directory, once=once, say=click.echo)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("world", type=click.Choice(["bitcoin", "billmanager"]), required=False)
@click.option("--scenario", type=click.Path(exists=True, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sandbox(ctx: click.Context, world: str | None, scenario: Path | None, arguments: tuple[str, ...]) -> None:
    """Run one outside world alone: bitcoin (gateway, chain, prices) or billmanager; its own --help lists its options.

    With --scenario FILE: play that file against the running demo that --config belongs to.
    """
    if scenario is not None:
        with _clear_failure(), opened(ctx) as bridge:
            play.play_against_demo(scenario, settings_of(ctx), bridge, say=click.echo)
        return
    if world is None:
        raise click.UsageError("Name a world, bitcoin or billmanager, or give --scenario.")
    sys.exit(subprocess.run([sys.executable, "-m", f"sandbox.{world}", *arguments], check=False).returncode)


@contextmanager
def _clear_failure() -> Iterator[None]:
    """A scenario that did not come true is an answer, not a traceback."""
    try:
        yield
    except ScenarioFailed as failure:
        raise click.ClickException(str(failure)) from None


COMMANDS = (demo, sandbox, *probe.COMMANDS)
