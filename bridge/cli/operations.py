"""The operator's own file, operations.toml beside config.yaml: thresholds, owners, the backups' folder; and the command check that goes by
it, which a timer starts every few minutes.

Owns the file's reading and its example, that command and its file for Prometheus; must not hold a rule or a setting of the bridge
(nothing here changes what happens to money, so it is read at each command and needs no restart), nor import what only other commands
need.
"""

import logging
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from bridge.cli.opened import opened
from bridge.core.clock import believed
from bridge.core.kinds import REVIEW_OWNERS
from bridge.logs import log
from bridge.runtime import utc_now
from bridge.settings_file import At, ConfigError, Document, Fault, nearest
from bridge.store import backup
from bridge.upkeep.check import OWNERS, Alert, Thresholds, Watching, alerts

NAME = "operations.toml"


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What the file says. Owners are roles by alert rule or review kind."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    owners: Mapping[str, str] = field(default_factory=dict)
    backup_directory: Path

    def newest_backup_at(self) -> datetime | None:
        # A copy whose name lies ahead would hide for so long that none was made since.
        now = utc_now()
        made = [at for at, _ in backup.listing(self.backup_directory) if believed(at, now=now)]
        return made[-1] if made else None

    def watching(self) -> Watching:
        """The same for the command, the timer and the desk."""
        return Watching(
            thresholds=self.thresholds,
            owners=self.owners,
            newest_backup_at=self.newest_backup_at(),
            watch_backups=self.backup_directory.is_dir(),
        )


class OperationsFile:
    """The file beside `config`, read anew each time for a program that stays; one that cannot be used changes nothing."""

    def __init__(self, config: str | Path):
        self._path = Path(config).with_name(NAME)
        self._last = Watching()

    def __call__(self) -> Watching:
        try:
            self._last = read_operations(self._path).watching()
        except (ConfigError, OSError) as refused:
            log("operations.refused", level=logging.ERROR, faults=str(refused).splitlines())
        return self._last


def operations_of(ctx: click.Context) -> Operations:
    """The file beside the command's --config; every default when there is none. Raises ConfigError with the setting's path."""
    path = Path(ctx.obj).with_name(NAME)
    return read_operations(path)


def read_operations(path: Path) -> Operations:
    """Raises ConfigError with a line per fault: its line in the file, its path, what is expected."""
    document = _document(path) if path.exists() else Document(path=path, content={}, lines={})
    if faults := list(_faults(document.content)):
        raise document.error(faults)
    told = document.content
    thresholds, owners = told.get("thresholds", {}), told.get("owners", {})
    directory = path.parent.joinpath(told.get("backup_directory", "var/backups"))
    return Operations(thresholds=Thresholds(**thresholds), owners=owners, backup_directory=directory)


def _document(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line ([0-9]+)", str(error))
        line = int(place[1]) if place else len(text.splitlines())
        twice = re.search("Cannot (overwrite|declare)", str(error))
        wrong = "this name is there already" if twice else "each line is NAME = VALUE, a text in double quotes"
        raise ConfigError(f"{path}:{line}: not TOML: {wrong}") from None
    lines: dict[At, int] = {}
    section: At = ()
    for number, row in enumerate(text.splitlines(), 1):
        if begun := re.match(r"\s*\[([\w.-]+)\]", row):
            section = (begun[1],)
            lines[section] = number
        elif named := re.match(r"\s*([\w-]+)\s*=", row):
            lines[(*section, named[1])] = number
    return Document(path=path, content=content, lines=lines)


def _faults(told: Mapping[str, Any]) -> Iterator[Fault]:
    tables = {"thresholds": {each.name for each in fields(Thresholds)}, "owners": {*OWNERS, *REVIEW_OWNERS}}
    yield from _unknown((), told, {"backup_directory", *tables})
    if not isinstance(told.get("backup_directory", ""), str):
        yield Fault(
            at=("backup_directory",), said='must be a path, such as backup_directory = "/var/backups/subtc-bridge"'
        )
    for section, known in tables.items():
        table = told.get(section, {})
        if not isinstance(table, dict):
            yield Fault(at=(section,), said=f"must be a table: write [{section}] and its settings below")
            continue
        yield from _unknown((section,), table, known)
        for name, value in table.items():
            if section == "thresholds" and name in known and (type(value) is not int or value < 0):
                usual = getattr(Thresholds(), name)
                yield Fault(at=(section, name), said=f"must be a whole number, 0 or more, such as {name} = {usual}")
            if section == "owners" and (not isinstance(value, str) or not value):
                yield Fault(at=(section, name), said=f'must name a role, such as {name} = "finance"')


def _unknown(at: At, table: Mapping[str, Any], known: set[str]) -> Iterator[Fault]:
    for name in table.keys() - known:
        near = nearest(name, sorted(known))
        yield Fault(at=(*at, name), said=f"there is no such setting.{f' Is {near} meant?' if near else ''}")


def example(*, backup_directory: str) -> str:
    """The whole file with every default, for `init`."""
    lines = [
        "# Thresholds of the alert rules (`subtc-bridge check`), whole seconds, satoshi, MB or counts; a rule trips above them.",
        "# Read at each command: nothing needs a restart. What each rule means: docs/runbooks.md.",
        f'backup_directory = "{backup_directory}"',
        "",
        "[thresholds]",
        *(f"{name} = {value}" for name, value in asdict(Thresholds()).items()),
        "",
        "# Which role looks after which alert and rules on which kind of review item.",
        "[owners]",
        *(f'{name} = "{role}"' for name, role in (OWNERS | REVIEW_OWNERS).items()),
    ]
    return "\n".join(lines) + "\n"


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
        tripped = alerts(bridge, operations.watching(), ask_outside=outside)
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
