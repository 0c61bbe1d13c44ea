"""What received satoshi are worth against an invoice: each payment at the quote of its first sight.

Owns attribution, remainder, excess and tolerance as exact rationals; must not know states or policy beyond one Rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

from bridge.core.evidence import FINAL
from bridge.core.policy import Rule
from bridge.core.quote import Quote

# The protocol's: a block's reward is spendable this deep.
COINBASE_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class Payment:
    """One incoming output, absolute. `confirmations` is None when only the provider's total is known (key "total").

    `replaced` means the output is no longer on the chain nor in the mempool: replaced, double-spent or reorganised
    away. `source` is who showed it so deep, and the block where it stood then, if it was in one; or who showed that it is
    gone. What a `coinbase` pays cannot be spent, and does not count, before it is COINBASE_DEPTH deep. `spends` is the
    first coin that its transaction spends, by which a rival is known. `target_id` says where it came to, None: the invoice's
    first target; `amount_msat` what its rail told finer than whole satoshi.
    """

    key: str
    amount_sat: int
    confirmations: int | None
    first_seen_at: datetime
    replaceable: bool = False
    replaced: bool = False
    block_height: int | None = None
    block_hash: str | None = None
    coinbase: bool = False
    source: str = ""
    spends: str | None = None
    amount_msat: int | None = None
    # Said when it is stored, and never changed.
    target_id: int | None = field(default=None, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether it never gets undone, as the money of a rail that stands in no blocks."""
        return self.confirmations is not None and self.confirmations >= FINAL

    @property
    def is_confirmed(self) -> bool:
        return self.confirmations is None or self.confirmations >= self.least_depth

    @property
    def least_depth(self) -> int:
        """Confirmations below which it is not firm, whatever the policy says."""
        return COINBASE_DEPTH if self.coinbase else 1


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one payment did for the amount: `used_sat` of it went in at `quote`, and `left` of the amount, in minor units, was open
    then. Without a `quote` no price was active.
    """

    payment: Payment
    quote: Quote | None
    used_sat: int
    left: Fraction


@dataclass(frozen=True, kw_only=True)
class Credit:
    """The worth of a set of payments, `shares` in the order they were first seen. `remaining_sat` is at the newest quote, rounded
    up once; `unquoted` still needs a price.
    """

    used_sat: int
    excess_sat: int
    buffer_sat: int
    remaining_sat: int
    tolerance_sat: int
    unquoted: tuple[Payment, ...]
    late: bool
    shares: tuple[Share, ...]

    @property
    def covered(self) -> bool:
        return self.remaining_sat <= self.tolerance_sat and self.used_sat > 0

    @property
    def received_sat(self) -> int:
        return self.used_sat + self.beyond_sat

    @property
    def beyond_sat(self) -> int:
        """What did not go into the amount: excess, and money without a price."""
        return self.excess_sat + sum(p.amount_sat for p in self.unquoted)

    def unasked(self, settled_at: datetime | None) -> tuple[Payment, ...]:
        """The money without a price that belongs back to the payer of a settled invoice. When a person marked a short one as settled,
        what they saw then is what settled it.
        """
        is_known = not self.covered
        return tuple(
            p for p in self.unquoted if not (is_known and (settled_at is None or p.first_seen_at <= settled_at))
        )

    @property
    def absorbed_sat(self) -> int:
        return self.remaining_sat if self.covered else 0

    @property
    def due_sat(self) -> int:
        return self.used_sat + self.remaining_sat


def quote_at(quotes: Sequence[Quote], payment: Payment, rule: Rule) -> Quote | None:
    """The newest quote that was active when the payment was first seen, with the grace its evidence kind needs.

    An offer goes before a late quote: a price found afterwards never takes money away from the price its payer was
    shown.
    """
    seconds = rule.seen_grace_provider_seconds if payment.confirmations is None else rule.seen_grace_chain_seconds
    grace = timedelta(seconds=seconds)
    none = timedelta(0)
    active = [q for q in quotes if q.covers(payment.first_seen_at, grace=grace if q.kind == "offer" else none)]
    return max(active, key=lambda q: (q.kind == "offer", q.version), default=None)


def counting(payments: Iterable[Payment], rule: Rule) -> tuple[Payment, ...]:
    """The payments that are still there and are no dust. A provider's total is one sum and never dust."""
    return tuple(p for p in payments if not p.replaced and (p.confirmations is None or p.amount_sat >= rule.dust_sat))


def credit(
    payments: Iterable[Payment], *, quotes: Sequence[Quote], amount_minor: int, late_after: datetime, rule: Rule
) -> Credit:
    """Values `payments` in the order they were first seen until `amount_minor` is covered; what comes after is excess.

    A quote's full `due_sat` is worth exactly its `base_minor`, so nobody picks the better of two rates for one satoshi.
    """
    remaining, used, excess, buffers = Fraction(amount_minor), 0, 0, Fraction(0)
    unquoted: list[Payment] = []
    shares: list[Share] = []
    late = False
    for payment in sorted(payments, key=lambda p: (p.first_seen_at, p.key)):
        quote = quote_at(quotes, payment, rule)
        if remaining == 0 or quote is None:
            if remaining == 0:
                excess += payment.amount_sat
            else:
                unquoted.append(payment)
            shares.append(Share(payment=payment, quote=quote, used_sat=0, left=remaining))
            continue
        worth = Fraction(payment.amount_sat * quote.base_minor, quote.due_sat)
        taken = payment.amount_sat if worth <= remaining else ceil(remaining * quote.due_sat / quote.base_minor)
        remaining = max(remaining - worth, Fraction(0))
        used, excess = used + taken, excess + payment.amount_sat - taken
        buffers += Fraction(taken * quote.buffer_sat, quote.due_sat)
        late = late or payment.first_seen_at > late_after
        shares.append(Share(payment=payment, quote=quote, used_sat=taken, left=remaining))
    newest = max(quotes, key=lambda q: q.version)
    remaining_sat = ceil(remaining * newest.due_sat / newest.base_minor)
    return Credit(
        used_sat=used,
        excess_sat=excess,
        buffer_sat=int(buffers),
        remaining_sat=remaining_sat,
        tolerance_sat=rule.tolerance_for(used + remaining_sat),
        unquoted=tuple(unquoted),
        late=late,
        shares=tuple(shares),
    )


def remaining_minor(payments: Iterable[Payment], *, quotes: Sequence[Quote], amount_minor: int, rule: Rule) -> int:
    """What a new quote has to ask for: the part of `amount_minor` not yet covered, rounded up to a whole minor unit."""
    remaining = Fraction(amount_minor)
    for payment in counting(payments, rule):
        quote = quote_at(quotes, payment, rule)
        if quote is not None:
            remaining -= Fraction(payment.amount_sat * quote.base_minor, quote.due_sat)
    return max(ceil(remaining), 0)
