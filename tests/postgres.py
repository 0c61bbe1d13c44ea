"""A private PostgreSQL server for one test run, reached over a Unix socket only.

Owns starting, stopping and databases; must not know what is in them.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.cable import Cable

# Nothing here must survive a power cut: durability is what makes a test database slow.
_SERVER_OPTIONS = "-c max_connections=100"
_NOT_DURABLE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c max_wal_size=128MB"
# A database is some 700 files. Where a disk takes a millisecond to make one, they cost more than the test that needs them.
# And a commit of SQLite waits for the disk.
_MEMORY, _ROOM = Path("/dev/shm"), 2**30

# initdb refuses root.
_AS_SERVER = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running server. `directory` holds its data and its socket. With a `cable` it is at the far end."""

    directory: Path
    binaries: Path
    options: str
    cable: Cable | None = None
    guard: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "guard", _start_guard(self.binaries, self.directory))

    @property
    def host(self) -> str:
        """Where others reach it."""
        return self.cable.far if self.cable else str(self.directory)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.host}"

    def create_database(self, name: str, *, template: str = "template0") -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} {}")
        # Half the work of writing every page to the log, and all that PostgreSQL before 15 can do.
        manage = self._manage()
        how = sql.SQL("STRATEGY FILE_COPY" if manage.info.server_version >= 150_000 else "")
        manage.execute(statement.format(sql.Identifier(name), sql.Identifier(template), how))

    def drop_database(self, name: str) -> None:
        # FORCE: a test that forgot a connection must not fail the next test.
        self._manage().execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def start_standby(self) -> "Cluster":
        """A second server that follows this one."""
        directory = _make_directory(durable=False)
        source = f"host={self.host} user=postgres"
        _run_as_server(
            *(self.binaries / "pg_basebackup", "-d", source, "-D", directory / "db", "-R", "-c", "fast", "--no-sync")
        )
        standby = Cluster(directory=directory, binaries=self.binaries, options=_options(directory, durable=False))
        standby.start()
        return standby

    def start(self) -> None:
        database, log = self.directory / "db", self.directory / "log"
        start = (self.binaries / "pg_ctl", "start", "-D", database, "-l", log, "-o", self.options, "-w")
        _run_as_server(*start, inside=self.cable.inside if self.cable else ())

    def kill(self) -> None:
        """As a machine that loses its power."""
        _run_as_server(self.binaries / "pg_ctl", "stop", "-D", self.directory / "db", "-m", "immediate", "-w")

    def promote(self) -> None:
        _run_as_server(self.binaries / "pg_ctl", "promote", "-D", self.directory / "db", "-w")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            answered = connection.execute(statement.encode())
            return answered.fetchall() if answered.description else []

    def processes(self) -> list[int]:
        """The server's own processes, the first one before its children."""
        parent = int((self.directory / "db" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, children)]

    def stop(self) -> None:
        """Ends the server and removes its directory. A second call does nothing."""
        if self.guard.returncode is None:
            for connection in self._kept:
                connection.close()
            self.guard.communicate()

    @cached_property
    def _kept(self) -> list[psycopg.Connection]:
        return []

    def _manage(self) -> psycopg.Connection:
        """For making and dropping databases, of which a third would be to connect; another one when the server hung up."""
        if not self._kept or self._kept[-1].closed:
            self._kept.append(self._connect())
        return self._kept[-1]

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.directory), user="postgres", autocommit=True)


def start_cluster(*, durable: bool = False, cable: Cable | None = None) -> Cluster:
    """Starts a server and waits until it answers; `durable` makes commits survive a power cut, as measuring needs.

    Raises FileNotFoundError when PostgreSQL is not installed.
    """
    binaries, directory = _find_binaries(), _make_directory(durable=durable)
    options = _options(directory, durable=durable, address=cable.far if cable else "")
    cluster = Cluster(directory=directory, binaries=binaries, options=options, cable=cable)
    initdb_options = ("-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    try:
        _run_as_server(binaries / "initdb", "-D", directory / "db", *initdb_options)
        if cable is not None:
            with (directory / "db/pg_hba.conf").open("a") as rules:
                rules.write("host all,replication all samenet trust\n")
        cluster.start()
    except BaseException:
        cluster.stop()
        raise
    return cluster


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A primary and the standby that follows it, with one database."""

    primary: Cluster
    standby: Cluster
    database: str

    @property
    def url(self) -> str:
        hosts = f"{self.primary.host},{self.standby.host}"
        return f"postgresql://postgres@/{self.database}?host={hosts}&target_session_attrs=read-write&connect_timeout=2"

    def wait_for_commits(self) -> None:
        """From now on each commit waits until the standby has it."""
        self.primary.execute(f"ALTER DATABASE {self.database} SET synchronous_commit = on")
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        _until(lambda: self.primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))

    def catch_up(self) -> None:
        """Returns when the standby has all that was committed until now."""
        self.primary.execute("CHECKPOINT")
        ((reached,),) = self.primary.execute("SELECT pg_current_wal_lsn()")
        _until(lambda: self.standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{reached}'") == [(True,)])

    def fail_over(self) -> None:
        """The primary loses its power, and the standby takes over with what it has."""
        self.primary.kill()
        self.standby.promote()


def _until(look: Callable[[], object]) -> None:
    for _ in range(600):
        if look():
            return
        time.sleep(0.05)
    raise AssertionError("the standby does not follow")


@contextmanager
def open_pair(database: str, *, cable: Cable | None = None) -> Iterator[Pair]:
    """With a `cable` the primary is at its far end, the standby here."""
    with ExitStack() as stack:
        primary = start_cluster(cable=cable)
        stack.callback(primary.stop)
        primary.create_database(database)
        standby = primary.start_standby()
        stack.callback(standby.stop)
        yield Pair(primary=primary, standby=standby, database=database)


def _make_directory(*, durable: bool) -> Path:
    # Not under TMPDIR: the path of a socket has about a hundred characters, and user postgres must be able to enter.
    directory = Path(tempfile.mkdtemp(prefix="bridge-pg-", dir="/tmp" if durable else undurable_place()))
    directory.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres")
    return directory


def _options(directory: Path, *, durable: bool, address: str = "") -> str:
    listen = f"-c listen_addresses='{address}' -c unix_socket_directories={directory}"
    return f"{_SERVER_OPTIONS} {'' if durable else _NOT_DURABLE} {listen}"


def undurable_place() -> Path:
    """Where to put what need not survive anything: memory, if there is enough."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    return _MEMORY if is_roomy else Path("/tmp")


def _start_guard(binaries: Path, directory: Path) -> "subprocess.Popen[bytes]":
    """A shell that ends the server when this process closes the pipe to it, be it by dying in whatever way."""
    stop_server = shlex.join(
        [*_AS_SERVER, f"{binaries}/pg_ctl", "stop", "-D", f"{directory}/db", "-m", "immediate", "-w"]
    )
    return subprocess.Popen(
        ["sh", "-c", f"trap '' INT TERM HUP; read -r line; {stop_server}; rm -rf {directory}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _find_binaries() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise FileNotFoundError("PostgreSQL server programs (initdb, pg_ctl) are not installed")
    return Path(on_path).resolve().parent


def _run_as_server(*command: str | Path, inside: tuple[str, ...] = ()) -> None:
    done = subprocess.run(
        [*inside, *_AS_SERVER, *command], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
