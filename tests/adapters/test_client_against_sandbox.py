"""The real adapters against the sandbox over real HTTP: the published transcript, then the scripted faults."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from bridge.chain.esplora import EsploraReader
from bridge.core.addresses import check_address
from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import ProviderReading, Sample, Sent
from bridge.outbound import Limits
from bridge.rails.subtc.client import SubtcWallet
from bridge.rates.reading import Reading
from bridge.rates.sources import HttpPriceSource, RateReader
from sandbox.bitcoin import Served, serve_in_thread

KEY = "SUBTC-KEY-" + "5a" * 24
WALLET = "w_" + "5a" * 22
ELSEWHERE = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.4, deadline_seconds=0.8)
SEND = {"destination": ELSEWHERE, "gross_sat": 50_000, "idempotency_key": "transcript-5"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = serve_in_thread(api_key=KEY, wallet_id=WALLET, seed=7)
    yield running
    running.stop()


@pytest.fixture(params=["always200", "mapped"])
def sandbox(served: Served, request: pytest.FixtureRequest) -> Served:
    control(served, "reset")
    control(served, "knobs", status=request.param)
    return served


@pytest.fixture
def client(sandbox: Served) -> Iterator[SubtcWallet]:
    opened = SubtcWallet(base_url=sandbox.url, key=KEY, network="test", wallet_id=WALLET, limits=QUICK)
    yield opened
    opened.close()


def control(served: Served, command: str, **body: Any) -> dict[str, Any]:
    reply = requests.post(f"{served.url}/_control/{command}", json=body, timeout=5)
    reply.raise_for_status()
    return reply.json()  # type: ignore[no-any-return]


def fault(served: Served, mode: str, kind: str, **parameters: Any) -> None:
    control(served, "knobs", fault={"mode": mode, "kind": kind, "times": 1, **parameters})


def poll(client: SubtcWallet, address: str, expected_sat: int = 20_000) -> ProviderReading:
    return client.poll(address=address, expected_sat=expected_sat, asked_at=NOW)


def fund(served: Served, client: SubtcWallet, amount_sat: int) -> str:
    address = client.create_inbox(expected_sat=20_000)
    control(served, "pay", address=address, amount_sat=amount_sat)
    control(served, "mine", blocks=1)
    return address


def test_the_published_transcript_plays_the_same(sandbox: Served, client: SubtcWallet) -> None:
    setup = SubtcWallet(base_url=sandbox.url, network="test", limits=QUICK)
    key = setup.create_key()
    fresh = SubtcWallet(base_url=sandbox.url, key=key, network="test", limits=QUICK)
    wallet_id = fresh.create_wallet()
    assert fresh.key_status() == 1
    options: dict[str, Any] = {"key": key, "network": "test", "wallet_id": wallet_id, "limits": QUICK}
    wallet = SubtcWallet(base_url=sandbox.url, address_mode="wallet_receive", **options)
    address = wallet.create_inbox(expected_sat=50_000)
    assert check_address(address, network="test").kind == "p2wpkh"

    control(sandbox, "pay", address=address, amount_sat=48_500)
    control(sandbox, "mine", blocks=1)
    balance = wallet.balance()
    assert (balance.balance_sat, balance.confirmed_sat, balance.unconfirmed_sat) == (48_500, 48_500, 0)
    with pytest.raises(OutcomeUnknown, match="SEND_FAILED"):
        wallet.send(**{**SEND, "idempotency_key": "transcript-3"})  # type: ignore[arg-type]

    control(sandbox, "pay", address=address, amount_sat=48_500)
    control(sandbox, "mine", blocks=1)
    assert wallet.balance().confirmed_sat == 97_000
    sent = wallet.send(**SEND)  # type: ignore[arg-type]
    assert sent == Sent(txid=sent.txid, requested_sat=50_000, sent_sat=48_500, fee_sat=1_500)
    reading = poll(wallet, address)
    assert (reading.received_sat, reading.reached) == (97_000, True)
    after = wallet.balance()
    assert wallet.send(**SEND).txid == sent.txid  # type: ignore[arg-type]
    assert wallet.balance() == after
    for opened in (setup, fresh, wallet):
        opened.close()


def test_health_is_read_in_all_forms(sandbox: Served, client: SubtcWallet) -> None:
    health = client.health()
    assert (health.ok, health.fee_bps, health.min_send_sat) == (True, 300, 50_000)
    assert health.server_time is not None


def test_every_inbox_has_an_address_of_its_own(client: SubtcWallet) -> None:
    assert len({client.create_inbox(expected_sat=1) for _ in range(5)}) == 5


def test_a_foreign_wallet_is_refused(sandbox: Served) -> None:
    stranger = SubtcWallet(base_url=sandbox.url, key=KEY, network="test", wallet_id="w_" + "00" * 22, limits=QUICK)
    with pytest.raises(Refused):
        stranger.balance()
    stranger.close()


def test_a_watch_is_armed(sandbox: Served, client: SubtcWallet) -> None:
    address = client.create_inbox(expected_sat=20_000)
    url = "http://127.0.0.1:9/callbacks/subtc/token"
    client.watch(address=address, expected_sat=20_000, timeout_seconds=600, callback_url=url)
    watches = requests.get(f"{sandbox.url}/_control/watches", timeout=5).json()["watches"]
    assert [watch["address"] for watch in watches] == [address]


@pytest.mark.parametrize(
    ("kind", "errors"),
    [
        ("error_500_before", Unavailable),
        ("error_500_after", Unavailable),
        ("cut_before", Unavailable),
        ("cut_midway", Unavailable),
        ("lost_response", Unavailable),
        ("truncated_json", Unavailable),
        ("not_json", (Unavailable, ProtocolError)),
        ("slow_drip", Unavailable),
        ("redirect", ProtocolError),
        ("rate_limited", Unavailable),
        ("no_result", ProtocolError),
        ("string_numbers", ProtocolError),
        ("float_numbers", ProtocolError),
        ("reached_with_too_little", ProtocolError),
        ("wrong_address", ProtocolError),
    ],
)
def test_a_faulty_poll_is_an_error_and_the_next_one_is_right(
    sandbox: Served, client: SubtcWallet, kind: str, errors: Any
) -> None:
    address = client.create_inbox(expected_sat=20_000)
    fault(sandbox, "wallet_poll", kind)
    if sandbox.world.knobs.status == "always200" and kind == "rate_limited":
        errors = (Refused, Unavailable)  # the only sign left is a code nobody has documented
    with pytest.raises(errors):
        poll(client, address)
    assert poll(client, address).received_sat == 0


@pytest.mark.parametrize("kind", ["main_address", "set_member"])
def test_an_unusable_address_is_never_handed_out(sandbox: Served, client: SubtcWallet, kind: str) -> None:
    fault(sandbox, "inbox_create", kind, **({"member": "net", "value": "main"} if kind == "set_member" else {}))
    with pytest.raises(ProtocolError):
        client.create_inbox(expected_sat=20_000)


@pytest.mark.parametrize(
    "kind", ["error_500_after", "lost_response", "truncated_json", "slow_drip", "send_failed_but_sent", "no_result"]
)
def test_a_send_whose_answer_is_lost_is_repeated_with_the_same_key_and_paid_once(
    sandbox: Served, client: SubtcWallet, kind: str
) -> None:
    fund(sandbox, client, 200_000)
    fault(sandbox, "wallet_send", kind)
    with pytest.raises(OutcomeUnknown):
        client.send(**SEND)  # type: ignore[arg-type]
    assert client.send(**SEND).requested_sat == 50_000  # type: ignore[arg-type]
    balance = client.balance()
    assert balance.balance_sat == 150_000


@pytest.mark.parametrize("field", ["to", "to_address"])
def test_the_destination_field_follows_the_gateways_version(sandbox: Served, client: SubtcWallet, field: str) -> None:
    fund(sandbox, client, 200_000)
    control(sandbox, "knobs", destination_field=field)
    options: dict[str, Any] = {"key": KEY, "network": "test", "wallet_id": WALLET, "limits": QUICK}
    wallet = SubtcWallet(base_url=sandbox.url, destination_field=field, **options)
    assert wallet.send(**SEND).sent_sat == 48_500  # type: ignore[arg-type]
    wallet.close()
    with pytest.raises(BridgeError):
        SubtcWallet(
            base_url=sandbox.url, destination_field="to" if field == "to_address" else "to_address", **options
        ).send(**{**SEND, "idempotency_key": "other"})  # type: ignore[arg-type]


def test_the_chain_shows_depth_replaceability_and_what_vanished(sandbox: Served, client: SubtcWallet) -> None:
    reader = EsploraReader(base_urls=[f"{sandbox.url}/esplora"], limits=QUICK)
    address = client.create_inbox(expected_sat=20_000)
    assert reader.read(address, born_at=NOW, asked_at=NOW).outputs == ()
    paid = control(sandbox, "pay", address=address, amount_sat=20_000, replaceable=True)
    (output,) = reader.read(address, born_at=NOW, asked_at=NOW).outputs
    assert (output.outpoint, output.amount_sat, output.confirmations) == (f"{paid['txid']}:{paid['vout']}", 20_000, 0)
    assert output.replaceable
    replaced = control(sandbox, "replace", txid=paid["txid"], amount_sat=19_000)
    (output,) = reader.read(address, born_at=NOW, asked_at=NOW).outputs
    assert (output.outpoint, output.amount_sat) == (f"{replaced['txid']}:{replaced['vout']}", 19_000)
    control(sandbox, "mine", blocks=3)
    reading = reader.read(address, born_at=NOW, asked_at=NOW)
    assert [(each.confirmations, each.replaceable) for each in reading.outputs] == [(3, False)]
    assert reading.tip == reader.tip()
    control(sandbox, "reorg", depth=3, drop=[replaced["txid"]], mine=4)
    assert reader.read(address, born_at=NOW, asked_at=NOW).outputs == ()
    reader.close()


def test_many_payments_are_read_over_several_pages(sandbox: Served, client: SubtcWallet) -> None:
    reader = EsploraReader(base_urls=[f"{sandbox.url}/esplora"])
    address = client.create_inbox(expected_sat=20_000)
    for _ in range(60):
        control(sandbox, "pay", address=address, amount_sat=1_000)
    control(sandbox, "mine", blocks=1)
    outputs = reader.read(address, born_at=NOW, asked_at=NOW).outputs
    assert len({output.outpoint for output in outputs}) == 60
    assert poll(client, address).received_sat == sum(output.amount_sat for output in outputs)
    reader.close()


def test_three_price_sources_of_three_shapes_agree(sandbox: Served, caplog: pytest.LogCaptureFixture) -> None:
    pointers = {"alpha": "/data/{currency}/last", "beta": "/bitcoin/{currency_lower}", "gamma": "/result/0/price"}
    sources = [
        HttpPriceSource(
            name=name,
            url_template=f"{sandbox.url}/prices/{name}?currency={{currency}}",
            reading=Reading(pointer=pointer),
        )
        for name, pointer in pointers.items()
    ]
    reader = RateReader(sources, keep_seconds=0)
    prices = {sample.source: sample.price_minor for sample in reader.sample("USD", NOW)}
    assert prices == {"alpha": 6_500_000, "beta": 6_501_050, "gamma": 6_499_000}
    assert next(sample.price_minor for sample in reader.sample("KWD", NOW)) == 20_000_000
    fault(sandbox, "price:beta", "not_json")
    assert [sample.source for sample in reader.sample("USD", NOW)] == ["alpha", "gamma"]
    assert [record.__dict__["source"] for record in caplog.records] == ["beta"]
    for source in sources:
        source.close()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "iso", "mail", "http"])
def test_a_price_with_an_exponent_after_a_byte_order_mark_is_as_old_as_its_time_says(
    sandbox: Served, unit: str
) -> None:
    fault(sandbox, "price:delta", "stale", age_s=90)
    reading = Reading(pointer="/btc/{currency}", time_pointer="/t")
    now = datetime.fromtimestamp(sandbox.world.clock.now(), UTC)
    url = f"{sandbox.url}/prices/delta?currency={{currency}}&time={unit}"
    sample = sampled(HttpPriceSource(name="delta", url_template=url, reading=reading), "USD", now)
    assert sample.price_minor == 6_500_000
    assert timedelta(seconds=89) <= now - sample.observed_at <= timedelta(seconds=91)


def test_a_source_of_xml_is_read(sandbox: Served) -> None:
    reading = Reading(format="xml", pointer="/rates/rate[@pair='BTC{currency}']/@last", time_pointer="/rates/updated")
    url = f"{sandbox.url}/prices/epsilon"
    assert (
        sampled(HttpPriceSource(name="epsilon", url_template=url, reading=reading), "KWD", NOW).price_minor
        == 20_001_538
    )
    fault(sandbox, "price:epsilon", "truncated_json")
    with pytest.raises(ProtocolError, match="epsilon gave no usable price: not XML"):
        sampled(HttpPriceSource(name="epsilon", url_template=url, reading=reading), "USD", NOW)


@pytest.mark.parametrize(("currency", "price"), [("USD", "80"), ("KZT", "0.155224"), ("JPY", "0.530612")])
def test_a_central_banks_daily_rates_are_read(sandbox: Served, currency: str, price: str) -> None:
    row = "/ValCurs/Valute[CharCode='{currency}']"
    reading = Reading(
        format="xml",
        pointer=f"{row}/Value",
        units_pointer=f"{row}/Nominal",
        time_pointer="/ValCurs/@Date",
        decimal_comma=True,
        time_zone=ZoneInfo("Europe/Moscow"),
    )
    now = datetime.fromtimestamp(sandbox.world.clock.now(), UTC)
    source = HttpPriceSource(name="bank", url_template=f"{sandbox.url}/prices/bank", reading=reading)
    told = source.ask(currency, now)
    source.close()
    assert told.price == Fraction(price)
    assert timedelta(0) <= now - told.observed_at < timedelta(days=3)


def sampled(source: HttpPriceSource, currency: str, now: datetime) -> Sample:
    with closing(source):
        return source.price(currency, now)
