"""What every chain reader must tell, run over both readers against one invented chain."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.chain.esplora import EsploraReader
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput
from bridge.outbound import Limits
from tests.adapters.fake_chains import BLOCK_TIME, REPLACEABLE, Esplora, Facts, Node, served
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OTHER = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.4, deadline_seconds=0.8)


def esplora_at(*urls: str) -> EsploraReader:
    return EsploraReader(base_urls=urls, limits=QUICK)


def core_at(url: str, **options: Any) -> CoreRpcReader:
    settings: dict[str, Any] = {"user": "bridge", "password": "p@ss:/#?", "network": "test", "timeout_seconds": 1}
    return CoreRpcReader(url=url, **{**settings, **options})


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture(params=["esplora", "core"])
def reader(facts: Facts, request: pytest.FixtureRequest) -> Iterator[Any]:
    with served(Esplora(facts) if request.param == "esplora" else Node(facts)) as url:
        opened = esplora_at(url) if request.param == "esplora" else core_at(url)
        yield opened
        if isinstance(opened, EsploraReader):
            opened.close()


def outputs(reader: Any) -> list[ChainOutput]:
    return sorted(reader.read(ADDRESS, asked_at=NOW).outputs, key=lambda output: output.outpoint)


def test_an_unpaid_address_has_no_outputs(reader: Any, facts: Facts) -> None:
    reading = reader.read(ADDRESS, asked_at=NOW)
    assert (reading.address, reading.outputs, reading.asked_at) == (ADDRESS, (), NOW)
    assert reading.tip_height == facts.tip == reader.tip_height()


def test_a_payment_is_seen_unconfirmed_then_gains_depth(reader: Any, facts: Facts) -> None:
    tx = facts.pay((OTHER, 5), (ADDRESS, 15_924))
    (output,) = outputs(reader)
    assert output == ChainOutput(outpoint=f"{tx.txid}:1", amount_sat=15_924, confirmations=0, replaceable=False)
    facts.mine()
    (output,) = outputs(reader)
    assert (output.confirmations, output.block_time) == (1, datetime.fromtimestamp(BLOCK_TIME, UTC))
    facts.mine(5)
    assert [output.confirmations for output in outputs(reader)] == [6]


def test_only_outputs_to_the_address_count_and_each_by_itself(reader: Any, facts: Facts) -> None:
    tx = facts.pay((ADDRESS, 100), (OTHER, 999), (ADDRESS, 200))
    facts.pay((OTHER, 1))
    found = outputs(reader)
    assert [(output.outpoint, output.amount_sat) for output in found] == [(f"{tx.txid}:0", 100), (f"{tx.txid}:2", 200)]


def test_an_output_of_nothing_is_no_payment(reader: Any, facts: Facts) -> None:
    tx = facts.pay((ADDRESS, 0), (ADDRESS, 200))
    assert [(output.outpoint, output.amount_sat) for output in outputs(reader)] == [(f"{tx.txid}:1", 200)]


def test_any_input_that_signals_makes_it_replaceable_until_confirmed(reader: Any, facts: Facts) -> None:
    facts.pay((ADDRESS, 100), sequence=REPLACEABLE)
    assert [output.replaceable for output in outputs(reader)] == [True]
    facts.mine()
    assert [output.replaceable for output in outputs(reader)] == [False]


def test_it_inherits_replaceability_from_unconfirmed_ancestors(reader: Any, facts: Facts) -> None:
    grandparent = facts.pay((OTHER, 300), sequence=REPLACEABLE)
    parent = facts.pay((OTHER, 200), parent=grandparent.txid)
    facts.pay((ADDRESS, 100), parent=parent.txid)
    assert [output.replaceable for output in outputs(reader)] == [True]
    grandparent.height = facts.tip
    assert [output.replaceable for output in outputs(reader)] == [False]


def test_the_last_sequence_that_does_not_signal(reader: Any, facts: Facts) -> None:
    facts.pay((ADDRESS, 100), sequence=0xFFFFFFFE)
    assert [output.replaceable for output in outputs(reader)] == [False]


def test_what_was_dropped_replaced_or_reorganised_is_absent(reader: Any, facts: Facts) -> None:
    dropped, replaced, reorganised = (facts.pay((ADDRESS, value)) for value in (100, 200, 300))
    assert len(outputs(reader)) == 3
    dropped.gone = True
    replaced.conflicted = True
    assert [output.amount_sat for output in outputs(reader)] == [300]
    reorganised.height = facts.tip
    assert [output.confirmations for output in outputs(reader)] == [1]
    reorganised.height = None
    assert [output.confirmations for output in outputs(reader)] == [0]


def test_every_payment_of_a_busy_address_is_seen(reader: Any, facts: Facts) -> None:
    for value in range(1, 12):
        facts.pay((ADDRESS, value))
        if value % 2 or value < 8:
            facts.mine()
    found = outputs(reader)
    assert sorted(output.amount_sat for output in found) == list(range(1, 12))


@pytest.mark.parametrize("amount_sat", [1, 2_099_999_997_690_000, 100_000_000, 123_456_789])
def test_amounts_are_exact(reader: Any, facts: Facts, amount_sat: int) -> None:
    facts.pay((ADDRESS, amount_sat))
    assert [output.amount_sat for output in outputs(reader)] == [amount_sat]


@pytest.mark.parametrize("broken", ["down", "", "<html>", "[]", "{}", "null", '"x"', "1.5", "-1", '{"result": "x"}'])
def test_a_reader_that_cannot_tell_says_so_and_recovers(reader: Any, facts: Facts, broken: str) -> None:
    facts.pay((ADDRESS, 100))
    facts.broken = broken
    with pytest.raises(BridgeError) as error:
        reader.read(ADDRESS, asked_at=NOW)
    assert isinstance(error.value, Unavailable | ProtocolError)
    facts.broken = None
    assert len(outputs(reader)) == 1


@pytest.mark.parametrize("script", [hang_up, silent, always(answer("x" * 300_000)), always(b"\x00\r\n\r\n")])
@pytest.mark.parametrize("open_at", [esplora_at, core_at])
def test_a_broken_connection_is_not_an_empty_address(script: Any, open_at: Any) -> None:
    with RawServer(script) as server, pytest.raises(Unavailable):
        open_at(server.url).read(ADDRESS, asked_at=NOW)


@pytest.mark.parametrize("open_at", [esplora_at, core_at])
def test_nobody_listening_is_unavailable(open_at: Any) -> None:
    with pytest.raises(Unavailable):
        open_at(f"http://127.0.0.1:{free_port()}").read(ADDRESS, asked_at=NOW)
