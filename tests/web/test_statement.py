"""What payer, receipt and programs are told of an invoice's sums can be worked out again by hand, in every state of the page."""

from collections.abc import Iterator
from contextlib import closing
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.money import EXPONENTS, btc_text
from bridge.core.policy import Policy, Rule
from bridge.language import Languages
from tests.browser.states import LIGHTNING, STATES, Stage
from tests.builders import World, build_merchant
from tests.web.conftest import Site, build_site
from tests.web.test_pay_page import Page, page_of

BTC = Decimal(100_000_000)
EN = Languages().all["en"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with closing(Stage(folder=tmp_path)) as stage:
        yield stage


def up(value: Decimal, currency: str) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-EXPONENTS[currency]), ROUND_CEILING)


def check_by_hand(told: dict[str, Any]) -> None:
    """With nothing but the figures that are told."""
    currency, rates = told["currency"], {}
    for price in told["prices"]:
        base, rate = Decimal(price["base"]), Decimal(price["rate"])
        cover, together = base * price["risk_bps"] / 10_000, Decimal(price["together"])
        assert (cover, base + cover + Decimal(price["fee_buffer"])) == (Decimal(price["cover"]), together)
        assert (together * BTC / rate).to_integral_value(ROUND_CEILING) == price["due_sat"]
        rates[price["version"]] = rate
    for line in told["payments"]:
        if line["version"] is not None:
            rate, minor = rates[line["version"]] / BTC, Decimal(1).scaleb(-EXPONENTS[currency])
            assert abs(Decimal(line["worth"]) - line["amount_sat"] * rate) <= minor + rate
            assert Decimal(line["worth"]) == Decimal(line["charge"]) + Decimal(line["excess"])
    sums = {
        name: Decimal(told[name]) for name in ("amount", "paid", "missing", "waived", "charge", "excess", "received")
    }
    assert sums["amount"] == sums["paid"] + sums["missing"] + sums["waived"]
    assert sums["paid"] == sum(Decimal(line["paid"]) for line in told["payments"])
    assert sums["excess"] == sum(Decimal(line["excess"]) for line in told["payments"])
    assert sums["charge"] == Decimal(told["charge_paid"]) + Decimal(told["charge_open"])
    assert told["due_sat"] == told["used_sat"] + told["missing_sat"] + told["waived_sat"]
    assert told["received_sat"] == told["used_sat"] + told["excess_sat"] + told["aside_sat"]
    assert told["received_sat"] == sum(line["amount_sat"] for line in told["payments"])
    if len(told["prices"]) == 1 and told["due_sat"] == told["prices"][0]["due_sat"]:
        assert sums["charge"] == up(Decimal(told["prices"][0]["together"]), currency)
    short = Decimal(told["short"]) if told["missing_sat"] else Decimal(told["charge_open"])
    if told["received_sat"] <= told["due_sat"] + told["excess_sat"]:
        assert sums["received"] == sums["charge"] - short + sums["excess"]


def figures_of(told: dict[str, Any]) -> Iterator[str]:
    """What the receipt has to show of it."""
    for price in told["prices"]:
        for name in ("base", "cover", "fee_buffer", "together", "rate"):
            yield EN.money(price[name], told["currency"])
        yield btc_text(price["due_sat"])
    for line in told["payments"]:
        yield btc_text(line["amount_sat"])
        yield from (EN.money(line[name], told["currency"]) for name in ("worth", "paid") if line["used_sat"])
    yield from (EN.money(told[name], told["currency"]) for name in ("charge", "received"))
    if told["excess_sat"]:
        yield from (btc_text(told["excess_sat"]), EN.money(told["excess"], told["currency"]))
    if told["waived_sat"]:
        yield from (btc_text(told["waived_sat"]), EN.money(told["charge_open"], told["currency"]))


@pytest.mark.parametrize("name", [*STATES, *LIGHTNING])
def test_in_every_state_the_sums_add_up(stage: Stage, name: str) -> None:
    stage.set_up(name)
    site, path = stage.sites[name], stage.paths[name].partition("?")[0]
    status = site.call("GET", f"{path}/status").json
    check_by_hand(status["statement"])
    assert status["statement"]["received_sat"] == status["received_sat"]
    if status["status"] != "settled":
        return
    document = site.call("GET", f"{path}/receipt.json").json
    assert document["statement"] == status["statement"]
    text = Page(site.call("GET", f"{path}/receipt?lang=en").text).text
    missing = [each for each in figures_of(document["statement"]) if each.replace("\u00a0", " ") not in text]
    assert missing == []


@pytest.fixture
def shop(database_url: str) -> Iterator[Site]:
    rule = Rule(risk_bps=100, fee_buffer_minor={"RUB": 2_500})
    built = build_site(
        database_url, World(), bridge={"merchants": {"shop": build_merchant(policy=Policy(default=rule))}}
    )
    with closing(built.bridge.store):
        yield built


def told_by(page: Page) -> str:
    """The page's words without a space, which names and their figures have none of between them."""
    return "".join(page.text.split())


ROUBLES = {"amount": "1490.50", "currency": "RUB"}


def test_the_receipt_leads_from_the_order_to_the_satoshi_and_back(shop: Site) -> None:
    invoice = shop.open(**ROUBLES)
    due_sat = invoice["quote"]["due_sat"]
    shop.pay(invoice, due_sat, confirmations=1)
    text = told_by(page_of(shop, invoice, "/receipt?lang=en"))
    assert "Orderamount1,490.50RUBCoverforpricemoves(1%)14.905RUBShareofnetworkcosts25.00RUB" in text
    assert "Together1,530.405RUB" in text and "roundeduptoawholesatoshi" in text
    assert "pays1,490.50RUBoftheorderamount" in text
    check_by_hand(shop.page(invoice, "/receipt.json").json["statement"])


def test_a_rest_at_another_price_is_receipted_price_by_price(shop: Site) -> None:
    invoice = shop.open(**ROUBLES)
    shop.pay(invoice, 10_000, confirmations=1)
    shop.world.clock.advance(901)
    shop.world.rates.prices["RUB"] = shop.world.rates.prices["RUB"] * 101 // 100
    shop.page(invoice, "/quote", method="POST")
    status = shop.page(invoice, "/status").json
    assert "Remaining amount" in page_of(shop, invoice, "?lang=en").text
    check_by_hand(status["statement"])
    shop.pay(invoice, status["shown_sat"], confirmations=1)
    told = shop.page(invoice, "/receipt.json").json["statement"]
    check_by_hand(told)
    assert [line["version"] for line in told["payments"]] == [1, 2] and told["excess_sat"] == 0
    text = page_of(shop, invoice, "/receipt?lang=en").text
    assert "Price 1" in text and "Price 2" in text and "at price 2" in text


def test_the_surcharge_stands_beside_the_sum(shop: Site) -> None:
    page = page_of(shop, shop.open(**ROUBLES), "?lang=en")
    assert "1,490.50 RUB for the order + 39.91 RUB surcharge" in page.text
    before_the_details = page.source.partition("<details")[0]
    assert 'id="surcharge"' in before_the_details and "1,530.41" in before_the_details


def test_too_much_and_too_little_stand_beside_what_was_asked(shop: Site) -> None:
    over, part = shop.open("1", **ROUBLES), shop.open("2", **ROUBLES)
    due_sat = over["quote"]["due_sat"]
    shop.pay(over, due_sat + 8_829, confirmations=1)
    shop.pay(part, 10_000, confirmations=1)
    told = shop.page(over, "/status").json["statement"]
    text = told_by(page_of(shop, over, "?lang=en"))
    assert f"Askedfor{btc_text(due_sat)}BTC1,530.41RUBReceived{btc_text(due_sat + 8_829)}BTC" in text
    assert f"Toomuch0.00008829BTC{EN.number(told['excess'])}RUB" in text
    shop.world.clock.advance(86_410)
    shop.look(part)
    text = told_by(page_of(shop, part, "?lang=en"))
    assert "Received0.00010000BTC" in text and f"Missing{btc_text(due_sat - 10_000)}BTC" in text
