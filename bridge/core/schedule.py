"""When something is done again: an invoice is looked at, young ones often, old ones rarely, never past a deadline; a delivery is
tried, and parked for a person in the end.

Owns both tables; must not sleep, read a clock or draw randomness.
"""

from datetime import datetime, timedelta

# Age of the invoice below which (seconds), pause until the next look (seconds).
AWAITING = ((1_800, 30), (7_200, 120), (86_400, 900), (7 * 86_400, 3_600))
AWAITING_OLD_SECONDS = 21_600
CONFIRMING_SECONDS = 30
SETTLED_SECONDS = 600
SETTLED_FINAL_SECONDS = 21_600
CLOSED_SECONDS = 86_400
EVIDENCE_SECONDS = 300

# Who goes first when there are not calls enough for everybody: a hint of money, the young, money that confirms, the rest.
URGENT, YOUNG, CONFIRMING, OLD = LOOK_CLASSES = (0, 1, 2, 3)
YOUNG_SECONDS = 1_800
# What no schedule looks at any more: only a doorbell, a person, or the money of its wallet that nobody can place.
DONE = 4
# How long after its watch an address that nobody paid to is still looked at.
UNPAID_SECONDS = 30 * 86_400

# How long one rests whose look is due while the wallet's balance says that nothing came.
RESTING_SECONDS = {YOUNG: 30, OLD: 300}

# After how many seconds a delivery is tried again, the longest of these with its random part at the end.
DELAYS_SECONDS = (5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
JITTER_BPS = 2_000
LONGEST_RETRY_SECONDS = DELAYS_SECONDS[-1] * (10_000 + JITTER_BPS) // 10_000


def look_class(*, status: str, is_confirming: bool, age: timedelta) -> int:
    """One of LOOK_CLASSES; URGENT is only for those that somebody gave a hint about.

    `is_confirming`: money was seen that waits for blocks. A part that is confirmed waits for the payer, as nothing does.
    """
    if status == "settled" or (status == "invalid" and not is_confirming):
        return OLD
    if status == "processing" or is_confirming:
        return CONFIRMING
    return YOUNG if age < timedelta(seconds=YOUNG_SECONDS) else OLD


def is_done(
    *, status: str, is_final: bool, is_closed: bool, received_sat: int, monitor_until: datetime, now: datetime
) -> bool:
    """Whether an invoice is final and old: the watch of its address is over, and what came is so deep that nothing undoes it.

    Where nothing came it takes longer, for payers are late. Money that lies there undecided is never done.
    """
    if status == "settled":
        return is_final and now >= monitor_until
    is_nothing_left = is_closed and (is_final or not received_sat)
    return is_nothing_left and now >= monitor_until + timedelta(seconds=UNPAID_SECONDS)


def next_look_at(
    *,
    status: str,
    is_final: bool,
    is_confirming: bool,
    created_at: datetime,
    expires_at: datetime,
    monitor_until: datetime,
    now: datetime,
    is_undecided: bool = False,
) -> datetime:
    """Now plus the pause that the state asks for, cut short by the next deadline that is still ahead.

    `is_undecided`: a deadline is over, and what came until then is not known, or has no price or no block yet.
    """
    seconds = _pause(status, is_final=is_final, is_confirming=is_confirming, age=now - created_at)
    pause = timedelta(seconds=min(seconds, EVIDENCE_SECONDS) if is_undecided else seconds)
    if now >= monitor_until and not is_undecided:
        return now + max(pause, timedelta(seconds=CLOSED_SECONDS))
    deadlines = [d for d in (expires_at, monitor_until) if d > now]
    return min([now + pause, *deadlines])


def longest_awaiting() -> tuple[tuple[int, int], ...]:
    """Ages below which, and the longest pause at that age, as in AWAITING; those that rest are in it."""
    return tuple((age, max(pause, RESTING_SECONDS[YOUNG if age <= YOUNG_SECONDS else OLD])) for age, pause in AWAITING)


def _pause(status: str, *, is_final: bool, is_confirming: bool, age: timedelta) -> int:
    if status == "settled":
        return SETTLED_FINAL_SECONDS if is_final else SETTLED_SECONDS
    if status == "processing" or (is_confirming and status != "invalid"):
        return CONFIRMING_SECONDS
    return next((pause for limit, pause in AWAITING if age.total_seconds() < limit), AWAITING_OLD_SECONDS)


def next_try_at(
    *, attempts: int, now: datetime, jitter_bps: int, retry_after_seconds: int | None = None
) -> datetime | None:
    """The time of the next try after `attempts` failed ones, or None when the schedule has ended and the delivery is
    parked.

    `jitter_bps` is a random number of 0…10000 that the caller drew; it lengthens the delay by up to a fifth. A receiver's
    Retry-After is honoured up to the schedule's longest delay.
    """
    if attempts > len(DELAYS_SECONDS):
        return None
    delay = timedelta(seconds=DELAYS_SECONDS[max(attempts, 1) - 1])
    delay += delay * JITTER_BPS * jitter_bps // 100_000_000
    if retry_after_seconds is not None:
        delay = max(delay, timedelta(seconds=min(retry_after_seconds, DELAYS_SECONDS[-1])))
    return now + delay
