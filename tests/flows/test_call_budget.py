"""The budget of calls to the gateway: nobody exceeds it together, and what cannot wait is served last to be refused."""

import json
from collections.abc import Callable

import pytest

from bridge.books.reconcile import start_scheduled, step
from bridge.core.errors import Unavailable
from bridge.invoices.poll import arm_watches, sense_balance
from bridge.invoices.targets import fill_spare_addresses
from bridge.payouts.treasury import read_balance, read_balances
from bridge.turns import draw_call, limit_of
from bridge.upkeep.check import alerts
from tests.flows.world import World

Worlds = Callable[..., World]
MODES = ("inbox_create", "wallet_poll", "wallet_balance", "wallet_wait_event", "wallet_send")


def gateway_calls(world: World) -> int:
    return sum(world.calls(mode) for mode in MODES)


def storm(world: World, *, round_: int) -> None:
    """Everything that ever calls the gateway, without regard for anything."""
    bridge = world.bridge
    for number in range(4):
        try:
            world.ask(f"{round_}-{number}")
        except Unavailable as refused:
            assert refused.code == "call_budget_spent"
    fill_spare_addresses(bridge, owner="w1")
    arm_watches(bridge, limit=5)
    world.poll(limit=20)
    sense_balance(bridge, owner="w1")
    read_balances(bridge, owner="w1")
    for row in world.rows("SELECT id FROM invoices"):
        world.look({"id": row[0]})
    alerts(bridge, ask_outside=True)
    run_id = start_scheduled(bridge)
    for _ in range(3):
        step(bridge, run_id)


def test_no_minute_ever_holds_more_calls_than_the_budget(worlds: Worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 12})
    for round_ in range(4):
        before = gateway_calls(world)
        storm(world, round_=round_)
        storm(world, round_=round_ + 10)
        assert 0 < gateway_calls(world) - before <= 12
        world.advance(62)


def test_a_payer_who_waits_for_an_address_is_the_last_to_be_refused(worlds: Worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 24})
    with pytest.raises(Unavailable):
        for _ in range(25):
            draw_call(world.bridge)
    assert limit_of(world.bridge, "plain") == 22
    assert json.loads(world.ask("1").body)["address"]
    assert json.loads(world.ask("2").body)["address"]
    with pytest.raises(Unavailable) as refused:
        world.ask("3")
    assert (refused.value.code, refused.value.retry_after_seconds) == ("call_budget_spent", 10)
    assert world.rows("SELECT * FROM openings") == []
    world.advance(62)
    assert json.loads(world.ask("3").body)["address"]


def test_a_spent_budget_is_no_outage(worlds: Worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 2})
    with pytest.raises(Unavailable):
        for _ in range(3):
            draw_call(world.bridge, purpose="urgent")
    assert read_balance(world.bridge, "hot") is None
    assert not {alert.rule for alert in alerts(world.bridge, ask_outside=True)} & {"provider_down", "clock_skew"}


def test_every_purpose_has_something_left_for_the_more_urgent(world: World) -> None:
    limits = [limit_of(world.bridge, purpose) for purpose in ("reconcile", "routine", "plain", "urgent")]
    assert limits == sorted(limits)
    assert limits[-1] == world.bridge.receiving.calls_per_minute
