"""Transactions, times and locks on both engines, with several threads and several programs at once."""

import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, event, insert, inspect, select, text, update

from bridge.core.errors import Unavailable
from bridge.store import leases, tables
from bridge.store.db import FairLock, Store, announce_work, migrate, open_store

NOW = datetime(2026, 3, 14, 12, 0, 0, 123_456, tzinfo=UTC)


def test_migrations_make_exactly_the_tables_that_the_code_knows(store: Store) -> None:
    # SQLite hands defaults back as source text, which alembic cannot compare.
    options = {"compare_type": True, "compare_server_default": store.is_postgresql}
    with store.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx, opts=options), tables.metadata) == []


def test_migrations_make_exactly_the_checks_that_the_code_knows(store: Store) -> None:
    for table in tables.metadata.sorted_tables:
        known = {str(check.name) for check in table.constraints if isinstance(check, CheckConstraint)}
        made = {str(check["name"]) for check in inspect(store.engine).get_check_constraints(table.name)}
        assert made == known, table.name


def test_migrations_make_exactly_the_conditions_of_indexes_that_the_code_knows(store: Store) -> None:
    option = f"{store.engine.dialect.name}_where"
    for table in tables.metadata.sorted_tables:
        known = {str(index.name): index.info["where"] for index in table.indexes if index.info}
        told = {
            str(each["name"]): each.get("dialect_options", {}) for each in inspect(store.engine).get_indexes(table.name)
        }
        made = {name: str(options[option]) for name, options in told.items() if option in options}
        assert made.keys() == known.keys(), table.name
        # PostgreSQL hands a condition back in words of its own.
        assert store.is_postgresql or made == known, table.name


@pytest.mark.parametrize(("folder", "mode"), [(0o755, "-rw-------"), (0o2775, "-rw-rw----")])
def test_a_database_is_made_for_its_owner_and_for_the_group_of_a_folder_that_hands_it_on(
    tmp_path: Path, folder: int, mode: str
) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(folder)
    before = os.umask(0o002)
    try:
        migrate(f"sqlite:///{place}/bridge.db")
        with closing(open_store(f"sqlite:///{place}/bridge.db")) as store, store.write():
            assert {path.name: stat.filemode(path.stat().st_mode) for path in place.iterdir()} == dict.fromkeys(
                ("bridge.db", "bridge.db-wal", "bridge.db-shm", "bridge.db.lock", "bridge.db.generation"), mode
            )
    finally:
        os.umask(before)


def test_a_database_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/bridge.db", tmp_path / "bridge.db"
    migrate(url)
    file.chmod(0o640)
    migrate(url)
    assert stat.filemode(file.stat().st_mode) == "-rw-r-----"


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


def test_a_new_database_gets_its_folder(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/deep/er/bridge.db")
    assert (tmp_path / "deep/er/bridge.db").exists()


@pytest.mark.parametrize(
    "at",
    [
        NOW,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=3))),
    ],
)
def test_a_time_comes_back_to_the_microsecond_in_utc(store: Store, at: datetime) -> None:
    with store.write() as tx:
        tx.execute(insert(tables.leases).values(name="x", owner="w", lease_until=at))
    with store.read() as tx:
        kept = tx.execute(select(tables.leases.c.lease_until)).scalar_one()
    assert (kept, kept.utcoffset()) == (at, timedelta(0))


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="offset-naive"), store.write() as tx:
        tx.execute(insert(tables.leases).values(name="x", owner="w", lease_until=datetime(2026, 1, 1)))


def test_a_block_that_raises_writes_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        leases.set_mode(tx, "bridge", mode="limited", now=NOW, actor="a", reason="b")
        raise ZeroDivisionError
    with store.read() as tx:
        assert leases.mode_of(tx) == "normal"


def test_a_connection_stays_for_the_next_transaction_until_one_raises(store: Store) -> None:
    given_out: list[object] = []
    event.listen(store.engine, "checkout", lambda *_: given_out.append(1))
    for _ in range(3):
        with store.write() as tx:
            leases.set_mode(tx, "bridge", mode="limited", now=NOW, actor="a", reason="b")
        with store.read() as tx:
            assert leases.mode_of(tx) == "limited"
    before = len(given_out)
    with pytest.raises(ZeroDivisionError), store.write():
        raise ZeroDivisionError
    with store.write() as tx, store.read() as reading:
        leases.set_mode(tx, "bridge", mode="normal", now=NOW, actor="a", reason="b")
        assert leases.mode_of(reading) == "limited"
    assert (before, len(given_out)) == (1, 3)


def test_a_crowd_leaves_places_in_the_pool(database_url: str) -> None:
    with closing(open_store(database_url, pool_size=1)) as store:
        with store.read(), store.read():
            pass
        assert store.engine.pool.checkedout() == 1


@pytest.mark.parametrize("raises", [True, False])
def test_what_is_of_a_pool_that_was_dropped_is_closed(store: Store, raises: bool) -> None:
    with suppress(ZeroDivisionError), store.read() as tx:
        driver = tx.connection.driver_connection
        store.engine.dispose()  # another thread's connection was lost
        assert not raises or 1 // 0
    with pytest.raises(store.engine.dialect.loaded_dbapi.Error, match="closed"):
        driver.execute("SELECT 1")


def test_a_reader_waits_for_no_writer_and_sees_only_what_is_committed(store: Store) -> None:
    with store.write() as writing:
        leases.set_mode(writing, "bridge", mode="limited", now=NOW, actor="a", reason="b")
        with store.read() as reading:
            assert leases.mode_of(reading) == "normal"
    with store.read() as reading:
        assert leases.mode_of(reading) == "limited"


def test_all_questions_of_a_reader_see_the_same_and_those_of_a_writer_what_is_committed(store: Store) -> None:
    with store.read() as reading:
        assert leases.mode_of(reading) == "normal"
        with store.write() as tx:
            leases.set_mode(tx, "bridge", mode="limited", now=NOW, actor="a", reason="b")
        assert leases.mode_of(reading) == "normal"
    with store.read() as reading, store.glance() as glancing:
        assert leases.mode_of(glancing) == leases.mode_of(reading) == "limited"
        if store.is_postgresql:  # writers of a file wait for each other
            with store.write() as waiting:
                with store.write() as tx:
                    leases.set_mode(tx, "bridge", mode="paused", now=NOW, actor="a", reason="b")
                assert leases.mode_of(waiting) == leases.mode_of(glancing) == "paused"
        assert leases.mode_of(reading) == "limited"


def test_many_threads_counting_up_lose_no_count(store: Store) -> None:
    with store.write() as tx:
        tx.execute(insert(tables.budgets).values(name="n", window_start=NOW, spent=0))

    def count_up(_: int) -> None:
        for _ in range(20):
            with store.write() as tx:
                tx.execute(update(tables.budgets).values(spent=tables.budgets.c.spent + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(8)))
    with store.read() as tx:
        assert tx.execute(select(tables.budgets.c.spent)).scalar_one() == 160


def test_a_budget_is_shared_and_never_exceeded(store: Store) -> None:
    def spend(_: int) -> bool:
        with store.write() as tx:
            return leases.spend(tx, "provider", now=NOW, limit=7)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(40))) == 7
    with store.write() as tx:
        assert not leases.spend(tx, "provider", now=NOW + timedelta(seconds=59), limit=7)
        # A grant is kept as of the second that follows it: never forgotten early, at most a second late.
        assert leases.spend(tx, "provider", now=NOW + timedelta(seconds=61), limit=7)


def test_of_many_who_want_a_lease_one_gets_it(store: Store) -> None:
    def take(owner: int) -> bool:
        with store.write() as tx:
            return leases.take(tx, "job", owner=f"w{owner}", now=NOW, lease_seconds=30)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def test_the_fair_lock_serves_in_the_order_of_asking() -> None:
    lock, served = FairLock(), []
    lock.acquire()
    threads = []

    def work(number: int) -> None:
        lock.acquire()
        served.append(number)
        lock.release()

    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(lock._waiting) <= number:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join(5)
    assert served == list(range(8))
    lock.acquire()
    lock.release()


def test_the_fair_lock_lets_nobody_starve_while_others_come_back_at_once() -> None:
    lock, stop, turns, start = FairLock(), threading.Event(), [0] * 4, threading.Barrier(4)

    def greedy(number: int) -> None:
        start.wait()
        while not stop.is_set():
            lock.acquire()
            turns[number] += 1
            lock.release()

    with ThreadPoolExecutor(4) as pool:
        for number in range(4):
            pool.submit(greedy, number)
        time.sleep(0.3)
        stop.set()
    assert min(turns) > 0
    assert min(turns) * 20 > max(turns)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_failed_commit_frees_the_lock_for_the_next_writer(store: Store) -> None:
    for _ in range(3):
        with pytest.raises(Exception, match="no such table"), store.write() as tx:
            tx.execute(text("INSERT INTO nowhere VALUES (1)"))
    with store.write() as tx:
        assert leases.take(tx, "job", owner="w", now=NOW, lease_seconds=1)


WRITER = """
import sys
from datetime import UTC, datetime
from sqlalchemy import update
from bridge.store import tables
from bridge.store.db import open_store

store = open_store(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with store.write() as tx:
        tx.execute(update(tables.budgets).values(spent=tables.budgets.c.spent + 1))
store.close()
"""


def test_two_programs_writing_at_once_never_find_the_database_locked(store: Store, database_url: str) -> None:
    with store.write() as tx:
        tx.execute(insert(tables.budgets).values(name="n", window_start=NOW, spent=0))
    programs = [
        subprocess.Popen([sys.executable, "-c", WRITER, database_url, "150"], stderr=subprocess.PIPE) for _ in range(2)
    ]
    said = [program.communicate(timeout=60)[1].decode() for program in programs]
    assert said == ["", ""]
    with store.read() as tx:
        assert tx.execute(select(tables.budgets.c.spent)).scalar_one() == 300


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_sqlite_keeps_what_it_confirmed_through_a_power_cut(store: Store) -> None:
    with store.read() as tx:
        pragmas = [
            tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_connection_to_sqlite_keeps_half_a_megabyte_of_pages(store: Store) -> None:
    with store.read() as tx:
        assert tx.exec_driver_sql("PRAGMA cache_size").scalar() == -500


def test_waiting_for_work_ends_after_its_time(store: Store) -> None:
    with store.wake_ups() as wait:
        started = time.monotonic()
        assert wait(0.05) is False
        assert time.monotonic() - started >= 0.045


def test_work_that_is_announced_ends_the_waiting_when_it_is_committed(store: Store, database_url: str) -> None:
    def announce() -> None:
        with closing(open_store(database_url)) as other, other.write() as tx:
            announce_work(tx)

    with store.wake_ups() as wait, ThreadPoolExecutor(1) as pool:
        announcing = pool.submit(announce)
        assert wait(10) is True
        announcing.result()
        assert wait(0.01) is False


def test_work_that_is_announced_and_not_committed_wakes_nobody(store: Store) -> None:
    with store.wake_ups() as wait:
        with pytest.raises(ZeroDivisionError), store.write() as tx:
            announce_work(tx)
            raise ZeroDivisionError
        assert wait(0.05) is False


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_the_worker_that_started_last_is_woken_whatever_one_that_was_killed_has_left(
    store: Store, database_url: str
) -> None:
    socket_of = Path(f"{database_url.removeprefix('sqlite:///')}.wake")
    socket_of.write_text("left")
    with ExitStack() as earlier:
        earlier.enter_context(store.wake_ups())
        with store.wake_ups() as wait:
            earlier.close()
            with store.write() as tx:
                announce_work(tx)
            assert wait(10) is True
    assert not socket_of.exists()


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_where_no_socket_can_be_work_is_found_by_time(store: Store, database_url: str) -> None:
    Path(f"{database_url.removeprefix('sqlite:///')}.wake").mkdir()
    with store.wake_ups() as wait:
        with store.write() as tx:
            announce_work(tx)
        assert wait(0.01) is False


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_waiting_goes_on_after_the_listening_connection_was_lost(store: Store, database_url: str) -> None:
    """A database that restarts must not end the worker: without wake-ups it polls, and soon it listens again."""
    with store.wake_ups() as wait, closing(open_store(database_url)) as other:
        wait(0.01)
        _hang_up(other)
        assert wait(0.05) is False
        with ThreadPoolExecutor(1) as pool:
            announcing = pool.submit(_announce_soon, other)
            assert any(wait(1) for _ in range(10))
            announcing.result()


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("is_asked_by_driver", [True, False])
def test_a_database_that_restarts_costs_one_error_and_not_one_for_each_connection(
    store: Store, database_url: str, is_asked_by_driver: bool
) -> None:
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(store.read())
    with closing(open_store(database_url)) as other:
        _hang_up(other)
    with pytest.raises(Unavailable, match="cannot be used now"), store.write(durable=not is_asked_by_driver) as tx:
        tx.execute(text("SELECT 1"))
    for _ in range(4):
        with store.write(durable=not is_asked_by_driver) as tx:
            tx.execute(text("SELECT 1"))
            leases.take(tx, "x", owner="w", now=NOW, lease_seconds=30)


def _hang_up(store: Store) -> None:
    """What a restart does to every other connection to this PostgreSQL database."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with store.read() as tx:
        tx.execute(text(f"{others} AND datname = current_database()"))


def _announce_soon(store: Store) -> None:
    for _ in range(20):
        with store.write() as tx:
            announce_work(tx)
        time.sleep(0.05)
