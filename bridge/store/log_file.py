"""SQLite's log beside the file: whether it is the one that a connection has open, and written back while nobody writes.

Owns the look at the files and the rescue of a log that was removed; must not know what is in the database.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DisconnectionError

from bridge.core.errors import Unavailable

Identity = tuple[int, int] | None
# Under constant load it is written back no more often than this, besides what SQLite does by itself when it is long.
LONGEST_SECONDS = 30
AGAIN = "The same request may be sent again."


class LogFile:
    """The files of one database as one process sees them."""

    def __init__(self, database: str):
        self._database, self._log, self._index = (Path(f"{database}{ending}") for ending in ("", "-wal", "-shm"))
        # Whether this process may not go on: its connections share an index that others have no more.
        self._is_over = False
        self._guard = threading.Lock()
        self._rescued: set[Identity] = set()
        self._written_back, self._seen = 0, 0
        self._written_back_at = time.monotonic()
        # The turn of the one who writes, of all programs: a log is written back while nobody goes on in it.
        self.turn: Callable[[], AbstractContextManager[None]] = nullcontext

    def note(self, connection: Any, record: Any) -> None:
        """For a connection that has read something, so that both its files are open."""
        record.info["files"] = self._files()

    def is_as_noted(self, info: Mapping[str, Any]) -> bool:
        """Whether `heed` has nothing to say of the connection with this info."""
        return not self._is_over and info.get("files") == self._files()

    def heed(self, connection: Any, record: Any, _proxy: Any) -> None:
        """Before a connection is used: a log that was removed under it is written back from what it still has open, and another
        connection takes its place. Raises Unavailable (database_log_missing, database_fenced) where that cannot be.
        """
        if self._is_over:
            raise _missing("Restart the programs.")
        before, now = record.info.get("files"), self._files()
        if before is None or now == before:
            return
        if before[1] is None and now[0] == before[0]:
            # A new database, whose first writer has begun the log.
            record.info["files"] = now
            return
        if now[0] != before[0]:
            detail = "The database's file was replaced under the running program. Nothing was written."
            raise Unavailable("database_fenced", detail, retry_after_seconds=30)
        with self.turn(), self._guard:
            # Once: what comes after it is in the new log, of which this connection knows nothing.
            if before[1] not in self._rescued:
                _rescue(connection, is_first=self._files()[1] is None)
                self._rescued.add(before[1])
            if now[2] != before[2]:
                # A new connection of this process would go on with the old index, of another process with a new one.
                self._is_over = True
                raise _missing("Restart the programs.")
        raise DisconnectionError("the log is another one")

    def is_due(self) -> bool:
        """Whether there is something to write back, and nobody has written since the last time that this was asked."""
        try:
            changed = self._log.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        is_quiet, self._seen = changed == self._seen, changed
        is_long = time.monotonic() - self._written_back_at > LONGEST_SECONDS
        return changed != self._written_back and (is_quiet or is_long)

    def write_back(self, connection: Any) -> None:
        """Waits for nobody: what a reader still needs is written back the next time."""
        changed = self._log.stat().st_mtime_ns
        is_busy, frames, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._written_back_at = time.monotonic()
        if not is_busy and frames == done:
            self._written_back = changed

    def _files(self) -> tuple[Identity, Identity, Identity]:
        return _identity(self._database), _identity(self._log), _identity(self._index)


def _identity(path: Path) -> Identity:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _rescue(connection: sqlite3.Connection, *, is_first: bool) -> None:
    """All of the log that this connection has open goes into the file, and the log is emptied: else who opens the next one would
    look there for what is not in it.

    Where another program was before this one (not `is_first`) nothing may be left to do, and what is in the next log cannot be
    read here: the next connection is compared with what was seen.
    """
    try:
        is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as trouble:
        if is_first:
            raise _missing(AGAIN) from trouble
        return
    if is_busy:
        raise _missing(AGAIN)


def _missing(then: str) -> Unavailable:
    detail = f"The log beside the database's file was removed. Nothing was written. {then}"
    return Unavailable("database_log_missing", detail, retry_after_seconds=5)
