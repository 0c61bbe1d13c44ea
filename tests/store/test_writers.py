"""Writers to a file that wait for one another are committed together, and each is told only what holds."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from bridge.core.errors import Unavailable
from bridge.store import tables
from bridge.store.db import Store, Tx
from bridge.store.writers import MOST_TOGETHER

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


class Queue:
    """Writers in threads, who stand behind one another while somebody writes."""

    def __init__(self, store: Store, pool: ThreadPoolExecutor):
        self._store, self._pool = store, pool
        self._go_on = {name: threading.Event() for name in ("a", "b", "c")}
        self.count = 0

    def add(self, name: str, *, fails: str = "", **options: bool) -> "Future[None]":
        """One more, who writes this name and stays in its block until it may go on."""
        self.count += 1
        added = self._pool.submit(self._write, name, fails, **{"joins": True} | options)
        until(lambda: len(self._store._threads._waiting) == self.count)
        return added

    def go_on(self, name: str) -> None:
        self._go_on[name].set()

    def _write(self, name: str, fails: str, **options: bool) -> None:
        with self._store.write(**options) as tx:
            note(tx, name)
            assert self._go_on[name].wait(10) if name in self._go_on else True
            if fails == "raises":
                raise ZeroDivisionError
            if fails == "breaks":  # as a full disk does
                tx.exec_driver_sql("ROLLBACK")


@pytest.fixture
def queue(store: Store) -> Iterator[Queue]:
    with ThreadPoolExecutor(2 * MOST_TOGETHER) as pool:
        yield Queue(store, pool)


@contextmanager
def written(store: Store) -> Iterator[None]:
    with store.write() as tx:
        note(tx, "before")
        yield


def note(tx: Tx, name: str) -> None:
    tx.execute(insert(tables.budgets).values(name=name, window_start=NOW, spent=0))


def names(store: Store) -> set[str]:
    with store.read() as tx:
        return set(tx.execute(select(tables.budgets.c.name)).scalars())


def until(is_so: object) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_nobody_goes_on_before_all_who_are_committed_together_have_written(store: Store, queue: Queue) -> None:
    with written(store):
        first, second = queue.add("a"), queue.add("b")
    queue.go_on("a")
    time.sleep(0.05)
    assert not first.done()
    assert names(store) == {"before"}
    queue.go_on("b")
    assert [first.result(10), second.result(10)] == [None, None]
    assert names(store) == {"before", "a", "b"}


@pytest.mark.parametrize("who", ["a", "b", "c"])
def test_who_fails_takes_back_its_own_part_alone(store: Store, queue: Queue, who: str) -> None:
    with written(store):
        added = {name: queue.add(name, fails="raises" if name == who else "") for name in ("a", "b", "c")}
    for name in added:
        queue.go_on(name)
    with pytest.raises(ZeroDivisionError):
        added.pop(who).result(10)
    assert [each.result(10) for each in added.values()] == [None, None]
    assert names(store) == {"before", "a", "b", "c"} - {who}


def test_where_the_transaction_breaks_each_is_told_that_nothing_was_written(store: Store, queue: Queue) -> None:
    with written(store):
        first, second = queue.add("a"), queue.add("b", fails="breaks")
        after = queue.add("c")
    for name in ("a", "b", "c"):
        queue.go_on(name)
    with pytest.raises(Unavailable) as told:
        first.result(10)
    assert told.value.code == "database_unavailable"
    assert second.exception(10) is not None
    assert after.result(10) is None
    assert names(store) == {"before", "c"}


@pytest.mark.parametrize("options", [{"joins": False}, {"durable": False, "joins": False}])
def test_who_does_not_join_waits_until_the_others_are_committed(
    store: Store, queue: Queue, options: dict[str, bool]
) -> None:
    with written(store):
        first, alone = queue.add("a"), queue.add("b", **options)
    queue.go_on("a")
    first.result(10)
    assert "a" in names(store)
    queue.go_on("b")
    alone.result(10)


def test_what_must_last_is_not_committed_with_what_need_not(store: Store, queue: Queue) -> None:
    with written(store):
        claim, durable = queue.add("a", durable=False), queue.add("b")
    queue.go_on("a")
    claim.result(10)
    assert names(store) == {"before", "a"}
    queue.go_on("b")
    durable.result(10)


def test_a_crowd_is_committed_some_at_a_time_and_whole(store: Store, queue: Queue) -> None:
    with written(store):
        added = [queue.add(f"n{number}") for number in range(2 * MOST_TOGETHER)]
    assert [each.result(10) for each in added] == [None] * len(added)
    assert len(names(store)) == 1 + len(added)
    with store.write(joins=True) as tx:
        note(tx, "later")
    assert "later" in names(store)
