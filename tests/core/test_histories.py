"""Thousands of random histories: partial, late, over, replaced, reorganised, doubted, in any order and doubled."""

from itertools import permutations
from typing import NamedTuple

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from bridge.core.ledger import ASSETS, Books
from tests.core.builders import DUE_SAT
from tests.core.life import BESIDE, Life, Snapshot, balances_of
from tests.core.steps import LIVES, STEPS, Step, act
from tests.parts import WHOLE


@settings(max_examples=1_200 if WHOLE else 400, derandomize=WHOLE, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.lists(STEPS, min_size=5, max_size=25))
def test_no_history_breaks_a_promise(life: Life, history: list[Step]) -> None:
    """Every step is checked by `life.check`: moves, words, one "settled", equal second decision, journals, amounts."""
    for step in history:
        act(life, step)
    event(f"ends {life.invoice.status}, {life.invoice.exception}")


@settings(max_examples=300 if WHOLE else 100, derandomize=WHOLE, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.lists(STEPS, max_size=15))
def test_money_that_all_vanished_leaves_no_balance_behind_but_of_the_way_that_takes_nothing_back(
    life: Life, history: list[Step]
) -> None:
    for step in history:
        act(life, step)
    for key in life.on_chain():
        life.vanishes(key)
    life.provider_lie_sat, life.silent = 0, ""
    life.look()
    left = {account: units for account, units in balances_of(life.entries).items() if units and account in ASSETS}
    beside_sat = sum(output.amount_sat for output in life.outputs.values() if output.target_id == BESIDE)
    assert left == ({"wallet:lightning": beside_sat} if beside_sat else {})
    if not beside_sat:
        assert not any(units for account, units in balances_of(life.entries).items() if "reserved" not in account)


class End(NamedTuple):
    stand: tuple[str, str, str | None, str]
    books: Books
    balances: dict[str, int]
    settled_events: int


def end_of(order: tuple[Snapshot, ...], life: Life) -> End:
    for snapshot in order:
        life.observe(snapshot)
    invoice = life.invoice
    balances = {account: units for account, units in balances_of(life.entries).items() if units}
    return End(
        stand=(invoice.status, invoice.exception, invoice.hold, invoice.reason),
        books=life.books_of(life.decision()),
        balances=balances,
        settled_events=life.events.count("invoice.settled"),
    )


def five_readings() -> tuple[Snapshot, ...]:
    """Nothing yet; a part in the mempool; the rest too; a block; and another payment that is too much, two blocks on."""
    world = Life()
    readings = [world.take_snapshot()]
    world.passes(30)
    world.pays(10_000)
    readings.append(world.take_snapshot())
    world.passes(30)
    world.pays(DUE_SAT - 10_000)
    readings.append(world.take_snapshot())
    world.passes(600)
    world.mines()
    readings.append(world.take_snapshot())
    world.passes(60)
    world.pays(2_000)
    world.mines(2)
    readings.append(world.take_snapshot())
    return tuple(readings)


def life_at_the_end() -> Life:
    life = Life()
    life.passes(720)
    return life


def test_all_orders_and_doublings_of_five_readings_end_the_same_with_one_settled() -> None:
    readings = five_readings()
    expected = end_of(readings, life_at_the_end())
    assert expected.stand == ("settled", "paid_over", None, "overpaid")
    assert expected.books == Books(confirmed_sat=DUE_SAT + 2_000, used_sat=DUE_SAT, buffer_sat=539, over_sat=2_000)
    assert expected.settled_events == 1
    for order in permutations(readings):
        assert end_of(order, life_at_the_end()) == expected
        assert end_of(order + order, life_at_the_end()) == expected
        doubled = tuple(reading for reading in order for _ in range(2))
        assert end_of(doubled, life_at_the_end()) == expected


def test_an_old_reading_that_comes_after_the_quote_lapsed_still_proves_when_the_money_was_there() -> None:
    world = Life()
    world.passes(60)
    world.pays(DUE_SAT)
    early = world.take_snapshot()
    world.passes(5_000)
    world.mines(2)
    late = world.take_snapshot()
    ends = []
    for order in ((early, late), (late, early)):
        life = Life(has_price=False)
        life.passes(5_060)
        ends.append(end_of(order, life))
    assert ends[0] == ends[1]
    assert ends[0].stand == ("settled", "none", None, "settled")
