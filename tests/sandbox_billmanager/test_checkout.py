"""A client orders and is about to pay."""

import pytest

from tests.sandbox_billmanager.driver import Billing, error

WISH = {"amount": "10.00", "payment_currency": "126", "paymethod": "1", "sok": "ok", "authinfo": "demo:demo"}


def test_the_same_randomnumber_is_the_same_payment(ready: Billing) -> None:
    answers = [ready.api("payment.add.method", randomnumber="aB3dE5fG7hJ9", **WISH) for _ in range(3)]
    assert {answer.findtext("payment_id") for answer in answers} == {"1"}
    assert {answer.findtext("ok") for answer in answers} == {"/mancgi/tokenpayment?elid=1"}
    assert ready.history(1) == [(1, 8, "payment.add.method", "127.0.0.1")]


def test_another_client_with_the_same_randomnumber_gets_another_payment(ready: Billing) -> None:
    ready.api("payment.add.method", randomnumber="aB3dE5fG7hJ9", **WISH)
    other = ready.api("payment.add.method", randomnumber="aB3dE5fG7hJ9", **{**WISH, "authinfo": "other:other"})
    assert other.findtext("payment_id") == "2"


def test_without_one_a_payment_gets_twelve_random_characters(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    assert len(ready.payment(number)["randomnumber"]) == 12


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": "1e3"}, ("value", "amount")),
        ({"amount": "-5"}, ("value", "amount")),
        ({"amount": "10.001"}, ("value", "amount")),
        ({"amount": "0"}, ("value", "amount")),
        ({"amount": "0.50"}, ("value", "amount")),
        ({"amount": "9" * 40}, ("value", "amount")),
        ({"amount": ""}, ("missed", "amount")),
        ({"paymethod": "77"}, ("missed", "paymethod")),
        ({"payment_currency": "153"}, ("value", "payment_currency")),
        ({"payment_currency": "XXX"}, ("value", "payment_currency")),
        ({"billorder": "55"}, ("missed", "billorder")),
        ({"billorder": "x"}, ("missed", "billorder")),
    ],
)
def test_a_wrong_wish_is_refused_and_makes_no_payment(
    ready: Billing, change: dict[str, str], expected: tuple[str, str]
) -> None:
    assert error(ready.api("payment.add.method", **{**WISH, **change})) == expected
    assert ready.control("GET", "payments")["payments"] == []


def test_the_largest_amount_of_a_method_is_kept(ready: Billing) -> None:
    ready.api("paymethod.edit", elid=1, maxamount="5", sok="ok", authinfo="admin:admin")
    assert error(ready.api("payment.add.method", **WISH)) == ("value", "amount")


def test_nobody_pays_the_order_of_another(ready: Billing) -> None:
    order = ready.order(user="other")["order_id"]
    assert error(ready.api("payment.add.method", billorder=order, **WISH)) == ("access", "billorder")


def test_money_of_another_currency_is_credited_in_the_accounts_currency(ready: Billing) -> None:
    number = ready.order(amount="10.00", currency="USD")["payment_id"]
    info = ready.mgrctl("payment.info", elid=number)
    assert info.findtext("payment/paymethodamount") == "10.00"
    assert info.findtext("payment/subaccountamount") == "900.00"
    ready.mgrctl("payment.setpaid", elid=number)
    assert (ready.balance(), ready.services()) == ("0.00", [("vps", "active", 1)])


def test_payment_add_takes_the_amount_from_the_order(ready: Billing) -> None:
    ordered = ready.api("order.add", product="domain", amount="12", currency="EUR", authinfo="demo:demo")
    params = {"billorder": ordered.findtext("billorder"), "payment_currency": "49", "authinfo": "demo:demo"}
    number = ready.api("payment.add", **params).findtext("payment_id")
    assert ready.mgrctl("payment.info", elid=number).findtext("payment/paymethodamount") == "12.00"


def test_an_administrator_creates_a_payment_for_a_client(ready: Billing) -> None:
    params = {"amount": "7", "customer_account": "2", "paymethod": "1", "payment_currency": "126", "sok": "ok"}
    document = ready.api("payment.add.pay", authinfo="admin:admin", **params)
    assert ready.payment(int(document.findtext("id") or 0))["account"] == 2


def test_version_5_answers_with_the_old_kind_of_ok(ready: Billing) -> None:
    ready.knobs(version=5)
    found = ready.api("payment.add.method", **WISH).find("ok")
    assert found is not None and found.attrib == {"type": "5"} and found.text == "/mancgi/tokenpayment?elid=1"


def test_the_list_can_be_filtered_by_status_method_number_and_day(ready: Billing) -> None:
    first, second = ready.order()["payment_id"], ready.order(currency="USD")["payment_id"]
    ready.mgrctl("payment.setinpay", elid=second)

    def found(**filters: str) -> list[str | None]:
        listed = ready.mgrctl("payment", filter="on", **filters)
        return [row.findtext("id") for row in listed.findall("elem")]

    day = ready.payment(first)["createdate"][:10]
    assert found(status="2") == [str(second)]
    assert found(paymethod="1") == [str(first)]
    assert found(number=f"pfx/{second}") == [str(second)]
    assert found(createdate="other", createdatestart=day, createdateend=day) == [str(first), str(second)]
    assert found(createdate="other", createdatestart="2999-01-01") == []
    page = ready.mgrctl("payment", p_num=2, p_cnt=1)
    assert [page.findtext(name) for name in ("elem/id", "p_elems", "p_cnt", "p_num")] == [str(second), "2", "1", "2"]
