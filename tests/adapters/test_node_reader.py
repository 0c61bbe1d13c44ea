"""What only the reader of a node can do: search its wallet's past, say what it does not cover, and name why it is refused."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.chain.search import Mark, mark_of
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainReading, Fate, KnownOutput
from tests.adapters.fake_chains import FIRST_BLOCK, Facts, Node, Tx, served
from tests.adapters.servers import RawServer
from tests.adapters.test_chain_contract import ADDRESS, NOW, OTHER, core_at, fates, seen, tip_of

HOUR, DAY = 6, 144  # in blocks


class Place:
    """One invented chain, a node that shows it, and whoever asks it."""

    def __init__(self, url: str, facts: Facts, node: Node):
        self.url, self.facts, self.node = url, facts, node
        # On a loaded machine too a search that is not about time ends within one look.
        self.reader = core_at(url, timeout_seconds=40)

    def read(self, *known: KnownOutput, born: int = FIRST_BLOCK, address: str = ADDRESS) -> ChainReading:
        """A reading of an address that was born ten minutes before the block `born` was mined."""
        return self.reader.read(address, born_at=self.birth(born), asked_at=NOW, known=known)

    def birth(self, block: int = FIRST_BLOCK) -> datetime:
        return datetime.fromtimestamp(self.facts.time_of(block - 1), UTC)

    def pay(self, then: int = 0, *, value: int = 100) -> Tx:
        """A confirmed payment, and so many blocks on top of it."""
        tx = self.facts.pay((ADDRESS, value))
        self.facts.mine(1 + then)
        return tx


@contextmanager
def opened(facts: Facts) -> Iterator[Place]:
    node = Node(facts)
    with served(node) as url:
        yield Place(url, facts, node)


@pytest.fixture
def place() -> Iterator[Place]:
    with opened(Facts()) as made:
        yield made


def shown(reading: ChainReading) -> tuple[list[int], str]:
    return sorted(output.amount_sat for output in reading.outputs), reading.gap


def in_the_end(place: Place) -> tuple[list[int], str]:
    """What is shown once the search is done, however few pieces each look has time for."""
    reading = place.read()
    for _ in range(100):
        if not reading.gap:
            break
        reading = place.read()
    return shown(reading)


def is_complete(reading: ChainReading, place: Place, born: int = FIRST_BLOCK) -> bool:
    return not reading.gap and reading.since is not None and reading.since <= place.birth(born)


# How far back is searched.


@pytest.mark.parametrize("later", [0, 5 * HOUR, 30 * HOUR, 9 * DAY])
def test_a_payment_is_found_however_late_the_first_question_comes(place: Place, later: int) -> None:
    place.pay(later)
    reading = place.read()
    assert shown(reading) == ([100], "")
    assert is_complete(reading, place)
    assert reading.tip == tip_of(place.facts)


@pytest.mark.parametrize("lag", [0, 1, 11])
def test_a_payment_in_a_block_whose_clock_was_two_hours_slow_is_found(lag: int) -> None:
    """The block came right after the birth, but its miner's clock says two hours less."""
    facts = Facts()
    with opened(facts) as place:
        place.pay(9 * DAY)
        born_at = datetime.fromtimestamp(facts.time_of(FIRST_BLOCK) + 7200 - lag, UTC)
        reading = place.reader.read(ADDRESS, born_at=born_at, asked_at=NOW)
        assert shown(reading) == ([100], "")


def test_a_payment_is_found_though_the_bridges_clock_was_ahead(place: Place) -> None:
    """A wallet skips every block that is older than all its addresses, and this one was not in the mempool before."""
    born = FIRST_BLOCK + 5 * DAY
    assert shown(place.read(born=born)) == ([], "")
    place.facts.mine_to((ADDRESS, 100))
    assert shown(place.read(born=born)) == ([100], "")


def test_no_block_is_searched_that_cannot_hold_a_payment(place: Place) -> None:
    place.facts.mine(20 * DAY)
    born = FIRST_BLOCK + 10 * DAY
    assert is_complete(place.read(born=born), place, born)
    following, *pieces = place.node.searched
    assert following[0] >= place.facts.tip - 4 * HOUR
    assert born - 4 * HOUR <= pieces[0][0] <= born
    assert all(last - first < DAY for first, last in pieces)
    assert [first for first, _ in pieces[1:]] == [last + 1 for _, last in pieces[:-1]]
    assert pieces[-1][1] == place.facts.tip


def test_a_young_address_is_searched_once_in_one_call(place: Place) -> None:
    place.pay(HOUR)
    for _ in range(3):
        assert shown(place.read()) == ([100], "")
    assert place.node.methods.count("importdescriptors") == 1
    assert "rescanblockchain" not in place.node.methods
    assert place.node.methods.count("createwallet") == 1


def test_an_address_that_another_release_imported_is_searched_again_once(place: Place) -> None:
    place.pay(9 * DAY)
    place.node.holds(ADDRESS, "invoice")
    for _ in range(3):
        assert shown(place.read()) == ([100], "")
    assert place.node.methods.count("importdescriptors") == 1


def test_an_earlier_birth_is_searched_for_again(place: Place) -> None:
    place.pay(12 * DAY)
    assert shown(place.read(born=FIRST_BLOCK + 5 * DAY)) == ([], "")
    assert shown(place.read()) == ([100], "")


# A search that takes its time.


def test_a_long_search_goes_on_at_each_look_and_survives_a_restart(place: Place) -> None:
    place.pay(20 * DAY)
    place.node.pace = 0.3
    place.pay(value=300)
    place.facts.pay((ADDRESS, 200))
    readings = []
    for _ in range(21):
        place.reader = core_at(place.url, timeout_seconds=3)
        readings.append(place.read())
        if not readings[-1].gap:
            break
    assert {reading.gap for reading in readings[:-1]} == {"not_searched"}
    assert len(readings) > 2
    # What the wallet follows is seen from the first look on, whatever the past holds.
    assert all({200, 300} <= set(shown(reading)[0]) for reading in readings)
    assert all(reading.since == NOW for reading in readings[:-1])
    assert shown(readings[-1]) == ([100, 200, 300], "")
    assert is_complete(readings[-1], place)
    _, *pieces = place.node.searched
    assert [first for first, _ in pieces[1:]] == [last + 1 for _, last in pieces[:-1]]


def test_a_node_too_slow_for_a_piece_gets_smaller_ones(place: Place) -> None:
    place.pay(2 * DAY)
    place.node.slow_over = 60
    place.reader = core_at(place.url, timeout_seconds=0.5)
    assert place.read().gap == "not_searched"
    assert in_the_end(place) == ([100], "")


def test_an_import_that_is_cut_off_leaves_no_word_that_it_was_done(place: Place) -> None:
    place.pay(HOUR)
    place.node.slow_over, place.node.misses = 1, frozenset({FIRST_BLOCK})
    place.reader = core_at(place.url, timeout_seconds=0.5)
    with pytest.raises(Unavailable):
        place.read()
    place.node.slow_over = None
    assert place.read().gap == "not_searched"
    place.node.misses = frozenset()
    assert in_the_end(place) == ([100], "")


def test_while_the_node_searches_for_another_address_only_the_unsearched_are_in_doubt(place: Place) -> None:
    place.pay(9 * DAY)
    assert is_complete(place.read(), place)
    place.node.holds(OTHER, f"searching:{int(place.birth().timestamp())}")
    place.node.scanning = True
    assert shown(place.read()) == ([100], "")
    assert shown(place.read(address=OTHER)) == ([], "not_searched")
    place.node.lose_wallet()
    place.node.holds(OTHER, "searched:0")
    with pytest.raises(Unavailable) as error:
        place.read()
    assert error.value.code == "chain_scanning"
    place.node.scanning = False
    assert in_the_end(place) == ([100], "")


def addresses(count: int) -> list[str]:
    return [f"address-{number}" for number in range(count)]


def rounds_until_all_are_searched(place: Place, asked: list[str], *, at_most: int = 100) -> dict[str, list[int]]:
    """What each address is shown to have received once its search is done, when all are looked at in turn."""
    found: dict[str, list[int]] = {}
    for _ in range(at_most):
        for address in asked:
            reading = place.read(address=address)
            if not reading.gap:
                found[address] = shown(reading)[0]
        if len(found) == len(asked):
            return found
    raise AssertionError(f"searched to the end: {len(found)} of {len(asked)}")


def blocks_searched(place: Place) -> int:
    """Beside those that an import brings with it."""
    return sum(last - first + 1 for first, last in place.node.searched if last - first < DAY)


def test_many_addresses_of_a_new_node_search_its_past_together(place: Place) -> None:
    """A node takes over while thirty invoices are open: each of them searching for itself would take thirty times as long."""
    asked = addresses(30)
    for number, address in enumerate(asked):
        place.facts.pay((address, 100 + number))
        place.facts.mine(HOUR)
    place.facts.mine(20 * DAY)
    found = rounds_until_all_are_searched(place, asked)
    assert found == {address: [100 + number] for number, address in enumerate(asked)}
    past = place.facts.tip - FIRST_BLOCK
    assert blocks_searched(place) < 3 * past, "each by itself: thirty times as many"


def test_a_piece_counts_for_no_address_that_the_wallet_did_not_know_when_it_began(place: Place) -> None:
    place.facts.pay((OTHER, 700))
    place.pay(9 * DAY)
    assert is_complete(place.read(), place)
    # The past was searched a moment ago, but not for this one.
    assert rounds_until_all_are_searched(place, [OTHER]) == {OTHER: [700]}


def test_what_was_searched_in_a_wallet_that_is_gone_counts_for_nobody(place: Place) -> None:
    asked = addresses(3)
    for address in asked:
        place.facts.pay((address, 500))
    place.facts.mine(9 * DAY)
    place.node.misses = frozenset({FIRST_BLOCK + 5 * DAY})
    for _ in range(2):
        for address in asked:
            assert place.read(address=address).gap == "not_searched"
    place.node.lose_wallet()
    with pytest.raises(Unavailable):
        place.read(address=asked[0])
    place.node.misses = frozenset()
    assert rounds_until_all_are_searched(place, asked) == {address: [500] for address in asked}


def test_a_block_that_the_node_lacks_keeps_the_gap_open_at_every_look(place: Place) -> None:
    """Such as while a node that started from a snapshot still fetches what is before it."""
    place.pay(9 * DAY)
    place.node.misses = frozenset({FIRST_BLOCK})
    for _ in range(3):
        assert shown(place.read()) == ([], "not_searched")
    place.node.misses = frozenset()
    assert shown(place.read()) == ([100], "")


# A node that has thrown blocks away.


@pytest.mark.parametrize("later", [HOUR, 9 * DAY])
def test_a_pruned_node_says_at_every_look_that_it_cannot_know(place: Place, later: int) -> None:
    place.pay(later)
    place.node.pruned_below = FIRST_BLOCK + 3
    for _ in range(3):
        reading = place.read()
        assert shown(reading) == ([], "pruned")
        assert reading.since is not None
        assert reading.since > place.birth()
    assert place.node.searched[-1] == (
        FIRST_BLOCK + 3 if later == HOUR else place.node.searched[-1][0],
        place.facts.tip,
    )


def test_what_a_pruned_node_still_has_and_what_comes_is_seen(place: Place) -> None:
    place.pay(4 * DAY)
    place.pay(4 * DAY, value=200)
    place.node.pruned_below = FIRST_BLOCK + 10
    assert shown(place.read()) == ([200], "pruned")
    place.facts.pay((ADDRESS, 300))
    assert shown(place.read()) == ([200, 300], "pruned")
    place.node.pruned_below += 5 * DAY
    assert shown(place.read()) == ([200, 300], "pruned")


def test_a_pruned_node_that_has_all_blocks_since_the_birth_is_complete(place: Place) -> None:
    place.facts.mine(5 * DAY)
    born = place.facts.tip + 1
    place.pay(4 * DAY)
    place.node.pruned_below = born - DAY
    reading = place.read(born=born)
    assert shown(reading) == ([100], "")
    assert is_complete(reading, place, born)


def test_once_the_node_has_the_blocks_again_they_are_searched(place: Place) -> None:
    place.pay(9 * DAY)
    place.node.pruned_below = FIRST_BLOCK + 3
    assert shown(place.read()) == ([], "pruned")
    place.node.pruned_below = None
    reading = place.read()
    assert shown(reading) == ([100], "")
    assert is_complete(reading, place)


def test_a_pruned_node_costs_no_call_more_once_it_has_searched_what_it_has(place: Place) -> None:
    place.pay(9 * DAY)
    place.node.pruned_below = FIRST_BLOCK + 3
    place.read()
    assert calls_of_a_look(place) == HEALTHY


# A wallet that is new.


@pytest.mark.parametrize("later", [HOUR, 9 * DAY])
def test_a_wallet_that_was_lost_is_made_again_and_searched_from_the_birth(place: Place, later: int) -> None:
    tx = place.pay(later)
    assert shown(place.read()) == ([100], "")
    place.node.lose_wallet()
    with pytest.raises(Unavailable):
        place.read()
    reading = place.read(seen(place.facts, tx))
    assert shown(reading) == ([100], "")
    assert reading.fates == {}


def test_a_wallet_that_exists_is_loaded_and_found_again_after_a_restart(place: Place) -> None:
    place.node.wallet = {}
    place.read()
    place.node.loaded = False
    with pytest.raises(Unavailable):
        place.read()
    place.read()
    assert "createwallet" not in place.node.methods


def test_a_wallet_that_the_node_cannot_load_is_named_with_what_to_do(place: Place) -> None:
    place.node.wallet, place.node.loads = {}, False
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"bridge-watch.*move the wallet's folder away") as error:
            place.read()
        assert error.value.code == "chain_wallet_not_loaded"
    assert "createwallet" not in place.node.methods
    place.node.loads = True
    assert is_complete(place.read(), place)


@pytest.mark.parametrize(
    "mark", [Mark(is_done=True, since=0), Mark(is_done=False, since=1_795_000_000, height=800_000)]
)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert mark_of(str(mark)) == mark


@pytest.mark.parametrize(
    "label",
    ["invoice", "", "searched", "searched:", "searched:x", "searched:1:2:3", "searched:-1", "searched:" + "9" * 20],
)
def test_a_label_of_somebody_else_is_no_mark(label: str, place: Place) -> None:
    assert mark_of(label) is None
    place.pay(9 * DAY)
    place.node.holds(ADDRESS, label)
    assert shown(place.read()) == ([100], "")


# What became of a payment that is not listed.


def test_a_new_wallet_that_has_not_searched_a_payments_block_undoes_nothing(place: Place) -> None:
    confirmed, waiting = place.pay(9 * DAY), place.facts.pay((ADDRESS, 200))
    before = [seen(place.facts, confirmed), seen(place.facts, waiting)]
    place.facts.mine()
    place.node.pruned_below = place.facts.tip - 1
    waiting.height = FIRST_BLOCK + DAY
    reading = place.read(*before)
    assert (reading.outputs, reading.gap, reading.fates) == ((), "pruned", {})


def test_a_payment_whose_block_stands_is_not_undone_by_a_wallet_that_lacks_it(place: Place) -> None:
    known = seen(place.facts, place.pay(HOUR))
    stray = KnownOutput(outpoint=f"{'ab' * 32}:0", block_height=known.block_height, block_hash=known.block_hash)
    assert place.read(stray).fates == {}


def test_a_payment_whose_block_was_undone_before_the_wallet_was_made_is_undone(place: Place) -> None:
    tx = place.pay(2)
    known = seen(place.facts, tx)
    place.facts.reorganise(3, drop=tx)
    reading = place.read(known)
    assert (reading.outputs, reading.gap, fates(reading)) == ((), "", {known.outpoint: "not_found"})


def test_a_node_that_has_not_come_to_a_payments_block_yet_does_not_undo_it(place: Place) -> None:
    tx = place.pay(2)
    known = seen(place.facts, tx)
    tx.height, tx.gone, place.facts.tip = None, True, FIRST_BLOCK - 1
    assert place.read(known).fates == {}


def test_a_mempool_that_is_still_being_read_from_disk_undoes_nothing(place: Place) -> None:
    tx = place.facts.pay((ADDRESS, 100))
    known = seen(place.facts, tx)
    assert shown(place.read(known)) == ([100], "")
    tx.gone, place.node.mempool_loaded = True, False
    assert place.read(known).fates == {}
    place.node.mempool_loaded = True
    assert fates(place.read(known)) == {known.outpoint: "not_found"}


@pytest.mark.parametrize("is_pruned", [True, False])
@pytest.mark.parametrize("is_new_core", [True, False])
def test_a_wallet_that_has_not_searched_all_knows_a_raised_fee_all_the_same(
    place: Place, is_pruned: bool, is_new_core: bool
) -> None:
    """Bitcoin Core before 28 tells of rivals that the wallet knows only."""
    place.pay(9 * DAY)
    place.node.tells_mempool_conflicts = is_new_core
    if is_pruned:
        place.node.pruned_below = FIRST_BLOCK + 3
    else:
        place.node.misses = frozenset({FIRST_BLOCK})
    first = place.facts.pay((ADDRESS, 200))
    known = seen(place.facts, first)
    gap = "pruned" if is_pruned else "not_searched"
    assert shown(place.read(known)) == ([200], gap)
    bumped = place.facts.outbid(first, (ADDRESS, 190))
    reading = place.read(known)
    assert shown(reading) == ([190], gap)
    assert reading.fates == {known.outpoint: Fate(code="rival_waits", rival=bumped.txid)}
    place.facts.mine()
    assert fates(place.read(known)) == {known.outpoint: "rival_confirmed"}
    # What it was told of by its block is gone too once the rival is there: the wallet has followed both.
    again = place.facts.pay((ADDRESS, 300))
    place.facts.mine()
    placed = seen(place.facts, again)
    assert place.read(placed).fates == {}
    place.facts.reorganise(1, conflict=again)
    assert fates(place.read(placed)) == {placed.outpoint: "rival_confirmed"}


def test_a_rival_that_has_left_the_mempool_too_proves_nothing(place: Place) -> None:
    first = place.facts.pay((ADDRESS, 200))
    known = seen(place.facts, first)
    place.read(known)
    rival = place.facts.outbid(first, (ADDRESS, 190))
    assert fates(place.read(known)) == {known.outpoint: "rival_waits"}
    rival.gone = True
    assert fates(place.read(known)) == {known.outpoint: "not_found"}


def test_a_block_that_comes_during_the_reading_makes_nothing_deeper_than_the_tip() -> None:
    class Growing(Node):
        def getaddressinfo(self, address: str) -> Any:
            self.facts.mine(2)
            return super().getaddressinfo(address)

    facts = Facts()
    facts.pay((ADDRESS, 100))
    facts.mine(3)
    late = facts.pay((ADDRESS, 200))
    with served(Growing(facts)) as url:
        reading = Place(url, facts, Node(facts)).read()
    depths = {output.amount_sat: output.confirmations for output in reading.outputs}
    assert reading.tip.height == FIRST_BLOCK + 2
    assert depths == {100: 3, 200: 1}
    assert late.height == reading.tip.height + 1


def test_a_payment_that_a_block_takes_from_the_mempool_during_the_reading_is_not_lost() -> None:
    class Mining(Node):
        def getmempoolentry(self, txid: str) -> Any:
            self.facts.mine()
            return super().getmempoolentry(txid)

    facts = Facts()
    facts.pay((ADDRESS, 100))
    with served(Mining(facts)) as url:
        assert shown(Place(url, facts, Node(facts)).read()) == ([100], "")


# What it costs.

HEALTHY = ["getblockchaininfo", "syncwithvalidationinterfacequeue", "getaddressinfo", "listreceivedbyaddress"]


def calls_of_a_look(place: Place, *known: KnownOutput) -> list[str]:
    before = len(place.node.methods)
    place.read(*known)
    return place.node.methods[before:]


def test_a_healthy_look_costs_four_calls_and_one_per_payment(place: Place) -> None:
    place.read()
    assert calls_of_a_look(place) == HEALTHY
    tx = place.facts.pay((ADDRESS, 100))
    assert calls_of_a_look(place) == [*HEALTHY, "gettransaction", "getmempoolentry"]
    place.facts.mine()
    assert calls_of_a_look(place, seen(place.facts, tx)) == [*HEALTHY, "gettransaction"]


def test_the_tip_costs_one_call(place: Place) -> None:
    assert place.reader.tip() == tip_of(place.facts)
    assert place.node.methods == ["getblockchaininfo"]


# Why it is refused.


@pytest.mark.parametrize(
    ("status", "body", "code", "what_to_do"),
    [
        (401, b"", "chain_login_wrong", "rpcauth"),
        (403, b"", "chain_not_allowed", "rpcallowip"),
        (503, b"Work queue depth exceeded", "chain_busy", "rpcworkqueue"),
        (404, b"", "chain_unavailable", "HTTP 404.*RPC port"),
        (200, b"<html>hello</html>", "chain_unavailable", "HTTP 200.*RPC port"),
        (502, b"<html>Bad Gateway</html>", "chain_unavailable", "HTTP 502.*RPC port"),
        (401, b'{"error": "no"}', "chain_login_wrong", "rpcauth"),
        (500, b'{"result": null, "error": {"code": -28, "message": "Loading"}}', "chain_starting", "asked again"),
        (500, b'{"result": null, "error": {"code": -1, "message": "p@ss"}}', "chain_unavailable", "code -1"),
    ],
)
def test_a_refusal_has_a_code_of_its_own_and_says_what_to_do(
    place: Place, status: int, body: bytes, code: str, what_to_do: str
) -> None:
    for ask in (place.reader.tip, place.read):
        place.node.refusal = (status, body)
        with pytest.raises(Unavailable, match=what_to_do) as error:
            ask()
        assert error.value.code == code
        assert "p@ss" not in str(error.value)
        place.node.refusal = None
    assert shown(place.read()) == ([], "")


def test_a_refusal_whose_code_is_no_number_is_a_refusal_and_not_repeated(place: Place) -> None:
    for told in (b'"p@ss"', b'["p@ss"]', b"null"):
        place.node.refusal = (500, b'{"result": null, "error": {"code": ' + told + b"}}")
        with pytest.raises(BridgeError) as error:
            place.reader.tip()
        assert "p@ss" not in str(error.value)


def test_a_call_that_failed_keeps_no_connection_open_while_somebody_keeps_its_error() -> None:
    ended = threading.Event()

    def refuse_then_listen(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        if connection.recv(1) == b"":
            ended.set()

    with RawServer(refuse_then_listen) as server:
        with pytest.raises(Unavailable) as error:
            core_at(server.url).tip()
        assert ended.wait(5)
        assert error.value.code == "chain_login_wrong"


def test_a_node_on_another_chain_is_refused_even_when_it_changes_later(place: Place) -> None:
    place.read()
    place.node.chain = "main"
    for ask in (place.reader.tip, place.read):
        with pytest.raises(ProtocolError) as error:
            ask()
        assert error.value.code == "wrong_network"


def test_a_node_that_is_too_old_is_told_so() -> None:
    class Old(Node):
        def getblockchaininfo(self) -> Any:
            return {name: value for name, value in super().getblockchaininfo().items() if name != "time"}

    with served(Old(Facts())) as url, pytest.raises(ProtocolError, match="Bitcoin Core 23") as error:
        core_at(url).tip()
    assert error.value.code == "chain_node_too_old"


@pytest.mark.parametrize(
    "change",
    [{"blocks": "5"}, {"blocks": -1}, {"bestblockhash": None}, {"time": 1.5}, {"pruned": True, "pruneheight": "x"}],
)
def test_a_tip_of_another_shape_is_no_tip(change: dict[str, Any]) -> None:
    class Odd(Node):
        def getblockchaininfo(self) -> Any:
            return super().getblockchaininfo() | change

    with served(Odd(Facts())) as url, pytest.raises(ProtocolError) as error:
        core_at(url).tip()
    assert error.value.code == "chain_unreadable"


def test_the_login_reaches_the_node_and_no_text_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(Facts()) as place:
        place.read()
    assert place.node.logins == {"Basic YnJpZGdlOnBAc3M6LyM/"}
    with pytest.raises(Unavailable) as error:
        place.read()
    for text in (repr(place.reader), str(error.value), repr(error.value), caplog.text):
        assert "p@ss" not in text


@pytest.mark.parametrize("url", ["https://node:8332", "http://user:pass@node:8332", "node:8332", ""])
def test_a_node_url_that_cannot_work_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError):
        CoreRpcReader(url=url, user="u", password="p", network="test")
