"""The sums of a statement, worked out again as its reader would with a pencil.

Owns these checks, for the random histories and for the statement's own test; must not use the arithmetic that they check.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal, localcontext

from bridge.core.credit import Payment
from bridge.core.statement import COUNTED, Line, Price, Statement

BTC = Decimal(100_000_000)
# As many digits as any sum has: a pencil rounds only where it is told to.
DIGITS = 80


def check_statement(told: Statement, payments: Sequence[Payment], *, dust_sat: int) -> None:
    """Every line from what stands in the lines before it, and the three sums."""
    with localcontext() as pencil:
        pencil.prec = DIGITS
        prices = {price.version: price for price in told.prices}
        assert [*prices] == sorted(prices)
        for price in told.prices:
            check_price(price)
        for line in told.lines:
            check_line(line, prices)
        check_sums(told)
        check_paid(told, prices)
    present = {p.key: p for p in payments if not p.replaced}
    assert {line.key: line.amount_sat for line in told.lines} == {key: p.amount_sat for key, p in present.items()}
    assert all(line.amount_sat < dust_sat for line in told.lines if line.state == "dust")


def check_price(price: Price) -> None:
    """Base, cover and network are together what the price of one bitcoin turns into satoshi, rounded up once."""
    cover = Decimal(price.base_minor) * price.risk_bps / 10_000
    together = price.base_minor + cover + price.fee_buffer_minor
    assert together * 10_000 == price.together_e4
    assert together == price.base_minor + Decimal(price.cover_e4 + price.fee_buffer_minor * 10_000) / 10_000
    due = (together * BTC / price.price_minor).to_integral_value(ROUND_CEILING)
    assert due == price.due_sat
    assert price.share_minor(price.due_sat) == together.to_integral_value(ROUND_CEILING)


def check_line(line: Line, prices: dict[int, Price]) -> None:
    assert min(line.used_sat, line.excess_sat, line.aside_sat, line.paid_minor, line.excess_minor) >= 0
    if line.state != COUNTED:
        assert (line.version, line.worth_minor, line.aside_sat) == (None, None, line.amount_sat)
        return
    assert line.version is not None and line.aside_sat == 0
    price = prices[line.version]
    assert line.worth_minor == line.charge_minor + line.excess_minor
    # A part of the price's satoshi is the same part of its base and of its sum, but for the minor unit that keeps the sums whole;
    # of the last satoshi no more than its worth is needed.
    one_sat = Decimal(price.price_minor) / BTC
    part = Decimal(line.used_sat) / price.due_sat
    assert abs(line.paid_minor - part * price.base_minor) < 1 + one_sat
    assert abs(line.charge_minor - part * price.together_e4 / 10_000) < 2
    # Both ends of a line are rounded; a payment of many times its price carries that price's rounding to a whole satoshi as many times.
    rounding = (2 + one_sat) * max(1, part)
    assert abs(line.worth_minor - line.amount_sat * one_sat) < rounding
    assert abs(line.excess_minor - line.excess_sat * one_sat) < rounding


def check_sums(told: Statement) -> None:
    assert told.due_sat == told.used_sat + told.missing_sat + told.waived_sat
    assert told.received_sat == told.used_sat + told.excess_sat + told.aside_sat
    assert told.amount_minor == told.paid_minor + told.missing_minor + told.waived_minor
    for name in ("amount_sat", "used_sat", "excess_sat", "aside_sat", "paid_minor", "excess_minor"):
        total = told.received_sat if name == "amount_sat" else getattr(told, name)
        assert total == sum(getattr(line, name) for line in told.lines), name
    assert min(told.missing_sat, told.waived_sat, told.missing_minor, told.waived_minor, told.excess_sat) >= 0
    assert 0 <= told.short_sat <= told.missing_sat
    assert 0 <= told.short_minor <= told.charge_open_minor <= told.charge_minor
    assert told.charge_paid_minor == sum(line.charge_minor for line in told.lines)
    if not told.unpriced_sat:
        assert told.received_minor == sum(line.worth_minor or 0 for line in told.lines)
    assert (told.excess_sat == 0) or told.missing_sat == 0


def check_paid(told: Statement, prices: dict[int, Price]) -> None:
    """What is missing in satoshi is what is missing in money at the newest price, but for one minor unit's worth."""
    open_minor, open_sat = told.missing_minor + told.waived_minor, told.missing_sat + told.waived_sat
    assert (open_minor == 0) == (open_sat == 0) == (told.charge_open_minor == 0)
    if len(told.prices) == 1 and told.due_sat == told.newest.due_sat:
        together = Decimal(told.newest.together_e4) / 10_000
        assert told.charge_minor == together.to_integral_value(ROUND_CEILING)
    if open_sat:
        newest = prices[max(prices)]
        at_most = (open_minor * Decimal(newest.due_sat) / newest.base_minor).to_integral_value(ROUND_CEILING)
        least = ((open_minor - 1) * Decimal(newest.due_sat) / newest.base_minor).to_integral_value(ROUND_CEILING)
        assert least <= open_sat <= at_most
