"""Calls drawn ahead: a busy process asks the budget rarely, an idle one wastes nothing, and none is used late or twice."""

from datetime import UTC, datetime, timedelta

import pytest

from bridge.context import GOOD_FOR, CallsAhead
from tests.flows.world import World

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def run(ahead: CallsAhead, *, calls: int, apart: timedelta, at_most: int = 1_000) -> list[int]:
    """The lots that were drawn, all granted, while so many calls were made."""
    lots, now = [], NOW
    for _ in range(calls):
        if not ahead.take(now):
            lots.append(ahead.next_lot(now, at_most=at_most))
            ahead.keep(lots[-1] - 1, now)
        now += apart
    return lots


def test_who_is_busy_draws_twice_as_much_each_time() -> None:
    assert run(CallsAhead(), calls=31, apart=timedelta(milliseconds=1)) == [1, 2, 4, 8, 16]
    assert run(CallsAhead(), calls=31, apart=timedelta(milliseconds=1), at_most=4) == [1, 2, 4, 4, 4, 4, 4, 4, 4]


def test_who_is_not_draws_one_by_one() -> None:
    assert run(CallsAhead(), calls=5, apart=GOOD_FOR) == [1, 1, 1, 1, 1]
    assert run(CallsAhead(), calls=5, apart=timedelta(0), at_most=0) == [1, 1, 1, 1, 1]


def test_a_lot_that_was_too_much_is_forgotten_and_the_next_one_is_small() -> None:
    ahead = CallsAhead()
    ahead.keep(7, NOW)
    assert not ahead.take(NOW + GOOD_FOR)
    assert ahead.next_lot(NOW + GOOD_FOR, at_most=100) == 1


@pytest.mark.parametrize("moved", [-timedelta(minutes=10), timedelta(minutes=10)])
def test_a_clock_that_jumps_makes_nothing_good_again(moved: timedelta) -> None:
    ahead = CallsAhead()
    ahead.keep(7, NOW)
    assert not ahead.take(NOW + moved)
    assert not ahead.take(NOW)


@pytest.mark.parametrize("second_at", [GOOD_FOR / 2, -GOOD_FOR / 2])
def test_two_lots_that_were_drawn_at_once_are_good_no_longer_than_the_older(second_at: timedelta) -> None:
    ahead = CallsAhead()
    ahead.keep(1, NOW)
    ahead.keep(1, NOW + second_at)
    assert ahead.take(NOW + GOOD_FOR / 4)
    assert not ahead.take(NOW + min(second_at, timedelta(0)) + GOOD_FOR)


def test_a_request_that_waited_behind_who_drew_the_lot_takes_of_it() -> None:
    ahead = CallsAhead()
    ahead.keep(1, NOW)
    assert ahead.take(NOW - timedelta(milliseconds=1))


def test_what_is_drawn_ahead_counts_in_the_budget_of_everybody(world: World) -> None:
    """Opened in a hurry by one node: the others see less left than was called, never more."""
    world.bridge.calls_ahead.next_lot(world.bridge.clock(), at_most=100)  # the last lot was used up just now
    for number in range(4):
        world.ask(str(number))
    ((spent,),) = world.rows("SELECT SUM(spent) FROM budget_calls")
    assert spent >= world.calls("inbox_create") == 4


def test_a_first_transaction_that_fails_keeps_nothing_that_was_not_granted(world: World) -> None:
    def full(name: str) -> None:
        if name == "open.first_committing":
            raise OSError("the disk is full")

    world.bridge.calls_ahead.next_lot(world.bridge.clock(), at_most=100)
    object.__setattr__(world.bridge, "crash_point", full)
    with pytest.raises(OSError):
        world.ask("1")
    assert not world.bridge.calls_ahead.take(world.bridge.clock())
    assert world.rows("SELECT * FROM budget_calls") == []
