"""Engines and transactions: one code for SQLite and PostgreSQL.

Owns pragmas, the fair write lock and migrations; must not know what a transaction is for.
"""

import errno
import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, OperationalError, SQLAlchemyError

from bridge.core.errors import Unavailable
from bridge.store.fence import FailedOver, Fence, Known
from bridge.store.log_file import LogFile
from bridge.store.postgresql import SILENT, engine_of, url_of
from bridge.store.private import PrivateFile, open_private
from bridge.store.wake_ups import WakeUps, just_wait
from bridge.store.writers import MOST_TOGETHER, FairLock, Group

Tx = Connection
Duplicate = IntegrityError  # what must be unique was there already
MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 10_000
# 64 MB of log: who crosses the limit writes it all back while everybody waits, so that must be rarer than one in a hundred.
CHECKPOINT_PAGES = 16_000
# Of the pages that a connection has read, a quarter of what SQLite would keep: each commit of another program makes them all stale.
CACHE_KIB = 500
CHANNEL = "bridge_work"
# psycopg's IsolationLevel.REPEATABLE_READ. In a transaction of the usual level each question sees what is committed by then, and a sum
# of two answers may be one that never was.
SNAPSHOT = 3
PING_AFTER_SECONDS = 5
# How long a thread waits for another one to leave the database.
QUEUE_SECONDS = 2
_LOCK = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
# Commits of ours that wait for a standby which is not there: each goes on to wait when who sent it has left.
_HANGING = """
    SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = current_user
    AND query_start < clock_timestamp() - interval '1 second' LIMIT 1
"""
ANNOUNCE_PAUSE_SECONDS = 0.02
# SQLSTATE of a transaction that was given up so that another one goes on, and how often a migration begins again after one.
DEADLOCK, DEADLOCKS = "40P01", 5


class Door:
    """Who may go to the database. While it does not answer one at a time asks it, and everybody else is told so at once.

    Else each thread of a web server would wait there for a server that hangs, and none was left to answer anything.
    """

    def __init__(self, ping: Callable[[], None]):
        self._ping = ping
        self._asking = threading.Lock()
        self._inside = threading.local()
        self._is_away = False
        self._moved_at = 0.0
        self.places: threading.BoundedSemaphore | None = None

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Raises Unavailable("database_unavailable")."""
        self._ask_first()
        is_first = not getattr(self._inside, "is_there", False)
        places = self.places if is_first else None
        # Once nobody has moved for so long nobody waits any more: else one after the other would, with the last free thread.
        patience = max(0.0, self._moved_at + QUEUE_SECONDS - time.monotonic())
        if places is not None and not places.acquire(timeout=patience):
            raise _away()
        self._moved_at = time.monotonic()
        self._inside.is_there = True
        try:
            yield
        except Unavailable as trouble:
            self._is_away |= type(getattr(trouble.__cause__, "orig", None)).__name__ == SILENT
            raise
        finally:
            self._inside.is_there = not is_first
            self._moved_at = time.monotonic()
            if places is not None:
                places.release()

    def _ask_first(self) -> None:
        if not self._is_away:
            return
        if not self._asking.acquire(blocking=False):
            raise _away()
        try:
            self._ping()
            self._is_away = False
        finally:
            self._asking.release()


def _away() -> Unavailable:
    detail = "The database does not answer. Nothing was written; the same request may be sent again."
    return Unavailable("database_unavailable", detail, retry_after_seconds=5)


class Store:
    """An open database. `write()` and `read()` give a connection inside one transaction; it commits unless the block raises."""

    def __init__(self, engine: Engine, *, fence: Fence | None = None, log: LogFile | None = None):
        self.engine, self.fence, self.log = engine, fence or Fence(), log
        self.is_postgresql = engine.dialect.name == "postgresql"
        # How many write transactions of this process have ended: while it is the same, this process wrote nothing.
        self.writes = 0
        # Each with the pool that it is of.
        self._kept: deque[tuple[Connection, Any]] = deque()
        self._door, self._commits = Door(self._ping), Door(self._ask_commits)
        self._threads, self._turn = FairLock(), threading.local()
        self._lock_path = Path(f"{engine.url.database}.lock")
        self._lock_file: IO[bytes] | None = None
        self._wake_ups = WakeUps(str(engine.url.database))
        if log is not None:
            log.turn = self._turn_to_write
        self._go_over: Callable[[Connection], Known | None] | None = None

    @contextmanager
    def write(self, *, durable: bool = True, joins: bool = False) -> Iterator[Connection]:
        """A write transaction. On SQLite writers queue here, across threads by FairLock and across processes by flock.

        Without `durable` a machine that dies may forget it, though not before what was committed after it: for claims and leases,
        which nobody needs then. A process that dies forgets nothing. What `joins` is short, and a payment waits for it: on SQLite
        those of several threads that wait for their turn are committed together.
        """
        try:
            if self.is_postgresql:
                written = self._written_on_server(durable)
            else:
                written = self._written_together(durable) if joins else self._written_in_file(durable)
            with written as tx:
                yield tx
        finally:
            self.writes += 1

    @contextmanager
    def _written_on_server(self, durable: bool) -> Iterator[Connection]:
        with self._door.passed(), self._commits.passed(), _named_trouble(), self._begun() as tx:
            if not durable:
                with driver_of(tx) as driver:
                    driver.execute("SET LOCAL synchronous_commit TO off")
            yield tx

    @contextmanager
    def _written_in_file(self, durable: bool) -> Iterator[Connection]:
        with self._turn_to_write(), self._begun_in_file(durable) as tx:
            yield tx

    @contextmanager
    def _begun_in_file(self, durable: bool) -> Iterator[Connection]:
        seen, is_announced = None, False
        with _named_trouble(), self._through(self._taken()) as tx:
            with driver_of(tx) as driver:
                if tx.info.get("durable", True) != durable:
                    driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}").close()
                    tx.info["durable"] = durable
                driver.execute("BEGIN IMMEDIATE").close()
            yield tx
            is_announced = tx.info.pop("is_announced", False)
            if durable and tx.info.get("generation") is not None:
                with driver_of(tx) as driver:
                    (seen,) = driver.execute("SELECT max(id) FROM audit").fetchone()
        # Only what is committed, and before the next one commits.
        if seen is not None:
            self.fence.saw(seen)
        if is_announced:
            self._wake_ups.ring()

    @contextmanager
    def _written_together(self, durable: bool) -> Iterator[Connection]:
        """Goes on in the transaction of the one before, and leaves it to the next, as long as those who wait join: one flush for all,
        and what they all write, as the end of a table, is written once. Whose block raises takes back its own part alone.
        """
        group, failed = self._threads.acquire(joins=True, durable=durable), None
        self._turn.is_mine = True
        try:
            try:
                group = group or self._new_group(durable)
                with _named_trouble(), _member_of(group):
                    yield group.tx
            except BaseException as error:
                failed = error
            if group is None:
                self._threads.release()
            elif group.trouble is not None or group.members >= MOST_TOGETHER or not self._threads.hand_over(group):
                self._end_group(group)
            elif failed is None:
                group.is_over.wait()
        finally:
            self._turn.is_mine = False
        if failed is not None:
            raise failed
        if group is not None and group.trouble is not None:
            if group.members == 1:
                raise group.trouble
            raise _not_committed(group.trouble) from group.trouble.__cause__

    def _new_group(self, durable: bool) -> Group:
        opened = self._opened_file(durable)
        return Group(opened=opened, tx=opened.__enter__(), durable=durable)

    @contextmanager
    def _opened_file(self, durable: bool) -> Iterator[Connection]:
        with self._file_locked(), self._begun_in_file(durable) as tx:
            yield tx

    def _end_group(self, group: Group) -> None:
        """Commits what its members have written, or nothing."""
        trouble = group.trouble
        try:
            group.opened.__exit__(type(trouble) if trouble else None, trouble, None)
        except BaseException as error:
            group.trouble = error
        finally:
            self._threads.release()
            group.is_over.set()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot that waits for no writer."""
        with self._reading(is_snapshot=True) as tx:
            yield tx

    @contextmanager
    def _reading(self, *, is_snapshot: bool) -> Iterator[Connection]:
        with self._door.passed(), _named_trouble(), self._begun(is_snapshot=is_snapshot) as tx:
            if not self.is_postgresql:
                with driver_of(tx) as driver:
                    driver.execute("BEGIN").close()
            yield tx

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """Questions of which each sees what is committed by then: on PostgreSQL without a transaction, whose beginning and end cost as
        much as the questions.
        """
        with self._reading(is_snapshot=False) as tx:
            # Behind a pooler the transaction holds the one server that was compared.
            if not self.is_postgresql or is_pooled(tx):
                yield tx
                return
            with driver_of(tx) as driver:
                driver.autocommit = True
            try:
                yield tx
            finally:
                if not driver.closed:
                    driver.autocommit = False

    def heed_failover(self, go_over: Callable[[Connection], Known | None]) -> None:
        """`go_over` is the first transaction on a standby that has taken over, whoever meets it first. It returns what is to be
        known of the new generation, None where another program was there before.
        """
        self._go_over, self.fence.heeds_failover = go_over, True

    @contextmanager
    def _begun(self, *, is_snapshot: bool = False) -> Iterator[Connection]:
        """A transaction on the database that this machine has worked with; all questions of a snapshot see the same.

        Raises Unavailable("database_fenced") on any other one.
        """
        try:
            tx = self._admitted(is_snapshot)
        except FailedOver:
            self._meet_standby()
            tx = self._admitted(is_snapshot)
        with self._through(tx):
            yield tx

    def _admitted(self, is_snapshot: bool) -> Connection:
        tx = self._taken()
        if not self.is_postgresql:
            return tx
        try:
            with driver_of(tx) as driver:
                level = SNAPSHOT if is_snapshot else None
                if driver.isolation_level != level:
                    driver.isolation_level = level
                # Each transaction may be on another server; and which one it is must be asked in it.
                if is_pooled(tx) and tx.info.get("generation") is not None:
                    self.fence.admit(driver, is_inside=True)
        except BaseException:
            tx.close()
            raise
        return tx

    def _taken(self) -> Connection:
        """A connection that has begun nothing. To SQLAlchemy it is in one transaction for ever: what it does at the beginning and at the
        end of each costs several times what a database in a file does.
        """
        while self._kept:
            with suppress(IndexError):  # another thread was faster
                tx, pool = self._kept.pop()
                if pool is self.engine.pool and self._is_as_it_was(tx.info):
                    return tx
                # What is to be done about it is done when its pool gives it out again.
                self._give_back(tx, pool)
        tx = self.engine.connect()
        tx.begin()
        return tx

    def _is_as_it_was(self, info: Mapping[str, Any]) -> bool:
        """Whether a connection needs nothing that is done when the pool gives it out."""
        if time.monotonic() - info["used_at"] >= PING_AFTER_SECONDS:
            return False
        if self.log is not None and not self.log.is_as_noted(info):
            return False
        is_stale = self.is_postgresql and self.fence.is_stale
        return bool(info.get("is_pooled")) or (info.get("generation") == self.fence.known.number and not is_stale)

    @contextmanager
    def _through(self, tx: Connection) -> Iterator[Connection]:
        """Commits at the end. A connection on which anything went wrong goes back to its pool, which rolls it back."""
        pool: Any = self.engine.pool
        try:
            yield tx
            with driver_of(tx) as driver:
                driver.commit()
        except BaseException:
            if tx.invalidated and pool is self.engine.pool:
                self.engine.dispose()  # as in driver_of
            self._give_back(tx, pool)
            raise
        tx.info["used_at"] = time.monotonic()
        # What a crowd took beyond that goes back: else who asks the pool itself would find no place in it, for ever.
        if len(self._kept) < pool.size() and pool is self.engine.pool:
            self._kept.append((tx, pool))
        else:
            self._give_back(tx, pool)

    def _give_back(self, tx: Connection, pool: Any) -> None:
        """To its pool; what is of a pool that was dropped meanwhile nobody would take there, nor close."""
        if pool is not self.engine.pool:
            tx.invalidate()
        tx.close()

    def _meet_standby(self) -> None:
        with self.fence.passing(), self._through(self._taken()) as tx:
            known = self._go_over(tx) if self._go_over is not None else None
        if known is not None:
            self.fence.learn(known)

    def write_back(self) -> bool:
        """Of SQLite: keeps the file close to its log, for whoever loses the log; while nobody writes. Whether it did."""
        if self.log is None or not self.log.is_due():
            return False
        with _named_trouble(), self.engine.connect() as connection, driver_of(connection) as driver:
            self.log.write_back(driver)
        return True

    def leave_free(self, *, threads: int) -> None:
        """At most so many threads of this process are with the server at once: the others go on answering.

        A file never hangs; who waits there stands in the queue of writers, where waiting longer is right.
        """
        if self.is_postgresql:
            self._door.places = threading.BoundedSemaphore(threads)

    def check_writable(self) -> None:
        """Raises Unavailable (database_unavailable, database_read_only) where a write would.

        A file is really written to, or a full disk was found by the first payer: a number that nobody uses stays as it is, which
        SQLite writes all the same. A server whose disk is full says so itself.
        """
        with self.write(durable=False) as tx:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0")
            if not self.is_postgresql:
                kept = tx.exec_driver_sql("PRAGMA user_version").scalar_one()
                tx.exec_driver_sql(f"PRAGMA user_version = {kept}")

    def free_bytes(self) -> int | None:
        """What is left where the file lies; None of a server, whose disk is its own."""
        return None if self.is_postgresql else shutil.disk_usage(self._lock_path.parent).free

    def _ping(self) -> None:
        """Whether the server answers on a new connection, for what was open before it may be broken."""
        self.engine.dispose()
        with _named_trouble(), self._begun() as tx:
            tx.exec_driver_sql("SELECT 1")

    def _ask_commits(self) -> None:
        """Whether commits are answered again, without one more that hangs."""
        with _named_trouble(), self._begun() as tx:
            if tx.exec_driver_sql(_HANGING).first():
                raise _away()

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        if getattr(self._turn, "is_mine", False):
            yield
            return
        self._threads.acquire()
        self._turn.is_mine = True
        try:
            with self._file_locked():
                yield
        finally:
            self._turn.is_mine = False
            self._threads.release()

    @contextmanager
    def _file_locked(self) -> Iterator[None]:
        """Against other programs, by the one thread whose turn it is."""
        # Opened by the process that writes, once: a lock shared with a parent would lock nobody out.
        try:
            self._lock_file = self._lock_file or os.fdopen(open_private(self._lock_path, _LOCK), "wb")
        except OSError as refused:
            if refused.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise _takes_no_writes() from refused
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    @contextmanager
    def wake_ups(self) -> Iterator[Callable[[float], bool]]:
        """A function that waits so many seconds, or less when work was announced (then True)."""
        if not self.is_postgresql:
            with self._wake_ups.listening() as wait:
                yield wait
            return
        listener = _Listener(self.engine)
        listener.wait(0)  # so that nothing announced from here on is missed
        try:
            yield listener.wait
        finally:
            listener.close()

    def close(self) -> None:
        with suppress(IndexError):  # a thread that still works takes some too
            while True:
                self._kept.pop()[0].close()
        self.engine.dispose()
        self.fence.close()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


class _Listener:
    """Waits for announced work on a connection of its own. While the database is away it waits by time alone."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._connection: Connection | None = None

    def wait(self, seconds: float) -> bool:
        try:
            return any(True for _ in self._driver().notifies(timeout=seconds, stop_after=1))
        except (SQLAlchemyError, Unavailable, self._engine.dialect.loaded_dbapi.Error):
            # The worker goes on polling; the next wait listens anew.
            self.close()
            return just_wait(seconds)

    def close(self) -> None:
        if self._connection is not None:
            # This connection listens: it must not go back to the pool.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _driver(self) -> Any:
        if self._connection is None:
            self._connection = self._engine.connect()
            driver: Any = self._connection.connection.driver_connection
            driver.autocommit = True
            if not is_pooled(self._connection):
                # What a pooler's next transaction runs on hears nothing, and its leftover LISTEN would ring for strangers.
                driver.execute(f"LISTEN {CHANNEL}")
        return self._connection.connection.driver_connection


@contextmanager
def _named_trouble() -> Iterator[None]:
    """A database that is away, full or broken, in a word that callers know: nothing was written, the same may work later."""
    try:
        yield
    except DBAPIError as trouble:
        if _is_read_only(trouble.orig):
            raise _takes_no_writes() from trouble
        # To SQLite a missing table is an OperationalError too, but a defect and no trouble that passes.
        is_defect = getattr(trouble.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        if is_defect or not isinstance(trouble, OperationalError):
            raise
        if type(trouble.orig).__name__ == SILENT:
            # A commit that was sent may have been done.
            detail = "The database did not answer. The same request may be sent again: what was written is found then."
            raise Unavailable("database_unavailable", detail, retry_after_seconds=5) from trouble
        raise _unusable() from trouble


def _unusable() -> Unavailable:
    detail = "The database cannot be used now. Nothing was written; the same request may be sent again."
    return Unavailable("database_unavailable", detail, retry_after_seconds=5)


@contextmanager
def _member_of(group: Group) -> Iterator[None]:
    """A part of a group's transaction that can be taken back by itself. The first one's is all that there is."""
    group.members += 1
    is_first = group.members == 1
    try:
        if not is_first:
            _run(group.tx, "SAVEPOINT member")
        yield
        if not is_first:
            _run(group.tx, "RELEASE member")
    except BaseException as error:
        try:
            if is_first:
                raise
            _run(group.tx, "ROLLBACK TO member")
            _run(group.tx, "RELEASE member")
        except BaseException:
            # What breaks a transaction, as a full disk does, has taken back the others' parts too.
            group.trouble = error
        raise


def _run(tx: Connection, sql: str) -> None:
    with driver_of(tx) as driver:
        driver.execute(sql).close()


def _not_committed(trouble: BaseException) -> Unavailable:
    """For each member of a group: nothing was written."""
    told = trouble if isinstance(trouble, Unavailable) else _unusable()
    return Unavailable(told.code, told.detail, retry_after_seconds=told.retry_after_seconds)


def _takes_no_writes() -> Unavailable:
    detail = "The database takes no writes: a standby, or files without the right to write. Nothing was written."
    return Unavailable("database_read_only", detail, retry_after_seconds=5)


def _is_read_only(error: Any) -> bool:
    # SQLite's kinds of an error differ above its lowest byte.
    code = getattr(error, "sqlite_errorcode", None)
    return getattr(error, "sqlstate", None) == "25006" or (code is not None and code & 0xFF == sqlite3.SQLITE_READONLY)


def is_pooled(tx: Connection) -> bool:
    """Whether a pooler stands between: then named statements are off, and nobody is woken."""
    return bool(tx.info.get("is_pooled"))


@contextmanager
def driver_of(tx: Connection) -> Iterator[Any]:
    """The driver's own connection: SQLAlchemy's way there costs more than most statements.

    What the driver raises is raised as SQLAlchemy would.
    """
    dbapi, driver = tx.dialect.loaded_dbapi, tx.connection.driver_connection
    try:
        yield driver
    except dbapi.Error as error:
        is_lost = tx.dialect.is_disconnect(error, driver, None)
        if is_lost:
            # As SQLAlchemy does: what broke this connection broke those in the pool, and one error is enough.
            tx.invalidate(error)
            tx.engine.dispose()
        raise DBAPIError.instance(
            None, None, error, dbapi.Error, hide_parameters=True, connection_invalidated=is_lost, dialect=tx.dialect
        ) from error


def queue_up(tx: Connection, name: str) -> None:
    """Until this transaction ends no other one goes on behind the same call. SQLite's writers stand in a queue anyway."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


# How a planner that knows nothing of its tables, as after a restore, comes to read one whole for each page.
_BY_KEYS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in (
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("jit", "off"),
    )
)


def go_by_keys(tx: Connection) -> None:
    """Until this transaction ends a server looks rows up by their keys, one by one, whatever it believes of how many there are."""
    if tx.dialect.name == "postgresql":
        with driver_of(tx) as driver:
            driver.execute(_BY_KEYS).close()


_announced_at: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def announce_work(tx: Connection) -> None:
    """Wakes waiting workers when this transaction commits; without such news they find the work by polling.

    On PostgreSQL a commit that announces waits for every other one that does, so in a crowd only one in a while does: the workers
    that it woke are looking all the time for now.
    """
    now = time.monotonic()
    if now - _announced_at.get(tx.engine, 0) < ANNOUNCE_PAUSE_SECONDS:
        return
    _announced_at[tx.engine] = now
    if tx.dialect.name != "postgresql":
        tx.info["is_announced"] = True  # told once it is committed
        return
    with driver_of(tx) as driver:
        driver.execute(f"NOTIFY {CHANNEL}").close()


def insert_into(tx: Connection | str, table: Table) -> Any:
    """An INSERT that can say what happens when the row is there already: each engine has a class of its own for it.

    `tx` may be the name of the dialect, for statements that are built once.
    """
    dialect = tx if isinstance(tx, str) else tx.dialect.name
    # The other engine's is not imported.
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    return insert(table)


def put_row(tx: Tx, table: Table, key: Mapping[str, Any], values: Mapping[str, Any], *, where: Any = None) -> None:
    """Writes the one row with this key, new or in place of what it said; an old row only if it is as `where` says."""
    row = insert_into(tx, table).values(**key, **values)
    tx.execute(row.on_conflict_do_update(index_elements=list(key), set_=dict(values), where=where))


def open_store(
    database_url: str,
    *,
    pool_size: int = 20,
    limit_seconds: float | None = None,
    state_directory: Path | None = None,
    is_open: bool = False,
) -> Store:
    """Opens a migrated database: sqlite:///path or postgresql://…, see `url_of`. No answer of a server is waited for longer
    than `limit_seconds`.

    Which database this machine has worked with is kept beside the file, of a server in `state_directory`; `is_open`: it is not
    compared, a person says that this is the one.
    Errors of the driver never repeat a statement's values: they end in logs, and a value may be a customer's.
    """
    url = url_of(database_url)
    fence = Fence(_record_of(url, state_directory))
    fence.is_open = is_open
    if url.get_backend_name() == "postgresql":
        options = {"pool_size": pool_size, "max_overflow": pool_size, "pool_use_lifo": True, "hide_parameters": True}
        engine = engine_of(url, limit_seconds=limit_seconds, admit=fence.admit, **options)
        event.listen(engine, "checkout", _ping_after_idling)
    else:
        engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            # The last one that was used knows its statements and has its pages.
            pool_use_lifo=True,
            connect_args={"check_same_thread": False, "cached_statements": 512, "factory": PrivateFile},
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare_sqlite)
    _put_up(fence, engine)
    log = LogFile(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if log is not None:
        event.listen(engine, "connect", log.note)
        event.listen(engine, "checkout", log.heed)
    return Store(engine, fence=fence, log=log)


def _record_of(url: URL, state_directory: Path | None) -> Path | None:
    if url.get_backend_name() == "postgresql":
        return state_directory / "generation" if state_directory is not None else None
    return Path(f"{url.database}.generation") if url.database else None


def _put_up(fence: Fence, engine: Engine) -> None:
    """Each new connection is compared, and one that was here before once a newer generation is known, or on a server once in a
    while: where commits wait for no standby any more, each machine must have heard of it before a failover.
    """
    is_server = engine.dialect.name == "postgresql"

    def connected(connection: Any, record: Any) -> None:
        record.info["generation"] = fence.admit(connection)

    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("is_pooled"):
            return
        if record.info.get("generation") != fence.known.number or (is_server and fence.is_stale):
            record.info["generation"] = fence.admit(connection)

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def migrate(database_url: str, *, state_directory: Path | None = None, is_open: bool = False) -> None:
    """Brings the schema to the newest version. Run before the workers start, never at import. The rest is as for `open_store`.

    A server's empty database is begun with: this machine forgets the one before. An empty file may stand where one is missing.
    """
    url = url_of(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = open_store(database_url, pool_size=1, state_directory=state_directory, is_open=is_open)
    try:
        for is_last in (*[False] * DEADLOCKS, True):
            try:
                with store.write() as tx:
                    was_empty = _upgrade(tx)
                if was_empty and store.is_postgresql:
                    store.fence.forget()
                return
            except Unavailable as trouble:
                if is_last or getattr(getattr(trouble.__cause__, "orig", None), "sqlstate", None) != DEADLOCK:
                    raise
    finally:
        store.close()


def _upgrade(tx: Connection) -> bool:
    """Whether there was no schema at all."""
    # A seventh of what every program would have to load when it starts.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    # Nodes that start together migrate one after the other: the second finds the work done.
    queue_up(tx, "migrate")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = tx
    heads = set(MigrationContext.configure(tx).get_current_heads())
    if heads == set(ScriptDirectory.from_config(config).get_heads()):
        return False
    if tx.dialect.name == "postgresql":
        _keep_nodes_waiting(tx)
    command.upgrade(config, "head")
    return not heads


def _keep_nodes_waiting(tx: Connection) -> None:
    """Nodes of the release before are at work: who has begun goes on to its end first, and nobody begins until we are through.

    Else the two would wait for each other, as each has tables that the other one comes to later. Work begins with the invoice.
    """
    from bridge.store.tables import metadata

    there = metadata.tables.keys() & set(inspect(tx).get_table_names())
    if there:
        names = sorted(there, key=lambda name: (name != "invoices", name))
        quoted = map(tx.dialect.identifier_preparer.quote, names)
        tx.exec_driver_sql(f"LOCK TABLE {', '.join(quoted)} IN ACCESS EXCLUSIVE MODE")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # busy_timeout comes first: two programs starting together would else find the journal mode locked.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _ping_after_idling(connection: Any, record: Any, _proxy: Any) -> None:
    """A connection that just worked needs no ping, which would cost as much as a statement; a stale one is replaced."""
    if time.monotonic() - record.info.get("used_at", 0) < PING_AFTER_SECONDS:
        return
    try:
        connection.execute("SELECT 1").close()
        connection.rollback()
    except Exception as lost:
        raise DisconnectionError from lost
