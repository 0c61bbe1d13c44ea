"""How much may lie in the hot wallet, and what a sweep takes out of it.

Owns the treasury's rules and the plan; must not read a balance or send anything.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from bridge.core.descriptors import Descriptor
from bridge.core.limits import Bps, Count, Positive
from bridge.core.payout import Amounts, amounts_for_gross

SweepMode = Literal["off", "dry_run", "propose", "auto"]
SWEEP_MODES = get_args(SweepMode)


@dataclass(frozen=True, kw_only=True)
class TreasuryLimits:
    """How much may lie in the hot wallet, when a sweep takes what out of it, and how often balances are read."""

    max_hot_sat: Count = 0
    stop_new_invoices: bool = False
    sweep_mode: SweepMode = "dry_run"
    sweep_above_sat: Positive = 10_000_000
    sweep_every_seconds: Positive = 86_400
    fee_ceiling_bps: Bps = 300
    refund_float_sat: Count = 500_000
    balance_every_seconds: Positive = 60
    balance_age_alert_seconds: Positive = 3_600

    def is_over_cap(self, confirmed_sat: int) -> bool:
        """Whether the hot balance is above the cap; 0 is no cap."""
        return 0 < self.max_hot_sat < confirmed_sat


@dataclass(frozen=True, kw_only=True)
class TreasuryRules(TreasuryLimits):
    """The operator's treasury. Cold addresses are pinned, by name or by the descriptor that they follow from: nothing
    else is ever a sweep's destination.
    """

    cold_addresses: tuple[str, ...] = ()
    cold_descriptor: Descriptor | None = None

    @property
    def has_cold(self) -> bool:
        """Whether a sweep has anywhere to go."""
        return bool(self.cold_addresses) or self.cold_descriptor is not None


@dataclass(frozen=True, kw_only=True)
class HotWallet:
    """What the plan needs to know: `owed_sat` may have to go back to payers, `promised_sat` is in payouts under way.

    `fee_bps` is None while nobody names the gateway's fee.
    """

    confirmed_sat: int
    owed_sat: int
    promised_sat: int
    fee_bps: int | None
    min_send_sat: int

    @property
    def fee_on_owed_sat(self) -> int:
        """What paying everything back would cost besides; under an unknown fee a refund leaves as it is, see `Amounts`."""
        if self.fee_bps is None:
            return 0
        return -(-self.owed_sat * self.fee_bps // max(10_000 - self.fee_bps, 1))


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep would take. `reason` says why nothing is taken: a code, "" when there is something.

    `stranded_sat` is free money that is too little to be sent at all. Under an unknown fee, None, only people can say
    whether the sweep is worth it.
    """

    amounts: Amounts | None
    free_sat: int
    stranded_sat: int
    fee_bps: int | None
    reason: str


def plan_sweep(wallet: HotWallet, rules: TreasuryRules) -> SweepPlan:
    """Everything above open liabilities, payouts under way and the refund float, when it is worth a send."""
    kept_sat = wallet.owed_sat + wallet.fee_on_owed_sat + wallet.promised_sat + rules.refund_float_sat
    free_sat = max(wallet.confirmed_sat - kept_sat, 0)
    stranded_sat = free_sat if free_sat < wallet.min_send_sat else 0
    conditions = {
        "no_cold_address": not rules.has_cold,
        "below_threshold": wallet.confirmed_sat <= rules.sweep_above_sat,
        "below_min_send": free_sat < wallet.min_send_sat,
        "fee_above_ceiling": wallet.fee_bps is not None and wallet.fee_bps > rules.fee_ceiling_bps,
    }
    reason = next((code for code, applies in conditions.items() if applies), "")
    amounts = None if reason else amounts_for_gross(free_sat, fee_bps=wallet.fee_bps)
    return SweepPlan(
        amounts=amounts, free_sat=free_sat, stranded_sat=stranded_sat, fee_bps=wallet.fee_bps, reason=reason
    )
