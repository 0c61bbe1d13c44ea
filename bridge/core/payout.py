"""Money that leaves: the states of a payout, its fee arithmetic, what may be refunded, its journals; how much may lie in the hot
wallet, and what a sweep takes out of it.

Owns the legal moves, the sum rule, the fee formula, the treasury's rules and the plan of a sweep; must not send, store or approve
anything, nor read a balance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from bridge.core.descriptors import Descriptor
from bridge.core.errors import IllegalMove, Refused
from bridge.core.evidence import Sent
from bridge.core.ledger import Entry, Journal
from bridge.core.limits import Bps, Count, Inner, Positive, require_rising
from bridge.core.money import SAT_PER_BTC, exponent_of

KINDS = ("refund", "sweep", "write_off")
STATES = ("requested", "approved", "submitting", "sent", "confirmed", "rejected", "unknown", "failed")
VARIANTS = ("paid_sat", "fiat_at_quote", "fiat_today", "excess_only", "custom")
# Wallets at a gateway, and the one that pays requests of Lightning.
GATEWAY_ROLES = ("hot", "billing")
LIGHTNING_ROLE = "lightning"
# The roles that the bridge sends from. Money on any other account the shop itself sends, outside, and says so.
ROLES = (*GATEWAY_ROLES, LIGHTNING_ROLE)
# A request of Lightning often lasts no longer than an hour, and people must have time to approve it.
LIGHTNING_COOLING_SECONDS = 600
LIGHTNING_APPROVAL_SECONDS = 900
# Less than this in one output is not carried by the network.
OWN_MIN_SEND_SAT = 546

# From, to: every change of state that may ever be written.
LEGAL_MOVES = frozenset(
    {
        ("requested", "approved"),
        ("requested", "rejected"),
        ("approved", "requested"),  # the destination or the fee changed: what was approved is not what would be sent
        ("approved", "rejected"),
        ("approved", "submitting"),
        ("approved", "confirmed"),  # a write-off sends nothing
        ("submitting", "rejected"),  # only while it is certain that no call ever reached the gateway
        ("submitting", "sent"),
        ("submitting", "failed"),
        ("submitting", "unknown"),
        ("unknown", "submitting"),  # a person orders the same call again: same key, same body
        ("unknown", "sent"),
        ("unknown", "failed"),
        ("sent", "confirmed"),
    }
)
# What counts against the money that came: everything that left, may have left or still may leave.
LIVE = frozenset({"requested", "approved", "submitting", "sent", "confirmed", "unknown"})
# The wallet's money is promised or uncertain: nothing else may leave the same wallet.
IN_FLIGHT = frozenset({"submitting", "unknown"})
ENDED = frozenset({"confirmed", "rejected", "failed"})
# Where the money of a refund is taken from, in this order: what is owed back already, then what is nobody's yet.
# The buffer that settled an invoice came from its payer too.
REFUND_SOURCES = (
    "refunds_payable",
    "customer:overpayment",
    "customer:unallocated",
    "customer:prepayment",
    "quote_buffer",
)

AnyApprovals = TypeVar("AnyApprovals", bound="Approvals")


def check_move(before: str, after: str) -> None:
    """Raises IllegalMove unless the table of legal moves has it."""
    if (before, after) not in LEGAL_MOVES:
        raise IllegalMove(f"payout {before} -> {after}")


@dataclass(frozen=True, kw_only=True)
class ApprovalStep:
    """How many people must approve, up to so many satoshi."""

    up_to_sat: Positive
    people: Positive


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """How many people must approve besides who proposed, by how many satoshi it is about."""

    approvals: tuple[ApprovalStep, ...] = ()
    approvals_above: Positive = 1

    def needed(self, worth_sat: int) -> int:
        return next((step.people for step in self.approvals if worth_sat <= step.up_to_sat), self.approvals_above)


@dataclass(frozen=True, kw_only=True)
class PayoutRules(Approvals):
    """The operator's rules for money that leaves. `unseen_seconds`: how long a sent transaction may stay off the chain."""

    min_send_sat: Positive = 50_000
    cooling_seconds: Count = 3_600
    approvals: tuple[ApprovalStep, ...] = (ApprovalStep(up_to_sat=1_000_000, people=1),)
    approvals_above: Positive = 2
    final_depth: Positive = 6
    unseen_seconds: Positive = 7_200
    lease_seconds: Inner[int] = 300

    def cooling_of(self, role: str) -> int:
        """Seconds between the last approval and the send."""
        is_short = role == LIGHTNING_ROLE
        return min(self.cooling_seconds, LIGHTNING_COOLING_SECONDS) if is_short else self.cooling_seconds


def rising(rules: AnyApprovals) -> AnyApprovals:
    """The rules of a file. Raises ValueError."""
    require_rising("approvals", [step.up_to_sat for step in rules.approvals])
    return rules


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """One payout's satoshi: `gross_sat` leaves the wallet, `fee_sat` is the gateway's, `net_sat` arrives.

    While nobody names the gateway's fee, nothing is guessed: the sum asked for is what leaves (`fee_sat` is 0 then) and the
    most that can arrive. What the gateway kept of it is in its answer to the send.
    """

    gross_sat: int
    fee_sat: int
    net_sat: int


def amounts_for_net(net_sat: int, *, fee_bps: int | None) -> Amounts:
    """The gross that lets `net_sat` arrive: ceil(net · 10000 / (10000 - fee_bps)) (SUBTC contract 8.8).

    With an unknown fee, None, no such gross is known: `net_sat` leaves, and less arrives.
    """
    if fee_bps is None:
        return Amounts(gross_sat=net_sat, fee_sat=0, net_sat=net_sat)
    if not 0 <= fee_bps < 10_000:
        raise Refused("fee_unusable", "The gateway's fee leaves nothing to send.", field="fee_bps")
    kept = 10_000 - fee_bps
    gross_sat = -(-net_sat * 10_000 // kept)
    return Amounts(gross_sat=gross_sat, fee_sat=gross_sat - net_sat, net_sat=net_sat)


def amounts_for_gross(gross_sat: int, *, fee_bps: int | None) -> Amounts:
    """What arrives of `gross_sat`, the fee rounded up: never promise more than may come (SUBTC contract 4.4).

    With an unknown fee, None, nothing is promised of it.
    """
    if fee_bps is None:
        return Amounts(gross_sat=gross_sat, fee_sat=0, net_sat=gross_sat)
    fee_sat = -(-gross_sat * fee_bps // 10_000)
    return Amounts(gross_sat=gross_sat, fee_sat=fee_sat, net_sat=gross_sat - fee_sat)


def check_minimum(amounts: Amounts, *, min_send_sat: int, fee_bps: int | None) -> None:
    """Raises Refused("below_min_send") that says the smallest net sum, before anybody works on an impossible payout."""
    if amounts.gross_sat < min_send_sat:
        smallest_sat = amounts_for_gross(min_send_sat, fee_bps=fee_bps).net_sat
        detail = (
            f"The gateway sends {min_send_sat} satoshi or more; the smallest sum that can arrive is {smallest_sat}."
        )
        raise Refused("below_min_send", detail, field="net_sat")


@dataclass(frozen=True, kw_only=True)
class Refundable:
    """What came on an invoice and where it went already. `billing_sat` was paid back through the billing system."""

    came_sat: int
    excess_sat: int
    live_sat: int = 0
    billing_sat: int = 0

    @property
    def left_sat(self) -> int:
        """What may still be refunded, never below zero."""
        return max(self.came_sat - self.live_sat - self.billing_sat, 0)

    @property
    def is_overdrawn(self) -> bool:
        """Whether promised refunds are more than what came, because facts changed after they were promised."""
        return self.live_sat + self.billing_sat > self.came_sat

    def check(self, net_sat: int) -> None:
        """Raises Refused("above_refundable"): the sum of refunds never exceeds what came."""
        if net_sat > self.left_sat:
            raise Refused("above_refundable", f"At most {self.left_sat} satoshi can be refunded.", field="net_sat")


def net_of(
    variant: str, *, refundable: Refundable, fiat_minor: int, price_minor: int, currency: str, custom_sat: int | None
) -> int:
    """The net satoshi of a refund variant, within the sum rule.

    `price_minor` is one bitcoin's price for the fiat variants, rounded down to whole satoshi. Raises Refused
    (unknown_variant, custom_sat_missing, nothing_to_refund, above_refundable).
    """
    if variant not in VARIANTS:
        raise Refused("unknown_variant", f"The variant must be one of {', '.join(VARIANTS)}.", field="variant")
    if (variant == "custom") != (custom_sat is not None):
        raise Refused("custom_sat_missing", "The variant custom, and no other, names its satoshi.", field="net_sat")
    exponent_of(currency)
    sums = {
        "paid_sat": refundable.left_sat,
        "excess_only": min(refundable.excess_sat - refundable.live_sat, refundable.left_sat),
        "custom": custom_sat or 0,
    }
    net_sat = sums[variant] if variant in sums else fiat_minor * SAT_PER_BTC // price_minor
    if net_sat <= 0:
        raise Refused("nothing_to_refund", "There is nothing left to refund.", field="variant")
    refundable.check(net_sat)
    return net_sat


def billing_refund_sat(*, refunded_minor: int, amount_minor: int, used_sat: int) -> int:
    """The satoshi that a refund inside the billing system stands for: its share of what settled the invoice, up."""
    return min(-(-refunded_minor * used_sat // amount_minor), used_sat)


def wallet_has_room(amounts: Amounts, *, confirmed_sat: int, owed_sat: int, own_sat: int) -> bool:
    """Whether the hot wallet still covers all it owes afterwards. `own_sat` of `owed_sat` is what this payout pays."""
    left_sat = confirmed_sat - amounts.gross_sat
    return left_sat >= 0 and left_sat >= owed_sat - min(own_sat, owed_sat)


def differences(
    amounts: Amounts, sent: Sent, *, is_fee_known: bool, most_route_sat: int | None = None
) -> tuple[str, ...]:
    """What the account of a send says otherwise than was promised (SUBTC contract 11.4); empty when nothing.

    Under an unknown fee people approved that less arrives than leaves: how much less was never promised. What a route costs comes
    on top of the sum, up to `most_route_sat`.
    """
    if most_route_sat is not None:
        sums = (sent.requested_sat, sent.sent_sat)
        found = [f"sent {sums[1]} instead of {amounts.net_sat}"] if set(sums) != {amounts.net_sat} else []
        dear = [f"the route cost {sent.fee_sat}, and {most_route_sat} is the most"]
        return (*found, *(dear if sent.fee_sat > most_route_sat else ()))
    told = {
        "requested": (sent.requested_sat, amounts.gross_sat),
        "total": (sent.sent_sat + sent.fee_sat, amounts.gross_sat),
    }
    found = [f"{name} {is_sat} instead of {due_sat}" for name, (is_sat, due_sat) in told.items() if is_sat != due_sat]
    if is_fee_known and sent.sent_sat < amounts.net_sat:
        found.append(f"arriving {sent.sent_sat} instead of {amounts.net_sat}")
    return tuple(found)


def approve_journal(net_sat: int, *, owed: Mapping[str, int]) -> Journal | None:
    """Moves the refund's money into refunds_payable. `owed` is what each liability account of the invoice holds free.

    None when it lies there already. Raises Refused("above_refundable") when the accounts hold less.
    """
    legs: list[Entry] = []
    left_sat = net_sat
    for account in REFUND_SOURCES:
        taken_sat = min(max(owed.get(account, 0), 0), left_sat)
        left_sat -= taken_sat
        if taken_sat and account != "refunds_payable":
            legs.append(Entry(account=account, units=taken_sat))
    if left_sat:
        raise Refused("above_refundable", "The books hold less for this invoice than the refund.", field="net_sat")
    moved_sat = sum(leg.units for leg in legs)
    if not moved_sat:
        return None
    return Journal(kind="refund_approve", entries=(*legs, Entry(account="refunds_payable", units=-moved_sat)))


def send_journal(kind: str, amounts: Amounts, sent: Sent, *, role: str) -> Journal:
    """What a send did to the books, in the gateway's numbers: all that left the wallet, what it paid, the rest as fee.

    More than promised is the gateway's rounding and goes to provider_fee; less stays owed. A route of Lightning is the network's.
    """
    fee_account = "network_fee" if role == LIGHTNING_ROLE else "provider_fee"
    left_sat = sent.sent_sat + sent.fee_sat
    paid_sat = min(sent.sent_sat, amounts.net_sat) if kind == "refund" else sent.sent_sat
    paid_account = "refunds_payable" if kind == "refund" else "inflight:sweep"
    legs = ((paid_account, paid_sat), (fee_account, left_sat - paid_sat), (f"wallet:{role}", -left_sat))
    return Journal(kind=f"{kind}_send", entries=tuple(Entry(account=a, units=u) for a, u in legs if u))


def sweep_done_journal(sent_sat: int) -> Journal:
    """The swept money lies in the cold wallet, deep enough."""
    entries = (Entry(account="wallet:cold", units=sent_sat), Entry(account="inflight:sweep", units=-sent_sat))
    return Journal(kind="sweep_done", entries=entries)


def write_off_journal(gross_sat: int, *, role: str) -> Journal:
    """Stranded dust that a person gave up."""
    entries = (Entry(account="network_fee", units=gross_sat), Entry(account=f"wallet:{role}", units=-gross_sat))
    return Journal(kind="write_off", entries=entries)


def mirrored(journal_kind: str, balances: Mapping[str, int]) -> Journal | None:
    """The exact mirror of what a kind of journal has left on its accounts, None when that is nothing."""
    entries = tuple(Entry(account=account, units=-units) for account, units in balances.items() if units)
    return Journal(kind=f"{journal_kind}_reverse", entries=entries) if entries else None


SweepMode = Literal["off", "dry_run", "propose", "auto"]


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
