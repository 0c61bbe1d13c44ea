"""The quote formula: its golden values, its single rounding, and who an instant belongs to."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.quote import buffer_of_part, due_sat
from tests.core.builders import a_quote, at

PRICES = st.integers(1, 10**12)
AMOUNTS = st.integers(1, 10**12)
RISKS = st.integers(0, 5_000)
BUFFERS = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("base_minor", "fee_buffer_minor", "price_minor", "expected_sat"),
    [(1_000, 25, 6_500_000, 15_924), (1_000, 25, 9_800_000, 10_562), (1_000, 25, 20_000_000, 5_175)],
    ids=["USD 10.00", "JPY 1000", "KWD 1.000"],
)
def test_the_golden_quotes(base_minor: int, fee_buffer_minor: int, price_minor: int, expected_sat: int) -> None:
    asked = due_sat(base_minor=base_minor, price_minor=price_minor, risk_bps=100, fee_buffer_minor=fee_buffer_minor)
    assert asked == expected_sat


@given(AMOUNTS, PRICES, RISKS, BUFFERS)
def test_a_quote_is_never_under_and_less_than_one_satoshi_over(base: int, price: int, risk: int, buffer: int) -> None:
    asked = due_sat(base_minor=base, price_minor=price, risk_bps=risk, fee_buffer_minor=buffer)
    exact = (base * (1 + Fraction(risk, 10_000)) + buffer) * 10**8 / price
    assert 0 <= asked - exact < 1
    assert asked >= 1


@given(AMOUNTS, PRICES, RISKS, BUFFERS)
def test_the_inputs_kept_on_a_quote_give_its_satoshi_again(base: int, price: int, risk: int, buffer: int) -> None:
    quote = a_quote(base_minor=base, price_minor=price, risk_bps=risk, fee_buffer_minor=buffer)
    again = due_sat(
        base_minor=quote.base_minor,
        price_minor=quote.price_minor,
        risk_bps=quote.risk_bps,
        fee_buffer_minor=quote.fee_buffer_minor,
    )
    assert quote.due_sat == again
    assert 0 <= quote.buffer_sat <= quote.due_sat


@given(AMOUNTS, PRICES, RISKS, BUFFERS)
def test_more_money_or_a_lower_price_never_costs_fewer_satoshi(base: int, price: int, risk: int, buffer: int) -> None:
    asked = due_sat(base_minor=base, price_minor=price, risk_bps=risk, fee_buffer_minor=buffer)
    assert due_sat(base_minor=base + 1, price_minor=price, risk_bps=risk, fee_buffer_minor=buffer) >= asked
    assert due_sat(base_minor=base, price_minor=price + 1, risk_bps=risk, fee_buffer_minor=buffer) <= asked


def test_a_quote_covers_its_first_and_its_last_instant_and_its_grace() -> None:
    quote = a_quote(from_s=0, ttl_s=900)
    grace = at(120) - at(0)
    seen = {-1: False, 0: True, 900: True, 1_020: True, 1_021: False}
    assert {second: quote.covers(at(second), grace=grace) for second in seen} == seen


@pytest.mark.parametrize(
    ("base_minor", "share_minor"), [(1_000, 25), (500, 13), (999, 25), (960, 24), (1, 1), (40, 1), (41, 2)]
)
def test_a_part_of_the_amount_carries_its_share_of_the_flat_buffer(base_minor: int, share_minor: int) -> None:
    assert buffer_of_part(25, base_minor=base_minor, amount_minor=1_000) == share_minor


@given(BUFFERS, st.lists(AMOUNTS, min_size=1, max_size=9))
def test_however_an_invoice_is_parted_its_flat_buffer_is_carried_once(buffer: int, parts: list[int]) -> None:
    shares = [buffer_of_part(buffer, base_minor=part, amount_minor=sum(parts)) for part in parts]
    assert buffer <= sum(shares) < buffer + len(parts)  # each part is rounded up to a whole minor unit
