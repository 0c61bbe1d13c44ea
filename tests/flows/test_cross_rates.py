"""A quote made at a cross rate: opened over real HTTP, its parts kept for ever and shown wherever samples are."""

import json
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from bridge.core.errors import Unavailable
from bridge.desk.evidence import evidence
from bridge.desk.explain import explain
from bridge.receipts import new_key
from tests.flows.world import World

BANK = {
    "name": "bank",
    "pair": "USD/RUB",
    "format": "xml",
    "pointer": "/ValCurs/Valute[CharCode='USD']/Value",
    "units_pointer": "/ValCurs/Valute[CharCode='USD']/Nominal",
    "time_pointer": "/ValCurs/@Date",
    "decimal_comma": True,
    "time_zone": "Europe/Moscow",
    "max_age_seconds": 4 * 86_400,
}
EXCHANGE = {"name": "exchange", "pair": "BTC/USD", "pointer": "/btc/USD", "time_pointer": "/t"}


def with_a_cross_rate(url: str, *, max_age_seconds: int = 4 * 86_400) -> dict[str, Any]:
    """RUB of one exchange, and of a central bank times another exchange."""
    bank = BANK | {"url": f"{url}/prices/bank", "max_age_seconds": max_age_seconds}
    exchange = EXCHANGE | {"url": f"{url}/prices/delta?currency=USD&time=ms"}
    plain = {"name": "alpha", "url": f"{url}/prices/alpha?currency={{currency}}", "pointer": "/data/{currency}/last"}
    cross = [{"name": "bank-x-exchange", "parts": [bank, exchange]}]
    return {"sources": [plain | {"time_pointer": "/data/{currency}/time"}], "cross": cross, "keep_seconds": 0}


@pytest.fixture
def crossed(worlds: Callable[..., World]) -> World:
    return worlds(prices=with_a_cross_rate, currencies=["RUB"], receipt_key=new_key())


def cross_of(samples: list[dict[str, Any]]) -> dict[str, Any]:
    (cross,) = [sample for sample in samples if "parts" in sample]
    return cross


def test_a_quote_keeps_the_parts_of_a_cross_rate(crossed: World) -> None:
    crossed.control("price", currency="USD", price="64999.99", source="delta")
    invoice = crossed.open(currency="RUB", amount_text="5200.00")
    assert invoice["quote"]["sources"] == ["bank-x-exchange", "alpha"]
    assert invoice["quote"]["rate"] == "5199999.20"
    ((kept,),) = crossed.rows("SELECT samples FROM quotes")
    cross = cross_of(json.loads(kept))
    bank, exchange = cross["parts"]
    assert (bank["source"], bank["pair"], bank["price"]) == ("bank", "USD/RUB", "80")
    assert (exchange["source"], exchange["pair"], exchange["price"]) == ("exchange", "BTC/USD", "64999.99")
    assert cross["price_minor"] == 519_999_920 == Fraction(bank["price"]) * Fraction(exchange["price"]) * 100
    assert cross["observed_at"] == bank["observed_at"] < exchange["observed_at"]
    # Midnight in Moscow of the day the rate is for.
    assert datetime.fromisoformat(bank["observed_at"]).strftime("%H:%M:%S%z") == "21:00:00+0000"


def test_the_parts_are_in_the_story_and_in_the_evidence(crossed: World) -> None:
    invoice = crossed.open(currency="RUB", amount_text="5200.00")
    bundle = evidence(crossed.bridge, invoice["id"])
    parts = cross_of(bundle["quotes"][0]["samples"])["parts"]
    assert [(part["pair"], part["price"]) for part in parts] == [("USD/RUB", "80"), ("BTC/USD", "65000")]
    said = {lang: "\n".join(explain(crossed.bridge, invoice["id"], lang=lang)) for lang in ("en", "ru")}
    assert "bank-x-exchange (USD/RUB 80 by bank, " in said["en"]
    assert "× BTC/USD 65,000 by exchange, " in said["en"]
    assert "bank-x-exchange (USD/RUB 80 по данным bank, " in said["ru"]
    assert "× BTC/USD 65 000 по данным exchange, " in said["ru"].replace("\u00a0", " ").replace("\u202f", " ")


def test_a_part_older_than_its_own_age_makes_no_quote(worlds: Callable[..., World]) -> None:
    world = worlds(prices=lambda url: with_a_cross_rate(url, max_age_seconds=3_600), currencies=["RUB"])
    world.fault("price:bank", "stale", age_s=86_400)
    with pytest.raises(Unavailable, match="1 of 2 price sources are fresh for RUB"):
        world.ask(currency="RUB", amount_text="5200.00")


def test_an_exchange_that_stands_still_makes_no_quote_though_the_bank_may_be_days_old(crossed: World) -> None:
    crossed.fault("price:delta", "stale", age_s=121)
    with pytest.raises(Unavailable, match="fresh"):
        crossed.ask(currency="RUB", amount_text="5200.00")
    crossed.heal()
    crossed.fault("price:delta", "stale", age_s=110)
    assert crossed.open(currency="RUB", amount_text="5200.00")["status"] == "new"


def test_a_jump_is_noticed_although_a_part_is_days_old(crossed: World) -> None:
    crossed.open("1", currency="RUB", amount_text="5200.00")
    for currency, price in (("RUB", "2600000.00"), ("USD", "32500.00")):
        crossed.control("price", currency=currency, price=price)
    with pytest.raises(Unavailable, match="jumped"):
        crossed.ask("2", currency="RUB", amount_text="5200.00")
    crossed.advance(660)
    assert crossed.open("2", currency="RUB", amount_text="5200.00")["quote"]["rate"] == "2600000.00"


def test_a_source_that_says_its_currency_prices_that_one_alone(worlds: Callable[..., World]) -> None:
    """Its number is one of dollars: rubles are priced by the others."""

    def prices(url: str) -> dict[str, Any]:
        any_currency = {"url": f"{url}/prices/alpha?currency={{currency}}", "pointer": "/data/{currency}/last"}
        dollars = {"url": f"{url}/prices/delta?currency=USD", "pointer": "/btc/USD", "currency": "USD"}
        sources = [{"name": "alpha"} | any_currency, {"name": "beta"} | any_currency, {"name": "delta"} | dollars]
        return {"sources": sources, "keep_seconds": 0}

    world = worlds(prices=prices, currencies=["RUB", "USD"])
    assert world.open("1", currency="USD")["quote"]["sources"] == ["alpha", "beta", "delta"]
    rubles = world.open("2", currency="RUB", amount_text="5200.00")["quote"]
    assert (rubles["sources"], rubles["rate"]) == (["alpha", "beta"], "5200000.00")
