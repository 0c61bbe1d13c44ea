"""When an invoice is looked at next."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.invoice import STATUSES
from bridge.core.schedule import CONFIRMING, OLD, look_class, next_look_at
from tests.core.builders import DAY, EXPIRES_AT, MONITOR_UNTIL, T0, at


def look(now_s: int, *, status: str = "new", is_final: bool = False, is_confirming: bool = False) -> datetime:
    return next_look_at(
        status=status,
        is_final=is_final,
        is_confirming=is_confirming,
        created_at=T0,
        expires_at=EXPIRES_AT,
        monitor_until=MONITOR_UNTIL,
        now=at(now_s),
    )


def pause(now_s: int, *, status: str = "new", is_final: bool = False, is_confirming: bool = False) -> float:
    return (look(now_s, status=status, is_final=is_final, is_confirming=is_confirming) - at(now_s)).total_seconds()


def test_young_invoices_are_looked_at_often_and_old_ones_rarely() -> None:
    assert [pause(second) for second in (0, 1_799, 1_800, 7_200, DAY, 7 * DAY)] == [30, 30, 120, 900, 3_600, 21_600]


def test_money_on_its_way_is_looked_at_every_half_minute() -> None:
    assert pause(3 * DAY, status="processing", is_confirming=True) == 30


def test_a_part_that_is_confirmed_waits_for_the_payer_as_nothing_does() -> None:
    assert pause(3 * DAY, status="expired", is_confirming=True) == 30
    assert pause(3 * DAY, status="expired") == pause(3 * DAY) == 3_600
    old = {"age": timedelta(days=3)}
    assert look_class(status="expired", is_confirming=False, **old) == OLD
    assert look_class(status="expired", is_confirming=True, **old) == CONFIRMING
    assert look_class(status="processing", is_confirming=False, **old) == CONFIRMING


def test_a_settled_invoice_is_watched_until_its_final_depth() -> None:
    assert pause(3_600, status="settled", is_confirming=True) == 600
    assert pause(3_600, status="settled", is_confirming=True, is_final=True) == 21_600


def test_after_the_monitoring_an_address_is_still_looked_at_once_a_day() -> None:
    assert [pause(8 * DAY, status=status) for status in STATUSES] == [DAY] * len(STATUSES)


def test_a_pause_is_cut_short_by_the_expiry_and_by_the_end_of_the_monitoring() -> None:
    assert look(DAY - 10) == EXPIRES_AT
    assert look(8 * DAY - 10, status="expired") == MONITOR_UNTIL


@given(st.sampled_from(STATUSES), st.booleans(), st.booleans(), st.integers(0, 30 * DAY))
def test_the_next_look_lies_ahead_and_never_past_a_deadline(
    status: str, is_final: bool, is_confirming: bool, now_s: int
) -> None:
    looked = look(now_s, status=status, is_final=is_final, is_confirming=is_confirming)
    assert looked > at(now_s)
    assert all(looked <= deadline for deadline in (EXPIRES_AT, MONITOR_UNTIL) if deadline > at(now_s))
