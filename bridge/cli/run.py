"""Commands that set a database up: migrate, copy-database.

Owns their arguments and output; serve and worker are `bridge.cli.reload`'s.
"""

import click

from bridge.cli.opened import settings_of
from bridge.runtime import database_name
from bridge.store.backup import copy_all, count_rows
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


COMMANDS = (migrate, copy_database)
