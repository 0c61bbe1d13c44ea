"""A real PgBouncer before a test's PostgreSQL: each transaction gets whichever server session is free.

Owns starting and stopping it; must not know what runs through it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
"""


@contextmanager
def open_pooler(database_url: str, *, sessions: int = 4) -> Iterator[str]:
    """The URL of the same database through a pooler of transactions with so many server sessions."""
    assert BINARY is not None, "pgbouncer is not installed: make test installs it"
    url = make_url(database_url)
    with TemporaryDirectory(prefix="pgb-", dir="/tmp") as folder:
        place = Path(folder)
        place.chmod(0o777)
        settings = place / "pgbouncer.ini"
        settings.write_text(
            INI.format(name=url.database, server=url.query["host"], sessions=sessions, place=place, port=PORT)
        )
        settings.chmod(0o644)
        as_server = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        pooler = subprocess.Popen(
            [*as_server, BINARY, "-q", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            pooled = f"postgresql+psycopg://postgres@/{url.database}?host={place}&port={PORT}"
            _wait_for(place, str(url.database))
            yield pooled
        finally:
            pooler.terminate()
            pooler.wait(10)


def _wait_for(place: Path, database: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(host=str(place), port=PORT, user="postgres", dbname=database).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("pgbouncer does not answer")
