"""What each ruling on an item would do in money, before it is given: who is told what, what is owed, what is missing or forgone.

Owns these forecasts; they rest on the same sums as the rulings. Must not change anything, nor ask anybody for a price: the last
one that this process saw is named as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.credit import Credit, Payment, counting, credit, quote_at, remaining_minor
from bridge.core.kinds import RULINGS, VERDICTS, review_of
from bridge.core.money import minor_text, worth_minor
from bridge.core.policy import Rule
from bridge.core.quote import Quote, Rate
from bridge.invoices import price
from bridge.invoices.record import rule_of
from bridge.store import invoices, payouts, reviews


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a ruling would do: a code of desk.effects and the satoshi that its sentence names."""

    code: str
    sat: int = 0


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """An invoice's money as it is now. Due = counted + missing; received = counted + unpriced + excess.

    `price_minor` is the last price that was seen of a bitcoin, or that of the newest quote, as `is_current` says; by it worths
    are told. `unpriced_sat` came when no price was in force, so it counts for nothing before a person says so; dust is in it.
    """

    invoice: dict[str, Any]
    sat: dict[str, int]
    price_minor: int
    is_current: bool
    effects: dict[str, Effect]

    def worth(self, sat: int) -> str:
        """Satoshi in the invoice's currency, rounded down."""
        return minor_text(worth_minor(sat, self.price_minor), self.invoice["currency"])


def outlook(bridge: Bridge, review_id: str) -> Outlook | None:
    """Of the invoice that an item is about, None where it is about none."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        item = reviews.find(tx, review_id)
        row = invoices.find(tx, id=item.invoice_id) if item is not None and item.invoice_id else None
        if item is None or row is None:
            return None
        quotes = invoices.quotes_of(tx, row.id, currency=row.currency) or invoices.quotes_of(tx, row.id)
        payments = invoices.payments_of(tx, row.id)
        payout = payouts.of_review(tx, review_id)
    asked, rule, newest = review_of(item.kind), rule_of(row), quotes[-1]
    last = bridge.last_rates.get(row.currency)
    rate = last or Rate(
        currency=row.currency, price_minor=newest.price_minor, samples=(), observed_at=now, agreed_at=now
    )
    money = _Money(row=row, quotes=quotes, payments=payments, rule=rule, rate=rate, now=now)
    seen, received_sat = money.worth(quotes), money.received_sat
    sat = {
        "due": seen.due_sat,
        "received": received_sat,
        "confirmed": row.confirmed_sat,
        "counted": seen.used_sat,
        "unpriced": received_sat - seen.used_sat - seen.excess_sat,
        "excess": seen.excess_sat,
        "missing": seen.remaining_sat,
    }
    about = {
        **{name: getattr(row, name) for name in ("id", "currency", "customer_id", "customer_email", "description")},
        "amount": minor_text(row.amount_minor, row.currency),
        "billing_payment_id": row.billing_payment_id,
    }
    effects = {
        each: _of_payout(each, payout) if RULINGS[each].is_about_payout else money.effect(each, asked.needs_cover)
        for each in asked.rulings
    }
    return Outlook(invoice=about, sat=sat, price_minor=rate.price_minor, is_current=last is not None, effects=effects)


@dataclass(frozen=True, kw_only=True)
class _Money:
    row: Any
    quotes: Sequence[Quote]
    payments: Sequence[Payment]
    rule: Rule
    rate: Rate
    now: datetime

    @property
    def present(self) -> Sequence[Payment]:
        return [p for p in self.payments if not p.replaced]

    @property
    def received_sat(self) -> int:
        return sum(p.amount_sat for p in self.present)

    def worth(self, quotes: Sequence[Quote]) -> Credit:
        return credit(
            counting(self.payments, self.rule),
            quotes=quotes,
            amount_minor=self.row.amount_minor,
            late_after=self.row.expires_at,
            rule=self.rule,
        )

    def effect(self, ruling: str, needs_cover: str | None) -> Effect:
        if ruling in VERDICTS:
            missing_sat = self.worth(self.quotes).remaining_sat
            sums = {"refund": self.received_sat, "mark_settled": missing_sat, "mark_invalid": self.received_sat}
            return Effect(code=ruling if sums[ruling] else f"{ruling}_none", sat=sums[ruling])
        if ruling == "acknowledge":
            return Effect(code="nothing")
        quotes = self._priced() if RULINGS[ruling].needs_price else self.quotes
        found = self.worth(quotes)
        if found.covered:
            return Effect(code="paid_over" if found.beyond_sat else "paid", sat=found.beyond_sat)
        if ruling == "ask_remainder":
            return Effect(code="asks", sat=self._asked_sat(quotes))
        return Effect(code="refused" if ruling == needs_cover else "waits", sat=found.remaining_sat)

    def _priced(self) -> Sequence[Quote]:
        """With a price for money that has none, as the ruling makes one."""
        unpriced = [p for p in self.present if quote_at(self.quotes, p, self.rule) is None]
        base_minor = self._open_minor(self.quotes)
        if not unpriced or base_minor <= 0:
            return self.quotes
        seen_from = min(p.first_seen_at for p in unpriced)
        return [*self.quotes, price.late_quote(seen_from=seen_from, **self._terms(self.quotes, base_minor))]

    def _asked_sat(self, quotes: Sequence[Quote]) -> int:
        """What would be missing at the new offer that the client then gets."""
        anew = price.offer(**self._terms(quotes, self._open_minor(quotes)))
        return self.worth([*quotes, anew]).remaining_sat

    def _open_minor(self, quotes: Sequence[Quote]) -> int:
        return remaining_minor(self.present, quotes=quotes, amount_minor=self.row.amount_minor, rule=self.rule)

    def _terms(self, quotes: Sequence[Quote], base_minor: int) -> dict[str, Any]:
        terms = {"version": quotes[-1].version + 1, "amount_minor": self.row.amount_minor, "rate": self.rate}
        return terms | {"base_minor": base_minor, "rule": self.rule, "now": self.now}


def _of_payout(ruling: str, payout: Any) -> Effect:
    return Effect(code=ruling, sat=payout.gross_sat if payout is not None else 0)
