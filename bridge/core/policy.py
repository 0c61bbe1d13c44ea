"""The rules of a merchant as data: merchant, then customer tier, then one rule; how much may be opened in a day while it is on
trial; the time to pay that a person may give; and a version of all that as a document.

Owns the settings that decide about money and their resolution, the canonical text of a version and what differs between two; must
not name any tier, merchant or currency itself, nor count anything, callers hand in what was opened.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from bridge.core.books import Calendar
from bridge.core.errors import Refused
from bridge.core.limits import Bps, Count, Inner, Label, Positive, TimeZoneName, like, require_rising

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True, kw_only=True)
class ConfirmationStep:
    """How deep a payment must be, up to so many satoshi."""

    up_to_sat: Positive
    depth: Positive


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One tier's rule. Times in seconds, amounts in satoshi unless the name says otherwise; see config.example.yaml
    for each. Its name is the key that it stands under.
    """

    name: Inner[str] = "default"
    quote_ttl_seconds: Positive = 15 * MINUTE
    invoice_expiry_seconds: Positive = DAY
    monitor_seconds: Positive = 7 * DAY
    seen_grace_chain_seconds: Count = 2 * MINUTE
    seen_grace_provider_seconds: Count = 2 * HOUR
    risk_bps: Bps = 100
    fee_buffer_minor: Annotated[Mapping[str, Count], like({"RUB": 500})] = field(default_factory=dict)
    tolerance_bps: Bps = 0
    tolerance_sat: Count = 0
    underpaid: Literal["wait", "review"] = "wait"
    late: Literal["accept", "review"] = "accept"
    late_auto_seconds: Count = HOUR
    over_keep_sat: Count = 5_000
    minimum_sat: Positive = 1_000
    dust_sat: Count = 546
    large_sat: Positive = 20_000_000
    provider_only_max_sat: Count = 0
    confirmations: tuple[ConfirmationStep, ...] = (
        ConfirmationStep(up_to_sat=500_000, depth=1),
        ConfirmationStep(up_to_sat=5_000_000, depth=2),
    )
    confirmations_above: Positive = 6
    zero_conf_max_sat: Count = 0
    final_depth: Positive = 6
    disagree_grace_seconds: Count = 10 * MINUTE
    grace_seconds: Count = 0

    def tolerance_for(self, due_sat: int) -> int:
        """Shortage forgiven on `due_sat`: the larger of the relative and the fixed tolerance, in satoshi."""
        return max(due_sat * self.tolerance_bps // 10_000, self.tolerance_sat)

    def confirmations_for(self, total_sat: int, *, replaceable: bool) -> int:
        """Depth needed before `total_sat` counts. Up to the 0-conf limit the shop takes the loss upon itself, except of
        what signals its replacement (BIP-125). What does not signal is no safer: nodes replace either.
        """
        if not replaceable and total_sat <= self.zero_conf_max_sat:
            return 0
        steps = (step.depth for step in self.confirmations if total_sat <= step.up_to_sat)
        return max(next(steps, self.confirmations_above), 1)

    def values(self) -> dict[str, Any]:
        """What is written down and shown of it: the depths are one value there, steps and the depth above them."""
        values = asdict(self)
        steps = [(step.up_to_sat, step.depth) for step in self.confirmations]
        return values | {"confirmations": {"steps": steps, "above": values.pop("confirmations_above")}}

    @cached_property
    def _terms(self) -> str:
        return json.dumps(self.values(), sort_keys=True, separators=(",", ":"))

    def terms(self) -> str:
        """The whole rule as text, to be kept with each invoice: a policy that changes later changes no decision made."""
        return self._terms


@lru_cache(maxsize=1_000)
def rule_of_terms(terms: str) -> Rule:
    """The rule that `Rule.terms` wrote down."""
    values = json.loads(terms)
    depths = values["confirmations"]
    steps = tuple(ConfirmationStep(up_to_sat=up_to_sat, depth=depth) for up_to_sat, depth in depths["steps"])
    return Rule(**values | {"confirmations": steps, "confirmations_above": depths["above"]})


def _sensible(rule: Rule) -> Rule:
    require_rising("confirmations", [step.up_to_sat for step in rule.confirmations])
    if rule.tolerance_sat >= rule.minimum_sat:
        raise ValueError("tolerance_sat must be below minimum_sat: the smallest invoice would be settled by nothing")
    if rule.invoice_expiry_seconds < rule.quote_ttl_seconds:
        raise ValueError("an invoice cannot expire before its first quote")
    return rule


_SensibleRule = Annotated[Rule, AfterValidator(_sensible)]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All rules of one merchant in one version. `exact_tier` takes customers whose last attempts failed in a row."""

    version: str = "1"
    default: _SensibleRule = Rule()
    tiers: Annotated[Mapping[str, _SensibleRule], like({"trusted": {"tolerance_bps": 50}})] = field(
        default_factory=dict
    )
    exact_tier: Annotated[str | None, like("exact")] = None
    failed_attempts_before_exact: Positive = 3

    def rule_for(self, tier: str | None, *, failed_attempts: int = 0) -> Rule:
        """The rule of a customer's tier; unknown tiers get the default, repeated failures the exact-payment tier."""
        if self.exact_tier is not None and failed_attempts >= self.failed_attempts_before_exact:
            return self.tiers.get(self.exact_tier, self.default)
        return self.tiers.get(tier or "", self.default)


def named(policy: Policy) -> Policy:
    """The policy of a file, each of its rules called as its tier. Raises ValueError."""
    if policy.exact_tier is not None and policy.exact_tier not in policy.tiers:
        raise ValueError(f"exact_tier {policy.exact_tier!r} is not among the tiers")
    return replace(policy, tiers={name: replace(rule, name=name) for name, rule in policy.tiers.items()})


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


def outcome_of_grace(grace_until: datetime, *, status: str, is_closed: bool, now: datetime) -> str | None:
    """How a grace has ended: "settled" or "lapsed"; None while it goes on."""
    if status == "settled":
        return "settled"
    is_over = is_closed or status == "invalid" or now >= grace_until
    return "lapsed" if is_over else None


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

    def with_one(self, currency: str, minor: int) -> "Used":
        return Used(invoices=self.invoices + 1, minor={**self.minor, currency: self.minor.get(currency, 0) + minor})


def canonical(document: Mapping[str, Any]) -> str:
    """The one text of a document: the same content has the same text, whatever the order in the file."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def differences(before: str, after: str) -> list[dict[str, str | None]]:
    """What changes from one canonical text to another: setting, before and after, in the order of the settings' paths.

    None stands where a document does not have the setting at all.
    """
    old, new = (dict(_flat(json.loads(text))) for text in (before, after))
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    return [{"setting": path, "before": old.get(path), "after": new.get(path)} for path in changed]


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, 1):
            # A named item, such as a price source, keeps its path when its place in the list changes.
            yield from _flat(item, f"{at}.{item.get('name', number)}")
    elif isinstance(value, list):
        yield at, ", ".join(str(item) for item in value)
    else:
        yield at, value if isinstance(value, str) else json.dumps(value)
