"""Fiat to satoshi: the quote formula with its single rounding, and the guards on price samples.

Owns the median, age, spread and jump rules; must not fetch a price or know the time, both are passed in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import Sample
from bridge.core.limits import Bps, Positive
from bridge.core.money import BTC, SAT_PER_BTC


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What makes a set of samples good enough to quote from."""

    min_sources: Positive = 2
    max_age_seconds: Positive = 120
    max_spread_bps: Bps = 200
    max_jump_bps: Bps = 1_000


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The price a quote is made at: the lower median of `samples`, in minor units of `currency` for one bitcoin.

    `observed_at` is of its oldest good sample, which a cross rate can make days older than `agreed_at`.
    """

    currency: str
    price_minor: int
    samples: tuple[Sample, ...]
    observed_at: datetime
    agreed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Quote:
    """One locked price of one invoice. `base_minor` is what it settles when `due_sat` arrives while it is active.

    `due_sat` is in the smallest unit of `asset`. `kind` "offer" was shown to the payer; "late" values money that was first seen
    when no offer was active. Both carry the buffers of the invoice's rule.
    """

    version: int
    kind: str
    currency: str
    base_minor: int
    price_minor: int
    risk_bps: int
    fee_buffer_minor: int
    due_sat: int
    effective_from: datetime
    expires_at: datetime
    asset: str = BTC

    def covers(self, seen_at: datetime, *, grace: timedelta) -> bool:
        return self.effective_from <= seen_at <= self.expires_at + grace

    @property
    def buffer_sat(self) -> int:
        """The part of `due_sat` that the risk and fee buffers added."""
        return self.due_sat - due_sat(base_minor=self.base_minor, price_minor=self.price_minor)


def due_sat(*, base_minor: int, price_minor: int, risk_bps: int = 0, fee_buffer_minor: int = 0) -> int:
    """Satoshi due for `base_minor` at `price_minor` a bitcoin: one exact rational, one rounding, up."""
    due = (base_minor * (10_000 + risk_bps) + fee_buffer_minor * 10_000) * SAT_PER_BTC
    return -(-due // (10_000 * price_minor))


def end_of(pairs: Sequence[str]) -> str:
    """What a chain of pairs leads to from one bitcoin: RUB for BTC/USD and USD/RUB, in whatever order. Raises Refused
    ("broken_chain").
    """
    steps, at = dict(pair.split("/") for pair in pairs), "BTC"
    is_doubled = len(steps) < len(pairs)
    while at in steps:
        at = steps.pop(at)
    if is_doubled or steps or at == "BTC":
        raise Refused("broken_chain", "The pairs must lead from BTC to one currency, each once: BTC/USD, USD/RUB.")
    return at


def buffer_of_part(fee_buffer_minor: int, *, base_minor: int, amount_minor: int) -> int:
    """What a quote for `base_minor` of an invoice carries of the flat buffer, rounded up to a whole minor unit.

    An invoice carries it once: what came at an earlier quote bore the share of its part already.
    """
    return -(-fee_buffer_minor * base_minor // amount_minor)


def agreed_rate(
    samples: Iterable[Sample], *, currency: str, now: datetime, guards: Guards, last: Rate | None = None
) -> Rate:
    """The median of fresh samples of distinct sources, or Unavailable("price_unavailable"): no quote rather than a
    bad one.

    With an even number the lower of the two middle prices counts. The spread is measured over the samples within
    `max_spread_bps` of the median, so that one wild source changes nothing while the others still are enough. `last` must
    be recent: an old rate proves no jump, and one real move would end all quotes for ever.
    """
    newest_by_source = {
        s.source: s
        for s in sorted(samples, key=lambda s: (s.observed_at, -s.price_minor))
        if s.currency == currency and _is_fresh(s, now=now, guards=guards)
    }
    fresh = sorted(newest_by_source.values(), key=lambda s: (s.price_minor, s.source))
    if len(fresh) < max(guards.min_sources, 1):
        raise _unavailable(f"{len(fresh)} of {guards.min_sources} price sources are fresh for {currency}.")
    price_minor = fresh[(len(fresh) - 1) // 2].price_minor
    close = [s for s in fresh if abs(s.price_minor - price_minor) * 10_000 <= guards.max_spread_bps * price_minor]
    if len(close) < guards.min_sources or 2 * len(close) <= len(fresh):
        raise _unavailable(f"The price sources for {currency} disagree too much.")
    if last is not None and abs(price_minor - last.price_minor) * 10_000 > guards.max_jump_bps * last.price_minor:
        raise _unavailable(f"The price for {currency} jumped too far since the last quote.")
    return Rate(
        currency=currency,
        price_minor=price_minor,
        samples=tuple(fresh),
        observed_at=min(s.observed_at for s in close),
        agreed_at=now,
    )


def _is_fresh(sample: Sample, *, now: datetime, guards: Guards) -> bool:
    """A cross rate is fresh when each of its parts is, by the part's own allowed age where it has one."""
    seen = [(part.observed_at, part.max_age_seconds or guards.max_age_seconds) for part in sample.parts]
    ahead = now + timedelta(seconds=guards.max_age_seconds)
    return all(
        now - timedelta(seconds=max_age_seconds) <= observed_at <= ahead
        for observed_at, max_age_seconds in seen or [(sample.observed_at, guards.max_age_seconds)]
    )


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("price_unavailable", detail, retry_after_seconds=30)
