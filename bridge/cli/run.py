"""Commands that set something up or try it out: migrate, copy-database, demo, sandbox.

Owns their arguments and output; serve and worker are `bridge.cli.reload`'s.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bridge.cli import scenario as scenarios
from bridge.cli.opened import opened, settings_of
from bridge.runtime import database_name
from bridge.sandbox.scenario import ScenarioFailed
from bridge.store.copy import copy_all, count_rows
from bridge.store.db import migrate as migrate_database
from bridge.store.db import open_store


@click.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database to the newest schema. Run it before serve and worker."""
    settings = settings_of(ctx)
    migrate_database(settings.database_url)
    click.echo(f"The schema of {database_name(settings)} is up to date.")


@click.command("copy-database")
@click.argument("source_url")
@click.argument("target_url")
def copy_database(source_url: str, target_url: str) -> None:
    """Copy a database to another engine, row for row and verified: how one grows from SQLite to PostgreSQL.

    Stop serve and worker first. The target must be empty; its schema is made here.
    """
    migrate_database(target_url)
    source, target = open_store(source_url, pool_size=2), open_store(target_url, pool_size=2)
    try:
        with click.progressbar(length=count_rows(source), label="Copying") as bar:
            copied = copy_all(source, target, progress=lambda _table, rows: bar.update(rows))
    finally:
        source.close()
        target.close()
    for table in copied:
        click.echo(f"{table.name:20} {table.rows:9} rows  {table.sha256[:16]}")
    click.echo("Every row is the same on both sides.")


@click.command()
@click.option("--once", is_flag=True, help="Walk the job once and end; the exit code says whether it came true.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to keep its files (default: a new one).")
@click.option(
    "--node", type=click.Path(exists=True, path_type=Path), help="Real blocks: a folder of scripts/get_node.sh."
)
@click.option("--scenario", type=click.Path(exists=True, path_type=Path), help="Play this file instead of the walk.")
def demo(once: bool, directory: Path | None, node: Path | None, scenario: Path | None) -> None:
    """The whole job on this machine: both outside worlds, the bridge, an order paid in Bitcoin."""
    from bridge.demo import run_demo

    if scenario is None:
        sys.exit(run_demo(once=once, directory=directory, node=node))
    with _clear_failure():
        scenarios.play_in_new_demo(scenario, directory=directory, once=once, say=click.echo)


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
            scenarios.play_against_demo(scenario, settings_of(ctx), bridge, say=click.echo)
        return
    if world is None:
        raise click.UsageError("Name a world, bitcoin or billmanager, or give --scenario.")
    sys.exit(subprocess.run([sys.executable, "-m", f"bridge.sandbox.{world}", *arguments], check=False).returncode)


@contextmanager
def _clear_failure() -> Iterator[None]:
    """A scenario that did not come true is an answer, not a traceback."""
    try:
        yield
    except ScenarioFailed as failure:
        raise click.ClickException(str(failure)) from None


COMMANDS = (migrate, copy_database, demo, sandbox)
