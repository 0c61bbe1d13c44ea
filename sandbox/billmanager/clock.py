"""Owns the one clock of the billing sandbox, which can be moved by hand. It must not time real runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Wall clock plus an offset, so that a test can jump it."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """The sandbox's present moment, aware UTC; BILLmanager's "server local time" is UTC here."""
        return datetime.now(UTC) + self._offset

    def seconds(self) -> float:
        """Unix seconds of `now`."""
        return self.now().timestamp()

    def stamp(self) -> str:
        """`YYYY-MM-DD HH:MM:SS`, the way payment.info writes dates (BILLmanager contract 8.2)."""
        return self.now().strftime("%Y-%m-%d %H:%M:%S")

    def advance(self, seconds: float) -> None:
        """Jump forwards, or backwards with a negative number of seconds."""
        self._offset += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Make `now` this moment; it goes on from there."""
        self._offset = moment - datetime.now(UTC)

    def reset(self) -> None:
        """Back to the wall clock."""
        self._offset = timedelta()


def monotonic() -> float:
    """Seconds for measuring real durations, untouched by clock jumps."""
    return time.monotonic()
