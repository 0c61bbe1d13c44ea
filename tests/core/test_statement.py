"""The statement adds up and can be worked out again by hand, for every currency and however the money came."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.credit import Payment, remaining_minor
from bridge.core.evidence import FINAL
from bridge.core.money import EXPONENTS
from bridge.core.policy import Rule
from bridge.core.quote import Quote, buffer_of_part
from bridge.core.statement import COUNTED, DUST, UNPRICED, Statement, statement
from tests.core.builders import DAY, DUE_SAT, EXPIRES_AT, a_payment, a_quote, at
from tests.core.sums import check_statement

ROUBLES: dict[str, Any] = {
    "currency": "RUB",
    "base_minor": 149_050,
    "price_minor": 520_000_000,
    "fee_buffer_minor": 2_500,
}


def told_of(*payments: Payment, quotes: tuple[Quote, ...] = (), rule: Rule | None = None, **changes: Any) -> Statement:
    quotes = quotes or (a_quote(),)
    facts: dict[str, Any] = {"amount_minor": quotes[0].base_minor, "is_settled": False, "settled_at": None} | changes
    told = statement(payments, quotes=quotes, late_after=EXPIRES_AT, rule=rule or Rule(), **facts)
    check_statement(told, payments, dust_sat=(rule or Rule()).dust_sat)
    return told


def test_an_order_in_roubles_is_explained_to_the_last_kopeck() -> None:
    (price,) = told_of(quotes=(a_quote(**ROUBLES),)).prices
    assert (price.base_minor, price.cover_e4, price.fee_buffer_minor) == (149_050, 14_905_000, 2_500)
    assert (price.together_e4, price.due_sat) == (1_530_405_000, 29_431)
    assert price.share_minor(29_431) == 153_041
    assert price.cover_e4 + price.fee_buffer_minor * 10_000 == 39_905_000


def test_a_part_says_what_it_pays_and_what_is_missing_side_by_side() -> None:
    told = told_of(a_payment(10_889), quotes=(a_quote(**ROUBLES),))
    (line,) = told.lines
    assert (line.state, line.used_sat, line.worth_minor, line.paid_minor) == (COUNTED, 10_889, 56_622, 55_146)
    assert (told.due_sat, told.received_sat, told.missing_sat) == (29_431, 10_889, 18_542)
    assert (told.amount_minor, told.paid_minor, told.missing_minor) == (149_050, 55_146, 93_904)
    assert (told.charge_minor, told.charge_paid_minor, told.charge_open_minor) == (153_041, 56_622, 96_419)


def test_one_missing_satoshi_is_missing_in_money_too() -> None:
    quote = a_quote(base_minor=1_000, price_minor=6_500_000, fee_buffer_minor=25)
    told = told_of(a_payment(quote.due_sat - 1), quotes=(quote,))
    assert (told.missing_sat, told.missing_minor, told.charge_open_minor, told.charge_minor) == (1, 1, 1, 1_035)


@given(st.integers(1, 10**7), st.integers(1, 10**9), st.integers(0, 10**4))
def test_without_a_surcharge_nothing_is_open_but_the_base(base_minor: int, price_minor: int, of_10000: int) -> None:
    quote = a_quote(base_minor=base_minor, price_minor=price_minor, risk_bps=0, fee_buffer_minor=0)
    told = told_of(a_payment(max(quote.due_sat * of_10000 // 10_000, 1)), quotes=(quote,), rule=Rule(dust_sat=0))
    if told.missing_sat:
        assert (told.charge_open_minor, told.charge_paid_minor) == (told.missing_minor, told.paid_minor)


def test_the_rest_at_another_price_stands_under_that_price() -> None:
    first = a_payment(10_889)
    again = a_quote(
        2, from_s=1_000, **ROUBLES | {"base_minor": 93_904, "price_minor": 510_000_000, "fee_buffer_minor": 1_576}
    )
    rest = a_payment(again.due_sat, key="bb:0", seen_s=1_060)
    told = told_of(first, rest, quotes=(a_quote(**ROUBLES), again), is_settled=True, settled_at=at(1_070))
    assert [(line.version, line.paid_minor) for line in told.lines] == [(1, 55_146), (2, 93_904)]
    assert [price.version for price in told.prices] == [1, 2]
    assert (told.missing_sat, told.waived_sat, told.paid_minor) == (0, 0, 149_050)


def test_too_much_is_said_in_satoshi_and_in_money() -> None:
    told = told_of(a_payment(DUE_SAT + 8_000), is_settled=True, settled_at=at(90))
    assert (told.excess_sat, told.excess_minor, told.used_sat) == (8_000, 520, DUE_SAT)
    more = told_of(a_payment(), a_payment(9_000, key="bb:0", seen_s=9_000), is_settled=True, settled_at=at(90))
    assert (more.excess_sat, more.excess_minor, more.lines[1].version) == (9_000, 585, 1)


def test_late_money_without_a_price_is_set_aside_and_would_cover_at_the_last_one() -> None:
    late = a_payment(DUE_SAT, seen_s=2 * DAY)
    told = told_of(late)
    assert [line.state for line in told.lines] == [UNPRICED]
    assert (told.missing_sat, told.aside_sat, told.short_sat, told.short_minor) == (DUE_SAT, DUE_SAT, 0, 0)
    less = told_of(replace(late, amount_sat=10_000))
    assert (less.short_sat, less.short_minor) == (DUE_SAT - 10_000, 386)


def test_what_a_person_or_the_tolerance_let_pass_is_said_as_such() -> None:
    marked = told_of(a_payment(10_000), is_settled=True, settled_at=at(90))
    assert (marked.missing_sat, marked.waived_sat, marked.waived_minor) == (0, DUE_SAT - 10_000, 373)
    within = told_of(a_payment(DUE_SAT - 50), rule=Rule(tolerance_bps=50))
    assert (within.missing_sat, within.waived_sat, within.waived_minor) == (0, 50, 4)


def test_money_that_settled_by_a_persons_word_is_not_too_much_and_what_came_after_is() -> None:
    before, after = a_payment(9_000, seen_s=2 * DAY), a_payment(7_000, key="bb:0", seen_s=3 * DAY)
    told = told_of(before, after, is_settled=True, settled_at=at(2 * DAY + 60))
    assert [(line.state, line.excess_sat) for line in told.lines] == [(UNPRICED, 0), (COUNTED, 7_000)]


def test_dust_and_what_vanished_are_no_money() -> None:
    told = told_of(a_payment(300), a_payment(9_000, key="bb:0", replaced=True))
    assert [(line.state, line.amount_sat) for line in told.lines] == [(DUST, 300)]
    assert (told.received_sat, told.missing_sat) == (300, DUE_SAT)


def test_lightning_is_a_line_as_any_other() -> None:
    told = told_of(
        a_payment(DUE_SAT, key="hash:0", confirmations=FINAL, target_id=2), is_settled=True, settled_at=at(61)
    )
    assert (told.lines[0].paid_minor, told.lines[0].worth_minor, told.excess_sat) == (1_000, 1_035, 0)


CURRENCIES = sorted(
    {(exponent, min(code for code, e in EXPONENTS.items() if e == exponent)) for exponent in EXPONENTS.values()}
)
PRICES = st.integers(1, 10**13)


@st.composite
def orders(draw: st.DrawFn) -> tuple[tuple[Quote, ...], tuple[Payment, ...], dict[str, Any]]:
    """An order in any currency with prices that lapse, offers and late ones, and money that comes whenever it likes."""
    rule = Rule(
        risk_bps=draw(st.integers(0, 1_000)),
        tolerance_bps=draw(st.sampled_from([0, 0, 50, 300])),
        dust_sat=draw(st.sampled_from([0, 546])),
    )
    amount_minor, whole_minor = draw(st.integers(1, 10**12)), draw(st.integers(0, 5_000))
    _, currency = draw(st.sampled_from(CURRENCIES))
    quotes: list[Quote] = []
    payments: list[Payment] = []
    now_s = 0
    for version in range(1, draw(st.integers(1, 4)) + 1):
        base_minor = amount_minor
        if quotes:
            base_minor = remaining_minor(payments, quotes=quotes, amount_minor=amount_minor, rule=rule)
        if base_minor:
            quotes.append(
                a_quote(
                    len(quotes) + 1,
                    kind="late" if quotes and draw(st.booleans()) else "offer",
                    from_s=now_s,
                    currency=currency,
                    base_minor=base_minor,
                    price_minor=draw(PRICES),
                    risk_bps=rule.risk_bps,
                    fee_buffer_minor=buffer_of_part(whole_minor, base_minor=base_minor, amount_minor=amount_minor),
                )
            )
        for nth in range(draw(st.integers(0, 3))):
            shares = st.integers(1, 2 * quotes[-1].due_sat) | st.just(quotes[-1].due_sat) | st.integers(1, 1_000)
            payments.append(
                a_payment(
                    draw(shares),
                    key=f"{version}{nth}:0",
                    confirmations=draw(st.sampled_from([0, 3, FINAL])),
                    seen_s=now_s + draw(st.integers(0, 3_000)),
                    replaced=draw(st.integers(0, 9)) == 0,
                )
            )
        now_s += 4_000
    is_settled = draw(st.booleans())
    settled_at = at(draw(st.integers(0, now_s))) if is_settled else None
    facts = {"rule": rule, "amount_minor": amount_minor, "is_settled": is_settled, "settled_at": settled_at}
    return tuple(quotes), tuple(payments), facts


@given(orders())
def test_whatever_comes_in_whatever_currency_the_lines_add_up(
    order: tuple[tuple[Quote, ...], tuple[Payment, ...], dict[str, Any]],
) -> None:
    quotes, payments, facts = order
    told_of(*payments, quotes=quotes, **facts)


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_every_currency_is_explained_at_a_price_of_its_own_size(currency: str) -> None:
    unit = 10 ** EXPONENTS[currency]
    quote = a_quote(currency=currency, base_minor=10 * unit + 1, price_minor=65_000 * unit, fee_buffer_minor=unit // 4)
    told = told_of(a_payment(quote.due_sat), quotes=(quote,), is_settled=True, settled_at=at(90))
    assert (told.paid_minor, told.excess_sat, told.waived_minor) == (10 * unit + 1, 0, 0)
