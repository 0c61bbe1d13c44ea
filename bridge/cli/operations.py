"""The operator's own file, operations.toml beside config.yaml: thresholds, owners, the backups' folder.

Owns its reading and its example; must not hold a setting of the bridge: nothing here changes what happens to money, so it
is read at each command and needs no restart.
"""

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from bridge.config import ConfigError
from bridge.core.clock import believed
from bridge.core.kinds import REVIEW_OWNERS
from bridge.logs import log
from bridge.runtime import utc_now
from bridge.store import backup
from bridge.upkeep.check import OWNERS, Thresholds, Watching

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
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    _refuse_unknown(path, raw, {"backup_directory", "thresholds", "owners"}, at="")
    thresholds, owners = raw.get("thresholds", {}), raw.get("owners", {})
    _refuse_unknown(path, thresholds, {f.name for f in fields(Thresholds)}, at="thresholds.")
    _refuse_unknown(path, owners, {*OWNERS, *REVIEW_OWNERS}, at="owners.")
    for name, value in thresholds.items():
        if type(value) is not int or value < 0:
            raise ConfigError(f"{path}: thresholds.{name}: must be a whole number, 0 or more")
    for name, role in owners.items():
        if not isinstance(role, str) or not role:
            raise ConfigError(f"{path}: owners.{name}: must name a role")
    directory = raw.get("backup_directory", "var/backups")
    if not isinstance(directory, str):
        raise ConfigError(f"{path}: backup_directory: must be a path")
    return Operations(
        thresholds=Thresholds(**thresholds), owners=owners, backup_directory=path.parent.joinpath(directory)
    )


def example(*, backup_directory: str) -> str:
    """The whole file with every default, for `init`."""
    lines = [
        "# Thresholds of the alert rules (`subtc-bridge check`), whole seconds, satoshi or counts; a rule trips above them.",
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


def _refuse_unknown(path: Path, table: Any, known: set[str], *, at: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {at.rstrip('.')}: must be a table")
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"{path}: {at}{unknown[0]}: there is no such setting")
