"""The price sources: shapes, currencies, and each failure on its own."""

import json
import time
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from statistics import median
from xml.etree import ElementTree

import pytest

SOURCES = ("alpha", "beta", "gamma")


def read(sandbox, source, currency="USD"):
    body = sandbox.price(source, currency).json(parse_float=Decimal, parse_int=Decimal)
    if source == "alpha":
        return Decimal(body["data"][currency]["last"])
    if source == "beta":
        return Decimal(body["bitcoin"][currency.lower()])
    assert body["result"][0]["pair"] == f"BTC{currency}"
    return Decimal(body["result"][0]["price"])


@pytest.mark.parametrize(
    ("currency", "plain"),
    [("USD", "65000.00"), ("JPY", "9800000"), ("KWD", "20000.000"), ("RUB", "5200000.00"), ("EUR", "60000.00")],
)
def test_three_sources_agree_around_the_plain_price(sandbox, currency, plain):
    found = [read(sandbox, source, currency) for source in SOURCES]
    assert median(found) == Decimal(plain)
    assert max(found) - min(found) < Decimal(plain) / 1_000


@pytest.mark.parametrize("currency", ["UAH", "KZT", "BYN", "GBP"])
def test_other_currencies_are_quoted_too(sandbox, currency):
    assert all(read(sandbox, source, currency) > 0 for source in SOURCES)


def test_the_shapes_of_the_three_sources(sandbox):
    alpha = sandbox.price("alpha").json()
    assert list(alpha["data"]) == ["USD"]
    assert abs(alpha["data"]["USD"]["time"] - time.time()) < 60
    assert alpha["data"]["USD"]["last"] == "65000.00"
    assert sandbox.price("beta").text == '{"bitcoin":{"usd":65010.50}}'
    assert sandbox.price("gamma").json() == {"result": [{"pair": "BTCUSD", "price": "64990.00"}]}


def test_a_source_with_a_byte_order_mark_exponents_and_finer_times(sandbox):
    answer = sandbox.price("delta")
    assert answer.content.startswith(b"\xef\xbb\xbf{")
    body = json.loads(answer.content.decode("utf-8-sig"))
    assert body["btc"] == {"USD": "6.500000E+4"}
    assert abs(body["t"] / 1_000 - time.time()) < 60
    told = {unit: sandbox.price("delta", f"USD&time={unit}").content.decode("utf-8-sig") for unit in ("ns", "http")}
    assert len(str(json.loads(told["ns"])["t"])) == 19
    assert json.loads(told["http"])["t"].endswith(" GMT")


def test_a_source_of_xml(sandbox):
    root = ElementTree.fromstring(sandbox.price("epsilon").content)
    assert [each.attrib for each in root.iter("rate")] == [{"pair": "BTCUSD", "last": "65005.00"}]
    assert abs(parsedate_to_datetime(root.findtext("updated")).timestamp() - time.time()) < 60


def test_a_central_bank_tells_roubles_per_unit_of_a_working_day(sandbox):
    answer = sandbox.price("bank")
    assert answer.content.startswith(b'<?xml version="1.0" encoding="windows-1251"?>')
    root = ElementTree.fromstring(answer.content)
    told = {each.findtext("CharCode"): (each.findtext("Nominal"), each.findtext("Value")) for each in root}
    assert told["USD"] == ("1", "80,0000")
    assert told["KZT"] == ("100", "15,5224")
    assert "RUB" not in told
    day = datetime.strptime(root.get("Date"), "%d.%m.%Y")
    assert day.weekday() not in (6, 0)
    assert datetime.now() - day < timedelta(days=4)


def test_an_unknown_currency_or_source_is_404(sandbox):
    assert {sandbox.price(source, "XXX").status_code for source in SOURCES} == {404}
    assert sandbox.price("omega").status_code == 404


def test_a_price_can_be_set_everywhere_or_at_one_source(sandbox):
    sandbox.control("price", currency="USD", price="70000")
    assert median(read(sandbox, source) for source in SOURCES) == 70_000
    sandbox.control("price", currency="USD", price="71000.5", source="beta")
    assert read(sandbox, "beta") == Decimal("71000.50")
    assert read(sandbox, "alpha") == 70_000
    sandbox.control("price", currency="NOK", price="1")
    assert read(sandbox, "alpha", "NOK") == 1


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "x", 1.5, None])
def test_an_impossible_price_is_refused(sandbox, price):
    body = {"currency": "USD", "price": price}
    assert sandbox.http.post(f"{sandbox.url}/_control/price", json=body, timeout=5).status_code == 400


def test_one_source_is_down_and_the_others_are_not(sandbox):
    sandbox.control("knobs", fault={"source": "alpha", "kind": "down"})
    assert [sandbox.price(source).status_code for source in SOURCES] == [503, 200, 200]
    sandbox.fault("down", "price:*")
    assert sandbox.price("beta").status_code == 503


def test_a_stale_source_tells_an_old_time_and_the_price_before_the_change(sandbox):
    sandbox.fault("stale", "price:alpha", times=None, age_s=900)
    sandbox.control("price", currency="USD", price="80000")
    quote = sandbox.price("alpha").json()["data"]["USD"]
    assert quote["last"] == "65000.00"
    assert 890 < time.time() - quote["time"] < 910
    assert read(sandbox, "gamma") > 79_000


def test_a_wild_source_is_far_off(sandbox):
    sandbox.fault("wild", "price:gamma", factor="0.5")
    assert read(sandbox, "gamma") == 32_495


def test_a_source_can_be_slow_or_miss_a_currency_or_talk_nonsense(sandbox):
    sandbox.fault("slow", "price:beta", seconds=0.1)
    started = time.monotonic()
    read(sandbox, "beta")
    assert time.monotonic() - started >= 0.1
    sandbox.fault("missing", "price:beta", currency="USD")
    assert sandbox.price("beta").status_code == 404
    sandbox.fault("not_json", "price:beta")
    assert sandbox.price("beta").text.startswith("<html>")


def test_prices_follow_the_sandbox_clock(sandbox):
    sandbox.control("clock", advance_s=86_400)
    assert sandbox.price("alpha").json()["data"]["USD"]["time"] - time.time() > 86_000
