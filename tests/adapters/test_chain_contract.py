"""What every chain reader must tell, run over both readers against one invented chain."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.chain.esplora import EsploraReader
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Fate, KnownOutput, Tip
from bridge.outbound import Limits
from tests.adapters.fake_chains import REPLACEABLE, Esplora, Facts, Node, Tx, served
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OTHER = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BORN = NOW - timedelta(days=1)
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


def read(reader: Any, *known: KnownOutput) -> ChainReading:
    reading: ChainReading = reader.read(ADDRESS, born_at=BORN, asked_at=NOW, known=known)
    return reading


def outputs(reader: Any) -> list[ChainOutput]:
    return sorted(read(reader).outputs, key=lambda output: output.outpoint)


def seen(facts: Facts, tx: Tx, output: int = 0) -> KnownOutput:
    """What an earlier reading showed of a transaction as it is now."""
    block_hash = None if tx.height is None else facts.hash_of(tx.height)
    spends = f"{tx.parents[0]}:0" if tx.parents else None
    return KnownOutput(outpoint=f"{tx.txid}:{output}", block_height=tx.height, block_hash=block_hash, spends=spends)


def fates(reading: ChainReading) -> dict[str, str]:
    return {outpoint: fate.code for outpoint, fate in reading.fates.items()}


def tip_of(facts: Facts) -> Tip:
    return Tip(height=facts.tip, hash=facts.hash_of(facts.tip), time=time_of(facts, facts.tip))


def time_of(facts: Facts, height: int) -> datetime:
    return datetime.fromtimestamp(facts.time_of(height), UTC)


def test_an_unpaid_address_has_no_outputs_and_the_reading_says_what_it_covers(reader: Any, facts: Facts) -> None:
    reading = read(reader)
    assert (reading.address, reading.outputs, reading.asked_at) == (ADDRESS, (), NOW)
    assert reading.tip == tip_of(facts) == reader.tip()
    assert (reading.gap, fates(reading)) == ("", {})
    assert reading.since is None or reading.since <= BORN


def test_the_tip_follows_new_blocks_and_other_ones_at_the_same_height(reader: Any, facts: Facts) -> None:
    for blocks, undone in ((1, 0), (3, 0), (0, 2)):
        facts.mine(blocks)
        facts.reorganise(undone)
        assert read(reader).tip == tip_of(facts) == reader.tip()


def test_a_payment_is_seen_unconfirmed_then_gains_depth(reader: Any, facts: Facts) -> None:
    tx = facts.pay((OTHER, 5), (ADDRESS, 15_924))
    (output,) = outputs(reader)
    assert output == ChainOutput(outpoint=f"{tx.txid}:1", amount_sat=15_924, confirmations=0, replaceable=False)
    facts.mine()
    (confirmed,) = outputs(reader)
    assert confirmed == replace(
        output,
        confirmations=1,
        block_height=facts.tip,
        block_hash=facts.hash_of(facts.tip),
        block_time=time_of(facts, facts.tip),
    )
    facts.mine(5)
    assert outputs(reader) == [replace(confirmed, confirmations=6)]


def test_what_a_block_pays_its_miner_is_marked(reader: Any, facts: Facts) -> None:
    reward = facts.mine_to((OTHER, 1), (ADDRESS, 5_000_000))
    facts.pay((ADDRESS, 100))
    facts.mine()
    found = {output.outpoint: (output.coinbase, output.confirmations) for output in outputs(reader)}
    assert found.pop(f"{reward.txid}:1") == (True, 2)
    assert list(found.values()) == [(False, 1)]


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


def test_what_stands_is_never_undone(reader: Any, facts: Facts) -> None:
    confirmed = facts.pay((ADDRESS, 100))
    facts.mine()
    waiting = facts.pay((ADDRESS, 200))
    before = [seen(facts, confirmed), seen(facts, waiting)]
    facts.mine()
    reading = read(reader, *before)
    assert len(reading.outputs) == 2
    assert (reading.gap, fates(reading)) == ("", {})


def test_what_waited_and_is_forgotten_is_told_apart_from_what_lost_to_a_rival(reader: Any, facts: Facts) -> None:
    dropped, replaced = facts.pay((ADDRESS, 100)), facts.pay((ADDRESS, 200))
    before = [seen(facts, dropped), seen(facts, replaced)]
    assert len(read(reader, *before).outputs) == 2
    dropped.gone = replaced.conflicted = True
    reading = read(reader, *before)
    assert (reading.outputs, reading.gap) == ((), "")
    assert fates(reading) == {f"{dropped.txid}:0": "not_found", f"{replaced.txid}:0": "rival_confirmed"}


@pytest.mark.parametrize("payee", [ADDRESS, OTHER])
def test_what_waited_and_was_outbid_is_shown_with_its_rival(reader: Any, facts: Facts, payee: str) -> None:
    """A raised fee pays us again; a double spend pays somebody else."""
    first = facts.pay((ADDRESS, 200))
    (output,) = read(reader).outputs
    assert output.spends == seen(facts, first).spends
    rival = facts.outbid(first, (payee, 200))
    reading = read(reader, seen(facts, first))
    ours = [f"{rival.txid}:0"] if payee == ADDRESS else []
    assert ([o.outpoint for o in reading.outputs], reading.gap) == (ours, "")
    assert reading.fates == {f"{first.txid}:0": Fate(code="rival_waits", rival=rival.txid)}
    facts.mine()
    assert fates(read(reader, seen(facts, first))) == {f"{first.txid}:0": "rival_confirmed"}


def test_what_lost_its_block_to_a_rival_is_undone(reader: Any, facts: Facts) -> None:
    loser = facts.pay((ADDRESS, 100))
    facts.mine(2)
    before = seen(facts, loser)
    assert fates(read(reader, before)) == {}
    facts.reorganise(2, conflict=loser)
    reading = read(reader, before)
    assert reading.outputs == ()
    assert (fates(reading), reading.gap) == ({before.outpoint: "rival_confirmed"}, "")


def test_what_lost_its_block_and_waits_again_is_not_undone(reader: Any, facts: Facts) -> None:
    tx = facts.pay((ADDRESS, 100))
    facts.mine(2)
    before = seen(facts, tx)
    assert len(read(reader, before).outputs) == 1
    facts.reorganise(2)
    reading = read(reader, before)
    assert [(o.confirmations, o.block_hash, o.block_time) for o in reading.outputs] == [(0, None, None)]
    assert (fates(reading), reading.gap) == ({}, "")
    facts.mine()
    assert [o.block_hash for o in read(reader, before).outputs] == [facts.hash_of(facts.tip)]


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
        read(reader)
    assert isinstance(error.value, Unavailable | ProtocolError)
    facts.broken = None
    assert len(outputs(reader)) == 1


@pytest.mark.parametrize("script", [hang_up, silent, always(answer("x" * 300_000)), always(b"\x00\r\n\r\n")])
@pytest.mark.parametrize("open_at", [esplora_at, core_at])
def test_a_broken_connection_is_not_an_empty_address(script: Any, open_at: Any) -> None:
    with RawServer(script) as server, pytest.raises(Unavailable):
        read(open_at(server.url))


@pytest.mark.parametrize("open_at", [esplora_at, core_at])
def test_nobody_listening_is_unavailable(open_at: Any) -> None:
    with pytest.raises(Unavailable):
        read(open_at(f"http://127.0.0.1:{free_port()}"))
