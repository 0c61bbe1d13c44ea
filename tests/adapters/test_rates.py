"""Price sources and the reader over them: exact decimals, many shapes, failures that only cost one sample."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Sample
from bridge.outbound import Limits
from bridge.rates.fixed import FixedPrice
from bridge.rates.http_source import HttpPriceSource
from bridge.rates.reader import RateReader
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.3, deadline_seconds=0.5, max_bytes=2000)


def price_in(document: object, pointer: str, currency: str = "USD", **options: Any) -> Sample:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    with RawServer(always(answer(body))) as server:
        source = HttpPriceSource(name="one", url_template=server.url, pointer=pointer, limits=QUICK, **options)
        try:
            return source.price(currency, NOW)
        finally:
            source.close()


@pytest.mark.parametrize(
    ("document", "pointer", "currency", "price_minor"),
    [
        ({"data": {"USD": {"last": "65000.00"}}}, "/data/{currency}/last", "USD", 6_500_000),
        ('{"bitcoin":{"usd":65010.5}}', "/bitcoin/{currency_lower}", "USD", 6_501_050),
        ({"result": [{"pair": "BTCUSD", "price": "64990.00"}]}, "/result/0/price", "USD", 6_499_000),
        ('{"a/b":{"m~n":1}}', "/a~1b/m~0n", "USD", 100),
        ("65000", "", "USD", 6_500_000),
        ('{"p":9800000}', "/p", "JPY", 9_800_000),
        ('{"p":"20000.0009"}', "/p", "KWD", 20_000_000),
        ('{"p":0.29}', "/p", "USD", 29),
        ('{"p":65000.019999999999999999}', "/p", "USD", 6_500_001),
        ('{"p":6.5e4}', "/p", "USD", 6_500_000),
    ],
)
def test_prices_of_many_shapes_are_read_exactly_and_rounded_down(
    document: object, pointer: str, currency: str, price_minor: int
) -> None:
    sample = price_in(document, pointer, currency)
    assert sample == Sample(source="one", currency=currency, price_minor=price_minor, observed_at=NOW)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<html>",
        "[]",
        "null",
        "{}",
        '{"p":null}',
        '{"p":true}',
        '{"p":{}}',
        '{"p":[1]}',
        '{"p":""}',
        '{"p":"NaN"}',
        '{"p":"1e5"}',
        '{"p":"65,000.00"}',
        '{"p":" 65000"}',
        '{"p":"-1"}',
        '{"p":-1}',
        '{"p":0}',
        '{"p":0.001}',
        '{"p":1e400}',
        '{"p":1e999999999999999999999}',
        '{"p":NaN}',
        '{"p":Infinity}',
        '{"p":65000',
        b'\xff\xfe{"p":1}',
    ],
)
def test_what_is_no_price_is_never_a_price(document: str | bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        price_in(document, "/p")
    assert error.value.code == "price_unreadable"


@pytest.mark.parametrize("pointer", ["/q", "/p/0", "/list/2", "/list/-1", "/list/01", "/list/x", "/list/-"])
def test_a_pointer_that_points_nowhere_is_never_a_price(pointer: str) -> None:
    with pytest.raises(ProtocolError):
        price_in({"p": "1.00", "list": ["1.00", "2.00"]}, pointer)


@pytest.mark.parametrize(
    ("told", "observed_at"),
    [
        (int(NOW.timestamp()) - 90, NOW - timedelta(seconds=90)),
        (str(int(NOW.timestamp()) - 90), NOW - timedelta(seconds=90)),
        ("2026-11-20T11:58:30Z", NOW - timedelta(seconds=90)),
        ("2026-11-20T14:58:30+03:00", NOW - timedelta(seconds=90)),
        (int(NOW.timestamp()) + 3600, NOW),
    ],
)
def test_a_source_that_tells_its_time_shows_its_age(told: object, observed_at: datetime) -> None:
    sample = price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t")
    assert sample.observed_at == observed_at


@pytest.mark.parametrize("told", [None, "yesterday", -5, "2026-11-20T11:58:30", True, 10**18, "9" * 15, {}])
def test_a_source_that_stopped_telling_its_time_is_not_believed(told: object) -> None:
    with pytest.raises(ProtocolError):
        price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t")


@pytest.mark.parametrize(
    "script",
    [
        hang_up,
        silent,
        always(answer("x" * 3000)),
        always(answer("", status="302 Found", headers="Location: http://127.0.0.1/\r\n")),
        always(answer('{"p":1}', status="500 Oops")),
        always(answer('{"p":1}', status="404 Not Found")),
        always(answer("", status="429 Slow Down", headers="Retry-After: 3\r\n")),
        always(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    ],
)
def test_a_source_that_fails_is_unavailable(script: Any) -> None:
    with RawServer(script) as server:
        source = HttpPriceSource(name="one", url_template=server.url, pointer="/p", limits=QUICK)
        with pytest.raises(Unavailable):
            source.price("USD", NOW)
        source.close()


def test_a_source_must_speak_https_or_be_on_an_own_network() -> None:
    source = HttpPriceSource(name="one", url_template="https://user:pass@prices.example/", pointer="/p")
    with pytest.raises(Refused):
        source.price("USD", NOW)


def test_written_prices_are_given_as_of_now() -> None:
    fixed = FixedPrice({"USD": "65000.00", "JPY": "9800000"})
    assert fixed.price("JPY", NOW) == Sample(source="fixed", currency="JPY", price_minor=9_800_000, observed_at=NOW)
    with pytest.raises(Unavailable):
        fixed.price("EUR", NOW)
    for wrong in ({"USD": "0"}, {"USD": "much"}, {"XXX": "1"}):
        with pytest.raises(Refused):
            FixedPrice(wrong)


class Counting:
    """A source that counts its questions and answers after a while, or fails."""

    def __init__(self, name: str, *, takes_seconds: float = 0, error: BridgeError | None = None):
        self.name = name
        self.asked = 0
        self._takes_seconds = takes_seconds
        self._error = error

    def price(self, currency: str, now: datetime) -> Sample:
        self.asked += 1
        time.sleep(self._takes_seconds)
        if self._error:
            raise self._error
        return Sample(source=self.name, currency=currency, price_minor=self.asked, observed_at=now)


def names(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.source for sample in samples]


def test_sources_are_asked_at_once_and_answer_in_their_configured_order() -> None:
    sources = [Counting(name, takes_seconds=seconds) for name, seconds in (("a", 0.2), ("b", 0.1), ("c", 0.2))]
    started = time.monotonic()
    assert names(RateReader(sources).sample("USD", NOW)) == ["a", "b", "c"]
    assert time.monotonic() - started < 0.45


def test_a_slow_or_failing_source_costs_only_its_own_sample(caplog: pytest.LogCaptureFixture) -> None:
    sources = [
        Counting("slow", takes_seconds=0.6),
        Counting("good"),
        Counting("down", error=Unavailable("price_unavailable", "down")),
    ]
    started = time.monotonic()
    assert names(RateReader(sources, timeout_seconds=0.2).sample("USD", NOW)) == ["good"]
    assert time.monotonic() - started < 0.5
    logged = {(record.__dict__["source"], record.__dict__["code"]) for record in caplog.records}
    assert logged == {("slow", "price_timeout"), ("down", "price_unavailable")}


def test_an_answer_is_kept_for_a_moment_per_currency() -> None:
    source = Counting("a")
    reader = RateReader([source], keep_seconds=15)
    first = reader.sample("USD", NOW)
    assert reader.sample("USD", NOW + timedelta(seconds=14)) == first
    assert source.asked == 1
    reader.sample("EUR", NOW)
    reader.sample("USD", NOW + timedelta(seconds=15))
    assert source.asked == 3
    reader.sample("USD", NOW - timedelta(hours=1))
    assert source.asked == 4


def test_a_silence_is_not_kept() -> None:
    source = Counting("a", error=Unavailable("price_unavailable", "down"))
    reader = RateReader([source], keep_seconds=15)
    assert reader.sample("USD", NOW) == reader.sample("USD", NOW) == ()
    assert source.asked == 2
    assert RateReader([]).sample("USD", NOW) == ()


def test_many_who_ask_together_ask_the_sources_once() -> None:
    source = Counting("a", takes_seconds=0.1)
    reader = RateReader([source])
    threads = [threading.Thread(target=reader.sample, args=("USD", NOW)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.asked == 1


def test_sources_need_names_of_their_own() -> None:
    with pytest.raises(ValueError):
        RateReader([Counting("a"), Counting("a")])


def test_nobody_listening_is_unavailable() -> None:
    source = HttpPriceSource(name="one", url_template=f"http://127.0.0.1:{free_port()}/", pointer="/p", limits=QUICK)
    with pytest.raises(Unavailable):
        source.price("USD", NOW)
