"""What the gateway answers when it is asked for an address: late, broken, wrong, repeated. Nothing of it reaches a payer."""

import json

import pytest

from bridge.core.errors import Unavailable
from tests.flows.world import World

BROKEN = {
    "error_500_before": {},
    "error_500_after": {},
    "cut_before": {},
    "cut_midway": {},
    "lost_response": {},
    "truncated_json": {},
    "not_json": {},
    "redirect": {},
    "rate_limited": {},
    "no_result": {},
    "down": {},
    "node_unavailable": {},
    "drop_member": {"member": "address"},
}
WRONG = {
    "main_address": {},
    "set_member": {"member": "wallet_id", "value": "wt_" + "c" * 44},
}


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("kind", [*BROKEN, *WRONG])
def test_a_broken_answer_is_a_clear_error_and_the_next_try_works(world: World, kind: str) -> None:
    world.fault("inbox_create", kind, times=1, **(BROKEN | WRONG)[kind])
    with pytest.raises(Unavailable) as refused:
        world.ask()
    assert (refused.value.code, refused.value.retry_after_seconds) == ("provider_unavailable", 30)
    assert world.rows("SELECT * FROM invoices") == []
    assert world.rows("SELECT * FROM openings") == []
    assert world.ask().status == 201


@pytest.mark.parametrize("kind", WRONG)
def test_an_address_of_another_network_or_wallet_makes_somebody_look(world: World, kind: str) -> None:
    world.fault("inbox_create", kind, times=1, **WRONG[kind])
    with pytest.raises(Unavailable):
        world.ask()
    assert world.reviews() == ["suspicious_address"]


def test_an_answer_that_is_too_late_is_given_up_and_the_next_try_works(worlds) -> None:
    world = worlds(subtc={"timeout_seconds": 1})
    world.fault("inbox_create", "slow_drip", times=1, seconds=4)
    with pytest.raises(Unavailable) as refused:
        world.ask()
    assert refused.value.code == "provider_unavailable"
    assert world.ask().status == 201


def test_an_address_seen_before_is_never_given_to_a_second_invoice(world: World) -> None:
    first = world.open("1")
    world.fault("inbox_create", "repeated_address", times=1)
    with pytest.raises(Unavailable):
        world.ask("2")
    assert world.reviews() == ["suspicious_address"]
    second = world.open("2")
    assert second["address"] != first["address"]
    assert world.invoice(first) == first


def test_with_the_gateway_down_open_invoices_go_on_by_the_chain_and_new_ones_wait(world: World) -> None:
    invoice = world.open("1")
    for outage in ("503", "cut"):
        world.control("knobs", outage=outage)
        with pytest.raises(Unavailable) as refused:
            world.ask("2")
        assert refused.value.retry_after_seconds == 30
    world.pay(invoice)
    assert world.seen(invoice)[0] == "processing"
    world.heal()
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert json.loads(world.ask("2").body)["status"] == "new"


def test_every_attempt_that_failed_at_the_gateway_leaves_at_most_an_unused_address(world: World) -> None:
    world.fault("inbox_create", "lost_response", times=2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            world.ask()
    invoice = world.open()
    (wallet,) = world.control_state()["wallets"]
    assert len(wallet["received_sat"]) == 3
    assert invoice["address"] in wallet["received_sat"]
