"""The operator's rules for the books: in which time zone their days begin, how often they are reconciled, how long records are kept.

Owns the rules and the way between days and moments; must not read a clock, nor delete anything.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from bridge.core.errors import Refused
from bridge.core.limits import Count, Positive, TimeZoneName

DAY_SECONDS = 86_400


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


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """How often ledger, outside and billing system are compared; `every_hours` 0 is only on demand. `billing_grace_seconds`: how
    long the billing system may be behind.
    """

    every_hours: Count = 6
    days: Positive = 7
    billing_grace_seconds: Count = 3_600

    @property
    def every_seconds(self) -> int:
        return self.every_hours * 3_600

    def is_old(self, age_seconds: int) -> bool:
        """Whether the last one is so old that somebody must look: two were missed."""
        return 0 < 2 * self.every_seconds < age_seconds


@dataclass(frozen=True, kw_only=True)
class RetentionDays:
    """Days that records are kept which may be purged at all. Ledger, quotes, txids and audit are kept for ever."""

    callback_bodies: Positive = 90
    callback_sessions: Positive = 30
    observations: Positive = 400
    payer_contacts: Positive = 730
    billing_statuses: Positive = 400
