"""The fence: a database of the past, or another one, is not taken for the one that this machine has worked with.

Owns the record that is kept outside of the database, and the comparison with it; writes nothing into a database, `store.generation`
does.
"""

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bridge.core.errors import Unavailable
from bridge.store.private import open_private

RECORD_BYTES = 256
# So long a process that is at work goes by what it compared: as often as a worker writes down what has changed.
COMPARED_SECONDS = 5
_SEEN = "(SELECT coalesce(max(id), 0) FROM audit)"
_OWN = f"g.number, g.mark, g.timeline, g.system_id, g.is_synchronous, {_SEEN}"
SQLITE = f"SELECT {_OWN}, NULL, '', 0 FROM (SELECT 1) one LEFT JOIN generation g ON 1 = 1"
# The file name of the log begins with the timeline, which a standby changes when it takes over; its control file says that later.
_TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint"
POSTGRESQL = (
    f"SELECT {_OWN}, CASE WHEN NOT pg_is_in_recovery() THEN {_TIMELINE} END, "
    "(SELECT system_identifier::text FROM pg_control_system()), pg_is_in_recovery()::int "
    "FROM (SELECT 1) one LEFT JOIN generation g ON TRUE"
)
# SQLSTATEs of a server that does not tell strangers about itself, or that is none of PostgreSQL's own.
_TELLS_NOTHING = ("42501", "42883", "0A000")
_NO_TABLE = "42P01"


class FailedOver(Unavailable):
    """A standby has taken over, and nobody has drawn the conclusions yet."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What this machine knows of its database: its generation, and up to which row of the audit it has seen it.

    `mark` tells two generations of one number apart. `is_synchronous`: whether a commit waited for a standby.
    """

    number: int = 0
    mark: str = ""
    seen: int = 0
    is_synchronous: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """The same as a database says it, number 0 where nobody wrote it down yet, and the server that it lies on now."""

    number: int
    mark: str
    timeline: int | None
    system_id: str
    is_synchronous: bool
    seen: int
    timeline_now: int | None
    system_id_now: str
    is_standby: bool

    @property
    def has_failed_over(self) -> bool:
        return None not in (self.timeline, self.timeline_now) and self.timeline != self.timeline_now

    @property
    def server(self) -> dict[str, Any]:
        """The columns that say on which server it lies now."""
        return {"timeline": self.timeline_now, "system_id": self.system_id_now}

    def known(self, before: Known) -> Known:
        is_same = (before.number, before.mark) == (self.number, self.mark)
        # A standby that has taken over says what was so on the primary when it last heard from it.
        is_synchronous = is_same and before.is_synchronous if self.has_failed_over else self.is_synchronous
        return Known(number=self.number, mark=self.mark, seen=self.seen, is_synchronous=is_synchronous)


class Fence:
    """What one process compares each database with. The record in `path` is shared by all of a machine; without one it is kept
    in memory alone.
    """

    def __init__(self, path: Path | None = None):
        # A person says that this database is the one from now on.
        self.is_open = False
        # Whether somebody here can go over to a standby that has taken over.
        self.heeds_failover = False
        self._path = path
        self._guard = threading.Lock()
        self._known, self._raw, self._file = Known(), b"", -1
        self._compared_at = 0.0
        self._passing = threading.local()
        self._statement = POSTGRESQL

    @property
    def is_kept(self) -> bool:
        """Whether the record outlives this process."""
        return self._opened() >= 0

    @property
    def is_stale(self) -> bool:
        """Whether this process compared nothing for so long that what it knows may have changed."""
        return time.monotonic() - self._compared_at >= COMPARED_SECONDS

    @property
    def known(self) -> Known:
        with self._guard:
            return self._read()

    def learn(self, found: Known) -> None:
        """Keeps it unless more is known already."""
        with self._guard, self._locked():
            known = self._read()
            if (found.number, found.mark) == (known.number, known.mark):
                found = replace(found, seen=max(found.seen, known.seen))
            if found.number >= known.number and found != known:
                self._write(found)

    def forget(self) -> None:
        """Whatever this machine has worked with before: the next database that it meets is the one."""
        with self._guard, self._locked():
            self._write(Known())

    def saw(self, audit_id: int) -> None:
        """Keeps up to where the audit is committed; for who holds the lock of the database's writers."""
        with self._guard:
            known = self._read()
            if audit_id > known.seen:
                self._write(replace(known, seen=audit_id))

    @contextmanager
    def passing(self) -> Iterator[None]:
        """This thread may go to a standby that has taken over: it is about to write the new generation."""
        self._passing.is_on = True
        try:
            yield
        finally:
            self._passing.is_on = False

    def admit(self, driver: Any, *, is_inside: bool = False) -> int | None:
        """Compares the database behind a driver's connection; its generation, None while that says nothing.

        `is_inside`: in the caller's transaction; else what this begins is rolled back.

        Raises Unavailable("database_fenced") and FailedOver("database_failed_over").
        """
        if self.is_open:
            # Not compared; but what the server does not tell is learnt here, not in the middle of a transaction.
            self.look(driver, is_inside=is_inside)
            return None
        self._compared_at = time.monotonic()
        # First: what others commit while we ask is in what we find then.
        known = self.known
        found = self.look(driver, is_inside=is_inside)
        if found is None or found.is_standby:
            return None
        self.check(found, known)
        if found.has_failed_over and self.heeds_failover:
            return None
        self.learn(found.known(known))
        return found.number

    def look(self, driver: Any, *, is_inside: bool = False) -> Found | None:
        """What the database behind a driver's connection says of itself; None before its schema knows generations."""
        if isinstance(driver, sqlite3.Connection):
            try:
                return _found(driver.execute(SQLITE).fetchone())
            except sqlite3.OperationalError as trouble:
                if trouble.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise
                return None
        if is_inside:
            return _found(driver.execute(self._statement).fetchone())
        from psycopg import Error

        try:
            return _found(driver.execute(self._statement).fetchone())
        except Error as trouble:
            if trouble.sqlstate == _NO_TABLE:
                return None
            if trouble.sqlstate not in _TELLS_NOTHING or self._statement == SQLITE:
                raise
            self._statement = SQLITE
        finally:
            if not driver.closed:
                driver.rollback()
        return self.look(driver)

    def check(self, found: Found, known: Known) -> None:
        """Raises as `admit` does."""
        if told := _fault(found, known):
            raise Unavailable("database_fenced", f"{told} Nothing was written.", retry_after_seconds=30)
        if found.has_failed_over:
            if self.heeds_failover and not getattr(self._passing, "is_on", False):
                detail = "A standby has taken over. The same request may be sent again."
                raise FailedOver("database_failed_over", detail, retry_after_seconds=5)
        elif found.seen < known.seen:
            detail = f"The database ends at row {found.seen} of the audit, and this machine has seen {known.seen}:"
            detail += " its log is lost, or it is an older copy."
            raise Unavailable("database_fenced", f"{detail} Nothing was written.", retry_after_seconds=30)

    def _opened(self) -> int:
        if self._file < 0 and self._path is not None:
            try:
                self._file = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            except OSError:  # no such folder yet, or another user's: memory has to do
                return -1
        return self._file

    def _read(self) -> Known:
        file = self._opened()
        raw = os.pread(file, RECORD_BYTES, 0) if file >= 0 else self._raw
        if raw != self._raw:
            try:
                self._known, self._raw = Known(**json.loads(raw)), raw
            except (ValueError, TypeError):
                # Cut by a power failure: what this process knows by itself is as good.
                self._raw = raw
        return self._known

    def _write(self, known: Known) -> None:
        self._known, self._raw = known, json.dumps(vars(known)).encode().ljust(RECORD_BYTES)
        if (file := self._opened()) >= 0:
            # What is to be remembered is committed: a full disk must not make a failure of it.
            with suppress(OSError):
                os.pwrite(file, self._raw, 0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = self._opened()
        if file < 0:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _found(row: Any) -> Found:
    number, mark, timeline, system_id, is_synchronous, seen, timeline_now, system_id_now, is_standby = row
    return Found(
        number=number or 0,
        mark=mark or "",
        timeline=timeline,
        system_id=system_id or "",
        is_synchronous=bool(is_synchronous),
        seen=seen,
        timeline_now=timeline_now,
        system_id_now=system_id_now,
        is_standby=bool(is_standby),
    )


def _fault(found: Found, known: Known) -> str:
    """What cannot be the database of this machine."""
    if found.number < known.number:
        told = f"The database is of generation {found.number}, and this machine has worked with {known.number}:"
        return f"{told} a former primary, or an older copy."
    if found.number == known.number and found.mark != known.mark:
        return (
            f"The database is another one than the one of generation {known.number} that this machine has worked with."
        )
    if found.system_id and found.system_id_now and found.system_id != found.system_id_now:
        return "The database lies in another cluster than the one that it was begun in."
    if found.timeline is not None and found.timeline_now is not None and found.timeline_now < found.timeline:
        return "The database lies on an older timeline than the one that it was begun on."
    return ""
