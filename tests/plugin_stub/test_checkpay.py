"""checkpay: the pull that makes the push a mere convenience."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.actions.money import RefundBody
from tests.plugin_stub.conftest import Push
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, OLD_SECRET, Panel


@pytest.fixture
def second_bridge() -> Iterator[FakeBridge]:
    running = FakeBridge()
    yield running
    running.close()


def open_payments(panel: Panel, *elids: str) -> None:
    for elid in elids:
        panel.add_payment(elid, randomnumber=f"random{elid}")
        assert panel.pay(elid).status == 302


def feed_state(panel: Panel) -> dict[str, Any]:
    (where,) = (panel.base / "var/subtc/feeds").glob("*.json")
    found: dict[str, Any] = json.loads(where.read_text())
    return found


def test_checkpay_says_nothing_and_leaves_an_empty_panel_alone(panel: Panel, bridge: FakeBridge) -> None:
    panel.checkpay()
    assert bridge.requests == []


def test_without_any_push_one_tick_pays_everything(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8", "9", "10", "11")
    for elid in ("7", "8", "9", "10", "11"):
        bridge.event("processing", elid, status="processing")
        bridge.settled(elid)
    panel.checkpay()
    assert len(panel.credits()) == 5
    assert feed_state(panel)["position"] == 10


def test_a_second_tick_asks_only_for_what_is_new(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    panel.checkpay()
    bridge.requests.clear()
    panel.checkpay()
    assert [path for _, path, _, _ in bridge.requests] == ["/v1/events?after=1&limit=100"]


def test_one_bad_payment_never_stops_the_rest(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8", "9")
    bridge.settled("7", amount="11.00")
    bridge.feed.append({"position": 2, "nonsense": True})
    bridge.settled("8")
    bridge.settled("9")
    panel.fail("payment.setpaid", "error")
    panel.checkpay()
    assert [panel.payment(elid)["status"] for elid in ("7", "8", "9")] == [2, 2, 4]
    state = feed_state(panel)
    assert (state["position"], len(state["retry"]), len(state["parked"])) == (4, 1, 2)
    panel.checkpay()
    assert [panel.payment(elid)["status"] for elid in ("7", "8", "9")] == [2, 4, 4]
    assert feed_state(panel)["retry"] == []


def test_payments_that_can_never_be_read_do_not_stop_the_others(panel: Panel, bridge: FakeBridge) -> None:
    """Five of them at the head of everything: as samples of their method, in the feed and in the retry list."""
    broken, good = [str(number) for number in range(7, 12)], [str(number) for number in range(12, 16)]
    open_payments(panel, *good, *broken)
    for elid in [*broken, *good]:
        bridge.settled(elid)
    for elid in broken[1:]:
        panel.edit_payment(elid, amount="nonsense")
    panel.edit_payment(broken[0], description="\x01 no XML can carry this")
    for _ in range(5):
        panel.checkpay()
    assert {panel.payment(elid)["status"] for elid in good} == {4}
    assert {panel.payment(elid)["status"] for elid in broken} == {2}
    for elid in broken:
        panel.edit_payment(elid, amount="10.00", description="")
    panel.checkpay()
    assert {panel.payment(elid)["status"] for elid in broken} == {4}


@pytest.mark.parametrize("status", ["\u00b2", "9" * 5_000])
def test_a_status_that_is_no_number_does_not_stop_the_others(panel: Panel, bridge: FakeBridge, status: str) -> None:
    open_payments(panel, "7", "8")
    for elid in ("7", "8"):
        bridge.settled(elid)
    panel.edit_payment("7", status=status)
    panel.checkpay()
    assert panel.payment("8")["status"] == 4


def test_a_fraction_that_a_later_bridge_may_send_waits_with_its_event(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    bridge.feed[-1]["later"] = 1.5
    panel.fail("payment.setpaid", "error")
    panel.checkpay()
    assert len(feed_state(panel)["retry"]) == 1
    panel.checkpay()
    assert panel.payment("7")["status"] == 4


def test_a_cancel_that_waited_is_forgotten_when_the_invoice_was_opened_again(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.event("cancelled", "7", status="expired")
    panel.fail("payment.setcanceled", "error")
    panel.checkpay()
    bridge.event("updated", "7", status="new")
    panel.fail("payment.info", "error", times=9)
    panel.checkpay()
    panel.change(faults=[])
    panel.checkpay()
    assert panel.payment("7")["status"] == 2


def test_while_billmanager_is_away_nothing_is_lost(panel: Panel, bridge: FakeBridge) -> None:
    elids = [str(number) for number in range(7, 15)]
    open_payments(panel, *elids)
    for elid in elids:
        bridge.settled(elid)
    panel.fail("payment.setpaid", "down", times=5)
    panel.fail("payment.info", "down", times=3)
    for _ in range(5):
        panel.checkpay()
    assert len(panel.credits()) == 8
    assert {tuple(panel.history(elid)) for elid in elids} == {((8, 2), (2, 4))}


def test_a_dead_bridge_does_not_stop_the_other_one(panel: Panel, bridge: FakeBridge, second_bridge: FakeBridge) -> None:
    """Two methods of this module, two bridges, two keys; positions are kept apart."""
    second_bridge.keys = {"second_key_123": OLD_SECRET}
    methods = panel.read()["methods"]
    settings = {
        "subtc_bridge_url": second_bridge.url,
        "subtc_api_key": "second_key_123",
        "subtc_notify_secret": OLD_SECRET,
    }
    panel.change(methods={**methods, "2": {"module": "pmsubtc", "currency": "USD", "settings": settings}})
    open_payments(panel, "7")
    panel.add_payment("8", method="2")
    assert panel.pay("8").status == 302
    bridge.settled("7")
    second_bridge.settled("8")
    bridge.status = 500
    panel.checkpay()
    assert [panel.payment(elid)["status"] for elid in ("7", "8")] == [2, 4]
    bridge.status = 0
    panel.checkpay()
    assert panel.payment("7")["status"] == 4
    assert len(list((panel.base / "var/subtc/feeds").glob("*.json"))) == 2


def test_two_ticks_at_once_do_the_work_once(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    panel.forget_calls()
    argv = [str(panel.base / "paymethods/pmsubtc"), "--command", "checkpay"]
    children = [panel.start(argv, panel.environment()) for _ in range(4)]
    assert [child.communicate(timeout=30)[0] for child in children] == [b""] * 4
    assert panel.credits() == ["10.00"]
    assert panel.functions().count("payment.setpaid") == 1


@pytest.mark.parametrize("left", ["nothing", "broken"])
def test_with_the_state_lost_the_money_is_still_found(panel: Panel, bridge: FakeBridge, left: str) -> None:
    open_payments(panel, "7", "8")
    bridge.settled("7")
    panel.checkpay()
    bridge.settled("8")
    for where in (panel.base / "var/subtc").rglob("*.json"):
        if left == "nothing":
            where.unlink()
        else:
            where.write_text('{"position": ')
    panel.checkpay()
    assert (panel.payment("8")["status"], panel.credits()) == (4, ["10.00", "10.00"])
    assert panel.history("7") == [(8, 2), (2, 4)]


def test_an_old_cancel_does_not_touch_what_was_opened_again(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.event("cancelled", "7", status="expired")
    bridge.event("updated", "7", status="new")
    panel.checkpay()
    assert panel.payment("7")["status"] == 2


def test_what_is_taken_back_some_pages_later_is_not_done_first(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8")
    bridge.settled("7")
    for _ in range(7):
        bridge.event("updated", "8")
    bridge.event("invalid", "7", status="invalid", hold="review")
    panel.checkpay()
    assert (panel.payment("7")["status"], panel.credits()) == (2, [])


def test_a_settlement_taken_back_before_it_was_read_is_not_paid(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    bridge.event("invalid", "7", status="invalid", hold="review")
    panel.checkpay()
    assert (panel.payment("7")["status"], panel.credits()) == (2, [])


def test_the_state_files_belong_to_root_alone_and_are_replaced_whole(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    panel.checkpay()
    files = [where for where in (panel.base / "var/subtc").rglob("*") if where.is_file()]
    assert files
    assert {oct(where.stat().st_mode & 0o777) for where in files} == {"0o600"}
    assert not [where for where in files if where.name.startswith(".")]


@pytest.mark.parametrize(("status", "told"), [(9, {"change": "cancelled", "billing_status": 9}), (7, None)])
def test_a_payment_cancelled_in_billing_is_told_to_the_bridge_once(
    panel: Panel, bridge: FakeBridge, status: int, told: dict[str, Any] | None
) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", status=status)
    panel.checkpay()
    panel.checkpay()
    assert bridge.changes == [("inv_1", told or {"change": "cancelled", "billing_status": status})]


def test_a_payment_deleted_in_billing_is_told_to_the_bridge(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8")
    panel.delete_payment("7")
    panel.checkpay()
    panel.checkpay()
    assert bridge.changes == [("inv_1", {"change": "deleted"})]


def test_a_changed_amount_is_told_to_the_bridge_once(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", amount="12.00")
    panel.checkpay()
    panel.checkpay()
    assert bridge.changes == [("inv_1", {"change": "amount", "amount": "12.00", "currency": "RUB"})]


def test_a_restored_payment_is_told_to_the_bridge(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", status=9)
    panel.checkpay()
    panel.edit_payment("7", status=2)
    panel.checkpay()
    panel.checkpay()
    assert [change["change"] for _, change in bridge.changes] == ["cancelled", "restored"]
    bridge.settled("7")
    panel.checkpay()
    assert panel.payment("7")["status"] == 4


def test_a_change_the_bridge_could_not_hear_is_told_again(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", status=9)
    bridge.status = 503
    panel.checkpay()
    bridge.status = 0
    panel.checkpay()
    assert [change["change"] for _, change in bridge.changes] == ["cancelled"]


def test_our_own_cancel_is_not_told_back(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.event("cancelled", "7", status="expired")
    panel.checkpay()
    panel.checkpay()
    assert (panel.payment("7")["status"], bridge.changes) == (9, [])


def test_money_for_a_payment_a_person_cancelled_is_a_conflict(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    """Row 004-36: no setpaid, a person must look."""
    open_payments(panel, "7")
    panel.edit_payment("7", status=9)
    assert push(bridge.settled("7")).status == 409
    panel.checkpay()
    assert (panel.payment("7")["status"], panel.credits()) == (9, [])
    assert feed_state(panel)["parked"][0]["reason"] == "status_9"
    assert push(bridge.settled("7", exception="marked")).status == 200


def test_a_payment_somebody_else_marked_paid_is_a_conflict(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    """Row 003-28: already paid by us is success, paid otherwise is review."""
    open_payments(panel, "7")
    panel.edit_payment("7", status=4)
    panel.checkpay()
    assert push(bridge.settled("7")).status == 409
    panel.checkpay()
    assert panel.credits() == []


def test_money_for_a_deleted_payment_is_a_conflict(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    open_payments(panel, "7", "8")
    panel.delete_payment("8")
    assert push(bridge.settled("8")).status == 409
    assert push(bridge.settled("8"), secret=OLD_SECRET).status == 401


@pytest.mark.parametrize("status", [3, 7, 100])
def test_money_for_a_payment_in_another_state_is_a_conflict(
    panel: Panel, bridge: FakeBridge, push: Push, status: int
) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", status=status)
    assert push(bridge.settled("7")).status == 409
    assert panel.credits() == []


def test_a_refunded_payment_is_not_paid_again(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    open_payments(panel, "7")
    event = bridge.settled("7")
    assert push(event).status == 200
    panel.edit_payment("7", status=6)
    assert push(event).status == 200
    assert (panel.payment("7")["status"], panel.credits()) == (6, ["10.00"])


@pytest.mark.parametrize("status", [1, 8])
def test_money_seen_before_the_page_marked_it_sets_in_pay_once(
    panel: Panel, bridge: FakeBridge, push: Push, status: int
) -> None:
    """Row 003-10"""
    panel.add_payment("7", status=status)
    event = bridge.event("processing", "7", status="processing")
    assert push(event).status == 200
    assert push(event).status == 200
    assert panel.history() == [(status, 2)]
    assert push(bridge.settled("7")).status == 200


def test_billmanager_5_without_setcanceled_keeps_the_payment_open(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 16"""
    panel.change(missing_functions=["payment.setcanceled"])
    open_payments(panel, "7")
    bridge.event("cancelled", "7", status="expired")
    panel.checkpay()
    assert panel.payment("7")["status"] == 2
    bridge.settled("7", exception="paid_late")
    panel.checkpay()
    assert panel.payment("7")["status"] == 4


@pytest.mark.parametrize("fault", ["lost", "slow", "truncated", "not_utf8"])
def test_a_setpaid_whose_answer_is_lost_is_not_repeated(
    panel: Panel, bridge: FakeBridge, push: Push, fault: str
) -> None:
    open_payments(panel, "7")
    panel.fail("payment.setpaid", fault)
    event = bridge.settled("7")
    assert push(event).status == 200
    panel.checkpay()
    assert (panel.credits(), panel.functions().count("payment.setpaid")) == (["10.00"], 1)


def test_a_full_disk_is_503_and_pays_later(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    open_payments(panel, "7")
    payments = panel.base / "var/subtc/payments"
    payments.rename(payments.with_name("aside"))
    payments.write_text("")
    assert push(bridge.settled("7")).status == 503
    assert panel.credits() == []
    payments.unlink()
    panel.checkpay()
    assert panel.credits() == ["10.00"]


def test_a_test_event_is_answered_when_any_of_our_bridges_signed_it(
    panel: Panel, bridge: FakeBridge, push: Push
) -> None:
    open_payments(panel, "7")
    event = {"id": "evt_t", "type": "test", "sequence": 0, "created_at": "2026-01-02T03:04:05Z", "invoice": None}
    assert push(event).status == 200
    assert push(event, secret=OLD_SECRET).status == 401


def test_a_revoked_key_is_logged_and_harmless(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    bridge.keys = {}
    panel.checkpay()
    assert "checkpay.bridge_refused" in panel.logs()
    bridge.keys = {KEY: "whsec_x"}
    bridge.settled("7")
    panel.checkpay()
    assert panel.credits() == ["10.00"]


def test_a_refund_request_goes_to_the_bridge_when_switched_on(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    panel.base.joinpath("etc/subtc.conf").write_text("refund = on\n")
    form = "<doc><source_payment>7</source_payment><payment_paymethodamount>-5.00</payment_paymethodamount></doc>"
    assert panel.command("rfset", form) == ""
    _, path, headers, body = bridge.requests[-1]
    assert (path, body["variant"], body["amount"]) == ("/v1/invoices/inv_1/refunds", "fiat_at_quote", "5.00")
    # Module and bridge are written apart: what the one sends must be what the other reads.
    RefundBody.model_validate(body)
    assert headers["idempotency-key"].startswith("bmr-7-")
    assert "subtc_refund_failed" not in panel.command("rfset", form.replace("-5.00", "11.00"))
    bridge.status = 503
    assert "subtc_refund_failed" in panel.command("rfset", form)
