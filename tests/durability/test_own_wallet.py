"""Payers pay to the shop's own wallet: whoever dies and however many nodes open, no index is given out twice."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.durability.shop import Died, Shop
from tests.durability.test_kill_matrix import wait_for_victims
from tests.durability.truth import faults_in
from tests.flows.test_own_wallet import OWN, WITHOUT_GATEWAY
from tests.parts import on_engines

POINTS = ("open.first_committing", "open.claimed", "look.read", "look.committing", "look.committed", "deliver.sent")
LONGEST_LEASE_SECONDS = 61
GIVEN = "SELECT address FROM derived_addresses ORDER BY address_index"


def drive(shop: Shop) -> None:
    invoice = shop.open("7")
    shop.pay(invoice)
    shop.until_status("7", "processing", "settled")
    shop.control("mine", blocks=1)
    shop.advance(31)
    shop.until_set_paid("7")


@pytest.mark.parametrize(("engine_name", "point"), on_engines((point,) for point in POINTS))
def test_a_program_killed_anywhere_gives_no_index_out_twice(shops, point):
    shop = shops(settings=WITHOUT_GATEWAY)
    shop.start(crash_at=point)
    with contextlib.suppress(Died):
        drive(shop)
    assert len({program.name for program in wait_for_victims(shop)}) == 1

    shop.kill_all()
    shop.advance(LONGEST_LEASE_SECONDS)
    shop.start()
    drive(shop)
    second = shop.open("8")
    shop.until_quiet()

    assert shop.values(GIVEN) == [OWN.address(0), OWN.address(1)]
    assert second["address"] == OWN.address(1)
    assert shop.receiver.paid() == {"7": 1}
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []
    assert shop.calls("inbox_create") == shop.calls("wallet_poll") == shop.calls("wallet_balance") == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_two_nodes_open_at_once_without_a_gap_or_a_double(shops):
    shop = shops(settings=WITHOUT_GATEWAY)
    ports = [shop.start_web().port for _ in range(2)]

    def open_at(number: int) -> str:
        body = {"billing_payment_id": str(number), "amount": "10.00", "currency": "USD"}
        headers = {"Idempotency-Key": f"bm-{number}-1"}
        reply = shop.api("POST", "/v1/invoices", port=ports[number % 2], json=body, headers=headers)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["address"])

    with ThreadPoolExecutor(8) as clients:
        opened = list(clients.map(open_at, range(32)))
    assert sorted(opened) == sorted(OWN.address(index) for index in range(32))
    assert shop.values(GIVEN) == [OWN.address(index) for index in range(32)]
