"""What only the reader of a node can do: a wallet, a login, a search of the past."""

import logging
from datetime import UTC, datetime

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.core.errors import ProtocolError, Unavailable
from tests.adapters.fake_chains import Facts, Node, served
from tests.adapters.test_chain_contract import ADDRESS, BORN, NOW, core_at


def test_the_node_gets_one_wallet_without_keys_and_each_address_once() -> None:
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        for _ in range(3):
            reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
    assert node.methods.count("createwallet") == 1
    assert node.methods.count("importdescriptors") == 1
    assert node.wallet == {ADDRESS}


def test_a_wallet_that_exists_is_loaded_and_found_again_after_a_restart() -> None:
    node = Node(Facts())
    node.wallet = {ADDRESS}
    with served(node) as url:
        reader = core_at(url)
        reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
        node.loaded = False
        with pytest.raises(Unavailable):
            reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
        reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
    assert "createwallet" not in node.methods


def test_while_the_node_searches_the_past_nothing_counts_as_absent() -> None:
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        node.scanning = {"duration": 5, "progress": 0.5}
        with pytest.raises(Unavailable) as error:
            reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
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
        core_at(url).read(ADDRESS, born_at=BORN, asked_at=NOW)
    assert error.value.code == "wrong_network"


def test_the_login_reaches_the_node_and_no_text_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    node = Node(Facts())
    with served(node) as url:
        reader = core_at(url)
        reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
    assert node.logins == {"Basic YnJpZGdlOnBAc3M6LyM/"}
    with pytest.raises(Unavailable) as error:
        reader.read(ADDRESS, born_at=BORN, asked_at=NOW)
    for text in (repr(reader), str(error.value), repr(error.value), caplog.text):
        assert "p@ss" not in text


@pytest.mark.parametrize("url", ["https://node:8332", "http://user:pass@node:8332", "node:8332", ""])
def test_a_node_url_that_cannot_work_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError):
        CoreRpcReader(url=url, user="u", password="p", network="test")
