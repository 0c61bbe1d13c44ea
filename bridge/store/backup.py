"""Copies of a running database, the way back from one, and the move of a whole database to another engine.

Owns the files, their names and modes, what must change in a restored database, and the comparison row for row after a move;
must never write over a database that holds anything.
"""

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Row,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.engine import URL

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.store import events, wallets
from bridge.store.db import Store, driver_of
from bridge.store.postgresql import url_of
from bridge.store.private import open_private
from bridge.store.tables import Json, metadata, spare_addresses, unsummed_journals

_NAME = re.compile(r"bridge-(\d{8}T\d{6}Z)\.(db|dump)")
_TIME = "%Y%m%dT%H%M%SZ"
# Where Debian and the official images keep PostgreSQL's programs; the caller's PATH is not asked.
_PLACES = "/usr/bin:/bin:/usr/local/bin:/usr/lib/postgresql/16/bin:/usr/lib/postgresql/15/bin"
BATCH = 1_000


@contextmanager
def _named_trouble() -> Iterator[None]:
    """A full disk, a folder that takes no files: in a word that callers know."""
    try:
        yield
    except (OSError, sqlite3.Error) as trouble:
        raise Unavailable("backup_failed", str(trouble)) from trouble


@_named_trouble()
def back_up(database_url: str, directory: Path, *, now: datetime) -> Path:
    """Writes a consistent copy while everything runs and returns its path; a copy is whole or not there.

    Raises Unavailable("backup_failed") when it cannot be made or does not pass its own check.
    """
    url = url_of(database_url)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    suffix = "dump" if url.get_backend_name() == "postgresql" else "db"
    path = directory / f"bridge-{now.astimezone(UTC):{_TIME}}.{suffix}"
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    try:
        if suffix == "dump":
            _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}")
        else:
            _copy_sqlite(Path(url.database or ""), unfinished)
        _to_disk(unfinished)
        unfinished.rename(path)
        _to_disk(directory)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def listing(directory: Path) -> list[tuple[datetime, Path]]:
    """Every finished copy with its time, oldest first."""
    if not directory.is_dir():
        return []
    found = [(match[1], path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((datetime.strptime(text, _TIME).replace(tzinfo=UTC), path) for text, path in found)


def prune(directory: Path, *, keep: int) -> list[Path]:
    """Removes all but the newest `keep` copies and returns what is gone. At least one copy always stays."""
    gone = [path for _, path in listing(directory)[: -max(keep, 1)]]
    for path in gone:
        path.unlink()
    return gone


@_named_trouble()
def restore(path: Path, database_url: str) -> None:
    """Fills an empty database from a copy. Raises Conflict("not_empty"), Refused("bad_backup") or Unavailable("backup_failed")."""
    url = url_of(database_url)
    wanted = "dump" if url.get_backend_name() == "postgresql" else "db"
    match = _NAME.fullmatch(path.name)
    if match is None or match[2] != wanted or not path.is_file():
        raise Refused("bad_backup", f"{path.name} is no copy that this engine can read.", field="path")
    if wanted == "dump":
        _refuse_tables(url)
        _run(url, "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(path))
        return
    target = Path(url.database or "")
    if target.exists() and target.stat().st_size:
        raise Conflict("not_empty", f"{target} is there already; move it away first.")
    _check_sqlite(path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    os.close(open_private(unfinished, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
    shutil.copyfile(path, unfinished)
    _to_disk(unfinished)
    # Logs of the lost database would be played into the restored one.
    for left in ("-wal", "-shm"):
        target.with_name(target.name + left).unlink(missing_ok=True)
    unfinished.replace(target)


def leave_the_past(tx: Connection, *, merchants: Sequence[str], now: datetime) -> int:
    """What was given out after the copy was made is not given out again; returns how many spare addresses are retired.

    A spare address may have been shown to a payer since, and a reader of the feed may already be past our newest position.
    """
    free = update(spare_addresses).where(spare_addresses.c.invoice_id.is_(None))
    retired = tx.execute(free.values(invoice_id="retired:" + spare_addresses.c.address)).rowcount
    wallets.skip_after_restore(tx)
    events.leave_gap(tx, merchants=merchants, after=events.end(tx), now=now, cause="restored")
    return int(retired)


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Unavailable("backup_failed", f"There is no database {source}.")
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
        closing(sqlite3.connect(target)) as copy,
    ):
        reading.backup(copy, pages=2_000, sleep=0)
        # A copy is one file: it must not ask for a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
    _check_sqlite(target)


def _check_sqlite(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as copy:
            verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise Unavailable("backup_failed", f"{path.name} is damaged: {verdict}")


def _refuse_tables(url: URL) -> None:
    engine = create_engine(url)
    try:
        if inspect(engine).get_table_names():
            raise Conflict("not_empty", f"The database {url.database} already has tables; restore into a new one.")
    finally:
        engine.dispose()


def _run(url: URL, program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs. The password travels in its environment, never in its argument list."""
    # `URL.set` takes None for "as it is", and a hidden password would be taken for the password.
    place = url._replace(drivername="postgresql", password=None).render_as_string()
    environment = {"PATH": _PLACES, "LC_ALL": "C.UTF-8"} | ({"PGPASSWORD": str(url.password)} if url.password else {})
    found = shutil.which(program, path=_PLACES)
    if found is None:
        raise Unavailable("backup_failed", f"{program} is not installed (Debian: postgresql-client).")
    command = [found, f"--dbname={place}", "--no-password", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable("backup_failed", f"{program}: {done.stderr.strip()[-300:]}")


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@dataclass(frozen=True, kw_only=True)
class CopiedTable:
    """One table after the copy: both sides have `rows` rows with this hash over all of them in key order."""

    name: str
    rows: int
    sha256: str


def copy_all(source: Store, target: Store, *, progress: Callable[[str, int], None]) -> list[CopiedTable]:
    """Copies every table in one transaction per side and compares both sides.

    The source's write lock is held, so that nothing is written behind the copy's back. Raises Conflict("not_empty") and
    Conflict("copy_differs"); then the target holds nothing new.
    """
    copied = []
    with source.write() as reading, target.write() as writing:
        for table in metadata.sorted_tables:
            if writing.execute(select(func.count()).select_from(table)).scalar_one():
                raise Conflict("not_empty", f"The target already has rows in {table.name}.")
        for table in sorted(metadata.sorted_tables, key=lambda table: table is unsummed_journals):
            if table is unsummed_journals:
                # The target's own trigger has put every journal there: those that the source has summed are in the sums.
                writing.execute(delete(table))
            for batch in _batches(reading, table):
                writing.execute(_as_stored(table), [dict(row._mapping) for row in batch])
                progress(table.name, len(batch))
            _raise_serials(writing, table)
        for table in metadata.sorted_tables:
            before, after = _digest(reading, table), _digest(writing, table)
            if before != after:
                raise Conflict("copy_differs", f"The copy of {table.name} differs from its source.")
            copied.append(CopiedTable(name=table.name, rows=before[0], sha256=before[1]))
        # It lies on another server than the one that its row names.
        with driver_of(writing) as driver:
            driver.execute("UPDATE generation SET timeline = NULL, system_id = ''").close()
    return copied


def count_rows(store: Store) -> int:
    """All rows of all tables, for a progress bar."""
    with store.read() as tx:
        return sum(tx.execute(select(func.count()).select_from(t)).scalar_one() for t in metadata.sorted_tables)


def _batches(tx: Connection, table: Table) -> Iterator[list[Row[Any]]]:
    # JSON as its text: what is read and written anew might be spelled otherwise.
    columns = [type_coerce(c, Text).label(c.name) if isinstance(c.type, Json) else c for c in table.columns]
    query = select(*columns).order_by(*table.primary_key.columns).execution_options(yield_per=BATCH)
    for partition in tx.execute(query).partitions():
        yield list(partition)


def _as_stored(table: Table) -> Insert:
    return insert(table).values({c: bindparam(c.name, type_=Text) for c in table.columns if isinstance(c.type, Json)})


def _digest(tx: Connection, table: Table) -> tuple[int, str]:
    """Row count and an order-free sum of row hashes: the engines may sort text differently."""
    count, total = 0, 0
    for batch in _batches(tx, table):
        for row in batch:
            count += 1
            line = "\x1f".join(_text(value) for value in row)
            total += int.from_bytes(hashlib.sha256(line.encode()).digest())
    return count, f"{total % (1 << 256):064x}"


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return f"{type(value).__name__}:{value}"


def _raise_serials(tx: Connection, table: Table) -> None:
    """PostgreSQL counts serial keys by itself: it must go on above what was copied."""
    key = table.primary_key.columns[0] if len(table.primary_key.columns) == 1 else None
    if tx.dialect.name != "postgresql" or key is None or key.type.python_type is not int:
        return
    newest = tx.execute(select(func.max(key))).scalar()
    if newest is not None:
        sequence = tx.execute(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": key.name}).scalar()
        tx.execute(text("SELECT setval(:s, :n)"), {"s": sequence, "n": newest})
