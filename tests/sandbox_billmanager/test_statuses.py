"""Moves between statuses, the money they move, and what is told about them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox_billmanager.driver import Billing, error


def test_setpaid_credits_pays_the_order_and_opens_the_service_once(ready: Billing) -> None:
    number = ready.order(product="vps", amount="10.00")["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number, externalid="inv-1", info="opened")
    ready.mgrctl("payment.setpaid", elid=number, externalid="inv-1", info="paid")
    assert ready.payment(number)["status"] == 4 and ready.payment(number)["paydate"]
    assert ready.services() == [("vps", "active", 1)]
    ledger = ready.control("GET", "ledger")["ledger"]
    assert [(row["reason"], row["change"], row["balance"]) for row in ledger] == [
        ("payment", "10.00", "10.00"),
        ("order", "-10.00", "0.00"),
    ]
    assert [event["event"] for event in ready.control("GET", "events")["events"]] == ["service.active"]


def test_setpaid_twice_is_ok_with_one_credit_and_an_unchanged_history(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setpaid", elid=number, externalid="inv-1")
    before = ready.history(number)
    assert ready.mgrctl("payment.setpaid", elid=number, externalid="inv-2").find("ok") is not None
    assert ready.history(number) == before
    assert ready.services() == [("vps", "active", 1)]
    assert ready.payment(number)["externalid"] == "inv-1"


def test_setpaid_twice_can_be_made_an_error(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.knobs(setpaid_again="error")
    ready.mgrctl("payment.setpaid", elid=number)
    assert error(ready.mgrctl("payment.setpaid", elid=number)) == ("value", "elid")


def test_many_setpaid_at_once_credit_once(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(ready.api, "payment.setpaid", elid=number, authinfo="admin:admin") for _ in range(8)]
    assert all(call.result().find("ok") is not None for call in calls)
    assert [move[1] for move in ready.history(number)] == [8, 4]
    assert len(ready.control("GET", "ledger")["ledger"]) == 2


def test_history_tells_who_asked_and_from_where(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", peer="subtcpayment", elid=number)
    ready.api("payment.setpaid", elid=number, authinfo="admin:admin")
    assert ready.history(number) == [
        (1, 8, "payment.add.method", "203.0.113.5"),
        (8, 2, "payment.setinpay", "subtcpayment"),
        (2, 4, "payment.setpaid", "127.0.0.1"),
    ]
    rows = ready.control("GET", f"payments/{number}/history")["history"]
    assert [row["username"] for row in rows] == ["demo", "root", "admin"]
    assert {row["changedfields"] for row in rows} == {"status"}


def test_a_second_setinpay_writes_no_history_but_overwrites_the_external_id(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number, externalid="first")
    ready.mgrctl("payment.setinpay", elid=number, externalid="second")
    assert [move[1] for move in ready.history(number)] == [8, 2]
    assert ready.payment(number)["externalid"] == "second"


@pytest.mark.parametrize(("first", "status"), [("payment.setcanceled", 9), ("payment.setfraud", 7)])
def test_cancel_and_fraud_from_in_payment(ready: Billing, first: str, status: int) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number)
    ready.mgrctl(first, elid=number, info="because")
    assert (ready.payment(number)["status"], ready.payment(number)["info"]) == (status, "because")


def test_late_money_after_cancel_is_credited_by_default_and_refused_by_switch(ready: Billing) -> None:
    numbers = [ready.order()["payment_id"] for _ in range(2)]
    for number in numbers:
        ready.mgrctl("payment.setcanceled", elid=number)
    ready.mgrctl("payment.setpaid", elid=numbers[0])
    ready.knobs(setpaid_on_cancelled="error")
    assert error(ready.mgrctl("payment.setpaid", elid=numbers[1])) == ("value", "elid")
    assert [ready.payment(number)["status"] for number in numbers] == [4, 9]


def test_fraudulent_and_paid_payments_do_not_move_again(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setfraud", elid=number)
    assert error(ready.mgrctl("payment.setpaid", elid=number)) == ("value", "elid")
    paid = ready.order()["payment_id"]
    ready.mgrctl("payment.setpaid", elid=paid)
    for func in ("payment.setinpay", "payment.setcanceled", "payment.setfraud"):
        assert error(ready.mgrctl(func, elid=paid)) == ("value", "elid")


def test_setnopay_goes_back_to_the_switchable_status(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number)
    ready.mgrctl("payment.setnopay", elid=number)
    assert ready.payment(number)["status"] == 1


def test_version_5_knows_no_setcanceled_and_no_initiated_status(ready: Billing) -> None:
    ready.knobs(version=5)
    number = ready.order()["payment_id"]
    assert ready.payment(number)["status"] == 1
    assert error(ready.mgrctl("payment.setcanceled", elid=number)) == ("missed", "payment.setcanceled")
    assert ready.mgrctl("payment.setnopay", elid=number).find("ok") is not None
    assert "payment.setpaid" in ready.run("-l").stdout.decode()


def test_money_covers_debts_before_the_order(ready: Billing) -> None:
    ready.control("POST", "debts", amount="4.00")
    number = ready.order(amount="10.00")["payment_id"]
    ready.mgrctl("payment.setpaid", elid=number)
    assert ready.balance() == "6.00"
    assert ready.services() == [("vps", "ordered", 0)]
    assert [debt["paid"] for debt in ready.control("GET", "debts")["debts"]] == [True]
    ready.control("POST", "topup", amount="4.00")
    assert (ready.balance(), ready.services()) == ("0.00", [("vps", "active", 1)])


def test_an_order_whose_payment_never_came_is_not_opened_by_other_money(ready: Billing) -> None:
    ready.order(amount="10.00")
    ready.control("POST", "topup", amount="50.00")
    assert (ready.balance(), ready.services()) == ("50.00", [("vps", "ordered", 0)])


def test_an_administrator_changes_the_amount_only_while_it_is_unpaid(ready: Billing) -> None:
    number = ready.order(amount="10.00")["payment_id"]
    ready.api("payment.edit", elid=number, amount="12.50", sok="ok", authinfo="admin:admin")
    assert (ready.payment(number)["due"], ready.payment(number)["credit"]) == ("12.50", "12.50")
    ready.mgrctl("payment.setpaid", elid=number)
    refused = ready.api("payment.edit", elid=number, amount="1.00", sok="ok", authinfo="admin:admin")
    assert error(refused) == ("value", "elid")


def test_delete_removes_unpaid_payments_and_keeps_paid_ones(ready: Billing) -> None:
    gone, paid = ready.order()["payment_id"], ready.order()["payment_id"]
    ready.mgrctl("payment.setpaid", elid=paid)
    assert ready.mgrctl("payment.delete", elid=gone).find("ok") is not None
    assert ready.payment(gone)["http"] == 404
    assert error(ready.mgrctl("payment.delete", elid=paid)) == ("value", "elid")


def test_a_client_deletes_only_own_payments_that_are_not_being_paid(ready: Billing) -> None:
    mine, paying = ready.order()["payment_id"], ready.order()["payment_id"]
    foreign = ready.order(user="other")["payment_id"]
    ready.mgrctl("payment.setinpay", elid=paying)
    assert error(ready.api("payment.delete", elid=foreign, authinfo="demo:demo")) == ("access", "payment.delete")
    assert error(ready.api("payment.delete", elid=paying, authinfo="demo:demo")) == ("value", "elid")
    assert ready.api("payment.delete", elid=mine, authinfo="demo:demo").find("ok") is not None


def test_a_comma_list_of_elids_moves_all(ready: Billing) -> None:
    numbers = [str(ready.order()["payment_id"]) for _ in range(2)]
    ready.mgrctl("payment.setinpay", elid=",".join(numbers))
    assert [ready.payment(int(number))["status"] for number in numbers] == [2, 2]
