"""Wrong log-ins, counted by what was typed as the name: on both engines, by several at a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from bridge.store import operators
from bridge.store.db import Store

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KEPT = timedelta(minutes=15)


def fail(store: Store, name: str, *, at: datetime = NOW) -> int:
    with store.write() as tx:
        return operators.count_failure(tx, name, now=at, kept=KEPT)


def test_each_name_has_its_own_tries_and_they_are_forgotten_together_with_time(store) -> None:
    assert [fail(store, "a"), fail(store, "a"), fail(store, "b")] == [1, 2, 1]
    assert fail(store, "a", at=NOW + KEPT) == 3
    with store.read() as tx:
        assert operators.tries(tx, "b").failures == 1
    assert fail(store, "c", at=NOW + KEPT + timedelta(seconds=1)) == 1
    with store.read() as tx:
        assert (operators.tries(tx, "b"), operators.tries(tx, "a").failures) == (None, 3)
    with store.write() as tx:
        operators.forget_tries(tx, "a")
    assert fail(store, "a", at=NOW + KEPT) == 1


def test_a_try_of_a_clock_that_was_ahead_is_forgotten(store) -> None:
    assert fail(store, "a", at=NOW + timedelta(days=3)) == 1
    assert fail(store, "a") == 1


def test_several_at_a_time_miss_none(store) -> None:
    with ThreadPoolExecutor(4) as hands:
        counted = sorted(hands.map(lambda _: fail(store, "a"), range(8)))
    assert counted == list(range(1, 9))
