"""In which time zone a day begins: of the books, of a merchant's stage.

Owns the way between days and moments; must not read a clock.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from bridge.core.errors import Refused
from bridge.core.limits import TimeZoneName


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Days of a zone; they have 23 to 25 hours. What settled at 2026-03-31 22:31 UTC belongs to 1 April in Moscow."""

    time_zone: TimeZoneName = "UTC"

    def local(self, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.time_zone))

    def day_of(self, at: datetime) -> date:
        return self.local(at).date()

    def begin_of(self, day: date) -> datetime:
        """The moment a day begins, in UTC. Raises Refused("bad_period") at the ends of the calendar."""
        try:
            return datetime.combine(day, time(), ZoneInfo(self.time_zone)).astimezone(UTC)
        except OverflowError:
            raise Refused("bad_period", "The calendar ends before this day does.", field="day") from None

    def moment_of(self, given: date) -> datetime:
        """A moment as it is, a day as the moment it begins here."""
        return given if isinstance(given, datetime) else self.begin_of(given)
