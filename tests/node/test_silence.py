"""A whole bridge on a real node that was away, has pruned, or has a new wallet: its silence closes and undoes nothing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.runtime import build
from sandbox.bitcoin import Served, serve_in_thread
from tests.flows.world import RecordingBilling, World, settings_for
from tests.node.test_search import PRUNING, WATCH, Clocked, reader_of, running
from tests.scenarios.play import KEY, WALLET

DAY_OF_BLOCKS = 144
Shop = tuple[Clocked, World]


@pytest.fixture
def sandbox() -> Iterator[Served]:
    """The price sources."""
    served = serve_in_thread(net="regtest", api_key=KEY, wallet_id=WALLET)
    yield served
    served.stop()


@pytest.fixture
def opened(
    bitcoind: Path, tmp_path: Path, sandbox: Served, sqlite_url: str
) -> Callable[..., AbstractContextManager[Shop]]:
    @contextmanager
    def shop(*options: str) -> Iterator[Shop]:
        """A bridge for the node's wallet "shop", by its public descriptor; the node's clock is the bridge's."""
        with running(bitcoind, tmp_path / "node", *options) as node:
            place = Clocked(node)
            listed = place.rpc("listdescriptors", wallet="shop")["descriptors"]
            descriptor = next(d["desc"] for d in listed if d["desc"].startswith("wpkh(") and not d["internal"])
            login = {"user": node.rpc.user, "password": node.rpc.password, "url": f"http://127.0.0.1:{node.rpc.port}"}
            own = {"subtc": None, "own_wallet": {"descriptor": descriptor}, "chain": {"core_rpc": login}}

            def now() -> datetime:
                sandbox.world.clock.set(place.now)  # the prices are as old as they should be
                return datetime.fromtimestamp(place.now, UTC)

            now()
            built, billing = build(settings_for(sandbox.url, sqlite_url, network="regtest", **own)), RecordingBilling()
            with closing(built.store):
                bridge = replace(built, billing=billing, clock=now, chain=place.reader())  # one that is patient
                yield place, World(bridge=bridge, sandbox=sandbox, billing=billing)

    return shop


def test_what_was_paid_while_the_node_was_away_settles_by_the_time_of_its_block(opened: Any) -> None:
    with opened() as (place, world):
        invoice = world.open()
        away = replace(world, bridge=replace(world.bridge, chain=reader_of(place.node, user="nobody")))
        pay_whole(place, invoice)
        paid_at = place.now
        place.later(30 * 6)
        assert away.look(invoice) is None
        assert world.invoice(invoice)["status"] == "new"
        assert world.seen(invoice) == ("settled", "none", None)
        ((first_seen_at,),) = world.rows("SELECT first_seen_at FROM payments")
        assert 0 <= first_seen_at // 10**6 - paid_at <= 600
        world.deliver()
        assert world.billing.types() == ["invoice.settled"]


def test_a_node_that_threw_the_payments_block_away_closes_nothing(opened: Any) -> None:
    with opened(*PRUNING) as (place, world):
        invoice = world.open()
        pay_whole(place, invoice)
        place.prune()
        for _ in range(3):
            assert world.seen(invoice) == ("new", "none", None)
            assert world.rows("SELECT gap FROM invoices")[0].gap == "pruned"
        place.later(8 * DAY_OF_BLOCKS)
        assert world.seen(invoice)[0] == "new"
        place.later(1)
        assert world.seen(invoice)[0] == "new"
        assert world.invoice(invoice)["reason"] == "evidence_missing"
        assert world.reviews() == ["evidence_missing"]
        world.deliver()
        assert world.billing.types() == []


def test_a_raised_fee_on_a_pruned_node_counts_once(opened: Any) -> None:
    """The invoice is older than the oldest block that the node has: it cannot say what else came, but this it has seen."""
    with opened(*PRUNING) as (place, world):
        invoice = world.open()
        place.prune()
        first = pay_whole(place, invoice, mined=False)
        world.look(invoice)
        assert counting(world) == {first}
        bumped = place.rpc("bumpfee", first, wallet="payer")["txid"]
        for blocks in (0, 0, 1):
            place.later(blocks)
            world.look(invoice)
            assert world.rows("SELECT gap FROM invoices")[0].gap == "pruned"
            assert counting(world) == {bumped}
            assert world.invoice(invoice)["received_sat"] == invoice["remaining_sat"]


def counting(world: World) -> set[str]:
    return {key.partition(":")[0] for (key,) in world.rows("SELECT key FROM payments WHERE NOT replaced")}


def test_a_settled_payment_stays_settled_on_a_wallet_that_is_new(opened: Any) -> None:
    with opened() as (place, world):
        invoice = world.open()
        world.look(invoice)
        pay_whole(place, invoice)
        place.later(7)
        assert world.seen(invoice)[0] == "settled"
        place.later(DAY_OF_BLOCKS)
        place.rpc("unloadwallet", WATCH)
        shutil.rmtree(place.node.directory / "regtest" / "wallets" / WATCH)
        for _ in range(3):
            place.later(1)
            world.look(invoice)
            assert world.invoice(invoice)["status"] == "settled"
        world.deliver()
        assert world.billing.types() == ["invoice.settled"]
        assert world.reviews() == []
        assert world.rows("SELECT gap FROM invoices")[0].gap is None


def pay_whole(place: Clocked, invoice: dict[str, Any], *, mined: bool = True) -> str:
    return place.pay(invoice["address"], f"{invoice['remaining_sat'] / 10**8:.8f}", mined=mined)
