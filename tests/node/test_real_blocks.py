"""Cases of money on real blocks, read through both chain readers; two nodes disagree for real."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.chain.core_rpc import CoreRpcReader
from bridge.chain.esplora import EsploraReader
from bridge.context import Chain
from bridge.store import invoices
from sandbox.bitcoin import Served
from sandbox.node import NodeProgram, start_node
from sandbox.node_chain import NodeChain
from sandbox.scenario import Player, Scenario, load
from tests.scenarios.play import FlowBridge, SandboxHttp, build

SCENARIOS = Path(__file__).parents[1] / "scenarios"
# Played as they are: what the simulated chain does in them, a real one can do too.
ON_REAL_BLOCKS = (
    "01-paid-in-full",
    "05-a-part-then-the-rest",
    "30-fee-bump-same-amount",
    "31-replaced-by-less",
    "32-replaced-away",
    "33-double-spend-confirmed",
    "37-reorganised-after-settling",
    "38-reorganised-and-back",
    "47-taproot-payer",
)
ONE_FOR_TWO: list[dict[str, Any]] = [
    {"open": {"as": "a"}},
    {"open": {"as": "b", "amount": "25.00"}},
    {"at": "+1m", "pay": {"outputs": [{"invoice": "a"}, {"invoice": "b"}]}},
    {"at": "+9m", "mine": 1},
    {"expect": {"a": {"status": "settled", "payments": 1}, "b": {"status": "settled", "payments": 1}}},
]
PAID: list[dict[str, Any]] = [
    {"open": {}},
    {"at": "+1m", "pay": "due"},
    {"at": "+9m", "mine": 1},
    {"expect": {"status": "settled", "told": "processing settled"}},
]


@pytest.fixture(params=["esplora", "core"])
def reader(request: pytest.FixtureRequest, node: NodeProgram, sandbox: Served) -> Iterator[Chain]:
    """Both readers look at the same node."""
    made: EsploraReader | CoreRpcReader
    if request.param == "esplora":
        made = EsploraReader(base_urls=[f"{sandbox.url}/esplora"])
    else:
        made = CoreRpcReader(
            url=f"http://127.0.0.1:{node.rpc.port}", user=node.rpc.user, password=node.rpc.password, network="regtest"
        )
    with closing(made):
        yield made


def play(scenario: Scenario, sandbox: Served, reader: Chain, database_url: str) -> Iterator[FlowBridge]:
    """Plays a scenario; the books must say what came into the node's wallet meanwhile."""
    with closing(SandboxHttp(sandbox.url)) as outside:
        before = outside.wallet()
        outside.clock_to(0)
        inside = build(database_url, scenario, sandbox.url, network="regtest", reader=reader)
        with closing(inside.bridge.store):
            Player(scenario, outside=outside, inside=inside, say=lambda line: None).play()
            inside.work()
            yield inside
            after = outside.wallet()
            assert booked(inside) == sum(after[k] - before[k] for k in ("confirmed_sat", "unconfirmed_sat"))


def booked(inside: FlowBridge) -> int:
    ledgers = [inside.seen(name, frozenset())["ledger"] for name in inside.ids]
    return sum(ledger.get(account, 0) for ledger in ledgers for account in ("wallet:hot", "inflight:unconfirmed"))


@pytest.mark.parametrize("name", ON_REAL_BLOCKS)
def test_the_scenario_comes_true_on_real_blocks(name: str, sandbox: Served, reader: Chain, sqlite_url: str) -> None:
    for _ in play(load(SCENARIOS / f"{name}.yaml"), sandbox, reader, sqlite_url):
        """What is checked stands in the file."""


def test_one_real_transaction_pays_two_invoices(sandbox: Served, reader: Chain, sqlite_url: str) -> None:
    scenario = Scenario(path=Path("one for two"), title="one for two", steps=ONE_FOR_TWO)
    for inside in play(scenario, sandbox, reader, sqlite_url):
        assert len({p.partition(":")[0] for p in payment_keys(inside)}) == 1


def test_two_nodes_disagree_and_the_longer_chain_takes_a_settled_payment_back(
    bitcoind: Path, node: NodeProgram, sandbox: Served, reader: Chain, sqlite_url: str, tmp_path: Path
) -> None:
    other = start_node(bitcoind, tmp_path / "other")
    try:
        join(node, other)
        other.rpc("setnetworkactive", False)
        for inside in play(
            Scenario(path=Path("two nodes"), title="two nodes", steps=PAID), sandbox, reader, sqlite_url
        ):
            (key,) = payment_keys(inside)
            # The other half of the network has confirmed another spending of the same coins, three blocks deep.
            confirm_rival_on(other, sandbox, key.partition(":")[0])
            other.rpc("setnetworkactive", True)
            join(node, other)
            inside.work()
            seen = inside.seen("a", frozenset())
            assert (seen["status"], seen["hold"], seen["reason"]) == ("invalid", "review", "reorged")
            assert (seen["reviews"], seen["received"]) == (["reorged"], 0)
            assert seen["told"] == ["processing", "settled", "invalid", "review"]
            assert not any(units for account, units in seen["ledger"].items() if account != "reserved")
    finally:
        other.stop()


def payment_keys(inside: FlowBridge) -> list[str]:
    with inside.bridge.store.read() as tx:
        return [p.key for invoice_id in inside.ids.values() for p in invoices.payments_of(tx, invoice_id)]


def confirm_rival_on(other: NodeProgram, sandbox: Served, txid: str) -> None:
    chain = sandbox.world.chain
    assert isinstance(chain, NodeChain)
    with sandbox.world.lock:
        rival, address = chain.rival_of(txid), chain.new_address()
    other.rpc("generateblock", address, [rival])
    other.rpc("generatetoaddress", 2, address)


def join(node: NodeProgram, other: NodeProgram) -> None:
    """Connects two nodes, as often as it takes, until they agree on the tip."""
    deadline = time.monotonic() + 180
    while node.rpc("getbestblockhash") != other.rpc("getbestblockhash"):
        assert time.monotonic() < deadline, "the two nodes never agreed"
        other.rpc("addnode", node.peer, "onetry")
        time.sleep(0.2)
