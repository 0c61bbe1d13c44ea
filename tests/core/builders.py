"""Builders of core values with defaults: one USD 10.00 invoice, quoted at 65,000.00, due 15,924 sat.

Owns the example every core test starts from; must not decide anything.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.core.credit import Payment
from bridge.core.evidence import Sample
from bridge.core.invoice import Decision, Invoice, decide
from bridge.core.policy import Rule
from bridge.core.quote import Quote, due_sat

T0 = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
DAY = 86_400
DUE_SAT = 15_924
EXPIRES_AT = T0 + timedelta(seconds=DAY)
MONITOR_UNTIL = EXPIRES_AT + timedelta(seconds=7 * DAY)


def at(seconds: int = 0) -> datetime:
    return T0 + timedelta(seconds=seconds)


def an_invoice(**changes: Any) -> Invoice:
    """An invoice whose provider agrees with whatever `decided` shows; pass `provider_sat` to disagree."""
    facts: dict[str, Any] = {"amount_minor": 1_000, "expires_at": EXPIRES_AT, "monitor_until": MONITOR_UNTIL}
    return Invoice(**(facts | changes))


def a_quote(version: int = 1, *, from_s: int = 0, ttl_s: int = 900, **changes: Any) -> Quote:
    """A quote with buffers: an offer, or with `kind="late"` a price found afterwards."""
    facts: dict[str, Any] = {
        "kind": "offer",
        "currency": "USD",
        "base_minor": 1_000,
        "price_minor": 6_500_000,
        "risk_bps": 100,
        "fee_buffer_minor": 25,
    } | changes
    due = due_sat(**{name: facts[name] for name in ("base_minor", "price_minor", "risk_bps", "fee_buffer_minor")})
    return Quote(version=version, due_sat=due, effective_from=at(from_s), expires_at=at(from_s + ttl_s), **facts)


def a_payment(
    amount_sat: int = DUE_SAT, *, key: str = "aa:0", confirmations: int | None = 0, seen_s: int = 60, **changes: Any
) -> Payment:
    return Payment(key=key, amount_sat=amount_sat, confirmations=confirmations, first_seen_at=at(seen_s), **changes)


def decided(
    *payments: Payment,
    now_s: int = 120,
    quotes: tuple[Quote, ...] | None = None,
    rule: Rule | None = None,
    invoice: Invoice | None = None,
    **changes: Any,
) -> Decision:
    """Decides about `payments` on an invoice changed by `changes`; the provider agrees and our readings cover all unless told
    otherwise.
    """
    present_sat = sum(p.amount_sat for p in payments if not p.replaced)
    base = invoice or an_invoice(**({"provider_sat": present_sat, "covered_until": at(now_s)} | changes))
    return decide(
        base, quotes=quotes or (a_quote(),), payments=payments, now=at(now_s), rule=rule or Rule(late="accept")
    )


def a_sample(price_minor: int, source: str, *, age_s: int = 0, currency: str = "USD") -> Sample:
    return Sample(source=source, currency=currency, price_minor=price_minor, observed_at=at(-age_s))
