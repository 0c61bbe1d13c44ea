"""How a PostgreSQL server is reached: its address, a pooler in between, and how long anybody waits for an answer.

Owns the connections; must not know a statement of ours.
"""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url

from bridge.core.errors import Refused, Unavailable
from bridge.store.fence import FailedOver

DRIVER = "postgresql+psycopg"
# libpq's own names for both: the ways that servers' guides write an address.
SCHEMES = ("postgres://", "postgresql://")
# Without them a cable that is pulled, or a machine that is gone, is noticed after a quarter of an hour; with them sooner than anybody
# has a standby take over. The address may name others.
REACHED: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5_000,
}
# What a server's silence is called here. Whose connection fails later than this was silent: one that is there refuses at once.
SILENT, SILENT_SECONDS = "WaitedTooLong", 1


def url_of(database_url: str) -> URL:
    """SQLAlchemy's URL of what the settings say: its own spelling, or libpq's with several hosts in one.

    Raises Refused("database_url_unreadable"), which never repeats the address: it may hold a password.
    """
    try:
        if not database_url.startswith(SCHEMES):
            return make_url(database_url)
        from psycopg.conninfo import conninfo_to_dict

        told = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    except Exception:  # each library has errors of its own, and some repeat the whole address
        detail = "Write it as sqlite:////var/lib/subtc-bridge/bridge.db or postgresql://user:password@host:5432/bridge."
        raise Refused("database_url_unreadable", detail, field="database_url") from None
    user, password, database = (told.pop(name, None) for name in ("user", "password", "dbname"))
    return URL.create(DRIVER, username=user, password=password, database=database, query=told)


def engine_of(url: URL, *, limit_seconds: float | None, admit: Callable[[Any], object], **options: Any) -> Engine:
    """An engine whose connections wait for no answer longer than that, and that is safe behind a pooler.

    Of several hosts it takes the first one that `admit` does not refuse with Unavailable; who was silent the last time is asked
    last. What was met with silence is a WaitedTooLong.
    """
    from psycopg import Connection, OperationalError, errors

    class WaitedTooLong(OperationalError):
        """No answer in time. The connection is closed: what was asked may have been done or not."""

    class Limited(Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            if timeout is not None:
                return super().wait(gen, interval, timeout)
            began = time.monotonic()
            try:
                return super().wait(gen, interval, limit_seconds)
            except errors._WaitTimeout:
                self.close()
                raise WaitedTooLong(f"no answer within {limit_seconds:g} s") from None
            except OperationalError as trouble:
                if not self.broken or time.monotonic() - began < SILENT_SECONDS:
                    raise
                raise WaitedTooLong(str(trouble)) from trouble

    silent: set[str] = set()

    def reach(host: dict[str, Any]) -> Any:
        name, began = host.get("host", ""), time.monotonic()
        silent.discard(name)
        try:
            connection = Limited.connect(**host)
            _admit(connection, admit)
            return connection
        except OperationalError as trouble:
            if time.monotonic() - began < SILENT_SECONDS:
                raise
            silent.add(name)
            raise WaitedTooLong(str(trouble)) from trouble

    def connect() -> Any:
        told = dict(engine.dialect.create_connect_args(url)[1])
        hosts = sorted(_each_host(REACHED | told), key=lambda each: each.get("host") in silent)
        return _first_that_answers(hosts, reach, silent)

    engine = create_engine(url, creator=connect, **options)
    event.listen(engine, "connect", _heed_pooler)
    return engine


def _first_that_answers(hosts: list[dict[str, Any]], reach: Callable[[dict[str, Any]], Any], silent: set[str]) -> Any:
    from psycopg import OperationalError

    troubles: list[Exception] = []
    while hosts:
        for host in hosts:
            try:
                return reach(host)
            except (OperationalError, Unavailable) as trouble:
                troubles.append(trouble)
        # Seconds have passed with those: a standby that was asked before them may have taken over.
        answered = [each for each in hosts if each.get("host", "") not in silent]
        hosts = answered if len(answered) < len(hosts) else []
    # What was refused, or did not answer, says more than a neighbour that is only a standby.
    raise min(troubles, key=lambda each: (not isinstance(each, Unavailable), type(each).__name__ != SILENT))


def _admit(connection: Any, admit: Callable[[Any], object]) -> None:
    try:
        admit(connection)
    except FailedOver:
        pass  # this is the one; who asked for a connection hears of it
    except Unavailable:
        connection.close()
        raise


def _each_host(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments for each host by itself, where one that takes writes is wanted: libpq would stay with the first such one."""
    hosts = str(told.get("host", "")).split(",")
    if len(hosts) == 1 or told.get("target_session_attrs") not in ("read-write", "primary"):
        return [told]
    ports = str(told.get("port", "")).split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return [told | {"host": host, "port": port} for host, port in zip(hosts, ports, strict=True)]


def _heed_pooler(connection: Any, record: Any) -> None:
    """Behind a pooler that gives each transaction another server session, a named statement may be another program's.

    Seen with PgBouncer 1.18: the name _pg3_0 of one program ran the statement of another, without an error. A pooler answers with
    a process number of its own, so what the server itself says tells whether one is there.
    """
    own = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    connection.rollback()
    if is_pooled := own != connection.info.backend_pid:
        connection.prepare_threshold = None
    record.info["is_pooled"] = is_pooled
