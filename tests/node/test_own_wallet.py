"""Addresses of a watch-only wallet beside Bitcoin Core's own word, and a payment that lands in the owner's real wallet."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import Refused
from bridge.runtime import build
from sandbox.bitcoin import Served
from sandbox.node import NodeError, NodeProgram, sat_of
from tests.core.descriptor_table import ACCEPTED, NOT_OURS, REFUSED
from tests.flows.world import RecordingBilling, World, settings_for

OWNERS = ("owner-a", "owner-b", "owner-c")
LAST = 24


@pytest.fixture(scope="module")
def owners(node: NodeProgram) -> dict[str, dict[str, str]]:
    """Three people's real wallets: the public receiving descriptor of each by its kind."""
    return {name: public_descriptors(node, name) for name in OWNERS}


def public_descriptors(node: NodeProgram, name: str) -> dict[str, str]:
    node.rpc("createwallet", name)
    listed = node.rpc("listdescriptors", wallet=name)["descriptors"]
    return {each["desc"].partition("(")[0]: each["desc"] for each in listed if not each["internal"]}


def derived(node: NodeProgram, descriptor: str) -> list[str]:
    return list(node.rpc("deriveaddresses", descriptor, [0, LAST]))


def ours(descriptor: str) -> list[str]:
    known = parse_descriptor(descriptor, network="regtest")
    return [known.address(index) for index in range(LAST + 1)]


@pytest.mark.parametrize("kind", ["wpkh", "tr"])
def test_our_addresses_are_those_of_the_node(node: NodeProgram, owners: dict[str, Any], kind: str) -> None:
    for name in OWNERS:
        assert ours(owners[name][kind]) == derived(node, owners[name][kind])


@pytest.mark.parametrize(("needed", "of"), [(1, 1), (2, 2), (2, 3), (3, 3), (11, 15), (16, 16), (17, 20), (20, 20)])
def test_our_multisig_addresses_are_those_of_the_node(
    node: NodeProgram, owners: dict[str, Any], needed: int, of: int
) -> None:
    account = [owners[name]["wpkh"].removeprefix("wpkh(").partition("/0/*")[0] for name in OWNERS]
    keys = [f"{account[number % 3]}/{number // 3}/*" for number in range(of)]
    body = f"wsh(sortedmulti({needed},{','.join(keys)}))"
    told = node.rpc("getdescriptorinfo", body)
    assert told["checksum"] == checksum_of(body)
    assert ours(f"{body}#{checksum_of(body)}") == derived(node, f"{body}#{told['checksum']}")


@pytest.mark.parametrize("body", ACCEPTED)
def test_what_we_accept_the_node_accepts_with_the_same_addresses(node: NodeProgram, body: str) -> None:
    text = f"{body}#{checksum_of(body)}"
    listed = node.rpc("deriveaddresses", text, [0, LAST])
    # Of <0;1> the node lists both branches, the first one first.
    assert ours(text) == (listed[0] if isinstance(listed[0], list) else listed)


@pytest.mark.parametrize("body", [body for body, _ in REFUSED])
def test_what_we_call_wrong_the_node_refuses_too(node: NodeProgram, body: str) -> None:
    with pytest.raises(NodeError):
        node.rpc("getdescriptorinfo", body)


@pytest.mark.parametrize("body", [body for body, _ in NOT_OURS])
def test_what_we_only_do_not_know_the_node_does(node: NodeProgram, body: str) -> None:
    assert node.rpc("getdescriptorinfo", body)["checksum"] == checksum_of(body)


def test_what_the_node_exports_with_private_keys_is_refused(node: NodeProgram, owners: dict[str, Any]) -> None:
    private = [each["desc"] for each in node.rpc("listdescriptors", True, wallet=OWNERS[0])["descriptors"]]
    assert private
    for descriptor in private:
        with pytest.raises(Refused) as error:
            parse_descriptor(descriptor, network="regtest")
        assert error.value.code == "private_key"


@pytest.fixture(params=["wpkh", "tr"])
def world(
    request: pytest.FixtureRequest, sandbox: Served, node: NodeProgram, owners: dict[str, Any], sqlite_url: str
) -> Iterator[World]:
    """A bridge that knows the public half of the owner's wallet, and reads the chain from the node itself."""
    rpc = {"url": f"http://127.0.0.1:{node.rpc.port}", "user": node.rpc.user, "password": node.rpc.password}
    own = {"descriptor": owners[OWNERS[0]][request.param]}
    more = {"network": "regtest", "subtc": None, "own_wallet": own, "chain": {"core_rpc": rpc}}
    built = build(settings_for(sandbox.url, sqlite_url, **more))
    billing, clock = RecordingBilling(), sandbox.world.clock
    clock.set(datetime.now(UTC).timestamp())
    bridge = replace(built, billing=billing, clock=lambda: datetime.fromtimestamp(clock.now(), UTC))
    with closing(bridge.store):
        yield World(bridge=bridge, sandbox=sandbox, billing=billing)


def test_a_real_payment_lands_in_the_owners_wallet_and_settles(world: World, node: NodeProgram) -> None:
    before = sat_of(node.rpc("getbalance", wallet=OWNERS[0]))
    for number in range(3):
        invoice = world.open(str(number))
        assert node.rpc("getaddressinfo", invoice["address"], wallet=OWNERS[0])["ismine"]
        world.pay(invoice)
        assert world.seen(invoice)[0] == "processing"
        world.mine()
        assert world.seen(invoice) == ("settled", "none", None)
    node.rpc("syncwithvalidationinterfacequeue")
    assert sat_of(node.rpc("getbalance", wallet=OWNERS[0])) - before == world.balance("wallet:cold") > 0
