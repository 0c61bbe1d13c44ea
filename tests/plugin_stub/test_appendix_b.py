"""The call transcript of a good payment (BILLmanager contract, Appendix B), from the module's side."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.plugin_stub.conftest import Push
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import SECRET, Panel


def transcript(panel: Panel) -> list[tuple[str, dict[str, Any]]]:
    return [(call["func"], {k: v for k, v in call["params"].items() if k != "out"}) for call in panel.calls()]


def test_the_nine_steps_of_a_good_payment(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract Appendix B, steps 1 to 7 with the very calls it lists."""
    panel.add_payment("7")  # step 1 is BILLmanager's own: 1 -> 8 and the link to our page
    first = panel.pay("7")  # step 2
    assert (first.status, first.headers["Location"]) == (302, f"{bridge.url}/pay/pub_1")
    assert transcript(panel) == [
        ("whoami", {"auth": "sessclient"}),
        ("payment", {"auth": "sessclient", "filter": "on", "id": "7"}),
        ("payment.info", {"elid": "7"}),
        ("payment.setinpay", {"elid": "7", "externalid": "inv_1", "info": "Bitcoin invoice inv_1"}),
    ]
    assert bridge.opened() == ["bm-7-aB3dE5fG7hJ9"]
    assert panel.history() == [(8, 2)]
    assert panel.read()["history"][0]["request_ip"] == "subtcpayment"

    assert panel.pay("7").headers["Location"] == first.headers["Location"]  # step 3
    assert (len(bridge.invoices), bridge.opened(), panel.history()) == (1, ["bm-7-aB3dE5fG7hJ9"], [(8, 2)])

    panel.forget_calls()
    settled = bridge.settled("7")
    assert push(settled, HTTP_WEBHOOK_SIGNATURE="v1,AAAA").status == 401  # step 4
    assert panel.functions() == ["payment.info"]
    small = {**settled, "invoice": {**settled["invoice"], "amount": "9.99"}}
    assert push(small).status == 422  # step 5
    assert (panel.payment()["status"], panel.credits()) == (2, [])

    panel.forget_calls()
    assert push(settled).status == 200  # step 6
    assert [func for func, _ in transcript(panel)] == ["payment.info", "payment.setpaid", "payment.info"]
    assert transcript(panel)[1][1]["externalid"] == "inv_1"
    assert (panel.payment()["status"], panel.credits(), panel.history()) == (4, ["10.00"], [(8, 2), (2, 4)])

    with ThreadPoolExecutor() as pool:  # step 7
        again, tick = pool.submit(push, settled), pool.submit(panel.checkpay)
        assert again.result().status == 200
        tick.result()
    assert (panel.credits(), panel.history()) == (["10.00"], [(8, 2), (2, 4)])


def test_mgrctl_down_during_a_notification_is_503_and_checkpay_credits_later(
    panel: Panel, bridge: FakeBridge, push: Push
) -> None:
    """BILLmanager contract Appendix B, step 8."""
    panel.add_payment("7")
    panel.pay("7")
    panel.fail("*", "down", times=1)
    answer = push(bridge.settled("7"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert panel.payment()["status"] == 2
    panel.checkpay()
    assert (panel.payment()["status"], panel.credits()) == (4, ["10.00"])


def test_an_expired_invoice_without_money_is_cancelled_by_checkpay(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract Appendix B, step 9."""
    panel.add_payment("7")
    panel.pay("7")
    bridge.event("cancelled", "7", status="expired", received_sat=0)
    panel.checkpay()
    assert panel.payment()["status"] == 9
    after = panel.pay("7")
    assert after.headers["Location"] == "https://billing.example/billmgr?func=payment.fail&elid=7&module=pmsubtc"


def test_the_signature_is_the_one_of_standard_webhooks(panel: Panel, bridge: FakeBridge) -> None:
    """The reference library signs, the module verifies; the signed bytes are id.timestamp.body."""
    panel.add_payment("7")
    body = json.dumps(bridge.settled("7")).encode()
    variables = bridge.signed(body, secret=SECRET)
    assert panel.cgi("subtcresult", body=body, **variables).status == 200
