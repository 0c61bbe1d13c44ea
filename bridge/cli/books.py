"""Commands of finance: reconcile, export, report, evidence, receipts, purge, thaw.

Owns arguments and output; each command calls one flow.
"""

import json
import sys
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from bridge.books import export as exporting
from bridge.books.export import KINDS
from bridge.books.keep_books import check_may_purge, check_may_thaw, purge_step, thaw_step
from bridge.books.reconcile import show_reconciliation, start_reconciliation, start_scheduled, step
from bridge.cli.opened import (
    DAY_OR_MOMENT,
    MOMENT,
    bar,
    counted,
    for_programs,
    opened,
    reading,
    require_options,
    settings_of,
    tell,
)
from bridge.config import load_column_map
from bridge.context import Bridge
from bridge.core.columns import PROFILES, ColumnMap
from bridge.core.errors import Refused
from bridge.core.plain import as_table
from bridge.desk.day_report import report as day_report
from bridge.desk.evidence import evidence as evidence_of
from bridge.language import Texts, plain_texts
from bridge.receipts import DocumentSigner, new_key, verify


@click.group(invoke_without_command=True)
@click.option("--from", "from_at", type=MOMENT, help="Compare what moved since, UTC (default: the configured days).")
@click.option("--to", "to_at", type=MOMENT, help="Compare what was opened before, UTC (default: now).")
@click.option("--actor", help="Who: the name of an active operator.")
@click.option("--reason", help="Why, in a sentence.")
@click.option("--scheduled", is_flag=True, help="As a timer does: nobody asks, so nobody is named.")
@click.pass_context
def reconcile(ctx: click.Context, /, scheduled: bool, **asked: Any) -> None:
    """Compare ledger, gateway and chain, and billing system now; 2 when they differ, 1 when a world did not answer."""
    if ctx.invoked_subcommand is not None:
        return
    if not scheduled:
        require_options(ctx, "actor", "reason")
    with opened(ctx) as bridge:
        run_id = start_scheduled(bridge) if scheduled else start_reconciliation(bridge, **asked)
        finish(bridge, run_id)
        found = show_reconciliation(bridge, run_id)
    print_run(found)
    sys.exit(2 if found["findings_count"] else 0 if found["is_clean"] else 1)


def finish(bridge: Bridge, run_id: str) -> None:
    """Every page of the run. When the gateway's calls of this minute are used up, it waits for the next."""
    run, checked = step(bridge, run_id), 0
    with bar("Comparing", length=max(run.counts["total"], 1)) as drawn:
        while True:
            drawn.update(run.counts["checked"] - checked)
            if run.is_over:
                return
            if run.counts["checked"] == checked and run.phase == "invoices":
                time.sleep(1)
            checked = run.counts["checked"]
            run = step(bridge, run_id)


def print_run(run: dict[str, Any]) -> None:
    for finding in run["findings"]:
        about = finding["invoice_id"] or finding["merchant"] or "wallet"
        click.echo(f"{finding['code']:24} {about}  ours: {finding['ours']}  theirs: {finding['theirs']}")
    click.echo(f"{run['id']}: {run['checked']} invoices, {run['findings_count']} findings, {run['unread']} unread.")


@click.command()
@click.option("--kind", type=click.Choice(KINDS), default="journal", show_default=True)
@click.option(
    "--from", "from_at", type=DAY_OR_MOMENT, required=True, help="From this day of the books or moment (UTC) on."
)
@click.option("--to", "to_at", type=DAY_OR_MOMENT, required=True, help="Before this day or moment.")
@click.option(
    "--format", "form", type=click.Choice([*exporting.FORMATS, "beancount"]), default="csv", show_default=True
)
@click.option("--columns", type=click.Path(exists=True, dir_okay=False), help="A column map (YAML).")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="csv: as this program reads it, instead of a map.")
@click.option("--bare", is_flag=True, help="beancount: without the accounts, to be included by another file.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write (default: standard output).")
@click.pass_context
def export(
    ctx: click.Context,
    /,
    kind: str,
    form: str,
    columns: str | None,
    profile: str | None,
    bare: bool,
    output: Path | None,
    **period: date,
) -> None:
    """Write the books of a period: for a spreadsheet, an accounting program, or beancount."""
    if columns and profile:
        raise click.UsageError("--columns and --profile: take one of the two.")
    chosen = load_column_map(columns) if columns else ColumnMap.plain(exporting.FIELDS[kind], profile=profile)
    with opened(ctx) as bridge:
        from_at, to_at = (bridge.calendar.moment_of(period[name]) for name in ("from_at", "to_at"))
        if form == "beancount":
            _write(exporting.beancount(bridge, from_at=from_at, to_at=to_at, is_bare=bare), output)
            return
        text = exporting.export(bridge, kind=kind, format=form, from_at=from_at, to_at=to_at, columns=chosen)
        _write(chosen.bytes_of(text) if form == "csv" else text, output)


def _write(chunks: Iterable[str] | Iterable[bytes], output: Path | None) -> None:
    """A file appears whole or not at all; text is UTF-8. What is no file, a pipe or a device, stays what it is."""
    if output is None:
        for chunk in chunks:
            click.echo(chunk, nl=False)
        return
    is_file = output.is_file() or not output.exists()
    unfinished = output.with_name(output.name + ".part") if is_file else output
    written = 0
    try:
        with unfinished.open("wb") as file:
            for chunk in chunks:
                written += file.write(chunk.encode() if isinstance(chunk, str) else chunk)
                counted(f"{written / 1_000_000:.1f} MB")
        if is_file:
            unfinished.replace(output)
    finally:
        if is_file:
            unfinished.unlink(missing_ok=True)


@click.command()
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]), required=False)
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="How many days from DAY on.")
@click.option("--merchant")
@click.option("--lang", type=click.Choice(["en", "ru"]), default="en", show_default=True, help="Of the table.")
@for_programs
@reading
def report(bridge: Bridge, day: datetime | None, days: int, merchant: str | None, lang: str, form: str | None) -> None:
    """The report of a day of the books (default: yesterday): expected, received, confirmed, settled, refunded, under review."""
    start = day.date() if day else bridge.calendar.day_of(bridge.clock()) - timedelta(days=1)
    shown = day_report(bridge, start, days=days, merchant=merchant)
    tell(shown, lambda: _report_lines(shown, plain_texts(lang)), form=form)


EXPECTED = ("opening", "asked", "ended", "closing")


def _report_lines(shown: dict[str, Any], texts: Texts) -> Iterable[str]:
    """The report as the desk words it."""
    yield f"{shown['from']} – {shown['to']}" + (f", {shown['merchant']}" if shown["merchant"] else "")
    counts, figures, sums = (texts.section(f"desk.{name}") for name in ("counts", "figures", "sums"))
    yield from as_table(("", ">"), [(counts[name], count) for name, count in shown["counts"].items()])
    yield ""
    yield from as_table(("", ">sat"), [(figures[name], sat) for name, sat in shown["sat"].items()])
    yield ""
    heads = [texts("desk.report.expected"), *(f">{texts(f'desk.report.{name}')}" for name in EXPECTED)]
    money = [(currency, *(moved[name] for name in EXPECTED)) for currency, moved in shown["expected"].items()]
    yield from as_table(heads, money)
    yield ""
    for each in shown["sums"]:
        yield f"{sums[each['name']]}: {each['left']} {'=' if each['ok'] else '≠'} {each['right']}"


@click.command()
@click.argument("reference")
@click.option("--lang", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The file to write (default: standard output).")
@reading
def evidence(bridge: Bridge, reference: str, lang: str, output: Path | None) -> None:
    """Write everything about one invoice as one signed bundle, for a dispute."""
    bundle = evidence_of(bridge, reference, lang=lang)
    _write([json.dumps(bundle, indent=2, ensure_ascii=False, sort_keys=True) + "\n"], output)
    if "signature" not in bundle:
        click.echo("Not signed: no receipt_key is configured.", err=True)


@click.command("verify-receipt")
@click.argument("file", type=click.File("rb"))
@click.option("--key", type=click.File("r"), help="The public key (PEM); default: of the configured keys.")
@click.pass_context
def verify_receipt(ctx: click.Context, file: Any, key: Any) -> None:
    """Check the signature of a receipt or a bundle of evidence; needs no network and no database."""
    try:
        document = json.load(file)
    except ValueError:
        raise Refused("receipt_invalid", "The file is not JSON.") from None
    document = document if isinstance(document, dict) else {}
    verify(document, key.read() if key is not None else _own_key(ctx, document))
    click.echo(
        f"The signature is good: {document.get('kind')} of {document.get('issuer')}, {document.get('issued_at')}."
    )


def _own_key(ctx: click.Context, document: dict[str, Any]) -> str:
    settings = settings_of(ctx)
    if settings.receipt_key is None:
        raise Refused("no_receipt_key", "Name the public key with --key; no receipt_key is configured.")
    signer = DocumentSigner(settings.receipt_key.get_secret_value(), former=settings.receipt_keys_former)
    return signer.public_pem_for(document)


@click.command("new-receipt-key")
@click.argument("path", type=click.Path(path_type=Path))
def new_receipt_key(path: Path) -> None:
    """Write a fresh private key for receipts to PATH (mode 0600) and its public half to PATH.pub, over no file that exists."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(pem := new_key(), encoding="ascii")
    public = path.with_name(path.name + ".pub")
    public.write_text(DocumentSigner(pem).public_pem, encoding="ascii")
    click.echo(f"Written. Set receipt_key: ${{file:{path}}}")
    click.echo(f"When this key is followed by another: receipt_keys_former: [${{file:{public}}}]")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be purged; needs no --actor and --reason.")
@click.option("--actor", default="", help="Who: the name of an active operator.")
@click.option("--reason", default="", help="Why, in a sentence.")
@click.pass_context
def purge(ctx: click.Context, dry_run: bool, actor: str, reason: str) -> None:
    """Remove what its class no longer needs: callback bodies and headers, readings, contacts. Never ledger or audit."""
    with opened(ctx) as bridge:
        if not dry_run:
            check_may_purge(bridge, actor=actor, reason=reason)
        total: dict[str, int] = {}
        while done := purge_step(bridge, dry_run=dry_run):
            for name, count in done.items():
                total[name] = total.get(name, 0) + count
            counted(f"{sum(total.values())} rows")
            if dry_run:
                break
    for name, count in sorted(total.items()):
        click.echo(f"{count:9} {name}")
    click.echo("Nothing else was touched." if not dry_run else "Nothing was touched.")


@click.command()
@click.option("--actor", required=True, help="Who: the name of an active operator.")
@click.option("--reason", required=True, help="Why, in a sentence.")
@click.pass_context
def thaw(ctx: click.Context, actor: str, reason: str) -> None:
    """Put back what archives hold: an earlier release cannot read them, and archive_after_days must be null."""
    total, last, damaged = 0, "", list[str]()
    with opened(ctx) as bridge:
        check_may_thaw(bridge, actor=actor, reason=reason)
        while (page := thaw_step(bridge, after=last))[0]:
            last, total = page[0][-1], total + len(page[0]) - len(page[1])
            damaged += page[1]
            counted(f"{total} invoices")
    click.echo(f"{total} invoices were put back.{'' if damaged else ' Nothing is packed any more.'}")
    if damaged:
        raise click.ClickException(f"Archives are damaged; bring their rows back from a backup: {', '.join(damaged)}")


COMMANDS = (reconcile, export, report, evidence, verify_receipt, new_receipt_key, purge, thaw)
