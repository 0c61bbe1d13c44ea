"""Refunds of money in the shop's own wallet: people approve, the shop sends, a person states the transaction."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import pytest

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.payouts.refunds import record_own_send
from bridge.store import payouts
from bridge.store.db import Tx
from tests.flows.test_own_wallet import WITHOUT_GATEWAY
from tests.flows.world import World
from tests.payouts.desk import PAYER, TAPROOT, Desk, hired

ENGINES = pytest.mark.parametrize("engine_name", ["sqlite"])


@pytest.fixture
def desk(worlds: Callable[..., World]) -> Desk:
    return hired(worlds(**WITHOUT_GATEWAY))


def approved(desk: Desk, billing_payment_id: str = "7", **wanted: str) -> dict:
    return desk.approved(desk.settled(billing_payment_id), **wanted)


def paid_by_the_shop(desk: Desk, address: str, sat: int) -> str:
    return str(desk.world.control("pay", address=address, amount_sat=sat)["txid"])


def state(desk: Desk, payout: dict, txid: str, actor: str = "fay") -> dict:
    return record_own_send(desk.world.bridge, payout["id"], txid=txid, actor=actor, reason="sent from our wallet")


def test_an_own_send_is_booked_when_the_chain_shows_it(desk: Desk) -> None:
    payout = approved(desk)
    assert (payout["waiting"], payout["fee_sat"], payout["role"]) == ("own_send", 0, "cold")
    assert desk.send() == 0
    before = desk.books()["wallet:cold"]
    txid = paid_by_the_shop(desk, PAYER, payout["net_sat"])
    sent = state(desk, payout, txid.upper())
    assert (sent["state"], sent["txid"], sent["sent_sat"]) == ("sent", txid, payout["net_sat"])
    assert desk.books().get("wallet:cold", 0) == before - payout["net_sat"]
    assert "refunds_payable" not in desk.books()
    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed"


@ENGINES
def test_what_the_chain_does_not_show_is_refused(desk: Desk) -> None:
    payout = approved(desk)
    elsewhere = paid_by_the_shop(desk, TAPROOT, payout["net_sat"])
    too_little = paid_by_the_shop(desk, PAYER, payout["net_sat"] - 1)
    tries = {"": "txid_missing", "ab": "txid_missing", "0" * 64: "txid_not_seen"}
    for txid, code in (tries | {elsewhere: "txid_not_seen", too_little: "txid_other_sum"}).items():
        with pytest.raises(Refused) as error:
            state(desk, payout, txid)
        assert error.value.code == code
    assert desk.now(payout)["state"] == "approved"


@ENGINES
def test_one_transaction_is_no_two_refunds(desk: Desk) -> None:
    first, second = approved(desk, "1"), approved(desk, "2")
    txid = paid_by_the_shop(desk, PAYER, first["net_sat"])
    state(desk, first, txid)
    with pytest.raises(Refused) as error:
        state(desk, second, txid)
    assert error.value.code == "txid_used"
    with pytest.raises(Conflict):
        state(desk, first, txid)


def test_one_transaction_stated_twice_at_once_is_one_refund(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes to look whether the transaction is known waits there for the other one, if that can come so far."""
    first, second = approved(desk, "1"), approved(desk, "2")
    txid = paid_by_the_shop(desk, PAYER, first["net_sat"])
    both, look = Barrier(2), payouts.txids_to

    def looked(tx: Tx, destination: str) -> set[str]:
        known = look(tx, destination)
        with suppress(BrokenBarrierError):
            both.wait(timeout=1)
        return known

    def said(payout: dict) -> str:
        try:
            return str(state(desk, payout, txid)["state"])
        except Refused as refused:
            return refused.code

    monkeypatch.setattr(payouts, "txids_to", looked)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(said, (first, second))) == ["sent", "txid_used"]


@ENGINES
def test_before_the_approval_and_by_the_wrong_person_nothing_is_stated(desk: Desk) -> None:
    payout = desk.ask(desk.settled())
    txid = paid_by_the_shop(desk, PAYER, payout["net_sat"])
    with pytest.raises(Conflict):
        state(desk, payout, txid)
    desk.approve(payout)
    for nobody in ("ann", "vic", "eve"):
        with pytest.raises(Refused):
            state(desk, payout, txid, actor=nobody)


@ENGINES
def test_while_the_chain_is_silent_nothing_is_believed(desk: Desk) -> None:
    payout = approved(desk)
    txid = paid_by_the_shop(desk, PAYER, payout["net_sat"])
    desk.world.fault("esplora", "cut_before")
    with pytest.raises(Unavailable):
        state(desk, payout, txid)
    assert desk.now(payout)["state"] == "approved"


@ENGINES
def test_a_payout_of_the_gateway_takes_no_statement(desks: Callable[..., Desk]) -> None:
    desk = desks()
    payout = approved(desk)
    txid = paid_by_the_shop(desk, PAYER, payout["net_sat"])
    with pytest.raises(Refused) as error:
        state(desk, payout, txid)
    assert error.value.code == "not_own_send"


@ENGINES
def test_what_must_not_leave_yet_is_not_approved_for_anybody_to_send(desk: Desk) -> None:
    invoice = desk.world.open("7", amount_text="100.00")
    desk.world.pay(invoice)
    desk.world.mine()
    assert desk.world.seen(invoice)[0] == "settled"
    payout = desk.ask(invoice)
    with pytest.raises(Refused) as error:
        desk.approve(payout)
    assert error.value.code == "money_not_final"
    desk.world.mine(5)
    desk.world.look(invoice)
    assert desk.approve(payout)["waiting"] == "own_send"
