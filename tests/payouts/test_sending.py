"""Sends whose answer is lost, doubled, refused or never heard: the money leaves once, and doubt goes to a person."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import IntegrityError

from bridge.context import PAYOUT_CRASH_POINTS, Bridge
from bridge.core.errors import BridgeError, Conflict, Refused
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.sweep import propose_sweep
from bridge.people.operators import change_operator
from bridge.permit import set_mode
from bridge.store import operators
from bridge.store.tables import payouts
from bridge.upkeep.check import alerts
from bridge.worker import Worker
from tests.flows.moving import moved
from tests.flows.world import WALLET, until
from tests.payouts.desk import FLOAT_SAT, PAYER, TAPROOT, Desk, settings

HAPPENED = ("lost_response", "error_500_after", "send_failed_but_sent", "cut_midway", "truncated_json", "no_result")
DID_NOT = ("error_500_before", "cut_before", "error")
# On PostgreSQL one of each way is enough: what differs is the engine, not the wire.
SOME = [("postgresql", kind) for kind in ("lost_response", "error_500_before")]
EACH = [("sqlite", kind) for kind in (*HAPPENED, *DID_NOT)] + SOME


class Killed(BaseException):
    """The process dies here."""


def dying_at(desk: Desk, point: str) -> Any:
    """The same bridge in a process that is killed when it reaches `point`."""

    def crash(name: str) -> None:
        if name == point:
            raise Killed

    return replace(desk.world.bridge, crash_point=crash)


def is_honest(desk: Desk) -> bool:
    """Our books say of the hot wallet what the gateway says."""
    return desk.books().get("wallet:hot", 0) == desk.gateway_sat()


@pytest.mark.parametrize(("engine_name", "fault"), EACH)
def test_an_uncertain_answer_is_never_repeated_and_waits_for_a_person(desk: Desk, fault: str) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", fault, times=1)
    desk.send()
    assert desk.now(payout)["state"] == "unknown"
    assert desk.world.reviews() == ["outcome_unknown"]
    for _ in range(3):
        assert desk.send() == 0
    assert desk.world.calls("wallet_send") <= 1
    assert len(desk.arrived()) == (fault in HAPPENED)


@pytest.mark.parametrize(("engine_name", "fault"), EACH)
def test_the_same_key_again_pays_once_whatever_had_happened(desk: Desk, fault: str) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", fault, times=1)
    desk.send()
    desk.rule("payout_retry")
    assert desk.send() == 1
    assert desk.now(payout)["state"] == "sent"
    assert desk.arrived() == [desk.now(payout)["sent_sat"]]
    assert desk.world.reviews() == []
    assert is_honest(desk)


def test_a_person_names_the_transaction_that_the_chain_shows(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    with pytest.raises(Refused) as not_seen:
        desk.rule("payout_sent", txid="ab" * 32)
    assert not_seen.value.code == "txid_not_seen"
    with pytest.raises(Refused) as hasty:
        desk.rule("payout_failed")
    assert hasty.value.code == "chain_shows_money"
    desk.rule("payout_sent", txid=txid_paying(desk, PAYER))
    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed"
    assert is_honest(desk)


def test_what_surely_was_not_sent_can_be_asked_for_anew(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.approved(invoice)
    desk.world.fault("wallet_send", "error_500_before", times=1)
    desk.send()
    with pytest.raises(Refused):
        desk.ask(invoice)
    desk.rule("payout_failed")
    assert desk.now(payout)["state"] == "failed"
    again = desk.approved(invoice)
    desk.send()
    assert desk.now(again)["state"] == "sent"
    assert len(desk.arrived()) == 1
    assert is_honest(desk)


def test_the_item_shows_the_balance_before_and_after(desk: Desk) -> None:
    from bridge.desk.resolve_review import list_reviews, show_review

    payout = desk.approved(desk.settled())
    before_sat = desk.gateway_sat()
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    (item,) = list_reviews(desk.world.bridge, match={"kind": "outcome_unknown"}, limit=5)
    shown = show_review(desk.world.bridge, item["id"])["blocks"]
    assert item["severity"] == "urgent"
    assert shown["payout"]["balance_before_sat"] == before_sat
    assert shown["payout"]["balance_after_sat"] == before_sat - payout["gross_sat"]
    rulings = {action["decision"] for action in shown["actions"]}
    assert rulings == {"payout_sent", "payout_failed", "payout_retry"}


def test_while_one_send_is_uncertain_the_wallet_sends_nothing_else(desk: Desk) -> None:
    first, second = desk.approved(desk.settled("7")), desk.approved(desk.settled("8"), destination=TAPROOT)
    desk.world.fault("wallet_send", "error_500_before", times=1)
    desk.send()
    assert {desk.now(first)["state"], desk.now(second)["state"]} == {"unknown", "approved"}
    assert desk.send() == 0
    desk.rule("payout_failed")
    desk.send()
    assert sorted([desk.now(first)["state"], desk.now(second)["state"]]) == ["failed", "sent"]


def test_a_gateway_that_was_not_reached_is_asked_again_with_the_same_key(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "rate_limited", times=1)
    desk.send()
    waiting = desk.now(payout)
    assert (waiting["state"], waiting["attempts"]) == ("submitting", 1)
    desk.send()
    assert (desk.now(payout)["state"], desk.now(payout)["attempts"]) == ("sent", 2)
    keys = desk.world.rows("SELECT idempotency_key FROM payouts")
    assert len(keys) == 1
    assert len(desk.arrived()) == 1


def test_a_refund_no_call_has_carried_out_can_still_be_stopped(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "rate_limited")
    desk.send()
    assert desk.reject(payout)["state"] == "rejected"
    desk.world.heal()
    desk.send()
    assert desk.arrived() == []


def test_an_uncertain_refund_can_not_be_stopped(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    with pytest.raises(Conflict) as error:
        desk.reject(payout)
    assert error.value.code == "maybe_sent"


@pytest.mark.parametrize("point", PAYOUT_CRASH_POINTS[1:])
def test_a_killed_sender_leaves_a_question_and_no_second_send(desk: Desk, point: str) -> None:
    payout = desk.approved(desk.settled())
    desk.world.advance(3_700)
    with pytest.raises(Killed):
        send_payouts(dying_at(desk, point), owner="w1")
    desk.send(owner="w2")
    expected = "sent" if point == "payout.committed" else "unknown"
    assert desk.now(payout)["state"] == expected
    if expected == "unknown":
        desk.rule("payout_retry")
        desk.send(owner="w2")
    assert desk.now(payout)["state"] == "sent"
    assert len(desk.arrived()) == 1
    assert is_honest(desk)


def test_a_request_that_dies_before_its_commit_asked_for_nothing(desk: Desk) -> None:
    from bridge.payouts.refunds import NewRefund, request_refund

    invoice = desk.settled()
    wanted = {"merchant_id": "shop", "key": "k", "actor": "fay", "reason": "asked"}
    request = NewRefund(invoice_id=invoice["id"], variant="paid_sat", destination=PAYER)
    with pytest.raises(Killed):
        request_refund(dying_at(desk, "payout.requested"), request=request, **wanted)
    assert not request_refund(desk.world.bridge, request=request, **wanted).is_replay


def test_two_workers_at_once_send_once(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.advance(3_700)
    desk.world.control("knobs", send_takes_s=0.3)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: send_payouts(desk.world.bridge, owner=f"w{n}"), range(4)))
    assert desk.now(payout)["state"] == "sent"
    assert desk.world.calls("wallet_send") == len(desk.arrived()) == 1


def test_twelve_clicks_at_once_are_one_refund(desk: Desk) -> None:
    invoice = desk.settled()
    with ThreadPoolExecutor(6) as pool:
        asked = list(pool.map(lambda _: desk.ask(invoice, key="the-form"), range(12)))
    assert len({payout["id"] for payout in asked}) == 1


def test_twelve_refunds_at_once_do_not_give_more_than_came(desk: Desk) -> None:
    invoice = desk.settled()

    def attempt(_: int) -> int:
        try:
            return int(desk.ask(invoice, "custom", net_sat=50_000)["net_sat"])
        except Refused:
            return 0

    with ThreadPoolExecutor(6) as pool:
        asked = sum(pool.map(attempt, range(12)))
    assert asked == invoice["received_sat"] // 50_000 * 50_000


def test_two_approvals_by_one_person_at_once_are_one(desks: Callable[..., Desk]) -> None:
    desk = desks(payouts={"approvals": [{"up_to_sat": 1, "people": 1}], "approvals_above": 2})
    payout = desk.ask(desk.settled())

    def attempt(_: int) -> str:
        try:
            return str(desk.approve(payout)["state"])
        except BridgeError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(attempt, range(4)))
    assert answers == ["requested", "same_person", "same_person", "same_person"]
    assert desk.approve(payout, "bob")["state"] == "approved"


def meeting(bridge: Bridge, *words: str) -> None:
    """Two threads that ask a question with these words ask it together, if nothing keeps one of them from it."""
    meet = threading.Barrier(2)

    @event.listens_for(bridge.store.engine, "before_cursor_execute")
    def wait_for_the_other(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if all(word in statement for word in words):
            with suppress(threading.BrokenBarrierError):
                meet.wait(timeout=1)


def test_of_two_admins_who_end_each_others_access_at_once_one_stays(desk: Desk) -> None:
    bridge = desk.world.bridge
    with bridge.store.write() as tx:
        values = {"name": "rex", "role": "admin", "is_active": True, "password_hash": "", "totp_nonce": ""}
        operators.add(tx, values | {"created_at": bridge.clock(), "created_by": "root"})

    meeting(bridge, "count(", "FROM operators")

    def disable(pair: tuple[str, str]) -> str:
        actor, name = pair
        try:
            change_operator(bridge, name, is_active="disabled", actor=actor, reason="a quarrel")
        except BridgeError as error:
            return error.code
        return ""

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(disable, [("root", "rex"), ("rex", "root")]))
    assert told in (["", "last_admin"], ["", "unknown_operator"])


def test_of_two_sweeps_that_are_asked_for_at_once_there_is_one(desk: Desk) -> None:
    desk.settled("1")
    bridge = desk.world.bridge
    meeting(bridge, "SELECT 1", "payouts.kind")

    def ask(key: str) -> str:
        try:
            return str(propose_sweep(bridge, actor="fay", reason="too much there", key=key)["state"])
        except BridgeError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, ["one", "other"])) == ["nothing_to_sweep", "requested"]


def test_the_database_itself_refuses_a_second_send_under_way(desk: Desk) -> None:
    first, second = desk.ask(desk.settled("7")), desk.ask(desk.settled("8"))
    with desk.world.bridge.store.write() as tx:
        tx.execute(update(payouts).where(payouts.c.id == first["id"]).values(state="submitting"))
    with pytest.raises(IntegrityError), desk.world.bridge.store.write() as tx:
        tx.execute(update(payouts).where(payouts.c.id == second["id"]).values(state="unknown"))


def test_approvals_cannot_be_rewritten(desk: Desk) -> None:
    desk.approve(desk.ask(desk.settled()))
    with pytest.raises(Exception, match="append-only"), desk.world.bridge.store.write() as tx:
        tx.execute(text("UPDATE payout_approvals SET actor = 'bob'"))


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_paused_wallet_and_a_read_only_bridge_send_nothing(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    for scope, mode in (("bridge", "read_only"), (f"wallet:{desk.world.bridge.wallet_id}", "paused")):
        set_mode(desk.world.bridge, scope=scope, mode=mode, actor="root", reason="a look")
        assert desk.send() == 0
        set_mode(desk.world.bridge, scope=scope, mode="normal", actor="root", reason="over")
    desk.send()
    assert desk.now(payout)["state"] == "sent"


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_gateway_that_does_not_say_its_balance_sends_nothing(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_balance", "error_500_before")
    assert desk.send() == 0
    assert desk.now(payout)["state"] == "approved"


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_an_answer_that_comes_after_the_lease_still_counts(desk: Desk) -> None:
    """The sender was slow, another worker gave it up, then the gateway's answer came after all."""
    payout = desk.approved(desk.settled())
    desk.world.advance(3_700)

    def slow(name: str) -> None:
        if name == "payout.called":
            desk.world.advance(400)
            send_payouts(desk.world.bridge, owner="w2")
            assert desk.now(payout)["state"] == "unknown"

    send_payouts(replace(desk.world.bridge, crash_point=slow), owner="w1")
    assert desk.now(payout)["state"] == "sent"
    assert desk.world.reviews() == []
    assert is_honest(desk)


def test_the_float_pays_the_fees(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.approved(invoice)
    desk.send()
    assert desk.books()["provider_fee"] == payout["gross_sat"] - payout["net_sat"]
    assert desk.gateway_sat() == FLOAT_SAT + invoice["received_sat"] - payout["gross_sat"]


def txid_paying(desk: Desk, address: str) -> str:
    """The transaction that an outsider finds on the chain."""
    now = desk.world.bridge.clock()
    reading = desk.world.bridge.chain.read(address, born_at=now, asked_at=now)  # type: ignore[union-attr]
    return str(reading.outputs[0].outpoint.partition(":")[0])


def moved_desk(desk: Desk, **changes: Any) -> None:
    """Another key and wallet at the gateway, with money in it; the old one is only read."""
    desk.world = moved(desk.world, **settings(**changes))
    desk.fund(FLOAT_SAT)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_was_approved_before_another_wallet_came_leaves_that_one(desk: Desk) -> None:
    invoice = desk.settled()
    approved, asked = desk.approved(invoice, "custom", net_sat=50_000), desk.ask(invoice, "custom", net_sat=60_000)
    moved_desk(desk)
    new_sat = desk.gateway_sat()
    desk.send()
    assert desk.now(approved)["state"] == "sent" and len(desk.arrived()) == 1
    assert desk.gateway_sat() == new_sat - approved["gross_sat"]
    desk.approve(asked)
    desk.send()
    assert desk.now(asked)["state"] == "sent"
    rows = desk.world.rows("SELECT actor, detail FROM audit WHERE action = 'payout_wallet_changed'")
    assert len(rows) == 2 and all(WALLET in row.detail for row in rows)
    assert "wallet_missing" not in {alert.rule for alert in alerts(desk.world.bridge)}


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_node_that_does_not_know_the_old_wallet_as_a_former_one_moves_nothing(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world = moved(desk.world, former=[], **settings())
    desk.send()
    assert desk.now(payout)["state"] == "approved"
    (alert,) = [each for each in alerts(desk.world.bridge) if each.rule == "wallet_missing"]
    assert alert.detail == f"1 payouts of wallet {WALLET}, which no setting sends from"


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_an_uncertain_send_of_a_former_wallet_is_never_made_by_another(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    moved_desk(desk)
    assert (
        f"1 payouts of wallet {WALLET}"
        in {each.rule: each.detail for each in alerts(desk.world.bridge)}["wallet_missing"]
    )
    with pytest.raises(Refused) as error:
        desk.rule("payout_retry")
    assert error.value.code == "wallet_not_in_use"
    desk.rule("payout_sent", txid=txid_paying(desk, PAYER))
    desk.send()
    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed" and len(desk.arrived()) == 1
    held_sat = desk.gateway_sat() + desk.world.bridge.former[WALLET].balance().confirmed_sat
    assert desk.books()["wallet:hot"] == held_sat


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_sender_that_died_before_the_wallet_changed_is_asked_about_with_its_own_balance(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    old_sat = desk.gateway_sat()
    desk.world.advance(desk.world.bridge.payouts.cooling_seconds + 61)
    with pytest.raises(Killed):
        send_payouts(dying_at(desk, "payout.called"), owner="w1")
    moved_desk(desk)
    desk.send()
    now = desk.now(payout)
    assert (now["state"], now["balance_after_sat"]) == ("unknown", old_sat - payout["gross_sat"])


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_refusal_after_an_uncertain_call_proves_nothing(desk: Desk) -> None:
    """It speaks of this call, not of the one before: the question stays with the person."""
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    desk.rule("payout_retry")
    desk.world.fault("wallet_send", "error", times=1, code="BAD_REQUEST")
    desk.send()
    assert desk.now(payout)["state"] == "unknown"
    assert desk.world.reviews() == ["outcome_unknown"]
    assert len(desk.arrived()) == 1


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_asking_again_does_not_wait_for_a_balance_that_has_left_already(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    rest_sat = desk.gateway_sat()
    desk.world.wallet.send(destination=TAPROOT, gross_sat=rest_sat, idempotency_key="somebody-else")
    desk.rule("payout_retry")
    desk.send()
    assert desk.now(payout)["state"] == "sent"
    assert len(desk.arrived()) == 1


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_clean_refusal_of_the_first_call_ends_the_payout_and_frees_its_money(desk: Desk) -> None:
    invoice = desk.settled()
    before = desk.books()
    payout = desk.approved(invoice)
    desk.world.fault("wallet_send", "error", times=1, code="BAD_REQUEST")
    desk.send()
    assert desk.now(payout)["state"] == "failed"
    assert desk.books() == before
    assert desk.ask(invoice)["net_sat"] == payout["net_sat"]


def test_the_worker_sends_and_confirms_by_itself(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.advance(3_700)
    worker = Worker(desk.world.bridge, threads=2)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        until(lambda: desk.now(payout)["state"] == "sent", seconds=30)
        desk.world.mine(6)
        desk.world.advance(61)
        until(lambda: desk.now(payout)["state"] == "confirmed", seconds=30)
    finally:
        worker.stop()
        running.join(timeout=30)
    assert len(desk.arrived()) == 1
