"""The one job, through real programs: an order in BILLmanager, paid in Bitcoin, becomes an active service."""

import signal
import subprocess
import threading
import time
from typing import Any

import pytest

from sandbox.demo import Demo, call, start_web, start_worker, until
from tests.e2e.conftest import PULLER_KEY, PULLER_SECRET, Order

PAID, IN_PAY = 4, 2


def finish(order: Order) -> None:
    """From the mined block to the active service."""
    order.mine()
    order.travel(6)  # past the worker's pause between two looks at the chain's tip
    order.settled()
    order.paid()
    order.active()


def program(demo: Demo, command: str) -> "subprocess.Popen[bytes]":
    """The running program that was started with this command."""
    return next(each for each in demo.programs if list(each.args)[-1] == command)


def test_an_order_that_is_paid_becomes_an_active_service(order: Order) -> None:
    invoice = order.place_and_open()
    assert (invoice["amount"], invoice["currency"], invoice["status"]) == ("499.00", "RUB", "new")
    order.pay()
    order.doorbell()
    order.seen()
    finish(order)
    payment = order.payment()
    assert (payment["status"], payment["externalid"]) == (PAID, invoice["id"])
    (money,) = order.invoice["payments"]
    assert (money["way"], money["payment_hash"]) == ("bitcoin", None)
    assert f"; {money['amount_sat']} sat on-chain {money['first_seen_at'][:10]}" in payment["info"]
    assert payment["info"].endswith(f", txid {money['txid']}")
    assert order.statuses().count(PAID) == 1
    order.told("invoice.created", "invoice.processing", "invoice.settled")


def test_with_every_callback_dropped_the_order_still_becomes_active(order: Order) -> None:
    order.knobs(fault={"mode": "callback", "kind": "drop"})
    order.place_and_open()
    order.pay()
    until(order.rung, "the gateway fired no watch")
    order.travel(31)
    order.seen()
    finish(order)
    assert [each["state"] for each in order.rung()] == ["dropped"]
    assert order.statuses().count(PAID) == 1


def test_with_every_callback_doubled_and_one_forged_beforehand_it_is_paid_exactly_once(order: Order) -> None:
    order.knobs(fault={"mode": "callback", "kind": "duplicate", "copies": 2})
    invoice = order.place_and_open()
    until(lambda: invoice["address"] in str(order.control("bitcoin", "watches")), "no watch was armed")
    forged = {
        "address": invoice["address"],
        "reached": True,
        "received_sat": invoice["remaining_sat"],
        "status": "confirmed",
    }
    sent = {"callback_url": order.callback_url(), "body": forged}
    assert order.control("bitcoin", "forge", sent)["status"] == 200
    order.control("bitcoin", "forge", {**sent, "body": "<html>not json</html>"})
    assert order.api_invoice()["status"] == "new"
    assert order.payment()["status"] != PAID
    order.pay()
    order.seen()
    until(lambda: len([d for d in order.rung() if d["state"] == "delivered"]) == 2, "the callback was not doubled")
    finish(order)
    order.control("bitcoin", "forge", sent)
    for _ in range(3):
        order.control("billmanager", "tick", {})
    assert order.statuses().count(PAID) == 1
    assert order.events().count("invoice.settled") == 1


def test_a_callback_to_an_unknown_address_is_refused(demo: Demo) -> None:
    refused = call(f"{demo.url('bridge')}/callbacks/subtc/{'A' * 22}", {"reached": True})
    assert (refused.status, refused.json()["code"]) == (404, "unknown_token")


def test_a_reload_of_the_payment_page_gives_the_same_invoice_and_no_second_history_row(order: Order) -> None:
    first = order.place_and_open()
    before = order.statuses()
    for _ in range(3):
        order.open_pay_page()
        assert order.invoice == first
    assert order.statuses() == before
    assert len(before) == len(set(before))


def test_twelve_reloads_at_once_make_one_invoice(order: Order) -> None:
    order.place_order()
    cookie = {"Cookie": f"{order.order['cookie']}={order.order['session']}"}
    seen: list[Any] = []
    threads = [
        threading.Thread(target=lambda: seen.append(call(order.order["pay_url"], headers=cookie))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    pages = {reply.headers.get("location") for reply in seen if reply.status == 302}
    assert len(seen) == 12
    assert len(pages) == 1
    order.open_pay_page()
    order.told("invoice.created")
    assert order.statuses().count(IN_PAY) == 1


def test_with_pushes_off_the_checkpay_tick_pulls_and_pays(demo: Demo, order: Order) -> None:
    settings = {
        "subtc_bridge_url": demo.url("bridge"),
        "subtc_api_key": PULLER_KEY,
        "subtc_notify_secret": PULLER_SECRET,
    }
    made = order.control("billmanager", "setup", {"settings": settings, "currencies": ["USD"]})
    pulled = Order(demo, api_key=PULLER_KEY, currency="USD", amount="12.00", paymethod=str(made["paymethod_id"]))
    pulled.place_and_open()
    pulled.pay()
    pulled.seen()
    pulled.mine()
    pulled.settled()
    until(lambda: "invoice.settled" in pulled.events(api_key=PULLER_KEY), "the feed has no such event")
    assert pulled.payment()["status"] != PAID
    for _ in range(2):
        pulled.control("billmanager", "tick", {})
    pulled.paid()
    pulled.active()
    assert pulled.statuses().count(PAID) == 1


def test_a_trusted_client_of_the_panel_is_judged_by_the_rules_of_his_tier(demo: Demo, order: Order) -> None:
    """The tier goes from the method's settings in BILLmanager to the rule of the policy that absorbs what is missing."""
    settings = {
        "subtc_bridge_url": demo.url("bridge"),
        "subtc_api_key": demo.secrets["api_key"],
        "subtc_notify_secret": demo.secrets["notify_secret"],
        "subtc_tier": "trusted",
    }
    made = order.control("billmanager", "setup", {"settings": settings, "currencies": ["RUB"]})
    of_the_trusted = Order(demo, paymethod=str(made["paymethod_id"]))
    of_the_trusted.place_and_open()
    missing_sat = of_the_trusted.invoice["remaining_sat"] * 40 // 10_000
    of_the_trusted.pay_less(missing_sat)
    of_the_trusted.seen()
    finish(of_the_trusted)
    assert of_the_trusted.invoice["received_sat"] == of_the_trusted.invoice["quote"]["due_sat"] - missing_sat
    order.place_and_open()
    order.pay_less(order.invoice["remaining_sat"] * 40 // 10_000)
    order.mine()
    order.travel(31)  # no watch rings for a part: the next look has to come
    until(lambda: order.api_invoice()["confirmed_sat"], "the block was not seen")
    found = order.api_invoice()
    assert (found["status"], found["exception"]) == ("new", "paid_partial")
    assert order.payment()["status"] == IN_PAY


def test_a_push_that_billmanager_could_not_answer_is_repeated_and_pays_once(order: Order) -> None:
    faults = {"target": "cgi", "name": "subtcresult", "kind": "lost", "times": 2}
    order.control("billmanager", "faults", {"faults": [faults]})
    order.place_and_open()
    order.pay()
    order.seen()
    order.mine()
    order.settled()
    for _ in range(4):
        order.travel(40)
        if order.payment()["status"] == PAID:
            break
        time.sleep(1)
    order.paid()
    order.active()
    assert order.statuses().count(PAID) == 1


def test_a_worker_told_to_stop_finishes_its_delivery_and_ends_well(demo: Demo, order: Order) -> None:
    worker = program(demo, "worker")
    order.control("billmanager", "faults", {"target": "cgi", "name": "subtcresult", "kind": "slow", "seconds": 2})
    order.place_and_open()
    order.pay()
    order.doorbell()
    until(lambda: order.api_invoice()["status"] == "processing", "the money was not seen")
    time.sleep(0.5)  # the slow push is under way
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    demo.programs.remove(worker)
    start_worker(demo)
    finish(order)
    assert order.statuses().count(PAID) == 1


def test_a_web_server_told_to_stop_finishes_the_request_it_is_in(demo: Demo, order: Order) -> None:
    order.place_order()
    order.knobs(latency_s=1.5)
    key = {"Authorization": f"Bearer {demo.secrets['api_key']}", "Idempotency-Key": f"e2e-{time.monotonic_ns()}"}
    wanted = {"billing_payment_id": "990001", "amount": "100.00", "currency": "RUB"}
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(call(f"{demo.url('bridge')}/v1/invoices", wanted, headers=key))
    )
    asking.start()
    time.sleep(0.7)
    web = program(demo, "serve")
    web.send_signal(signal.SIGTERM)
    asking.join(20)
    assert web.wait(20) == 0
    assert [answer.status for answer in answers] == [201]
    order.knobs(latency_s=0)
    demo.programs.remove(web)
    start_web(demo)
    again = call(f"{demo.url('bridge')}/v1/invoices", wanted, headers=key)
    assert again.body == answers[0].body
    assert again.headers["idempotent-replayed"] == "true"
    order.open_pay_page()


def test_no_program_wrote_a_secret_or_a_traceback_into_its_log(demo: Demo, order: Order) -> None:
    order.place_and_open()
    tokens = [w["callback_url"].rpartition("/")[2] for w in order.control("bitcoin", "watches")["watches"]]
    for name in ("bridge", "worker"):
        written = (demo.directory / f"{name}.log").read_text()
        assert "Traceback" not in written
        for secret in (*demo.secrets.values(), PULLER_KEY, PULLER_SECRET, *tokens):
            assert secret not in written


@pytest.mark.parametrize("elid", ["1;rm -rf", "0", "-1", "999999", "' OR 1=1", "../../etc/passwd"])
def test_a_made_up_payment_number_opens_nothing(demo: Demo, order: Order, elid: str) -> None:
    order.place_order()
    cookie = {"Cookie": f"{order.order['cookie']}={order.order['session']}"}
    path, _, query = str(order.order["pay_url"]).partition("?")
    assert "elid=" in query
    reply = call(f"{path}?elid={elid.replace(' ', '%20')}", headers=cookie)
    assert "/pay/" not in reply.headers.get("location", "")
    assert reply.status < 500
