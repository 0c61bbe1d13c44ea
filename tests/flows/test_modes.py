"""The operator's switches: what each forbids, that nothing is lost meanwhile, and that each turn is audited."""

from dataclasses import replace

import pytest

from bridge.core.errors import Refused, Unavailable
from bridge.desk.desk import switches
from bridge.invoices.pay import pay_view
from bridge.invoices.poll import arm_watches
from bridge.permit import scopes, set_mode
from bridge.rails.subtc import sending
from tests.flows.world import WALLET, World


def test_read_only_shows_and_does_nothing_else_and_everything_follows_afterwards(world: World) -> None:
    invoice = world.open("1")
    world.pay(invoice, confirmations=1)
    world.advance(31)
    world.switch("read_only")
    for key in ("1", "2"):
        with pytest.raises(Unavailable) as refused:
            world.ask(key, key=f"other-{key}")
        assert (refused.value.code, refused.value.retry_after_seconds) == ("mode_read_only", 60)
    assert [world.poll(), world.answer_doorbells(), world.deliver(), arm_watches(world.bridge, limit=9)] == [0] * 4
    assert world.invoice(invoice)["status"] == "new"
    assert pay_view(world.bridge, invoice["payment_url"].rpartition("/")[2]).shown_sat == 15_539
    world.switch("normal")
    world.work()
    assert world.billing.types() == ["invoice.settled"]


def test_an_answer_given_before_is_still_given_in_read_only(world: World) -> None:
    first = world.ask()
    world.switch("read_only")
    assert world.ask().body == first.body


def test_a_doorbell_in_read_only_is_kept_and_answered_afterwards(world: World) -> None:
    invoice = world.open()
    world.switch("read_only")
    world.ring(invoice)
    assert world.answer_doorbells() == 0
    world.switch("normal")
    assert world.answer_doorbells() == 1


def test_queued_goes_on_watching_and_settling_and_tells_nobody_until_it_ends(world: World) -> None:
    world.switch("queued")
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "settled"
    assert world.deliver() == 0
    assert [event["type"] for event in world.feed()] == ["invoice.created", "invoice.settled"]
    world.switch("normal")
    world.deliver()
    assert world.billing.types() == ["invoice.settled"]


def test_limited_refuses_new_invoices_and_serves_the_open_ones(world: World) -> None:
    invoice = world.open("1")
    world.switch("limited")
    with pytest.raises(Unavailable) as refused:
        world.ask("2")
    assert refused.value.code == "mode_limited"
    assert world.open("1", key="again")["id"] == invoice["id"]
    world.pay(invoice, confirmations=1)
    world.advance(31)
    world.work()
    assert world.billing.types() == ["invoice.settled"]


def test_a_paused_wallet_is_not_called_and_keeps_everything(world: World) -> None:
    invoice = world.open("1")
    scope = f"wallet:{world.bridge.wallet_id}"
    world.switch("paused", scope=scope)
    with pytest.raises(Unavailable) as refused:
        world.ask("2")
    assert refused.value.code == "wallet_paused"
    world.advance(31)
    world.ring(invoice)
    assert [world.poll(), world.answer_doorbells()] == [0, 0]
    world.switch("normal", scope=scope)
    assert world.answer_doorbells() == 1
    assert world.open("2")["status"] == "new"


def test_a_switch_is_seen_by_every_other_node_and_survives_restarts(worlds) -> None:
    worlds().switch("limited")
    with pytest.raises(Unavailable):
        worlds().ask()


def test_every_turn_of_a_switch_is_audited(world: World) -> None:
    world.switch("limited")
    rows = world.rows("SELECT actor, reason, detail FROM audit WHERE action = 'mode_set'")
    assert [(row.actor, row.reason) for row in rows] == [("anna", "a test")]
    assert '"before": "normal"' in rows[0].detail


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("scope", "mode", "actor", "code", "field"),
    [
        ("bridge", "off", "anna", "unknown_mode", "mode"),
        ("bridge", "paused", "anna", "unknown_mode", "mode"),
        (f"wallet:{WALLET}", "read_only", "anna", "unknown_mode", "mode"),
        ("wallet:", "paused", "anna", "unknown_scope", "scope"),
        ("wallet:wt_mistyped", "paused", "anna", "unknown_scope", "scope"),
        ("everything", "normal", "anna", "unknown_scope", "scope"),
        ("bridge", "limited", " ", "actor_and_reason_required", "reason"),
    ],
)
def test_a_wrong_switch_is_refused(world: World, scope: str, mode: str, actor: str, code: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        set_mode(world.bridge, scope=scope, mode=mode, actor=actor, reason="why")
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_every_wallet_that_the_bridge_works_with_has_a_switch(world: World) -> None:
    bridge = replace(world.bridge, rails=(*world.bridge.rails, sending(world.wallet, "wt_billing", role="billing")))
    assert scopes(bridge) == ["bridge", f"wallet:{WALLET}", "wallet:wt_billing"]
    set_mode(bridge, scope="wallet:wt_billing", mode="paused", actor="anna", reason="a test")
    assert [(row["scope"], row["mode"]) for row in switches(bridge)][2] == ("wallet:wt_billing", "paused")
