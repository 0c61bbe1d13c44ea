"""The twenty-four bugs of real modules (BILLmanager contract 14), each one tried on ours."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.plugin_stub.conftest import Push
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, OLD_SECRET, SECRET, STUB, Panel
from tests.plugin_stub.test_settings_form import form

STATUS_CALLS = {"payment.setpaid", "payment.setinpay", "payment.setcanceled", "payment.setfraud", "payment.setnopay"}


@pytest.fixture
def paying(panel: Panel, bridge: FakeBridge) -> Panel:
    """Payment 7 is in payment with invoice inv_1."""
    panel.add_payment("7")
    assert panel.pay("7").status == 302
    panel.forget_calls()
    return panel


@pytest.mark.parametrize(
    "forged",
    [
        {"HTTP_WEBHOOK_SIGNATURE": ""},
        {"HTTP_WEBHOOK_SIGNATURE": "v1,bm90IGEgc2lnbmF0dXJl"},
        {"HTTP_WEBHOOK_SIGNATURE": "v1,ключ"},
        {"HTTP_WEBHOOK_SIGNATURE": "v1a,bm90IGEgc2lnbmF0dXJl"},
        {"HTTP_WEBHOOK_ID": "evt_other"},
        {"HTTP_WEBHOOK_ID": ""},
        {"HTTP_WEBHOOK_TIMESTAMP": "yesterday"},
        {"HTTP_WEBHOOK_TIMESTAMP": "99999999999999999999"},
    ],
)
def test_a_forged_notification_is_401_and_changes_nothing(
    paying: Panel, bridge: FakeBridge, push: Push, forged: dict[str, str]
) -> None:
    """BILLmanager contract 14.1"""
    assert push(bridge.settled("7"), **forged).status == 401
    assert not STATUS_CALLS & set(paying.functions())


def test_the_signature_covers_every_byte_of_the_body(paying: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.1"""
    event = bridge.settled("7")
    signed = bridge.signed(json.dumps(event).encode())
    same_meaning = json.dumps(event, indent=1).encode()
    assert paying.cgi("subtcresult", body=same_meaning, **signed).status == 401


def test_a_body_that_nothing_can_hold_is_401(paying: Panel, bridge: FakeBridge) -> None:
    body = b'{"sequence": 1e99999999999999999999}'
    assert paying.cgi("subtcresult", body=body, **bridge.signed(body, event_id="evt_1")).status == 401


def test_an_old_notification_is_401(paying: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.1"""
    body = json.dumps(bridge.settled("7")).encode()
    assert paying.cgi("subtcresult", body=body, **bridge.signed(body, age_seconds=400)).status == 401
    assert paying.cgi("subtcresult", body=body, **bridge.signed(body, age_seconds=-400)).status == 401
    assert paying.cgi("subtcresult", body=body, **bridge.signed(body, age_seconds=200)).status == 200


def test_while_a_secret_rotates_the_old_one_is_accepted_and_afterwards_refused(
    paying: Panel, bridge: FakeBridge, push: Push
) -> None:
    """BILLmanager contract 14.1"""
    event = bridge.settled("7")
    assert push(event, secret=OLD_SECRET).status == 401
    panel = paying.read()
    panel["methods"]["1"]["settings"]["subtc_notify_secret_old"] = OLD_SECRET
    paying.write(panel)
    assert push(event, secret=OLD_SECRET).status == 200


def test_several_signatures_in_one_header_are_one_match(paying: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.1"""
    body = json.dumps(bridge.settled("7")).encode()
    signed = bridge.signed(body, secret=OLD_SECRET)
    signed["HTTP_WEBHOOK_SIGNATURE"] += " " + bridge.signed(body)["HTTP_WEBHOOK_SIGNATURE"]
    assert paying.cgi("subtcresult", body=body, **signed).status == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "9.99"),
        ("amount", "1000"),
        ("amount", "10.001"),
        ("currency", "USD"),
        ("id", "inv_other"),
    ],
)
def test_other_money_or_another_invoice_is_422_and_not_paid(
    paying: Panel, bridge: FakeBridge, push: Push, field: str, value: str
) -> None:
    """BILLmanager contract 14.2"""
    event = bridge.settled("7")
    assert push({**event, "invoice": {**event["invoice"], field: value}}).status == 422
    assert (paying.payment()["status"], paying.credits()) == (2, [])


@pytest.mark.parametrize("value", ["1e1", "-10.00", " 10.00", "10,00", "", "NaN", 10.0, 10, None])
def test_an_amount_that_is_not_a_plain_decimal_text_is_refused(
    paying: Panel, bridge: FakeBridge, push: Push, value: Any
) -> None:
    """BILLmanager contract 14.2"""
    event = bridge.settled("7")
    assert push({**event, "invoice": {**event["invoice"], "amount": value}}).status == 401
    assert paying.credits() == []


@pytest.mark.parametrize("text", ["10", "10.0", "10.00", "10.000"])
def test_equal_numbers_agree_however_they_are_written(paying: Panel, bridge: FakeBridge, push: Push, text: str) -> None:
    """BILLmanager contract 14.2"""
    assert push(bridge.settled("7", amount=text)).status == 200


def test_eight_equal_notifications_and_a_checkpay_at_once_pay_once(
    paying: Panel, bridge: FakeBridge, push: Push
) -> None:
    """BILLmanager contract 14.3"""
    event = bridge.settled("7")
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(push, event) for _ in range(8)]
        pool.submit(paying.checkpay).result()
        assert {answer.result().status for answer in answers} == {200}
    assert (paying.credits(), paying.history()) == (["10.00"], [(8, 2), (2, 4)])
    assert paying.functions().count("payment.setpaid") == 1


def test_200_comes_only_after_the_status_was_read_back(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.4"""
    paying.fail("payment.setpaid", "error")
    assert push(bridge.settled("7")).status == 503
    assert (paying.payment()["status"], paying.credits()) == (2, [])


@pytest.mark.parametrize("fault", ["error", "down", "truncated", "not_utf8", "doctype"])
def test_a_broken_answer_of_mgrctl_is_never_taken_for_success(
    paying: Panel, bridge: FakeBridge, push: Push, fault: str
) -> None:
    """BILLmanager contract 14.5"""
    paying.fail("payment.info", fault)
    assert push(bridge.settled("7")).status == 503
    assert push(bridge.settled("7")).status == 200
    assert paying.credits() == ["10.00"]


@pytest.mark.parametrize(
    "cookie", ["", "billmgrses5=", "billmgrses5=unknown", "billmgrses5=sessother", "billmgrses5=../../x", "other=1"]
)
def test_who_is_not_the_owner_opens_nothing(panel: Panel, bridge: FakeBridge, cookie: str) -> None:
    """BILLmanager contract 14.6"""
    panel.add_payment("7")
    answer = panel.cgi("subtcpayment", "elid=7", HTTP_COOKIE=cookie)
    assert (answer.status, bridge.requests) == (403, [])
    assert "payment.info" not in panel.functions()


def test_root_itself_is_nobodys_session(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.6: should mgrctl ignore the session, everything would look owned."""
    panel.change(sessions={"sessroot": {"name": "root", "level": 30}})
    panel.add_payment("7")
    assert panel.pay("7", session="sessroot").status == 403


@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("elid=7", "billmgrses5=sessclient"),
        ("elid=7", "billmgrses5=sessclient:4"),
        ("elid=7", "billmgrses5=sessclient%3A4; billmgrlang5=dragon%3Aru"),
        ("elid=7", 'bad@cookie; a=b=c; billmgrses5="sessclient"'),
        ("elid=7&auth=sessclient", "billmgrses5=sessother"),
        ("elid=7&auth=sessclient", ""),
    ],
)
def test_the_session_is_found_wherever_the_panel_puts_it(
    panel: Panel, bridge: FakeBridge, query: str, cookie: str
) -> None:
    """BILLmanager contract 14.6 and 7"""
    panel.add_payment("7")
    assert panel.cgi("subtcpayment", query, HTTP_COOKIE=cookie).status == 302


def test_a_payment_of_another_module_is_left_alone(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.7"""
    methods = panel.read()["methods"]
    panel.change(methods={**methods, "2": {"module": "pmother", "currency": "RUB", "settings": {"token": "x"}}})
    panel.add_payment("8", method="2", status=2)
    assert panel.pay("8").status == 403
    assert push(bridge.settled("8")).status == 401
    panel.add_payment("7")
    panel.pay("7")
    panel.checkpay()
    assert (panel.payment("8")["status"], panel.credits()) == (2, [])


def test_a_bridge_cannot_pay_a_payment_that_names_another_bridge(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.7"""
    panel.add_payment("7")
    panel.pay("7")
    methods = panel.read()["methods"]
    elsewhere = {**methods["1"]["settings"], "subtc_api_key": "another_key_123", "subtc_notify_secret": OLD_SECRET}
    panel.change(methods={**methods, "2": {"module": "pmsubtc", "currency": "RUB", "settings": elsewhere}})
    panel.add_payment("9", method="2", status=2, externalid="inv_9")
    bridge.settled("9", id="inv_9")
    panel.checkpay()
    assert (panel.payment("9")["status"], panel.credits()) == (2, [])


def test_the_external_id_stays_the_same_for_the_life_of_a_payment(
    paying: Panel, bridge: FakeBridge, push: Push
) -> None:
    """BILLmanager contract 14.8"""
    bridge.event("expired", "7", status="expired")
    assert paying.pay("7").status == 302
    push(bridge.event("processing", "7", status="processing"))
    push(bridge.settled("7"))
    ids = {call["params"]["externalid"] for call in paying.calls() if call["func"] in STATUS_CALLS}
    assert ids | {paying.payment()["externalid"]} == {"inv_1"}


def test_a_second_invoice_for_one_payment_is_refused_not_written_over(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.8"""
    panel.add_payment("7")
    panel.pay("7")
    bridge.invoices.clear()
    bridge.by_key.clear()
    bridge.invoice("99")
    assert panel.pay("7").status == 502
    assert panel.payment()["externalid"] == "inv_1"


def test_status_calls_name_their_arguments(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.9"""
    push(bridge.settled("7"))
    paid = next(call["params"] for call in paying.calls() if call["func"] == "payment.setpaid")
    assert (paid["externalid"], "inv_1" in paid["info"], "15924 sat" in paid["info"]) == ("inv_1", True, True)


def paid_info(paying: Panel) -> str:
    return str(next(call["params"]["info"] for call in paying.calls() if call["func"] == "payment.setpaid"))


LIGHTNING = {"way": "lightning", "amount_sat": 15924, "first_seen_at": "2026-01-02T03:04:05Z", "txid": None}
ON_CHAIN = {"way": "bitcoin", "amount_sat": 9, "first_seen_at": "2026-01-02T03:05:00Z", "payment_hash": None}


@pytest.mark.parametrize(
    ("payments", "told"),
    [
        (
            [{**LIGHTNING, "payment_hash": "ab" * 32}],
            "; 15924 sat over Lightning 2026-01-02 03:04:05 UTC, payment hash " + "ab" * 32,
        ),
        ([{**ON_CHAIN, "txid": "cd" * 32}], "; 9 sat on-chain 2026-01-02 03:05:00 UTC, txid " + "cd" * 32),
        ([{**ON_CHAIN, "txid": None}], "; 9 sat on-chain 2026-01-02 03:05:00 UTC"),
        ([{**ON_CHAIN, "way": "pigeon"}], "; 9 sat pigeon 2026-01-02 03:05:00 UTC"),
        (
            [{**ON_CHAIN, "amount_sat": sat} for sat in (1, 5, 2, 4, 3)],
            "".join(f"; {sat} sat on-chain 2026-01-02 03:05:00 UTC" for sat in (5, 4, 3)) + "; 2 more",
        ),
    ],
    ids=["over Lightning", "on-chain", "a sum only", "a way of tomorrow", "a crowd"],
)
def test_what_set_it_paid_names_way_time_and_how_it_is_found(
    paying: Panel, bridge: FakeBridge, push: Push, payments: list[dict[str, Any]], told: str
) -> None:
    assert push(bridge.settled("7", payments=payments)).status == 200
    assert paid_info(paying) == "Bitcoin invoice inv_1 settled, received 15924 sat" + told


@pytest.mark.parametrize(
    "payments",
    [
        None,
        {},
        "x",
        [None, 1, "x", [], {}],
        [{**ON_CHAIN, "way": "a&b=c"}],
        [{**ON_CHAIN, "way": None}],
        [{**ON_CHAIN, "amount_sat": "9"}],
        [{**ON_CHAIN, "amount_sat": True}],
        [{**ON_CHAIN, "amount_sat": -1}],
        [{**ON_CHAIN, "first_seen_at": "yesterday"}],
    ],
    ids=str,
)
def test_payments_that_cannot_be_read_never_keep_money_from_being_credited(
    paying: Panel, bridge: FakeBridge, push: Push, payments: Any
) -> None:
    """Nor does a bridge that names none, as every one before did: the tests around this one have such a bridge."""
    assert push(bridge.settled("7", payments=payments)).status == 200
    assert paid_info(paying) == "Bitcoin invoice inv_1 settled, received 15924 sat"
    assert paying.payment()["status"] == 4


def test_no_trouble_ever_cancels_a_payment(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.10"""
    cancelled = bridge.event("cancelled", "7", status="expired")
    for fault in ("down", "error", "truncated"):
        paying.fail("*", fault)
        assert push(cancelled).status == 503
    bridge.status = 503
    paying.checkpay()
    assert paying.payment()["status"] == 2


def test_a_cancel_with_money_in_is_a_conflict(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.10"""
    assert push(bridge.event("cancelled", "7", status="expired", received_sat=1)).status == 409
    assert paying.payment()["status"] == 2


def test_late_money_after_our_own_cancel_is_credited(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.11"""
    assert push(bridge.event("cancelled", "7", status="expired")).status == 200
    assert paying.payment()["status"] == 9
    assert push(bridge.settled("7", exception="paid_late")).status == 200
    assert (paying.payment()["status"], paying.credits()) == (4, ["10.00"])


def test_late_money_is_found_by_checkpay_when_no_payment_is_open(paying: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.11"""
    bridge.event("cancelled", "7", status="expired")
    paying.checkpay()
    bridge.settled("7", exception="paid_late")
    paying.checkpay()
    assert (paying.payment()["status"], paying.credits()) == (4, ["10.00"])


def test_ten_reloads_are_one_invoice_and_one_history_row(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.12"""
    panel.add_payment("7")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: panel.pay("7"), range(10)))
    assert {answer.headers["Location"] for answer in answers} == {f"{bridge.url}/pay/pub_1"}
    assert (len(bridge.invoices), panel.history()) == (1, [(8, 2)])


def test_repeated_tags_of_payment_info_are_told_apart(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.13"""
    panel.add_payment("7", amount="1234.50")
    panel.pay("7")
    order = next(body for _, path, _, body in bridge.requests if path == "/v1/invoices")
    assert (order["amount"], order["currency"], order["customer"]) == (
        "1234.50",
        "RUB",
        {"id": "4", "email": "client@example.com"},
    )


def test_no_secret_reaches_argv_logs_state_or_info(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.14"""
    push(bridge.settled("7"), HTTP_WEBHOOK_SIGNATURE="v1,AAAA")
    push(bridge.settled("7"))
    paying.command("pmvalidate", form(bridge.url, secret="whsec_bad"))
    paying.command("pmvalidate", form(bridge.url))
    bridge.force = (401, {"code": "unauthorized", "detail": f"key {KEY} is unknown"}, {})
    paying.checkpay()
    paying.pay("7", session="sessclient")
    written = paying.everything_written()
    assert paying.logs()
    for secret in (KEY, SECRET, SECRET[6:], "sessclient", "whsec_bad"):
        assert secret not in written


@pytest.mark.parametrize(
    "elid", ["", "0x7", "7;rm -rf /", "1 OR 1=1", "-7", "7%0A", "7%00", "１", "1234567890123", "7&elid=8;x", "../7"]
)
def test_an_elid_that_is_not_a_number_goes_nowhere(panel: Panel, bridge: FakeBridge, elid: str) -> None:
    """BILLmanager contract 14.15"""
    answer = panel.cgi(
        "subtcpayment", f"elid={elid}" if elid != "7&elid=8;x" else "elid=8;x", HTTP_COOKIE="billmgrses5=s"
    )
    assert (answer.status, panel.calls(), bridge.requests) == (400, [], [])


def test_a_notification_about_a_strange_elid_goes_nowhere(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.15"""
    event = bridge.settled("7")
    event = {**event, "invoice": {**event["invoice"], "billing_payment_id": "1;rm -rf"}}
    assert (push(event).status, panel.calls()) == (401, [])


def test_there_is_no_way_to_switch_certificate_checks_off() -> None:
    """BILLmanager contract 14.16; test_tls.py tries real certificates."""
    text = "".join(where.read_text() for where in (STUB / "lib/python/subtc").glob("*.py"))
    assert "create_default_context()" in text
    for word in ("CERT_NONE", "_create_unverified_context", "check_hostname = False", "verify_mode"):
        assert word not in text


def test_all_addresses_are_the_panels_real_ones(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.17: /mancgi/, func=payment.fail, the panel's own host whatever the Host header says."""
    assert "<payment_script>/mancgi/subtcpayment</payment_script>" in panel.command("config")
    for status, func in ((4, "payment.success"), (7, "payment.fail"), (9, "payment.fail")):
        panel.add_payment("7", status=status)
        location = panel.pay("7").headers["Location"]
        assert location == f"https://billing.example/billmgr?func={func}&elid=7&module=pmsubtc"
    panel.add_payment("8")
    panel.pay("8")
    order = next(body for _, path, _, body in bridge.requests if path == "/v1/invoices")
    assert order["return_url"] == "https://billing.example/billmgr?func=payment.pending&elid=8&module=pmsubtc"


def test_every_answer_has_headers_and_a_blank_line(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.18"""
    for answer in (paying.pay("7"), paying.cgi("subtcpayment", ""), push(bridge.settled("7"))):
        assert answer.headers["Content-Type"].endswith("charset=utf-8")
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_body_comes_from_stdin_with_either_length_header(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.18"""
    event = bridge.settled("7")
    length = str(len(json.dumps(event).encode()))
    assert push(event, CONTENT_LENGTH="", HTTP_CONTENT_LENGTH=length).status == 200
    assert push(event, CONTENT_LENGTH="0", HTTP_CONTENT_LENGTH=length).status == 200
    assert push(event, CONTENT_LENGTH="").status == 401
    assert push(event, CONTENT_LENGTH="12x").status == 400
    assert push(event, CONTENT_LENGTH="99999").status == 413
    assert push(event, CONTENT_LENGTH=str(int(length) + 5)).status == 400


def test_the_client_may_pay_from_the_list_with_a_post_form(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.18 and 7"""
    panel.add_payment("7")
    answer = panel.cgi("subtcpayment", "", body=b"elid=7&auth=sessclient")
    assert answer.status == 302


def test_mgrctl_gets_separate_arguments_and_no_shell(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.19"""
    panel.add_payment("7", description="$(touch /tmp/x) 'quoted' \"double\" ; #7 & <b>")
    assert panel.pay("7").status == 302
    argv = panel.calls()[-1]["argv"]
    assert argv[1:4] == ["-m", "billmgr", "payment.setinpay"]
    assert argv[4:] == ["elid=7", "externalid=inv_1", "info=Bitcoin invoice inv_1", "out=xml"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("created", {"status": "new"}),
        ("processing", {"status": "processing", "received_sat": 15924}),
        ("expired", {"status": "expired"}),
        ("review", {"status": "settled", "hold": "review"}),
        ("invalid", {"status": "invalid"}),
        ("updated", {"status": "new", "received_sat": 99999999}),
    ],
)
def test_only_a_settled_invoice_is_paid(
    paying: Panel, bridge: FakeBridge, push: Push, kind: str, fields: dict[str, Any]
) -> None:
    """BILLmanager contract 14.20"""
    assert push(bridge.event(kind, "7", **fields)).status == 200
    assert (paying.payment()["status"], paying.credits()) == (2, [])


def test_a_settled_event_that_contradicts_itself_is_422(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.20"""
    assert push(bridge.settled("7", hold="review")).status == 422
    assert push(bridge.settled("7", hold=None, status="processing")).status == 422
    assert paying.credits() == []


def test_pmvalidate_asks_with_the_typed_credentials(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.21"""
    bridge.keys = {"typed_key_12345": SECRET}
    assert panel.command("pmvalidate", form(bridge.url, key="typed_key_12345")) == ""
    assert [headers["authorization"] for _, _, headers, _ in bridge.requests] == ["Bearer typed_key_12345"]


def test_money_is_credited_by_setpaid_alone(paying: Panel, bridge: FakeBridge, push: Push) -> None:
    """BILLmanager contract 14.22"""
    push(bridge.settled("7"))
    paying.checkpay()
    allowed = {"payment.info", "payment.setpaid", "payment.setinpay", "payment", "paymethod", "whoami"}
    assert set(paying.functions()) <= allowed


def test_config_is_quick_and_touches_nothing(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.23"""
    before = list((panel.base / "var").iterdir())
    begun = time.monotonic()
    answer = panel.command("config")
    assert time.monotonic() - begun < 2
    assert (panel.calls(), bridge.requests, list((panel.base / "var").iterdir())) == ([], [], before)
    for feature in ("redirect", "notneedprofile", "pmvalidate", "checkpay"):
        assert f"<{feature}>on</{feature}>" in answer
    assert "refund" not in answer


def test_nothing_a_stranger_sends_reaches_the_page_unescaped(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.24"""
    evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    for answer in (
        panel.cgi("subtcpayment", f"elid={evil}&lang={evil}", HTTP_COOKIE=f"billmgrses5={evil}"),
        panel.cgi("subtcpayment", f"elid=7&auth={evil}"),
    ):
        assert "<script" not in answer.body
    panel.add_payment("7")
    bridge.invoice("7", payment_url='https://pay.example/"><script>alert(1)</script>')
    answer = panel.pay("7")
    assert "<script" not in answer.body


def test_a_pay_page_address_that_is_not_https_is_not_followed(panel: Panel, bridge: FakeBridge) -> None:
    """BILLmanager contract 14.24"""
    panel.add_payment("7")
    for url in ("javascript:alert(1)", "//evil.example", "", "https://a b", "https://x\r\nSet-Cookie: a=b"):
        bridge.invoice("7", payment_url=url)
        assert panel.pay("7").status == 502
    assert panel.payment()["status"] == 8
