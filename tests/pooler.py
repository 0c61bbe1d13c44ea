"""A real PgBouncer before a test's PostgreSQL: each transaction gets whichever server session is free.

Owns starting and stopping it; must not know what runs through it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from sqlalchemy.engine import make_url

BINARY = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/sbin")
PORT = 6432
INI = """[databases]
{name} = host={server} dbname={name} user=postgres pool_size={sessions}
[pgbouncer]
unix_socket_dir = {place}
unix_socket_mode = 0777
listen_port = {port}
pool_mode = transaction
auth_type = any
max_client_conn = 200
server_login_retry = 1
"""


@dataclass(frozen=True, kw_only=True)
class Pooler:
    """A running one. `url` is that of the database through it."""

    url: str
    place: Path
    sessions: int

    def lead_to(self, database_url: str) -> None:
        """From now on it leads to the same database on another server; its clients stay connected."""
        _write_settings(self.place, database_url, sessions=self.sessions)
        os.kill(int((self.place / "pid").read_text()), signal.SIGHUP)


@contextmanager
def open_pooler(database_url: str, *, sessions: int = 4) -> Iterator[Pooler]:
    """A pooler of transactions before a database, with so many server sessions."""
    assert BINARY is not None, "pgbouncer is not installed: make test installs it"
    with TemporaryDirectory(prefix="pgb-", dir="/tmp") as folder:
        place = Path(folder)
        place.chmod(0o777)
        settings = _write_settings(place, database_url, sessions=sessions)
        as_server = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        # Not as runuser's child: the pooler itself has to hear its signals.
        command = [*as_server, "sh", "-c", f"echo $$ > {place}/pid; exec {BINARY} -q {settings}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        name = make_url(database_url).database
        try:
            _wait_for(place, str(name))
            url = f"postgresql+psycopg://postgres@/{name}?host={place}&port={PORT}"
            yield Pooler(url=url, place=place, sessions=sessions)
        finally:
            process.terminate()
            process.wait(10)


def _write_settings(place: Path, database_url: str, *, sessions: int) -> Path:
    url = make_url(database_url)
    settings = place / "pgbouncer.ini"
    settings.write_text(
        INI.format(name=url.database, server=url.query["host"], sessions=sessions, place=place, port=PORT)
    )
    settings.chmod(0o644)
    return settings


def _wait_for(place: Path, database: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(host=str(place), port=PORT, user="postgres", dbname=database).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("pgbouncer does not answer")
