"""The guards on prices: no quote rather than a bad one."""

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import PricePart, Sample
from bridge.core.quote import Guards, Rate, agreed_rate, end_of
from tests.core.builders import T0, a_sample, at

GUARDS = Guards(min_sources=2, max_age_seconds=120, max_spread_bps=200, max_jump_bps=1_000)
GOOD = (a_sample(6_500_000, "alpha"), a_sample(6_501_050, "beta"), a_sample(6_499_000, "gamma"))


def rate_of(*samples: Sample, last: Rate | None = None, guards: Guards = GUARDS) -> Rate:
    return agreed_rate(samples, currency="USD", now=T0, guards=guards, last=last)


def refusal_of(*samples: Sample, last: Rate | None = None) -> Unavailable:
    with pytest.raises(Unavailable) as refused:
        rate_of(*samples, last=last)
    assert refused.value.code == "price_unavailable"
    assert refused.value.retry_after_seconds
    return refused.value


def last_rate(price_minor: int) -> Rate:
    return Rate(currency="USD", price_minor=price_minor, samples=(), observed_at=at(-60), agreed_at=at(-60))


def test_the_median_of_three_sources_counts_in_whatever_order_they_come() -> None:
    assert {rate_of(*order) for order in permutations(GOOD)} == {rate_of(*GOOD)}
    assert rate_of(*GOOD).price_minor == 6_500_000


def test_of_two_prices_the_lower_counts() -> None:
    assert rate_of(GOOD[0], GOOD[1]).price_minor == 6_500_000


def test_all_samples_stay_on_the_rate_and_it_is_as_old_as_its_oldest_good_one() -> None:
    rate = rate_of(GOOD[0], a_sample(6_501_000, "beta", age_s=100))
    assert {s.source for s in rate.samples} == {"alpha", "beta"}
    assert rate.observed_at == at(-100)


@pytest.mark.parametrize("samples", [(), GOOD[:1]])
def test_too_few_sources_give_no_price(samples: tuple[Sample, ...]) -> None:
    assert "fresh" in refusal_of(*samples).detail


def test_a_stale_sample_does_not_count() -> None:
    refusal_of(GOOD[0], a_sample(6_501_000, "beta", age_s=121))
    assert rate_of(GOOD[0], a_sample(6_501_000, "beta", age_s=120)).price_minor == 6_500_000


def test_a_stamp_far_in_the_future_does_not_count_and_a_little_skew_does() -> None:
    refusal_of(GOOD[0], a_sample(6_501_000, "beta", age_s=-121))
    assert rate_of(GOOD[0], a_sample(6_501_000, "beta", age_s=-120)).price_minor == 6_500_000


def test_samples_of_another_currency_do_not_count() -> None:
    refusal_of(GOOD[0], a_sample(6_000_000, "beta", currency="EUR"))


def test_one_source_speaking_many_times_counts_once_with_its_newest_word() -> None:
    refusal_of(*(a_sample(6_500_000, "alpha", age_s=age) for age in range(50)))
    rate = rate_of(a_sample(6_450_000, "alpha", age_s=60), a_sample(6_500_000, "alpha"), a_sample(6_510_000, "beta"))
    assert (rate.price_minor, len(rate.samples)) == (6_500_000, 2)


def test_a_source_that_contradicts_itself_in_one_instant_counts_the_same_in_any_order() -> None:
    twice = (a_sample(6_500_000, "alpha"), a_sample(6_490_000, "alpha"), a_sample(6_510_000, "beta"))
    assert {rate_of(*order).price_minor for order in permutations(twice)} == {6_490_000}


def test_two_sources_that_disagree_too_much_give_no_price() -> None:
    assert "disagree" in refusal_of(a_sample(6_500_000, "alpha"), a_sample(6_640_000, "beta")).detail


def test_two_camps_give_no_price() -> None:
    refusal_of(*(a_sample(price, str(price)) for price in (6_000_000, 6_000_001, 7_000_000, 7_000_001)))


@given(st.lists(st.integers(6_480_000, 6_520_000), min_size=2, max_size=6), st.integers(1, 10**12), st.integers(0, 6))
def test_one_wild_source_cannot_move_the_price_outside_the_honest_ones(
    honest: list[int], wild: int, place: int
) -> None:
    samples = [a_sample(price, f"honest{n}") for n, price in enumerate(honest)]
    samples.insert(place, a_sample(wild, "wild"))
    rate = rate_of(*samples)
    assert min(honest) <= rate.price_minor <= max(honest)


def test_a_jump_since_the_last_quote_gives_no_price() -> None:
    assert rate_of(*GOOD, last=last_rate(6_000_000)).price_minor == 6_500_000
    assert "jumped" in refusal_of(*GOOD, last=last_rate(5_900_000)).detail
    assert "jumped" in refusal_of(*GOOD, last=last_rate(7_300_000)).detail


DAY = 86_400


def a_cross(*ages: tuple[int, int | None], price_minor: int = 6_500_500) -> Sample:
    """A cross rate whose parts are so old and may be so old, both in seconds."""
    parts = tuple(
        PricePart(source="p", pair="A/B", price=Fraction(1), observed_at=at(-age_s), max_age_seconds=allowed_s)
        for age_s, allowed_s in ages
    )
    observed_at = min(part.observed_at for part in parts)
    return Sample(source="cross", currency="USD", price_minor=price_minor, observed_at=observed_at, parts=parts)


@pytest.mark.parametrize(
    "ages",
    [
        ((0, None), (120, None)),
        ((3 * DAY, 4 * DAY), (120, None)),
        ((4 * DAY, 4 * DAY), (0, None)),
        ((30, 30), (0, None)),
    ],
)
def test_a_cross_rate_is_fresh_when_each_part_is_by_its_own_allowed_age(
    ages: tuple[tuple[int, int | None], ...],
) -> None:
    rate = rate_of(a_cross(*ages), GOOD[0])
    assert rate.price_minor == 6_500_000
    assert [s.source for s in rate.samples] == ["alpha", "cross"]
    assert rate.observed_at == at(-max(age_s for age_s, _ in ages))


@pytest.mark.parametrize(
    "ages",
    [
        ((0, None), (121, None)),
        ((3 * DAY, 4 * DAY), (121, None)),
        ((4 * DAY + 1, 4 * DAY), (0, None)),
        ((31, 30), (0, None)),
        ((0, 4 * DAY), (-121, None)),
    ],
)
def test_one_part_that_is_too_old_or_ahead_of_us_spoils_a_cross_rate(ages: tuple[tuple[int, int | None], ...]) -> None:
    assert "fresh" in refusal_of(a_cross(*ages), GOOD[0]).detail


def test_a_rate_remembers_when_it_was_agreed_however_old_a_part_is() -> None:
    assert rate_of(a_cross((3 * DAY, 4 * DAY)), GOOD[0]).agreed_at == T0


@pytest.mark.parametrize(
    ("pairs", "end"),
    [
        (("BTC/USD", "USD/RUB"), "RUB"),
        (("USD/RUB", "BTC/USD"), "RUB"),
        (("EUR/{currency}", "USDT/EUR", "BTC/USDT"), "{currency}"),
        (("BTC/RUB",), "RUB"),
    ],
)
def test_pairs_lead_from_a_bitcoin_to_one_currency(pairs: tuple[str, ...], end: str) -> None:
    assert end_of(pairs) == end


@pytest.mark.parametrize(
    "pairs",
    [(), ("USD/RUB",), ("BTC/USD", "EUR/RUB"), ("BTC/USD", "BTC/EUR"), ("BTC/USD", "USD/BTC"), ("RUB/USD", "BTC/USD")],
)
def test_pairs_that_do_not_connect_are_refused(pairs: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        end_of(pairs)
