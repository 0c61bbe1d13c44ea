"""Grace: when time to pay that a person gave is over, and how it ended.

Owns that; must not forgive anything: a lapsed grace leaves the sum as due as before.
"""

from datetime import datetime, timedelta

from bridge.core.errors import Refused
from bridge.core.policy import Rule

STATES = ("open", "settled", "lapsed")


def end_of_grace(rule: Rule, *, wanted: datetime | None, now: datetime) -> datetime:
    """Until when the tier lets a person give time: as wanted, or as long as it may be.

    Raises Refused("no_grace") for a tier that has none and ("bad_period") for a time in the past or too far ahead.
    """
    if rule.grace_seconds == 0:
        raise Refused("no_grace", f"The tier {rule.name} has no grace.")
    latest = now + timedelta(seconds=rule.grace_seconds)
    ends_at = wanted or latest
    if not now < ends_at <= latest:
        raise Refused("bad_period", f"The grace may last {rule.grace_seconds} seconds from now.", field="ends_at")
    return ends_at


def outcome(grace_until: datetime, *, status: str, is_closed: bool, now: datetime) -> str | None:
    """How a grace has ended: "settled" or "lapsed"; None while it goes on."""
    if status == "settled":
        return "settled"
    is_over = is_closed or status == "invalid" or now >= grace_until
    return "lapsed" if is_over else None
