"""The statement of an invoice: what it costs, what came for it, what is missing or too much, in lines of integers that add up.

Owns the lines and how each is rounded, so that everybody can work them out again by hand; must not value a payment (`core.credit`
does) nor say a sentence.

Part of a price may be smaller than a minor unit: `_e4` is in ten-thousandths of one, where basis points of a whole sum end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import ceil, floor

from bridge.core.credit import Credit, Payment, counting, credit
from bridge.core.money import worth_minor
from bridge.core.policy import Rule
from bridge.core.quote import Quote

E4 = 10_000
# What became of a payment: it counts, nobody has priced it yet, or it is too small to count.
COUNTED, UNPRICED, DUST = "counted", "unpriced", "dust"


@dataclass(frozen=True, kw_only=True)
class Price:
    """How one locked price came about: `base_minor` + `cover_e4` + `fee_buffer_minor` = `together_e4`, exactly; that by the price of
    one bitcoin, rounded up to a whole satoshi, is `due_sat`.
    """

    version: int
    base_minor: int
    risk_bps: int
    cover_e4: int
    fee_buffer_minor: int
    together_e4: int
    price_minor: int
    due_sat: int

    def worth_minor(self, sat: int) -> int:
        """What so many satoshi are at this price, rounded down to a minor unit."""
        return worth_minor(sat, self.price_minor)

    def share_minor(self, sat: int) -> int:
        """The part of `together_e4` that so many of its satoshi stand for, rounded down to a minor unit, but all of them up: what is
        open is never nothing, and without a surcharge it is what is open of the base.
        """
        part = Fraction(self.together_e4 * sat, E4 * self.due_sat)
        return ceil(part) if sat >= self.due_sat else floor(part)

    def owed_minor(self, sat: int) -> int:
        """The same of what is still to be paid: rounded up."""
        return ceil(Fraction(self.together_e4 * sat, E4 * self.due_sat))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One payment. Of `amount_sat` went `used_sat` into the amount, `excess_sat` is too much, and the rest does not count (yet).

    `version` is of the price that values it, None while there is none. `paid_minor` is what it pays of the amount, `charge_minor`
    the same with the surcharge: the parts of the price's base and of all together that `used_sat` is of its satoshi, rounded so that
    the lines and what is missing add up. With `excess_minor`, by the price of one bitcoin, that is `worth_minor`.
    """

    key: str
    state: str
    amount_sat: int
    version: int | None
    worth_minor: int | None
    used_sat: int
    paid_minor: int
    charge_minor: int
    excess_sat: int
    excess_minor: int

    @property
    def aside_sat(self) -> int:
        """What counts neither towards the amount nor as too much."""
        return self.amount_sat - self.used_sat - self.excess_sat


@dataclass(frozen=True, kw_only=True)
class Statement:
    """An invoice's sums. In satoshi `due_sat` = `used_sat` + `missing_sat` + `waived_sat`, and `received_sat` = `used_sat` +
    `excess_sat` + `aside_sat`; in money `amount_minor` = `paid_minor` + `missing_minor` + `waived_minor`. `charge_minor` is the
    amount with its surcharge, what `due_sat` stands for, and `charge_open_minor` of it what is missing or waived.

    `waived` is what may be missing: within the tolerance, or where a person took the invoice as paid. `prices` are those that value a
    payment, and the newest one where something is missing or waived.
    """

    amount_minor: int
    prices: tuple[Price, ...]
    lines: tuple[Line, ...]
    due_sat: int
    received_sat: int
    used_sat: int
    aside_sat: int
    missing_sat: int
    waived_sat: int
    excess_sat: int
    paid_minor: int
    missing_minor: int
    waived_minor: int
    excess_minor: int
    charge_minor: int
    charge_open_minor: int

    @property
    def newest(self) -> Price:
        return self.prices[-1]

    @property
    def charge_paid_minor(self) -> int:
        return self.charge_minor - self.charge_open_minor

    @property
    def unpriced_sat(self) -> int:
        """What came and has no price (yet)."""
        return sum(line.amount_sat for line in self.lines if line.state == UNPRICED)

    @property
    def short_sat(self) -> int:
        """What is missing if what has no price yet counts at the last one."""
        return max(self.missing_sat - self.unpriced_sat, 0)

    @property
    def short_minor(self) -> int:
        """The same in money, with its surcharge."""
        if self.short_sat == self.missing_sat:
            return self.charge_open_minor if self.missing_sat else 0
        return min(self.newest.owed_minor(self.short_sat), self.charge_open_minor)

    @property
    def received_minor(self) -> int:
        """What came in money, each part at its price; `charge_minor` less what is short or waived, and what is too much."""
        over_sat = max(self.unpriced_sat - self.missing_sat, 0) if self.missing_sat else 0
        short_minor = self.short_minor if self.missing_sat else self.charge_open_minor
        return self.charge_minor - short_minor + self.excess_minor + self.newest.share_minor(over_sat)


def statement(
    payments: Sequence[Payment],
    *,
    quotes: Sequence[Quote],
    amount_minor: int,
    late_after: datetime,
    rule: Rule,
    is_settled: bool,
    settled_at: datetime | None,
) -> Statement:
    """The statement of all that is there of `payments`; `quotes` are all of the invoice in its currency, in order."""
    counted = counting(payments, rule)
    worth = credit(counted, quotes=quotes, amount_minor=amount_minor, late_after=late_after, rule=rule)
    price_of = {quote.version: price(quote) for quote in quotes}
    newest = price_of[max(price_of)]
    lines = _lines(worth, amount_minor, price_of, over=worth.unasked(settled_at) if is_settled else ())
    lines += [_aside(p, DUST) for p in payments if not p.replaced and p not in counted]
    paid_minor = sum(line.paid_minor for line in lines)
    open_minor, open_sat = amount_minor - paid_minor, worth.remaining_sat
    used = {line.version for line in lines if line.version is not None}
    is_waived = is_settled or worth.covered
    used |= {newest.version} if open_sat or not used else set()
    charge_minor = sum(line.charge_minor for line in lines)
    open_charge_minor = _open_charge_minor(lines, newest, open_sat)
    return Statement(
        amount_minor=amount_minor,
        prices=tuple(price_of[version] for version in sorted(used)),
        lines=tuple(lines),
        due_sat=worth.due_sat,
        received_sat=sum(line.amount_sat for line in lines),
        used_sat=worth.used_sat,
        aside_sat=sum(line.aside_sat for line in lines),
        missing_sat=0 if is_waived else open_sat,
        waived_sat=open_sat if is_waived else 0,
        excess_sat=sum(line.excess_sat for line in lines),
        paid_minor=paid_minor,
        missing_minor=0 if is_waived else open_minor,
        waived_minor=open_minor if is_waived else 0,
        excess_minor=sum(line.excess_minor for line in lines),
        charge_minor=charge_minor + open_charge_minor,
        charge_open_minor=open_charge_minor,
    )


def _open_charge_minor(lines: Sequence[Line], newest: Price, open_sat: int) -> int:
    """What is open with its surcharge, behind what came at the same price."""
    here_sat = sum(line.used_sat for line in lines if line.version == newest.version)
    open_minor = newest.share_minor(here_sat + open_sat) - newest.share_minor(here_sat)
    return max(open_minor, 1) if open_sat else 0


def price(quote: Quote) -> Price:
    """The lines of one quote."""
    cover_e4 = quote.base_minor * quote.risk_bps
    return Price(
        version=quote.version,
        base_minor=quote.base_minor,
        risk_bps=quote.risk_bps,
        cover_e4=cover_e4,
        fee_buffer_minor=quote.fee_buffer_minor,
        together_e4=(quote.base_minor + quote.fee_buffer_minor) * E4 + cover_e4,
        price_minor=quote.price_minor,
        due_sat=quote.due_sat,
    )


def _lines(worth: Credit, amount_minor: int, price_of: Mapping[int, Price], *, over: tuple[Payment, ...]) -> list[Line]:
    """What each payment pays is the difference of what was open before and after it, both rounded up: so nothing gets lost."""
    lines, open_minor, newest = [], amount_minor, price_of[max(price_of)]
    here_sat = dict.fromkeys(price_of, 0)
    for share in worth.shares:
        left_minor, payment = ceil(share.left), share.payment
        is_beyond = share.left == 0 or payment in over
        if share.quote is None and not is_beyond:
            lines.append(_aside(payment, UNPRICED))
            continue
        # Of what needed no price any more the last one says what it is worth.
        at = price_of[share.quote.version] if share.quote is not None else newest
        before_sat = here_sat[at.version]
        here_sat[at.version] += share.used_sat
        charge_minor = at.share_minor(here_sat[at.version]) - at.share_minor(before_sat)
        excess_sat = payment.amount_sat - share.used_sat if is_beyond else 0
        excess_minor = max(at.worth_minor(payment.amount_sat) - charge_minor, 0) if excess_sat else 0
        lines.append(
            Line(
                key=payment.key,
                state=COUNTED,
                amount_sat=payment.amount_sat,
                version=at.version,
                worth_minor=charge_minor + excess_minor,
                used_sat=share.used_sat,
                paid_minor=open_minor - left_minor,
                charge_minor=charge_minor,
                excess_sat=excess_sat,
                excess_minor=excess_minor,
            )
        )
        open_minor = left_minor
    return lines


def _aside(payment: Payment, state: str) -> Line:
    return Line(
        key=payment.key,
        state=state,
        amount_sat=payment.amount_sat,
        version=None,
        worth_minor=None,
        used_sat=0,
        paid_minor=0,
        charge_minor=0,
        excess_sat=0,
        excess_minor=0,
    )
