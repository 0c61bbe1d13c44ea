"""A cross rate over real HTTP: the exact product rounded once, as old as its oldest part, each part kept with it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from bridge.core.errors import ProtocolError, Refused, Unavailable
from bridge.core.evidence import PricePart
from bridge.rates.sources import CrossPart, CrossPrice, RateReader
from tests.adapters.servers import RawServer, always, answer
from tests.adapters.test_rates import NOW, source_at

Made = Callable[..., CrossPrice]


@pytest.fixture
def cross() -> Iterator[Made]:
    """A cross rate whose parts are real servers: `pair=(what the server answers, options of the part)`."""
    with ExitStack() as stack:

        def make(*parts: tuple[str, Any, dict[str, Any]]) -> CrossPrice:
            made = []
            for pair, body, options in parts:
                script = body if callable(body) else always(answer(json.dumps(body)))
                url = stack.enter_context(RawServer(script)).url
                source = source_at(url, name=pair.replace("/", "-").lower(), time_pointer="/t")
                made.append(CrossPart(pair=pair, source=source, **options))
            price = CrossPrice(name="cross", parts=made)
            stack.callback(price.close)
            return price

        yield make


def told(price: object, *, age_s: int = 0) -> dict[str, object]:
    return {"p": price, "t": int((NOW - timedelta(seconds=age_s)).timestamp())}


@pytest.mark.parametrize(
    ("usd_rub", "btc_usd", "price_minor"),
    [
        ("78.2267", "65000.00", 508_473_550),
        ("80.0000", "65000.00", 520_000_000),
        # 78.2267 × 64999.99 = 5 084 734.717733: rounding a part first would say .72 or .70
        ("78.2267", "64999.99", 508_473_471),
        ("0.1", "0.1", 1),
        ("1.005", "1.00", 100),
        ("7.82267E1", "6.499999e4", 508_473_471),
        (78, 65000, 507_000_000),
    ],
)
def test_the_product_is_exact_and_rounded_once_and_down(
    cross: Made, usd_rub: object, btc_usd: object, price_minor: int
) -> None:
    sample = cross(("USD/RUB", told(usd_rub), {}), ("BTC/USD", told(btc_usd), {})).price("RUB", NOW)
    assert (sample.source, sample.currency, sample.price_minor) == ("cross", "RUB", price_minor)


def test_it_is_as_old_as_its_oldest_part_and_keeps_both(cross: Made) -> None:
    bank = ("USD/RUB", told("78.2267", age_s=200_000), {"max_age_seconds": 345_600})
    sample = cross(bank, ("BTC/USD", told("65000.00", age_s=9), {})).price("RUB", NOW)
    assert sample.observed_at == NOW - timedelta(seconds=200_000)
    assert sample.parts == (
        PricePart(
            source="usd-rub",
            pair="USD/RUB",
            price=Fraction("78.2267"),
            observed_at=NOW - timedelta(seconds=200_000),
            max_age_seconds=345_600,
        ),
        PricePart(source="btc-usd", pair="BTC/USD", price=Fraction(65_000), observed_at=NOW - timedelta(seconds=9)),
    )


def test_three_parts_lead_further(cross: Made) -> None:
    parts = [("EUR/RUB", told("90.00"), {}), ("BTC/USDT", told("65000"), {}), ("USDT/EUR", told("0.9"), {})]
    assert cross(*parts).price("RUB", NOW).price_minor == 526_500_000


def test_it_has_a_price_only_in_what_it_leads_to(cross: Made, caplog: pytest.LogCaptureFixture) -> None:
    made = cross(("USD/RUB", told("78"), {}), ("BTC/USD", told("65000"), {}))
    with pytest.raises(Unavailable) as missing:
        made.price("USD", NOW)
    assert missing.value.code == "price_missing"
    assert RateReader([made]).sample("USD", NOW) == ()
    assert caplog.records == []  # that it was not meant for this currency is no failure


def test_a_last_pair_of_any_currency_leads_to_the_one_that_is_asked(cross: Made) -> None:
    made = cross(("USD/{currency}", told("78"), {}), ("BTC/USD", told("65000"), {}))
    sample = made.price("KZT", NOW)
    assert (sample.price_minor, sample.parts[0].pair) == (507_000_000, "USD/KZT")


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        (told("much"), ProtocolError, "price_unreadable"),
        ({"p": "78"}, ProtocolError, "price_unreadable"),
        (always(answer("", status="503 Down")), Unavailable, "price_unavailable"),
    ],
)
def test_a_part_that_fails_fails_the_whole_under_its_own_name(
    cross: Made, caplog: pytest.LogCaptureFixture, body: Any, error: type[Exception], code: str
) -> None:
    made = cross(("USD/RUB", body, {}), ("BTC/USD", told("65000"), {}))
    with pytest.raises(error, match="usd-rub") as failed:
        made.price("RUB", NOW)
    assert failed.value.code == code  # type: ignore[attr-defined]
    assert RateReader([made]).sample("RUB", NOW) == ()
    (line,) = caplog.records
    assert (line.__dict__["source"], line.__dict__["code"]) == ("cross", code)
    assert "usd-rub" in line.__dict__["detail"]


@pytest.mark.parametrize("parts", [("0", "65000"), ("0.000001", "0.000001"), ("1e9", "1e9")])
def test_an_impossible_product_is_no_price(cross: Made, parts: tuple[str, str]) -> None:
    with pytest.raises(ProtocolError, match="cross gave no usable price"):
        cross(("USD/RUB", told(parts[0]), {}), ("BTC/USD", told(parts[1]), {})).price("RUB", NOW)


@pytest.mark.parametrize(
    "pairs", [("USD/RUB", "EUR/USD"), ("BTC/USD", "BTC/RUB"), ("BTC/USD", "USD/BTC"), ("RUB/BTC",)]
)
def test_pairs_that_lead_nowhere_are_refused(cross: Made, pairs: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        cross(*((pair, told("1"), {}) for pair in pairs))
    assert refused.value.code == "broken_chain"


def test_a_part_is_asked_again_only_when_its_time_is_over(cross: Made) -> None:
    asked: list[str] = []

    def counting(pair: str, price: str) -> Callable[..., None]:
        script = always(answer(json.dumps(told(price))))

        def serve(*call: Any) -> None:
            asked.append(pair)
            script(*call)

        return serve

    made = cross(
        ("USD/RUB", counting("USD/RUB", "78"), {"keep_seconds": 3_600}), ("BTC/USD", counting("BTC/USD", "65000"), {})
    )
    for after_seconds in (0, 3_599, 3_600):
        made.price("RUB", NOW + timedelta(seconds=after_seconds))
    assert sorted(asked) == ["BTC/USD"] * 3 + ["USD/RUB"] * 2


def test_its_parts_are_asked_at_once(cross: Made) -> None:
    def slow(*call: Any) -> None:
        time.sleep(0.2)
        always(answer(json.dumps(told("1"))))(*call)

    made = cross(("USD/RUB", slow, {}), ("BTC/USD", slow, {}))
    started = time.monotonic()
    made.price("RUB", NOW)
    assert time.monotonic() - started < 0.38


def test_a_kept_part_grows_older(cross: Made) -> None:
    made = cross(("USD/RUB", told("78"), {"keep_seconds": 3_600}), ("BTC/USD", told("65000"), {}))
    made.price("RUB", NOW)
    later: datetime = NOW + timedelta(seconds=600)
    assert made.price("RUB", later).observed_at == NOW
