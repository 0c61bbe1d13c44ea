"""subtcpayment beyond the checklist: what the client meets when something is not as usual."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import Panel


@pytest.mark.parametrize("status", [1, 2, 8])
def test_a_payable_payment_leads_to_the_pay_page(panel: Panel, bridge: FakeBridge, status: int) -> None:
    panel.add_payment("7", status=status)
    assert panel.pay("7").status == 302
    assert (panel.payment()["status"], panel.payment()["externalid"]) == (2, "inv_1")


@pytest.mark.parametrize("status", [3, 5, 6, 100])
def test_any_other_status_says_so_and_asks_the_bridge_nothing(panel: Panel, bridge: FakeBridge, status: int) -> None:
    panel.add_payment("7", status=status)
    answer = panel.pay("7")
    assert (answer.status, bridge.requests) == (409, [])
    assert "cannot be paid now" in answer.body


def test_errors_are_told_in_the_language_of_the_client(panel: Panel, bridge: FakeBridge) -> None:
    bridge.status = 503
    panel.add_payment("7")
    russian = panel.cgi("subtcpayment", "elid=7", HTTP_COOKIE="billmgrses5=sessclient; billmgrlang5=dragon:ru")
    assert "обновите страницу" in russian.body
    english = panel.pay("7", HTTP_ACCEPT_LANGUAGE="de-DE")
    assert (english.status, english.headers["Retry-After"]) == (503, "60")
    assert "reload this page" in english.body


def test_a_bridge_that_is_away_leaves_the_payment_as_it_was(panel: Panel, bridge: FakeBridge) -> None:
    bridge.status = 500
    panel.add_payment("7")
    assert panel.pay("7").status == 503
    assert (panel.payment()["status"], panel.payment()["externalid"]) == (8, "")


def test_a_refusal_of_the_bridge_tells_the_client_not_to_pay(panel: Panel, bridge: FakeBridge) -> None:
    bridge.force = (422, {"code": "amount_too_small", "detail": "<b>minimum</b>"}, {})
    panel.add_payment("7")
    answer = panel.pay("7")
    assert (answer.status, "Do not send bitcoin" in answer.body, "<b>" in answer.body) == (502, True, False)


@pytest.mark.parametrize(
    ("code", "english", "russian"),
    [
        ("below_minimum", "The sum is too small for Bitcoin", "Сумма слишком мала для оплаты биткоином"),
        ("above_maximum", "The sum is too large for Bitcoin", "Сумма слишком велика для оплаты биткоином"),
    ],
)
def test_a_sum_that_bitcoin_is_not_for_leads_to_another_method_with_the_reason(
    panel: Panel, bridge: FakeBridge, code: str, english: str, russian: str
) -> None:
    bridge.force = (422, {"code": code, "detail": "The smallest invoice is 10000 satoshi."}, {})
    panel.add_payment("7")
    answer = panel.pay("7")
    assert (answer.status, english in answer.body) == (422, True)
    assert '<a href="/billmgr?func=payment">To your payments</a>' in answer.body
    cookie = "billmgrses5=sessclient; billmgrlang5=dragon:ru"
    assert russian in panel.cgi("subtcpayment", "elid=7", HTTP_COOKIE=cookie).body
    assert (panel.payment()["status"], panel.payment()["externalid"]) == (8, "")


def test_the_client_is_not_sent_on_before_the_payment_is_in_pay(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    panel.fail("payment.setinpay", "down")
    assert panel.pay("7").status == 503
    assert panel.pay("7").status == 302
    assert (bridge.opened(), panel.history()) == (["bm-7-aB3dE5fG7hJ9"], [(8, 2)])


def test_a_lost_answer_of_setinpay_is_read_back(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    panel.fail("payment.setinpay", "lost")
    assert panel.pay("7").status == 302
    assert panel.history() == [(8, 2)]


def test_a_changed_amount_is_asked_for_under_a_new_key(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    panel.pay("7")
    panel.edit_payment("7", amount="12.00")
    assert panel.pay("7").status == 302
    panel.edit_payment("7", amount="10.00")
    assert panel.pay("7").status == 302
    assert bridge.opened() == ["bm-7-aB3dE5fG7hJ9", "bm-7-aB3dE5fG7hJ9-s1", "bm-7-aB3dE5fG7hJ9-s2"]
    assert (len(bridge.invoices), bridge.invoice()["amount"], panel.history()) == (1, "10.00", [(8, 2)])


def test_an_amount_changed_after_money_arrived_stops_the_client(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    panel.pay("7")
    panel.edit_payment("7", amount="12.00")
    original = bridge._open
    bridge._open = lambda headers, body: (409, {"code": "amount_changed", "detail": "x"}, {})  # type: ignore[method-assign]
    answer = panel.pay("7")
    bridge._open = original  # type: ignore[method-assign]
    assert (answer.status, "Do not send more bitcoin" in answer.body) == (409, True)


def test_an_expired_invoice_is_opened_again_as_the_same_invoice(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    panel.pay("7")
    bridge.event("expired", "7", status="expired")
    assert panel.pay("7").headers["Location"].endswith("/pay/pub_1")
    assert (bridge.opened()[-1], len(bridge.invoices)) == ("bm-7-aB3dE5fG7hJ9-s2", 1)


def test_other_words_under_the_same_key_are_asked_again_under_their_own(panel: Panel, bridge: FakeBridge) -> None:
    """The first answer was lost, and meanwhile the client switched the language."""
    panel.add_payment("7")
    panel.fail("payment.setinpay", "down", times=1)
    assert panel.pay("7").status == 503
    (panel.base / "var/subtc/payments/7.json").unlink()
    answer = panel.cgi("subtcpayment", "elid=7&lang=ru", HTTP_COOKIE="billmgrses5=sessclient")
    assert (answer.status, len(bridge.invoices), len(bridge.opened())) == (302, 1, 3)
    assert bridge.opened()[1] == "bm-7-aB3dE5fG7hJ9"
    assert bridge.opened()[2].startswith("bm-7-aB3dE5fG7hJ9-")


def test_a_method_chosen_after_another_one_takes_the_payment_over(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7", externalid="other-gateway-1", status=2)
    assert panel.pay("7").status == 302
    assert panel.payment()["externalid"] == "inv_1"


def test_a_state_directory_that_cannot_be_written_is_reported_not_hidden(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    (panel.base / "var/subtc").write_text("a file where the directory should be")
    answer = panel.pay("7")
    assert (answer.status, panel.payment()["status"]) == (503, 8)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE"])
def test_other_methods_are_405(panel: Panel, bridge: FakeBridge, method: str) -> None:
    assert panel.cgi("subtcpayment", "elid=7", REQUEST_METHOD=method).status == 405
    assert panel.cgi("subtcresult", REQUEST_METHOD=method).status == 405


def test_an_answer_about_another_payment_is_refused(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    bridge.force = (201, {**bridge.invoice("8"), "payment_url": "https://pay.example/x"}, {})
    assert panel.pay("7").status == 502
    assert panel.payment()["status"] == 8


def test_two_payments_at_once_do_not_wait_for_each_other(panel: Panel, bridge: FakeBridge) -> None:
    for elid in ("7", "8", "9"):
        panel.add_payment(elid, randomnumber=f"random{elid}")
    with ThreadPoolExecutor(3) as pool:
        assert {answer.status for answer in pool.map(panel.pay, ("7", "8", "9"))} == {302}
    assert {panel.payment(elid)["status"] for elid in ("7", "8", "9")} == {2}


def test_odd_random_numbers_still_make_a_valid_key(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7", randomnumber="ä b/c" * 20)
    assert panel.pay("7").status == 302
    assert len(bridge.opened()[0]) <= 64
    assert bridge.opened()[0].replace("-", "").isalnum()
