"""A PostgreSQL server as it is reached: through a pooler, by any spelling of its address, and when it stands still."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import create_engine, text

from bridge.core.errors import Refused, Unavailable
from bridge.store import db
from bridge.store.db import Store, open_store
from bridge.store.postgresql import url_of
from tests.flows.world import open_world
from tests.pooler import open_pooler
from tests.postgres import start_cluster

POSTGRESQL = pytest.mark.parametrize("engine_name", ["postgresql"])


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    with open_pooler(database_url, sessions=1) as pooler:
        yield pooler.url


@POSTGRESQL
def test_behind_a_pooler_no_program_runs_the_statement_of_another(pooled_url: str) -> None:
    """Both name their statements alike, and meet on one server session."""
    with closing(open_store(pooled_url)) as one, closing(open_store(pooled_url)) as other:
        for number in range(20):
            for store, sign in ((one, 1), (other, -1)):
                with store.read() as tx:
                    found = tx.exec_driver_sql(f"SELECT {'' if sign == 1 else '-'}(%(n)s)::int", {"n": number})
                    assert found.scalar_one() == sign * number


@POSTGRESQL
def test_a_pooler_is_recognised_and_a_server_is_not_taken_for_one(database_url: str, pooled_url: str) -> None:
    for url, expected in ((database_url, False), (pooled_url, True)):
        with closing(open_store(url)) as store, store.read() as tx:
            assert db.is_pooled(tx) is expected
            with db.driver_of(tx) as driver:
                assert (driver.prepare_threshold is None) is expected


@POSTGRESQL
def test_behind_a_pooler_workers_wait_by_time_and_payments_settle(pooled_url: str) -> None:
    with open_world(pooled_url) as world:
        with world.bridge.store.wake_ups() as wait:
            assert wait(0.01) is False
        for number in range(3):
            invoice = world.open(f"{number}")
            world.pay(invoice)
            world.mine(6)
            assert world.seen(invoice)[0] == "settled"


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ("postgres://u:p%40@a:1,b:2/db?target_session_attrs=read-write", {"host": "a,b", "port": "1,2", "password": "p@"}),
        ("postgresql://u@h/db", {"host": "h", "user": "u", "dbname": "db"}),
        ("postgresql:///db?host=/run", {"host": "/run"}),
        ("postgresql+psycopg://u@/db?host=a:1&host=b:2", {"host": "a,b", "port": "1,2"}),
    ],
)  # fmt: skip
def test_an_address_is_read_in_every_spelling(written: str, reached: dict[str, str]) -> None:
    with closing(open_store(written)) as store:
        told = store.engine.dialect.create_connect_args(store.engine.url)[1]
    assert told | reached == told
    assert store.is_postgresql


@pytest.mark.parametrize(
    "written", ["/var/lib/bridge.db", "postgres://a:secret@h/db?nonsense=1", "postgresql://u:secret@h/db?%zz=1", ""]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(written: str) -> None:
    with pytest.raises(Refused) as refused:
        url_of(written)
    assert refused.value.code == "database_url_unreadable" and "secret" not in str(refused.value)
    assert refused.value.field == "database_url"


def test_a_server_that_stands_still_is_noticed_and_told_at_once_to_everybody_else() -> None:
    """As a machine that is suspended: it takes connections and says nothing."""
    server = start_cluster()
    stopped: list[int] = []
    try:
        with closing(open_store(server.url("postgres"), limit_seconds=1)) as store:
            _ask(store)
            stopped += server.processes()
            for process in stopped:
                os.kill(process, signal.SIGSTOP)
            with pytest.raises(Unavailable, match="did not answer"):
                _ask(store)
            began = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: _code(store), range(8)))
            assert answers == ["database_unavailable"] * 8
            assert time.monotonic() - began < 20, "one asks on a new connection, the others are told at once"
            while stopped:
                os.kill(stopped.pop(), signal.SIGCONT)
            assert any(_code(store) == "" or time.sleep(0.2) for _ in range(50))
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
        server.stop()


def _ask(store: Store) -> None:
    with store.read() as tx:
        tx.execute(text("SELECT 1"))


def _code(store: Store) -> str:
    try:
        _ask(store)
    except Unavailable as trouble:
        return trouble.code
    return ""


@POSTGRESQL
def test_one_thread_is_always_left_to_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "QUEUE_SECONDS", 0.5)
    store.leave_free(threads=2)
    there, leave = threading.Barrier(3), threading.Event()

    def stay() -> None:
        with store.read(), store.read():  # who is there already needs no second place
            there.wait(10)
            leave.wait(10)

    with ThreadPoolExecutor(2) as pool, ExitStack() as stack:
        stack.callback(leave.set)
        staying = [pool.submit(stay) for _ in range(2)]
        there.wait(10)
        began = time.monotonic()
        assert {_code(store) for _ in range(20)} == {"database_unavailable"}
        assert time.monotonic() - began < 5, "only the first one waits for who does not move"
        leave.set()
        for each in staying:
            each.result()
    assert _code(store) == ""


@POSTGRESQL
def test_a_server_that_takes_no_writes_is_named_and_found_again(store: Store, database_url: str) -> None:
    name = url_of(database_url).database
    store.check_writable()
    with store.write() as tx:
        tx.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.engine.dispose()
    for attempt in (store.check_writable, lambda: _write(store)):
        with pytest.raises(Unavailable) as refused:
            attempt()
        assert refused.value.code == "database_read_only"
    assert _code(store) == "", "what only reads goes on"
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.commit()
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        connection.commit()
    store.engine.dispose()
    store.check_writable()
    _write(store)


def _write(store: Store) -> None:
    with store.write() as tx:
        tx.exec_driver_sql("UPDATE modes SET reason = reason")


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_file_that_may_not_be_written_is_named(store: Store) -> None:
    """Root may write everything, so the file is opened for reading alone."""
    path = store.engine.url.database

    def opened() -> sqlite3.Connection:
        reading = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        reading.isolation_level = None
        return reading

    # Nobody may make a lock in the second folder, not even root.
    for named in (path, "/sys/bridge.db"):
        with closing(Store(create_engine(f"sqlite:///{named}", creator=opened))) as reader:
            for attempt in (reader.check_writable, lambda reader=reader: _write(reader)):
                with pytest.raises(Unavailable) as refused:
                    attempt()
                assert refused.value.code == "database_read_only"
            assert _code(reader) == "", "what only reads goes on"
    store.check_writable()
