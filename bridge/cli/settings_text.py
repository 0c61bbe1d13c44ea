"""Settings for people: shown without a secret, compared with another file, and where the secrets lie.

Owns redaction and comparison; must not print a secret or anything that it could be guessed from.
"""

import re
import stat
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.config import Settings, flat
from bridge.store.postgresql import url_of
from bridge.upkeep.doctor import Place

HIDDEN = "(secret)"
_FILE_REFERENCE = re.compile(r"\$\{file:([^}]+)\}")
_INLINE = re.compile(
    r"SUBTC-KEY-[A-Za-z0-9]{8}|whsec_[A-Za-z0-9+/]{8}|(?:api_keys|token_secret|password): *[\[\"']*[A-Za-z0-9]{16}"
)
# Others may not read, the group may not write.
_LOOSE_BITS = 0o027


def shown(settings: Settings) -> dict[str, str]:
    """Every setting by its path, secrets hidden and the database's password cut out."""
    return {path: _text(path, value) for path, value in flat(settings.model_dump())}


def compared(before: Settings, after: Settings) -> list[str]:
    """One line per setting that differs; of a secret only that it does."""
    old, new = dict(flat(before.model_dump())), dict(flat(after.model_dump()))
    lines = []
    for path in sorted({*old, *new}):
        if old.get(path) == new.get(path):
            continue
        was = _text(path, old[path]) if path in old else "(not set)"
        now = _text(path, new[path]) if path in new else "(not set)"
        lines.append(f"{path}: {was} → {now}" if HIDDEN not in (was, now) else f"{path}: {HIDDEN} changed")
    return lines


def place_of(config: Path, settings: Settings, *, newest_backup_at: datetime | None = None) -> Place:
    """What the doctor wants to know of the files: their modes, and whether secrets stand in the config itself."""
    text = config.read_text(encoding="utf-8")
    files = [config, *(Path(name) for name in dict.fromkeys(_FILE_REFERENCE.findall(text)))]
    lines = (number for number, line in enumerate(text.splitlines(), 1) if _INLINE.search(line.partition("#")[0]))
    return Place(
        loose_files=_loose(files, _LOOSE_BITS),
        loose_database=_loose(_reached(settings), stat.S_IRWXO),
        inline_secrets=tuple(f"{config.name} line {number}" for number in lines),
        fixed_prices=bool(settings.prices.fixed),
        gap_limit=settings.own_wallet.gap_limit if settings.own_wallet is not None else 0,
        newest_backup_at=newest_backup_at,
    )


def _reached(settings: Settings) -> list[Path]:
    """SQLite's files where others get into their folder."""
    url = url_of(settings.database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return []
    beside = [Path(f"{url.database}{ending}") for ending in ("", "-wal", "-shm")]
    return [path for path in beside if path.is_file() and path.parent.stat().st_mode & stat.S_IXOTH]


def _loose(files: Iterable[Path], bits: int) -> tuple[str, ...]:
    modes = {path: path.stat().st_mode & 0o777 for path in files}
    return tuple(f"{path} is {mode:03o}" for path, mode in modes.items() if mode & bits)


def _text(path: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return HIDDEN
    if path.endswith("url") and isinstance(value, str):
        return _without_password(value)
    return str(value)


def _without_password(url: str) -> str:
    # Up to the last @: a password may hold anything, a slash too. It may also stand in the query of a database URL.
    hidden = re.sub(r"(://[^/?#:@]*:).*(?=@)", rf"\1{HIDDEN}", url)
    return re.sub(r"(?<=password=)[^&]*", HIDDEN, hidden)
