"""No gateway: payers pay to the shop's own wallet, known by its public descriptor; the chain alone says what came."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import BridgeError, Refused
from bridge.core.rail import CHAIN, Rail
from bridge.desk.day_report import report
from bridge.desk.evidence import evidence
from bridge.desk.explain import explain
from bridge.payouts.sweep import propose_sweep, sweep_due
from bridge.payouts.treasury import read_balances, treasury_rows, treasury_view
from bridge.permit import come_up_read_only
from bridge.upkeep.check import alerts, readiness
from bridge.upkeep.doctor import Place, examine
from bridge.worker import Worker
from tests.books.runs import change, codes, paid, reconcile
from tests.flows.world import World

# The account key of BIP-86's words, as test networks write it.
TPUB = "tpubDC3pD7UZXnsgh3EBjbtBQiB1FnLask7UHBSunZ1DPK4dCFFZoFRkgxHB8gt42FvLzx1DpxfHWxAsYaY6b643RVcGjDxXxns7wKKYnnfEcbB"
BODY = f"wpkh([73c5da0a/84'/1'/0']{TPUB}/0/*)"
DESCRIPTOR = f"{BODY}#{checksum_of(BODY)}"
OWN = parse_descriptor(DESCRIPTOR, network="test")
OWN_RAIL = Rail(name="own_wallet", wallet_id=OWN.wallet_id, role="cold", witness=CHAIN, derives=OWN)
WITHOUT_GATEWAY = {"subtc": None, "own_wallet": {"descriptor": DESCRIPTOR}}


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds(**WITHOUT_GATEWAY)


def test_the_whole_way_of_a_payment_without_a_gateway(world: World) -> None:
    invoice = world.open()
    assert invoice["address"] == OWN.address(0)
    world.pay(invoice)
    for status in ("processing", "settled"):
        world.advance(60)
        world.work()
        assert world.invoice(invoice)["status"] == status
        world.mine()
    assert world.billing.types() == ["invoice.processing", "invoice.settled"]
    assert world.balance("wallet:cold") == invoice["remaining_sat"]
    assert world.balance("wallet:hot") == 0


def test_the_gateway_is_never_called_whatever_the_worker_does(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    worker = Worker(world.bridge, threads=2)
    for _ in range(3):
        worker.step()
        world.advance(3_600)
    read_balances(world.bridge, owner="w1")
    assert sweep_due(world.bridge, owner="w1") == 0
    assert {check.name for check in readiness(world.bridge) if not check.ok} == set()
    tripped = {alert.rule for alert in alerts(world.bridge, ask_outside=True)}
    assert tripped.isdisjoint({"provider_down", "hot_balance", "clock_skew", "balance_old", "chain_down"})
    for mode in ("inbox_create", "wallet_poll", "wallet_balance", "wallet_wait", "wallet_send"):
        assert world.calls(mode) == 0
    worker.stop()
    worker.run()


def test_each_invoice_has_the_next_address(world: World) -> None:
    addresses = [world.open(str(number))["address"] for number in range(5)]
    assert addresses == [OWN.address(index) for index in range(5)]
    assert world.open("2")["address"] == addresses[2]


def test_many_at_once_never_share_an_index_and_leave_no_gap(world: World) -> None:
    with ThreadPoolExecutor(8) as crowd:
        opened = list(crowd.map(lambda number: json.loads(world.ask(str(number)).body), range(24)))
    assert sorted(invoice["address"] for invoice in opened) == sorted(OWN.address(index) for index in range(24))


def test_two_nodes_with_the_same_descriptor_share_the_counter(worlds: Callable[..., World]) -> None:
    spelled = f"wpkh({TPUB}/<0;1>/*)"
    nodes = (
        worlds(**WITHOUT_GATEWAY),
        worlds(subtc=None, own_wallet={"descriptor": f"{spelled}#{checksum_of(spelled)}"}),
    )
    with ThreadPoolExecutor(8) as crowd:
        opened = list(crowd.map(lambda number: json.loads(nodes[number % 2].ask(str(number)).body), range(16)))
    assert sorted(invoice["address"] for invoice in opened) == sorted(OWN.address(index) for index in range(16))


def test_a_refused_opening_uses_no_index_up(world: World) -> None:
    with pytest.raises(BridgeError):
        world.ask("1", amount_text="0.01")
    assert world.open("2")["address"] == OWN.address(0)


def test_after_a_restore_no_index_of_the_lost_time_is_used(world: World) -> None:
    world.open("1")
    come_up_read_only(world.bridge, detail={"copy": "copy"}, actor="anna", reason="a test")
    world.switch("normal")
    assert world.open("2")["address"] == OWN.address(10_001)


def test_an_address_of_ours_takes_no_refund(world: World) -> None:
    from bridge.payouts.destination import naming, place_of

    place = place_of(world.bridge, world.open()["address"], role="cold", terms=None, sat=1, now=world.bridge.clock())
    with world.bridge.store.read() as tx, pytest.raises(Refused) as error:
        naming(tx, world.bridge, place)
    assert error.value.code == "own_address"


def test_the_doctor_shows_the_first_address_and_the_gap(world: World) -> None:
    for number in range(4):
        invoice = world.open(str(number))
    world.pay(invoice)
    world.look(invoice)
    (found,) = [each for each in examine(world.bridge, Place(gap_limit=4)) if each.name == "own_wallet"]
    assert found.state == "ok" and OWN.address(0) in found.detail and "3 in a row" in found.detail
    (found,) = [each for each in examine(world.bridge, Place(gap_limit=3)) if each.name == "own_wallet"]
    assert found.state == "warn" and "gap limit" in found.mend


def test_the_doctor_warns_of_the_branch_of_change(world: World, worlds: Callable[..., World]) -> None:
    body = BODY.replace("/0/*", "/1/*")
    change = worlds(subtc=None, own_wallet={"descriptor": f"{body}#{checksum_of(body)}"})
    (found,) = [each for each in examine(change.bridge, Place()) if each.name == "receiving_branch:own_wallet"]
    assert found.state == "warn" and "/1/*" in found.detail and "receiving branch" in found.mend
    assert not [each for each in examine(world.bridge, Place()) if each.name.startswith("receiving_branch")]


def test_nothing_is_swept_from_the_own_wallet(world: World) -> None:
    with pytest.raises(Refused) as error:
        propose_sweep(world.bridge, actor="anna", reason="why", key="k")
    assert error.value.code == "no_gateway"
    assert treasury_view(world.bridge)["wallets"] == []


def test_with_a_silent_chain_nothing_moves(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.fault("esplora", "cut_before")
    assert world.look(invoice) is None
    world.heal()
    assert world.seen(invoice)[0] == "processing"


def test_the_books_agree_with_the_chain_and_a_lost_output_is_found(world: World) -> None:
    for number in range(3):
        invoice = paid(world, str(number))
    assert codes(reconcile(world.bridge)) == []
    change(world, "UPDATE payments SET replaced = true WHERE invoice_id = :id", id=invoice["id"])
    assert "output_missing" in codes(reconcile(world.bridge))


def test_an_invoice_can_be_explained_proved_and_exported(world: World) -> None:
    invoice = paid(world)
    assert any("settled" in line for line in explain(world.bridge, invoice["id"], lang="en"))
    assert evidence(world.bridge, invoice["id"])
    now = world.bridge.clock()
    rows = {row["role"]: row for row in treasury_rows(world.bridge, from_at=now - timedelta(days=1), to_at=now)}
    assert (rows["cold"]["in_sat"], rows["hot"]["in_sat"]) == (invoice["received_sat"], 0)
    day = report(world.bridge, now.date())
    assert day["sat"]["confirmed"] + day["sat"]["opening_unconfirmed"] >= 0
    assert all(each["left"] == each["right"] for each in day["sums"])


def test_a_chain_source_that_is_away_is_said_on_the_invoice_until_it_is_back(world: World) -> None:
    """It is the only witness there is: what it was asked in vain must not look like a quiet day."""
    paid_in_part, invoice = world.open("6"), world.open("7")
    world.pay(paid_in_part, 5_000)
    world.look(paid_in_part)
    world.fault("esplora", "error_500_before")
    for seconds in (60, 601, 3_000):
        world.advance(seconds)
        assert world.look(invoice) is None
        assert world.look(paid_in_part) is None
    assert world.rows("SELECT gap FROM invoices") == [("chain_unavailable",)] * 2
    assert world.reviews() == ["evidence_missing"]
    assert "no source of the chain answers" in " ".join(explain(world.bridge, invoice["id"], lang="en"))
    world.advance(60)
    tripped = {each.rule: each.detail for each in alerts(world.bridge)}
    assert "chain_unavailable: 2" in tripped["evidence_gaps"]
    assert world.invoice(invoice)["status"] == "new"
    world.heal()
    for each in (invoice, paid_in_part):
        world.look(each)
    assert (world.rows("SELECT gap FROM invoices"), world.reviews()) == ([(None,)] * 2, [])


def test_a_look_in_vain_is_tried_again_as_soon_as_ever(world: World) -> None:
    invoice = world.open()
    world.fault("esplora", "error_500_before")
    world.advance(3 * 86_400)
    world.work()
    world.heal()
    world.pay(invoice)
    world.advance(31)
    world.work()
    assert world.invoice(invoice)["received_sat"] == invoice["remaining_sat"]
