"""The command check, which a timer starts every few minutes: it imports nothing that only other commands need.

Owns arguments, output and the file for Prometheus; must not hold a rule.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bridge.cli.opened import opened
from bridge.cli.operations import operations_of
from bridge.runtime import utc_now
from bridge.upkeep.check import OWNERS, Alert, alerts


@click.command()
@click.option("--outside/--no-outside", default=True, help="Whether to ask gateway, chain and prices too.")
@click.option(
    "--textfile", type=click.Path(path_type=Path), help="Also write the result for Prometheus's node exporter."
)
@click.pass_context
def check(ctx: click.Context, outside: bool, textfile: Path | None) -> None:
    """Evaluate the alert rules, for cron and Nagios: 0 when all is well, 2 and the rules' names when not."""
    operations = operations_of(ctx)
    with opened(ctx, decides=False) as bridge:
        tripped = alerts(bridge, **vars(operations.watching()), ask_outside=outside)
    if textfile is not None:
        _write_textfile(textfile, tripped, OWNERS | dict(operations.owners))
    for alert in tripped:
        click.echo(f"{alert.rule} ({alert.owner}): {alert.detail} — docs/runbooks.md#{alert.rule}")
    if not tripped:
        click.echo("ok")
    sys.exit(2 if tripped else 0)


def _write_textfile(path: Path, tripped: list[Alert], owners: Mapping[str, str]) -> None:
    """Every rule as 0 or 1, put in place at once: a scrape never reads half a file."""
    names = {alert.rule for alert in tripped}
    lines = ["# HELP bridge_check_tripped Whether an alert rule is tripped.", "# TYPE bridge_check_tripped gauge"]
    for rule in OWNERS:
        lines.append(f'bridge_check_tripped{{rule="{rule}",owner="{owners[rule]}"}} {int(rule in names)}')
    lines += [
        "# HELP bridge_check_finished_seconds When the rules were evaluated.",
        "# TYPE bridge_check_finished_seconds gauge",
    ]
    lines.append(f"bridge_check_finished_seconds {int(utc_now().timestamp())}")
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.chmod(0o644)
    unfinished.replace(path)


COMMANDS = (check,)
