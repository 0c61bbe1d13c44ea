"""The stage of a merchant: how much may be opened in a day before everybody trusts the installation.

Owns the limits and when a day begins; must not count anything, callers hand in what was opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from bridge.core.calendar import Calendar
from bridge.core.limits import Label, Positive, TimeZoneName, like


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A merchant on trial: limits per day of `time_zone`. None and a missing currency are no limit; amounts are minor units of
    their currency. The name is free: sandbox, pilot, …
    """

    name: Label
    invoices_per_day: Positive | None = None
    minor_per_day: Annotated[Mapping[str, Positive], like({"RUB": 5_000_000})] = field(default_factory=dict)
    time_zone: TimeZoneName = "UTC"

    def day_of(self, now: datetime) -> tuple[datetime, datetime]:
        """When the day of `now` began and when it ends, in UTC; a day of the zone has 23 to 25 hours."""
        calendar = Calendar(time_zone=self.time_zone)
        today = calendar.day_of(now)
        return calendar.begin_of(today), calendar.begin_of(today + timedelta(days=1))

    def exceeded(self, used: "Used", currency: str) -> str:
        """Which limit lies below what is used: "invoices", "amount" or "" when there is room."""
        if self.invoices_per_day is not None and used.invoices > self.invoices_per_day:
            return "invoices"
        limit_minor = self.minor_per_day.get(currency)
        return "amount" if limit_minor is not None and used.minor.get(currency, 0) > limit_minor else ""

    def is_used_up(self, used: "Used") -> bool:
        """Whether a limit is reached, so that the next invoice, or the next of a currency, is refused."""
        is_full = self.invoices_per_day is not None and used.invoices >= self.invoices_per_day
        return is_full or any(used.minor.get(code, 0) >= limit for code, limit in self.minor_per_day.items())


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a merchant opened in a day: invoices of all currencies, and their amounts in minor units by currency."""

    invoices: int
    minor: Mapping[str, int]

    def with_one(self, currency: str, minor: int, *, invoices: int = 1) -> "Used":
        more = {**self.minor, currency: self.minor.get(currency, 0) + minor}
        return Used(invoices=self.invoices + invoices, minor=more)
