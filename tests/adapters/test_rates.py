"""Price sources and the reader over them: exact decimals, many shapes, failures that only cost one sample."""

import json
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Sample
from bridge.outbound import Limits, Reply
from bridge.rates.reading import Reading, Unreadable
from bridge.rates.sources import FixedPrice, HttpPriceSource, RateReader, Told
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.3, deadline_seconds=0.5, max_bytes=2000)


def price_in(document: object, pointer: str, currency: str = "USD", **options: Any) -> Sample:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    with RawServer(always(answer(body))) as server:
        source = source_at(server.url, pointer, **options)
        try:
            return source.price(currency, NOW)
        finally:
            source.close()


def source_at(url: str, pointer: str = "/p", *, name: str = "one", **rule: Any) -> HttpPriceSource:
    return HttpPriceSource(name=name, url_template=url, reading=Reading(pointer=pointer, **rule), limits=QUICK)


def test_a_source_of_one_currency_has_no_price_in_another_and_is_not_asked_for_it() -> None:
    with RawServer(always(answer('{"p":"65000"}'))) as server:
        source = HttpPriceSource(name="one", url_template=server.url, reading=Reading(pointer="/p"), currency="USD")
        with closing(source):
            assert source.price("USD", NOW).price_minor == 6_500_000
            with pytest.raises(Unavailable, match="one has no price in RUB") as missing:
                source.price("RUB", NOW)
    assert missing.value.code == "price_missing"


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
        ('{"p":"6.5e4"}', "/p", "USD", 6_500_000),
        ('{"p":"1E5"}', "/p", "USD", 10_000_000),
        ('{"p":"650100E-2"}', "/p", "USD", 650_100),
        ('{"p":"6.50105e+04"}', "/p", "USD", 6_501_050),
        ('{"p":"65000.01999999999999999999999999"}', "/p", "USD", 6_500_001),
        ('{"p":1e-7,"q":65000}', "/q", "USD", 6_500_000),
        (b'\xef\xbb\xbf{"p":"65000.00"}', "/p", "USD", 6_500_000),
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
        '{"p":"65,000.00"}',
        '{"p":"65,000"}',
        '{"p":"1e"}',
        '{"p":"e5"}',
        '{"p":"1e5.0"}',
        '{"p":"1e+-5"}',
        '{"p":"1e99"}',
        '{"p":"1e-99"}',
        '{"p":"1e999999999"}',
        '{"p":"1e-999999999"}',
        '{"p":1e-999999999}',
        '{"p":"+1"}',
        '{"p":"0x10"}',
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


SEEN_AT = NOW - timedelta(seconds=90)
SECONDS = int(SEEN_AT.timestamp())


@pytest.mark.parametrize(
    "told",
    [
        SECONDS,
        str(SECONDS),
        SECONDS * 10**3,
        str(SECONDS * 10**3),
        SECONDS * 10**6,
        SECONDS * 10**9,
        f"{SECONDS}.000",
        f"{SECONDS}e3",
        "2026-11-20T11:58:30Z",
        "2026-11-20T11:58:30.000Z",
        "2026-11-20T14:58:30+03:00",
        "2026-11-20 11:58:30 UTC",
        "20261120T115830Z",
        "Fri, 20 Nov 2026 11:58:30 GMT",
        "Friday, 20-Nov-26 11:58:30 GMT",
        "Fri Nov 20 11:58:30 2026",
        "Fri, 20 Nov 2026 14:58:30 +0300",
        "20 Nov 2026 11:58:30 -0000",
    ],
)
def test_a_source_that_tells_its_time_shows_its_age(told: object) -> None:
    sample = price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t")
    assert sample.observed_at == SEEN_AT


@pytest.mark.parametrize(
    ("told", "observed_at"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (10**11 - 1, None),
        (10**11, "1973-03-03T09:46:40+00:00"),
        (10**14 - 1, None),
        (10**14, "1973-03-03T09:46:40+00:00"),
        (10**17 - 1, None),
        (10**17, "1973-03-03T09:46:40+00:00"),
        (10**20 - 1, None),
        (1_795_175_910_123, "2026-11-20T11:58:30.123000+00:00"),
        (1_795_175_910_123_456, "2026-11-20T11:58:30.123456+00:00"),
        (1_795_175_910_123_456_789, "2026-11-20T11:58:30.123456+00:00"),
        ("1795175910.5", "2026-11-20T11:58:30.500000+00:00"),
    ],
)
def test_the_size_of_a_number_says_its_unit(told: object, observed_at: str | None) -> None:
    sample = price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t")
    # A time ahead of us is ours: the last number of each unit is in the year 5138.
    assert sample.observed_at == (datetime.fromisoformat(observed_at) if observed_at else NOW)


@pytest.mark.parametrize(
    "told",
    [
        None, "yesterday", -5, "2026-11-20T11:58:30", True, 10**20, "9" * 21, {}, "", "1e99", "20.11.2026",
        "2026-11-20", "32 Nov 2026 11:58:30 GMT", "Fri, 20 Nov 2026 11:58:30", "Fri, 20 Nov 2026 11:58:30 MSK",
        "Fri, 20 Nov 2026 25:58:30 GMT", "99.99.2026", "0001-01-01T00:00:00+23:59",
    ],
)  # fmt: skip
def test_a_source_that_stopped_telling_its_time_is_not_believed(told: object) -> None:
    with pytest.raises(ProtocolError):
        price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t")


@pytest.mark.parametrize(
    ("told", "observed_at"),
    [
        ("20.11.2026", "2026-11-19T21:00:00+00:00"),
        ("20.11.2026 13:30", "2026-11-20T10:30:00+00:00"),
        ("2026-11-20", "2026-11-19T21:00:00+00:00"),
        ("2026-11-20T13:30:00", "2026-11-20T10:30:00+00:00"),
        ("2026-11-20T10:30:00Z", "2026-11-20T10:30:00+00:00"),
        ("28.11.2026", "2026-11-20T12:00:00+00:00"),
    ],
)
def test_a_time_that_tells_no_zone_is_of_the_zone_in_the_rule(told: str, observed_at: str) -> None:
    zone = ZoneInfo("Europe/Moscow")
    sample = price_in({"p": "1.00", "t": told}, "/p", time_pointer="/t", time_zone=zone)
    assert sample.observed_at == datetime.fromisoformat(observed_at)


DAILY = """<?xml version="1.0" encoding="windows-1251"?>
<ValCurs Date="20.11.2026" name="Foreign Currency Market"><Valute ID="R01235"><NumCode>840</NumCode><CharCode>USD</CharCode>
<Nominal>1</Nominal><Name>Доллар США</Name><Value>78,2267</Value></Valute><Valute ID="R01335"><NumCode>398</NumCode>
<CharCode>KZT</CharCode><Nominal>100</Nominal><Name>Тенге</Name><Value> 15,1234 </Value></Valute></ValCurs>""".encode(
    "cp1251"
)
BANK: dict[str, Any] = {
    "pointer": "/ValCurs/Valute[CharCode='{currency}']/Value",
    "units_pointer": "/ValCurs/Valute[CharCode='{currency}']/Nominal",
    "time_pointer": "/ValCurs/@Date",
    "format": "xml",
    "decimal_comma": True,
    "time_zone": ZoneInfo("Europe/Moscow"),
}


def told_in(body: str | bytes, currency: str = "USD", **rule: Any) -> Told:
    with RawServer(always(answer(body))) as server, closing(source_at(server.url, **rule)) as source:
        return source.ask(currency, NOW)


@pytest.mark.parametrize(("currency", "price"), [("USD", "78.2267"), ("KZT", "0.151234")])
def test_the_daily_rates_of_a_central_bank_are_read_exactly(currency: str, price: str) -> None:
    told = told_in(DAILY, currency, **BANK)
    assert told.price == Fraction(price)
    assert told.observed_at == datetime(2026, 11, 19, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ("<p>65000.00</p>", "/p"),
        ("<prices><usd>\n 6.5e4 </usd></prices>", "/prices/{currency_lower}"),
        ('<r><p pair="BTCEUR">1</p><p pair="BTCUSD">65000</p></r>', "/r/p[@pair='BTC{currency}']"),
        ('<r><p>1</p><p last="65000"/></r>', "/r/p[2]/@last"),
        ('<x:r xmlns:x="urn:x" xmlns="urn:y"><x:p y="1" x:last="65000"/></x:r>', "/r/p/@last"),
        ("\ufeff<p>&#54;5000<!-- a remark --></p>", "/p"),
        ("<p><![CDATA[65000]]></p>", "/p"),
    ],
)
def test_ordinary_xml_is_read_too(document: str, pointer: str) -> None:
    assert price_in(document, pointer, format="xml").price_minor == 6_500_000


@pytest.mark.parametrize(
    "body",
    [
        DAILY.replace(b"78,2267", b"78.2267"),
        DAILY.replace(b"78,2267", b"1.078,2267"),
        DAILY.replace(b"78,2267", b""),
        DAILY.replace(b"78,2267", b"78,<b/>2267"),
        DAILY.replace(b"<Nominal>1</Nominal>", b"<Nominal>0</Nominal>"),
        DAILY.replace(b"<Nominal>1</Nominal>", b""),
        DAILY.replace(b"KZT", b"USD"),
        DAILY.replace(b"USD", b"EUR"),
        DAILY.replace(b"20.11.2026", b""),
        DAILY.replace(b"windows-1251", b"utf-8"),
        DAILY.replace(b"windows-1251", b"klingon"),
        DAILY.replace(b"windows-1251", b"utf-7"),
        DAILY.replace(b"windows-1251", b"rot13"),
        DAILY[:-5],
        DAILY + b"<more/>",
        b'{"p": 1}',
        b"",
        b"<a>" * 600,
    ],
)
def test_what_is_no_rate_of_a_central_bank_is_named_with_its_source(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="one gave no usable price") as error:
        told_in(body, **BANK)
    assert error.value.code == "price_unreadable"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE p [<!ENTITY a "65000">]><p>&a;</p>',
        '<!DOCTYPE p [<!ENTITY a "6"><!ENTITY b "&a;&a;&a;&a;">]><p>&b;</p>',
        '<!DOCTYPE p SYSTEM "http://127.0.0.1:1/p.dtd"><p>65000</p>',
        '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/hostname">]><p>&a;</p>',
        '<!DOCTYPE p [<!ENTITY % a "65000">]><p>65000</p>',
        "<!DOCTYPE p><p>65000</p>",
        "<p>&a;</p>",
    ],
)
def test_xml_brings_no_entities_of_its_own(doctype: str) -> None:
    with pytest.raises(ProtocolError, match="not XML"):
        price_in(doctype, "/p", format="xml")


def test_xml_as_deep_as_the_size_limit_allows_is_refused_calmly() -> None:
    depth = 20_000
    body = b"<a>" * depth + b"1" + b"</a>" * depth
    reply = Reply(status=200, headers={}, body=body, seconds=0)
    with pytest.raises(Unreadable):
        Reading(pointer="/a/b", format="xml").read(reply, "USD")


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
        source = source_at(server.url)
        with pytest.raises(Unavailable):
            source.price("USD", NOW)
        source.close()


def test_a_source_must_speak_https_or_be_on_an_own_network() -> None:
    source = source_at("https://user:pass@prices.example/")
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
    source = source_at(f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(Unavailable):
        source.price("USD", NOW)
