"""Commands that keep the bridge well: doctor, config, migrate, backup, restore, after-failover, copy-database, recheck.

Owns arguments and output; each command calls one flow.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from bridge.books.reconcile import show_reconciliation, start_reconciliation
from bridge.cli.books import finish, print_run
from bridge.cli.opened import acting, bar, opened, settings_of, waiting, who_and_why
from bridge.cli.operations import operations_of
from bridge.cli.settings_text import compared, place_of, shown
from bridge.config import ConfigError, cautions, load_settings
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.invoices.check_again import check_again, check_all_again
from bridge.permit import come_up_read_only
from bridge.runtime import build, database_name, state_directory_of, utc_now
from bridge.settings_file import Fault, read_document
from bridge.store import backup as copies
from bridge.store.backup import copy_all, count_rows
from bridge.store.db import migrate as migrate_database
from bridge.store.db import open_store
from bridge.store.postgresql import url_of
from bridge.upkeep.doctor import FAIL, WARN, examine
from bridge.upkeep.watch import after_failover, note_recheck


@click.command()
@click.option("--tell-billing", is_flag=True, help="Also send one signed test event to every merchant's endpoint.")
@click.option("--thresholds", "with_thresholds", is_flag=True, help="Print the thresholds of the alert rules too.")
@click.pass_context
def doctor(ctx: click.Context, tell_billing: bool, with_thresholds: bool) -> None:
    """Check everything the bridge needs to work, each with its mend; non-zero when something fails."""
    sys.exit(0 if examined(ctx, tell_billing=tell_billing, with_thresholds=with_thresholds) else 1)


def examined(ctx: click.Context, *, tell_billing: bool = False, with_thresholds: bool = False) -> bool:
    """Prints the findings; False when one of them is a failure."""
    settings, operations = settings_of(ctx), operations_of(ctx)
    place = place_of(Path(ctx.obj), settings, newest_backup_at=operations.newest_backup_at())
    with opened(ctx, decides=False) as bridge:
        findings = examine(bridge, place, thresholds=operations.thresholds, tell_billing=tell_billing)
    for found in findings:
        click.echo(f"{found.state:4} {found.name}" + (f": {found.detail}" if found.detail else ""))
        if found.mend:
            click.echo(f"     → {found.mend}")
    if with_thresholds:
        for name, value in asdict(operations.thresholds).items():
            click.echo(f"     threshold {name} = {value}")
    return all(found.state != FAIL for found in findings)


config_group = click.Group("config")


@config_group.command("check")
@click.pass_context
def config_check(ctx: click.Context) -> None:
    """Read the file as the bridge would; every fault is named with its line, its path, what is expected and an example."""
    settings = settings_of(ctx)
    operations_of(ctx)
    try:
        url_of(settings.database_url)
    except Refused as wrong:
        raise read_document(ctx.obj).error([Fault(at=("database_url",), said=wrong.detail)]) from None
    for caution in cautions(settings):
        click.echo(f"{WARN} {caution}")
    click.echo("The configuration can be used.")


@config_group.command("show")
@click.pass_context
def config_show(ctx: click.Context) -> None:
    """Print every setting with its value or default; secrets stay hidden."""
    for path, text in shown(settings_of(ctx)).items():
        click.echo(f"{path}: {text}")


@config_group.command("diff")
@click.argument("other", type=click.Path(exists=True, dir_okay=False))
@click.pass_context
def config_diff(ctx: click.Context, other: str) -> None:
    """Compare OTHER (before) with the file of --config (after); exit code 1 when they differ."""
    lines = compared(load_settings(other), settings_of(ctx))
    for line in lines:
        click.echo(line)
    sys.exit(1 if lines else 0)


@click.command()
@click.option("--directory", type=click.Path(path_type=Path), help="Default: backup_directory of operations.toml.")
@click.option("--keep", default=14, show_default=True, help="How many copies stay.")
@click.pass_context
@waiting("backup")
def backup(ctx: click.Context, directory: Path | None, keep: int) -> None:
    """Copy the database while everything runs. Secrets are not in it: keep those of /etc elsewhere."""
    place = directory or operations_of(ctx).backup_directory
    path = copies.back_up(settings_of(ctx).database_url, place, now=utc_now())
    gone = copies.prune(place, keep=keep)
    click.echo(f"{path} ({path.stat().st_size} bytes); {len(gone)} old copies removed.")


@click.command()
@click.argument("copy", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@who_and_why
@click.pass_context
@waiting("restore")
def restore(ctx: click.Context, /, copy: Path, **who: str) -> None:
    """Fill the empty database of --config from COPY and bring it up read_only. Stop serve and worker first."""
    settings = settings_of(ctx)
    copies.restore(copy, settings.database_url)
    migrate_database(settings.database_url, state_directory=state_directory_of(settings), is_open=True)
    bridge = build(settings, is_counted=False)
    bridge.store.fence.is_open = True
    try:
        retired = come_up_read_only(bridge, detail={"copy": copy.name}, **who)
    finally:
        bridge.close()
    click.echo(f"{database_name(settings)} is restored and read_only; {retired} spare addresses retired. Next:")
    for step in ("recheck", "reconcile", "mode normal"):
        click.echo(f"  subtc-bridge {step} --actor NAME --reason '...'")


@click.command()
@click.argument("invoice_id", required=False)
@acting
def recheck(bridge: Bridge, invoice_id: str | None, actor: str, reason: str) -> None:
    """Read the address of INVOICE_ID again at the gateway and on the chain, or of every invoice: after a restore."""
    if invoice_id is not None:
        is_answered = check_again(bridge, invoice_id, actor=actor, reason=reason)
        click.echo("Looked." if is_answered else "no source answered")
        sys.exit(0 if is_answered else 1)
    sys.exit(0 if _recheck_all(bridge, actor=actor, reason=reason) else 1)


def _recheck_all(bridge: Bridge, *, actor: str, reason: str) -> bool:
    """Whether everything was answered."""
    counted = check_all_again(bridge, actor=actor, reason=reason)
    for outcome, count in sorted(counted.items()):
        click.echo(f"{count:6} {outcome}")
    return not counted["no source answered"]


@click.command("after-failover")
@click.option("--this-one", is_flag=True, help="Also where the database is refused: it is the one from now on.")
@who_and_why
@click.pass_context
def after_failover_command(ctx: click.Context, /, this_one: bool, actor: str, reason: str) -> None:
    """Another database has taken over, which may lack something: read_only, every address is read again, the books are compared.

    What a standby that was behind lacks is noticed and met by itself; this does the rest, but for `mode normal`.
    """
    with opened(ctx, decides=False) as bridge:
        number = after_failover(bridge, this_one=this_one, actor=actor, reason=reason)
        click.echo(f"Generation {number}, read_only.")
    with opened(ctx) as bridge:
        is_answered = _recheck_all(bridge, actor=actor, reason=reason)
        run_id = start_reconciliation(bridge, actor=actor, reason=reason)
        note_recheck(bridge, run_id)
        finish(bridge, run_id)
        found = show_reconciliation(bridge, run_id)
    print_run(found)
    click.echo("Next: subtc-bridge mode normal --actor NAME --reason '...'")
    sys.exit(0 if is_answered and not found["findings_count"] else 1)


@click.command()
@click.pass_context
@waiting("migrate")
def migrate(ctx: click.Context) -> None:
    """Bring the database to the newest schema. Run it before serve and worker."""
    settings = settings_of(ctx)
    migrate_database(settings.database_url, state_directory=state_directory_of(settings))
    click.echo(f"The schema of {database_name(settings)} is up to date.")


@click.command("copy-database")
@click.argument("source_url")
@click.argument("target_url")
@click.pass_context
@waiting("copy-database")
def copy_database(ctx: click.Context, source_url: str, target_url: str) -> None:
    """Copy a database to another engine, row for row and verified: how one grows from SQLite to PostgreSQL.

    Stop serve and worker first. The target must be empty; its schema is made here.
    """
    try:
        state_directory = state_directory_of(settings_of(ctx))
    except ConfigError:  # the addresses are all that it needs
        state_directory = None
    migrate_database(target_url, is_open=True)
    source = open_store(source_url, pool_size=2)
    target = open_store(target_url, pool_size=2, state_directory=state_directory, is_open=True)
    try:
        with bar("Copying", length=count_rows(source)) as drawn:
            copied = copy_all(source, target, progress=lambda _table, rows: drawn.update(rows))
        target.fence.forget()
    finally:
        source.close()
        target.close()
    for table in copied:
        click.echo(f"{table.name:20} {table.rows:9} rows  {table.sha256[:16]}")
    click.echo("Every row is the same on both sides.")


COMMANDS = (doctor, config_group, backup, restore, recheck, after_failover_command, migrate, copy_database)
