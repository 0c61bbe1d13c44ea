"""Calls to the gateway that one process has drawn from the budget and not made yet.

Owns how many more than one are drawn at once and how long they are good; must not grant any, `flows.call_budget` does.
"""

import threading
from datetime import UTC, datetime, timedelta

# Half of what the budget's window is longer than a minute: a call still leaves within the minute that counted it.
GOOD_FOR = timedelta(seconds=0.5)


class CallsAhead:
    """Threads may share it. Only who used up the last lot in time draws more at once, so an idle process wastes nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left, self._lot = 0, 1
        self._drawn_at = self._granted_at = datetime.min.replace(tzinfo=UTC)

    def take(self, now: datetime) -> bool:
        """One call that was drawn before, if there is one that is still good."""
        with self._lock:
            self._drop_old(now)
            if not self._left:
                return False
            self._left -= 1
            return True

    def next_lot(self, now: datetime, *, at_most: int) -> int:
        """How many calls to draw now: twice the last lot after a lot that was used up in time, else one."""
        with self._lock:
            is_used_up = not self._left and _is_fresh(self._drawn_at, now)
            self._lot = max(min(2 * self._lot, at_most), 1) if is_used_up else 1
            self._drawn_at = now
            return self._lot

    def keep(self, calls: int, now: datetime) -> None:
        """Calls that were granted at `now` and not made, once their transaction is committed."""
        with self._lock:
            self._drop_old(now)
            # Of two lots that were drawn at once the older says how long both are good.
            self._granted_at = min(self._granted_at, now) if self._left else now
            self._left += calls

    def _drop_old(self, now: datetime) -> None:
        if not _is_fresh(self._granted_at, now):
            self._left = 0


def _is_fresh(since: datetime, now: datetime) -> bool:
    # Either way: a request reads the clock, waits for its turn, and may find a lot that was drawn a moment later.
    return abs(now - since) < GOOD_FOR
