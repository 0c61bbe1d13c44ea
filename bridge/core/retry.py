"""When a delivery is tried again, and when it is parked for a person.

Owns the schedule as a table; must not sleep or read a clock.
"""

from datetime import datetime, timedelta

DELAYS_SECONDS = (5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
JITTER_BPS = 2_000
LONGEST_SECONDS = DELAYS_SECONDS[-1] * (10_000 + JITTER_BPS) // 10_000


def next_try_at(
    *, attempts: int, now: datetime, jitter_bps: int, retry_after_seconds: int | None = None
) -> datetime | None:
    """The time of the next try after `attempts` failed ones, or None when the schedule has ended and the delivery is
    parked.

    `jitter_bps` is a random number of 0…10000 that the caller drew; it lengthens the delay by up to a fifth. A
    receiver's
    Retry-After is honoured up to the schedule's longest delay.
    """
    if attempts > len(DELAYS_SECONDS):
        return None
    delay = timedelta(seconds=DELAYS_SECONDS[max(attempts, 1) - 1])
    delay += delay * JITTER_BPS * jitter_bps // 100_000_000
    if retry_after_seconds is not None:
        delay = max(delay, timedelta(seconds=min(retry_after_seconds, DELAYS_SECONDS[-1])))
    return now + delay
