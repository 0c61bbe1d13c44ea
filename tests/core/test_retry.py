"""The retry schedule of deliveries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.schedule import DELAYS_SECONDS, next_try_at
from tests.core.builders import T0


def pause(attempts: int, *, jitter_bps: int = 0, retry_after_seconds: int | None = None) -> float:
    tried = next_try_at(attempts=attempts, now=T0, jitter_bps=jitter_bps, retry_after_seconds=retry_after_seconds)
    assert tried is not None
    return (tried - T0).total_seconds()


def test_the_schedule_is_the_documented_one() -> None:
    expected = [5, 30, 120, 600, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 24 * 3_600]
    assert [pause(attempts) for attempts in range(1, 11)] == expected


@pytest.mark.parametrize("attempts", [11, 12, 1_000])
def test_after_the_last_try_the_delivery_is_parked(attempts: int) -> None:
    assert next_try_at(attempts=attempts, now=T0, jitter_bps=0) is None
    assert next_try_at(attempts=attempts, now=T0, jitter_bps=0, retry_after_seconds=60) is None


@given(st.integers(1, len(DELAYS_SECONDS)), st.integers(0, 10_000))
def test_jitter_lengthens_by_at_most_a_fifth(attempts: int, jitter_bps: int) -> None:
    delay = DELAYS_SECONDS[attempts - 1]
    assert delay <= pause(attempts, jitter_bps=jitter_bps) <= delay * 1.2


def test_retry_after_is_honoured_but_never_shortens_and_never_exceeds_a_day() -> None:
    assert pause(1, retry_after_seconds=900) == 900
    assert pause(6, retry_after_seconds=1) == 3_600
    assert pause(1, retry_after_seconds=10**9) == 86_400
    assert pause(1, retry_after_seconds=-5) == 5
