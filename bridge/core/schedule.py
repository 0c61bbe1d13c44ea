"""When an invoice is looked at next: young ones often, old ones rarely, never past a deadline.

Owns the polling table; must not read a clock or draw randomness.
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
