"""The rules of a merchant as data: merchant, then customer tier, then one rule.

Owns the settings that decide about money and their resolution; must not name any tier, merchant or currency itself.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True, kw_only=True)
class Confirmations:
    """How deep a payment must be: pairs (up to this many satoshi, this many confirmations), then `above` for the
    rest.
    """

    steps: tuple[tuple[int, int], ...] = ((500_000, 1), (5_000_000, 2))
    above: int = 6

    def needed(self, total_sat: int) -> int:
        return next((depth for limit_sat, depth in self.steps if total_sat <= limit_sat), self.above)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One tier's rule. Times in seconds, amounts in satoshi unless the name says otherwise; see config.example.yaml
    for each.
    """

    name: str = "default"
    quote_ttl_seconds: int = 15 * MINUTE
    invoice_expiry_seconds: int = DAY
    monitor_seconds: int = 7 * DAY
    seen_grace_chain_seconds: int = 2 * MINUTE
    seen_grace_provider_seconds: int = 2 * HOUR
    risk_bps: int = 100
    fee_buffer_minor: Mapping[str, int] = field(default_factory=dict)
    tolerance_bps: int = 0
    tolerance_sat: int = 0
    underpaid: str = "wait"
    late: str = "accept"
    late_auto_seconds: int = HOUR
    over_keep_sat: int = 5_000
    minimum_sat: int = 1_000
    dust_sat: int = 546
    large_sat: int = 20_000_000
    provider_only_max_sat: int = 0
    confirmations: Confirmations = field(default_factory=Confirmations)
    zero_conf_max_sat: int = 0
    final_depth: int = 6
    disagree_grace_seconds: int = 10 * MINUTE
    grace_seconds: int = 0

    def tolerance_for(self, due_sat: int) -> int:
        """Shortage forgiven on `due_sat`: the larger of the relative and the fixed tolerance, in satoshi."""
        return max(due_sat * self.tolerance_bps // 10_000, self.tolerance_sat)

    def confirmations_for(self, total_sat: int, *, replaceable: bool) -> int:
        """Depth needed before `total_sat` counts. Up to the 0-conf limit the shop takes the loss upon itself, except of
        what signals its replacement (BIP-125). What does not signal is no safer: nodes replace either.
        """
        if not replaceable and total_sat <= self.zero_conf_max_sat:
            return 0
        return max(self.confirmations.needed(total_sat), 1)

    @cached_property
    def _terms(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def terms(self) -> str:
        """The whole rule as text, to be kept with each invoice: a policy that changes later changes no decision made."""
        return self._terms


@lru_cache(maxsize=1_000)
def rule_of_terms(terms: str) -> Rule:
    """The rule that `Rule.terms` wrote down."""
    values = json.loads(terms)
    steps = tuple((up_to_sat, depth) for up_to_sat, depth in values["confirmations"]["steps"])
    confirmations = Confirmations(steps=steps, above=values["confirmations"]["above"])
    return Rule(**values | {"confirmations": confirmations})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All rules of one merchant in one version. `exact_tier` takes customers whose last attempts failed in a row."""

    version: str = "1"
    rules: Mapping[str, Rule] = field(default_factory=dict)
    default: Rule = field(default_factory=Rule)
    exact_tier: str | None = None
    failed_attempts_before_exact: int = 3

    def rule_for(self, tier: str | None, *, failed_attempts: int = 0) -> Rule:
        """The rule of a customer's tier; unknown tiers get the default, repeated failures the exact-payment tier."""
        if self.exact_tier is not None and failed_attempts >= self.failed_attempts_before_exact:
            return self.rules.get(self.exact_tier, self.default)
        return self.rules.get(tier or "", self.default)
