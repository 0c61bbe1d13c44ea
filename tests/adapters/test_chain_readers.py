"""What only one of the chain readers can do: failover over Esplora servers; a wallet and a login at a node."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.core.errors import ProtocolError, Unavailable
from tests.adapters.fake_chains import Esplora, Facts, Node, served
from tests.adapters.servers import RawServer, always, answer, free_port
from tests.adapters.test_chain_contract import ADDRESS, NOW, core_at, esplora_at


def test_the_next_server_is_asked_and_kept_while_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    facts = Facts()
    facts.pay((ADDRESS, 100))
    second = Esplora(facts)
    with RawServer(always(answer("down", status="503 Down"))) as first, served(second) as url:
        reader = esplora_at(first.url, url)
        assert len(reader.read(ADDRESS, asked_at=NOW).outputs) == 1
        assert len(reader.read(ADDRESS, asked_at=NOW).outputs) == 1
        reader.close()
    assert len(first.requests) == 1
    assert [record.__dict__["action"] for record in caplog.records] == ["chain_source_failed"]


def test_a_reading_never_mixes_two_servers() -> None:
    """The first server tells its tip and then fails: its tip must not be joined with the other's transactions."""
    facts = Facts(tip=500)
    facts.pay((ADDRESS, 100))
    facts.mine()

    def tip_only(connection: Any, request: bytes) -> None:
        tip = request.startswith(b"GET /blocks/tip/height")
        connection.sendall(answer("900000") if tip else answer("", status="500 Oops"))

    with RawServer(tip_only) as first, served(Esplora(facts)) as url:
        reader = esplora_at(first.url, url)
        reading = reader.read(ADDRESS, asked_at=NOW)
        reader.close()
    assert (reading.tip_height, reading.outputs[0].confirmations) == (501, 1)


def test_when_all_servers_fail_the_longest_known_wait_is_passed_on() -> None:
    slow_down = answer("", status="429 Slow Down", headers="Retry-After: 9\r\n")
    with RawServer(always(slow_down)) as server:
        reader = esplora_at(f"http://127.0.0.1:{free_port()}", server.url)
        with pytest.raises(Unavailable) as error:
            reader.read(ADDRESS, asked_at=NOW)
        reader.close()
    assert error.value.retry_after_seconds == 9


def test_an_address_with_more_transactions_than_a_server_lists_is_told_apart_from_a_silent_server() -> None:
    facts = Facts()
    for _ in range(3 * 41):
        facts.pay((ADDRESS, 100))
    facts.mine()
    with served(Esplora(facts)) as url:
        reader = esplora_at(f"http://127.0.0.1:{free_port()}", url)
        with pytest.raises(ProtocolError) as error:
            reader.read(ADDRESS, asked_at=NOW)
        reader.close()
    assert error.value.code == "chain_too_long"


@pytest.mark.parametrize(
    "change",
    [
        {"txid": "zz"},
        {"txid": None},
        {"status": None},
        {"status": {"confirmed": "yes"}},
        {"status": {"confirmed": True, "block_height": "5"}},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": 1.5}]},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": "100"}]},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": -1}]},
        {"vout": [{"scriptpubkey_address": ADDRESS}]},
        {"vout": "none"},
        {"vin": [{"txid": "ee" * 32}]},
        {"vin": None},
    ],
)
def test_a_transaction_of_another_shape_is_no_evidence(change: dict[str, Any]) -> None:
    facts = Facts()
    shown = {**Esplora(facts).shown(facts.pay((ADDRESS, 100))), **change}

    def script(connection: Any, request: bytes) -> None:
        tip = request.startswith(b"GET /blocks/tip/height")
        connection.sendall(answer("5") if tip else answer(json.dumps([shown])))

    with RawServer(script) as server:
        reader = esplora_at(server.url)
        with pytest.raises(Unavailable, match="Esplora shape"):
            reader.read(ADDRESS, asked_at=NOW)
        reader.close()


def test_a_server_that_repeats_a_page_does_not_keep_us_for_ever() -> None:
    facts = Facts()
    shown = Esplora(facts).shown(facts.pay((ADDRESS, 100)))
    shown["status"] = {"confirmed": True, "block_height": 5, "block_time": 1_795_000_000}

    def script(connection: Any, request: bytes) -> None:
        tip = request.startswith(b"GET /blocks/tip/height")
        connection.sendall(answer("5") if tip else answer(json.dumps([shown])))

    with RawServer(script) as server:
        reader = esplora_at(server.url)
        assert len(reader.read(ADDRESS, asked_at=NOW).outputs) == 1
        reader.close()


def test_a_block_that_arrives_between_two_questions_never_makes_a_payment_too_deep() -> None:
    facts = Facts(tip=500)
    tx = facts.pay((ADDRESS, 100))
    tx.height = 501
    with served(Esplora(facts)) as url:
        reader = esplora_at(url)
        assert [output.confirmations for output in reader.read(ADDRESS, asked_at=NOW).outputs] == [1]
        reader.close()


def test_the_node_gets_one_wallet_without_keys_and_each_address_once() -> None:
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        for _ in range(3):
            reader.read(ADDRESS, asked_at=NOW)
    assert node.methods.count("createwallet") == 1
    assert node.methods.count("importdescriptors") == 1
    assert node.wallet == {ADDRESS}


def test_a_wallet_that_exists_is_loaded_and_found_again_after_a_restart() -> None:
    node = Node(Facts())
    node.wallet = {ADDRESS}
    with served(node) as url:
        reader = core_at(url)
        reader.read(ADDRESS, asked_at=NOW)
        node.loaded = False
        with pytest.raises(Unavailable):
            reader.read(ADDRESS, asked_at=NOW)
        reader.read(ADDRESS, asked_at=NOW)
    assert "createwallet" not in node.methods


def test_while_the_node_searches_the_past_nothing_counts_as_absent() -> None:
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        node.scanning = {"duration": 5, "progress": 0.5}
        with pytest.raises(Unavailable) as error:
            reader.read(ADDRESS, asked_at=NOW)
        assert error.value.code == "chain_scanning"


def test_an_old_address_can_be_watched_from_an_earlier_time() -> None:
    node = Node(Facts())
    with served(node) as url:
        core_at(url).import_address(ADDRESS, since=datetime(2026, 1, 1, tzinfo=UTC))
    assert node.wallet == {ADDRESS}


def test_a_node_on_another_chain_is_refused() -> None:
    node = Node(Facts())
    node.chain = "main"
    with served(node) as url, pytest.raises(ProtocolError) as error:
        core_at(url).read(ADDRESS, asked_at=NOW)
    assert error.value.code == "wrong_network"


def test_the_login_reaches_the_node_and_no_text_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        reader.read(ADDRESS, asked_at=NOW)
    assert node.logins == {"Basic YnJpZGdlOnBAc3M6LyM/"}
    with pytest.raises(Unavailable) as error:
        reader.read(ADDRESS, asked_at=NOW)
    for text in (repr(reader), str(error.value), repr(error.value), caplog.text):
        assert "p@ss" not in text


@pytest.mark.parametrize("url", ["https://node:8332", "http://user:pass@node:8332", "node:8332", ""])
def test_a_node_url_that_cannot_work_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError):
        CoreRpcReader(url=url, user="u", password="p", network="test")
