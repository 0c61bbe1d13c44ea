"""Clocks that may be wrong: which stored times are believed, and which clock others say is the wrong one.

Owns these rules; must not read a clock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# Clocks of several nodes differ by less; a time further ahead of now was written by a clock that was wrong.
CLOCK_TOLERANCE = timedelta(minutes=2)
# The protocol's: no node takes a block whose time is further ahead of its own clock.
BLOCKS_AHEAD_AT_MOST = timedelta(hours=2)


def believed(at: datetime | None, *, now: datetime) -> datetime | None:
    """A stored time, unless it is ahead of now: then a clock was wrong when it was written, and it says nothing."""
    return at if at is not None and not is_ahead(at, now=now) else None


def is_ahead(at: datetime, *, now: datetime) -> bool:
    """Whether no right clock can have written `at` by now."""
    return at > now + CLOCK_TOLERANCE


def latest_end(now: datetime, *, lasts_seconds: int) -> datetime:
    """When a lease, a lock or a pause of so many seconds ends at the latest; one that ends later says nothing."""
    return now + timedelta(seconds=lasts_seconds) + CLOCK_TOLERANCE


def still_holds(until: datetime | None, *, now: datetime, lasts_seconds: int) -> bool:
    """Whether a lease or a lock of so many seconds holds now."""
    return until is not None and now <= until <= latest_end(now, lasts_seconds=lasts_seconds)


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What the outside told of the time: the gateway's own clock, the newest block's time, and how old that may be at most; None
    where blocks come when somebody makes them.
    """

    server_time: datetime | None = None
    block_time: datetime | None = None
    oldest_tip: timedelta | None = None

    def denies(self, written: datetime, *, now: datetime) -> bool:
        """Whether it is sure that a wrong clock wrote a time ahead of now, and that it is not ours which is behind.

        A gateway's clock says so outright. The chain does where it would have been silent before that time for longer than it ever
        is. Without either nobody knows.
        """
        if self.block_time is not None and is_ahead(self.block_time, now=now):
            return False
        if self.server_time is not None:
            return abs(self.server_time - now) <= CLOCK_TOLERANCE
        if self.block_time is None or self.oldest_tip is None:
            return False
        return now - self.block_time <= self.oldest_tip < written - self.block_time


def behind_chain(block_time: datetime | None, *, now: datetime) -> timedelta:
    """How far a clock is behind the chain's; nothing while a block of a miner whose clock is ahead explains it."""
    ahead = block_time - now if block_time is not None else timedelta(0)
    return ahead if ahead > BLOCKS_AHEAD_AT_MOST else timedelta(0)
