"""What the reader of a real node covers: the past of an address, blocks that are gone, a wallet that is new, a login that is wrong."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.core.errors import Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, KnownOutput
from sandbox.bitcoin import Served
from sandbox.chain import Output
from sandbox.node import NodeProgram, start_node
from sandbox.node_chain import NodeChain
from tests.node.test_real_blocks import join

MINUTES, HOURS = 60, 3_600
# How long anything here may take that is only slow: two cores may have much else to do.
PATIENCE = 240
PRUNING = ("-txindex=0", "-prune=1", "-fastprune=1")
WATCH = "bridge-watch"
# A wallet that writes down every block's reward makes mining slow.
NOBODY = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


class Clocked:
    """A node whose clock we turn; its blocks come ten minutes apart on the average, thirty at once at most."""

    def __init__(self, node: NodeProgram):
        self.node, self.rpc = node, node.rpc
        self.now = int(time.time()) - 60 * 24 * HOURS
        self.rpc("setmocktime", self.now)
        # The payer must not spend what was paid: the transaction that does so is the watching wallet's too.
        for wallet in ("payer", "shop"):
            self.rpc("createwallet", wallet)
        self.later(1, to=self.rpc("getnewaddress", wallet="payer"))
        self.later(100)

    def address(self) -> str:
        return str(self.rpc("getnewaddress", wallet="shop"))

    def later(self, blocks: int, *, to: str = NOBODY) -> None:
        while blocks > 0:
            self.now += 10 * MINUTES * min(blocks, 30)
            self.rpc("setmocktime", self.now)
            self.rpc("generatetoaddress", min(blocks, 30), to)
            blocks -= 30

    def pay(self, address: str, bitcoin: str = "0.001", *, mined: bool = True) -> str:
        txid = str(self.rpc("sendtoaddress", address, bitcoin, wallet="payer"))
        if mined:
            self.later(1)
        return txid

    def prune(self) -> None:
        self.later(560)
        self.rpc("pruneblockchain", self.rpc("getblockcount") - 289)

    def reader(self, **options: Any) -> CoreRpcReader:
        return reader_of(self.node, **options)


def reader_of(node: NodeProgram, **options: Any) -> CoreRpcReader:
    # A quarter of the timeout is what one look may spend on searching: on a busy machine the usual time may not do.
    usual = {"user": node.rpc.user, "password": node.rpc.password, "network": "regtest", "timeout_seconds": PATIENCE}
    return CoreRpcReader(url=f"http://127.0.0.1:{node.rpc.port}", **{**usual, **options})


def read(reader: CoreRpcReader, address: str, born: int, *known: KnownOutput) -> ChainReading:
    return reader.read(address, born_at=datetime.fromtimestamp(born, UTC), asked_at=datetime.now(UTC), known=known)


def as_known(output: ChainOutput) -> KnownOutput:
    return KnownOutput(
        outpoint=output.outpoint,
        block_height=output.block_height,
        block_hash=output.block_hash,
        spends=output.spends,
    )


def fates(reading: ChainReading) -> dict[str, str]:
    return {outpoint.partition(":")[0]: fate.code for outpoint, fate in reading.fates.items()}


def shown(reading: ChainReading) -> tuple[list[tuple[int, int]], str]:
    return sorted((output.amount_sat, output.confirmations) for output in reading.outputs), reading.gap


@contextmanager
def running(bitcoind: Path, directory: Path, *options: str) -> Iterator[NodeProgram]:
    node = start_node(bitcoind, directory, *options)
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def full(bitcoind: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    with running(bitcoind, tmp_path_factory.mktemp("full")) as node:
        yield Clocked(node)


@pytest.fixture(scope="module")
def pruned(bitcoind: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    with running(bitcoind, tmp_path_factory.mktemp("pruned"), *PRUNING) as node:
        yield Clocked(node)


@pytest.mark.parametrize("hours", [1, 30, 60])
def test_a_payment_is_found_however_late_the_first_question_comes(full: Clocked, hours: int) -> None:
    """The node was away when the invoice was opened, and came back after so many hours."""
    address, born = full.address(), full.now
    txid = full.pay(address)
    full.later(6 * hours)
    reading = read(full.reader(), address, born)
    assert shown(reading) == ([(100_000, 6 * hours + 1)], "")
    (output,) = reading.outputs
    assert output.outpoint.startswith(txid)
    assert output.block_hash == full.rpc("getblockhash", output.block_height)
    assert reading.tip.hash == full.rpc("getbestblockhash")
    assert int(reading.tip.time.timestamp()) == full.rpc("getblockheader", reading.tip.hash)["time"]
    assert reading.since == datetime.fromtimestamp(born, UTC)


def test_an_address_that_release_0_2_0_imported_too_late_is_searched_again(full: Clocked) -> None:
    address, born = full.address(), full.now
    full.pay(address)
    full.later(6 * 30)
    reader = full.reader()
    read(reader, full.address(), full.now)
    descriptor = full.rpc("getdescriptorinfo", f"addr({address})")["descriptor"]
    request = {"desc": descriptor, "timestamp": full.now - 24 * HOURS, "label": "invoice"}
    assert full.rpc("importdescriptors", [request], wallet=WATCH) == [{"success": True}]
    assert full.rpc("listreceivedbyaddress", 0, False, True, address, wallet=WATCH) == []
    assert shown(read(reader, address, born)) == ([(100_000, 181)], "")


@pytest.mark.parametrize("ahead", [3 * HOURS, 72 * HOURS])
def test_a_payment_is_found_though_the_bridges_clock_was_ahead(bitcoind: Path, tmp_path: Path, ahead: int) -> None:
    """A wallet skips every block that is older than all of its addresses, if the mempool did not show the payment before."""
    with running(bitcoind, tmp_path) as node:
        place = Clocked(node)
        address, born = place.address(), place.now + ahead
        assert shown(read(place.reader(), address, born)) == ([], "")
        place.later(6)
        place.rpc("generatetoaddress", 1, address)
        assert shown(read(place.reader(), address, born)) == ([(50 * 100_000_000, 1)], "")


def test_what_waits_in_the_mempool_is_in_the_first_reading(full: Clocked) -> None:
    address, born = full.address(), full.now
    full.later(6 * 30)
    full.pay(address, mined=False)
    assert shown(read(full.reader(), address, born)) == ([(100_000, 0)], "")
    full.later(1)


def test_a_miners_reward_is_shown_at_once_as_what_it_is(full: Clocked) -> None:
    address, born = full.address(), full.now
    reader = full.reader()
    assert shown(read(reader, address, born)) == ([], "")
    full.rpc("generatetoaddress", 1, address)
    (output,) = read(reader, address, born).outputs
    assert (output.coinbase, output.confirmations) == (True, 1)
    full.later(120)
    (output,) = read(reader, address, born).outputs
    assert (output.coinbase, output.confirmations) == (True, 121)


def test_a_wallet_that_was_deleted_is_made_again_and_searched_from_the_birth(full: Clocked) -> None:
    address, born = full.address(), full.now
    full.pay(address)
    full.later(6 * 48)
    reader = full.reader()
    before = read(reader, address, born)
    full.rpc("unloadwallet", WATCH)
    shutil.rmtree(full.node.directory / "regtest" / "wallets" / WATCH)
    with pytest.raises(Unavailable):
        read(reader, address, born)
    again = read(reader, address, born, *(as_known(output) for output in before.outputs))
    assert again.outputs == before.outputs
    assert shown(again) == ([(100_000, 289)], "")


def test_another_node_searches_from_the_birth_too(full: Clocked, bitcoind: Path, tmp_path: Path) -> None:
    address, born = full.address(), full.now
    full.pay(address)
    full.later(6 * 48)
    assert shown(read(full.reader(), address, born)) == ([(100_000, 289)], "")
    with running(bitcoind, tmp_path / "other", f"-mocktime={full.now}") as other:
        join(full.node, other)
        assert shown(read(reader_of(other), address, born)) == ([(100_000, 289)], "")


def test_readers_that_ask_at_once_only_ever_wait_for_each_other(full: Clocked) -> None:
    born = full.now
    addresses = [full.address() for _ in range(6)]
    for address in addresses:
        full.pay(address, mined=False)
    full.later(6 * 60)
    readers = [full.reader(), full.reader()]
    refused: list[str] = []
    found: dict[int, ChainReading] = {}

    def ask(number: int) -> None:
        while number not in found or found[number].gap:
            try:
                found[number] = read(readers[number % 2], addresses[number % 6], born)
            except Unavailable as error:
                refused.append(error.code)
                time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert [shown(found[number]) for number in range(12)] == [([(100_000, 360)], "")] * 12
    assert set(refused) <= {"chain_scanning"}


def test_a_pruned_node_says_at_every_look_that_it_cannot_know(pruned: Clocked) -> None:
    address, born = pruned.address(), pruned.now
    pruned.pay(address)
    pruned.prune()
    lowest = pruned.rpc("getblockchaininfo")["pruneheight"]
    assert lowest > 102
    for reader in (pruned.reader(), pruned.reader(), pruned.reader()):
        reading = read(reader, address, born)
        assert shown(reading) == ([], "pruned")
        assert reading.since is not None
        assert born < reading.since.timestamp() < pruned.now
    assert pruned.rpc("getaddressinfo", address, wallet=WATCH)["ismine"]
    pruned.pay(address, "0.002")
    assert shown(read(pruned.reader(), address, born)) == ([(200_000, 1)], "pruned")
    # An invoice that was born after the oldest block it has is as complete as on any other node.
    other, born = pruned.address(), pruned.now
    pruned.pay(other, "0.003")
    pruned.later(6 * 30)
    assert shown(read(pruned.reader(), other, born)) == ([(300_000, 181)], "")


def test_a_wallet_that_missed_blocks_which_are_pruned_is_named_with_what_to_do(pruned: Clocked) -> None:
    address, born = pruned.address(), pruned.now
    reader = pruned.reader()
    assert shown(read(reader, address, born)) == ([], "")
    pruned.rpc("unloadwallet", WATCH)
    pruned.pay(address)
    pruned.prune()
    for _ in range(3):
        with pytest.raises(Unavailable) as error:
            read(reader, address, born)
    assert error.value.code == "chain_wallet_not_loaded"
    assert "move the wallet's folder away" in error.value.detail
    wallets = pruned.node.directory / "regtest" / "wallets"
    (wallets / WATCH).rename(wallets / "away")
    assert shown(read(reader, address, born)) == ([], "pruned")


def test_a_payment_is_undone_by_what_the_node_shows_and_not_by_its_silence(sandbox: Served, node: NodeProgram) -> None:
    chain, reader, born = sandbox.world.chain, reader_of(node), int(time.time())
    assert isinstance(chain, NodeChain)
    address = chain.new_address()

    def known() -> list[KnownOutput]:
        return [as_known(output) for output in read(reader, address, born).outputs]

    def told(*before: KnownOutput) -> dict[str, str]:
        return fates(read(reader, address, born, *before))

    with sandbox.world.lock:
        waiting = pay(chain, address, replaceable=True)
        before = known()
        assert told(*before) == {}
        chain.replace(waiting, value_sat=None, address=chain.new_address())
        assert told(*before) == {waiting: "rival_waits"}
        confirmed, other = pay(chain, address), pay(chain, address)
        chain.mine(2)
        before = known()
        assert told(*before) == {}
        chain.reorganise(2, drop=[confirmed])
        assert told(*before) == {confirmed: "rival_confirmed"}
        assert {each.outpoint.partition(":")[0] for each in known()} == {other}
        node.rpc("unloadwallet", WATCH)
        shutil.rmtree(node.directory / "regtest" / "wallets" / WATCH)
        with pytest.raises(Unavailable):
            known()
        assert told(*before) == {confirmed: "not_found"}
        chain.mine(1)


def pay(chain: NodeChain, address: str, *, replaceable: bool = False) -> str:
    return chain.pay([Output(address=address, value_sat=50_000)], replaceable=replaceable).txid


def test_a_wrong_login_is_told_apart(full: Clocked) -> None:
    assert refusal(full.reader(password="wrong").tip) == "chain_login_wrong"


def test_a_method_that_the_node_does_not_allow_is_told_apart(bitcoind: Path, tmp_path: Path) -> None:
    with running(bitcoind, tmp_path, "-rpcwhitelist=sandbox:getblockcount,stop") as node:
        assert refusal(reader_of(node).tip) == "chain_not_allowed"


def test_a_node_with_too_many_calls_is_told_apart_and_answers_again(bitcoind: Path, tmp_path: Path) -> None:
    with running(bitcoind, tmp_path, "-rpcthreads=1", "-rpcworkqueue=1") as node:
        answers: list[str | None] = []
        ends = time.monotonic() + PATIENCE
        # Again, until the calls have met the node while its only thread waits: on a busy machine they may come too late.
        while "chain_busy" not in answers:
            assert time.monotonic() < ends, "the node always had room"
            ask_beside_a_long_call(node, answers)
        assert set(answers) <= {"chain_busy", None}
        assert reader_of(node).tip().height == 0


def ask_beside_a_long_call(node: NodeProgram, answers: list[str | None]) -> None:
    """Eight calls for the tip while the node's only thread waits for a block; one of them has a place in the queue."""
    first = threading.Thread(target=node.rpc, args=("waitfornewblock", 3_000))
    asking = [threading.Thread(target=lambda: answers.append(refusal(reader_of(node).tip))) for _ in range(8)]
    first.start()
    time.sleep(0.5)
    for each in asking:
        each.start()
    for each in [first, *asking]:
        each.join(PATIENCE)


def refusal(ask: Callable[[], Any]) -> str | None:
    """The code of the error, if there is one."""
    try:
        ask()
    except Unavailable as error:
        return error.code
    return None
