"""Blocking waits, watches and the callbacks they lead to."""

import json
import threading

import pytest
import requests

from sandbox.bitcoin import serve_in_thread
from tests.sandbox_bitcoin.driver import Driver, until


def watch(sandbox, receiver, address, **options):
    body = {"address": address, "expected_sat": 50_000, "timeout_sec": 600, "callback_url": receiver.url, **options}
    return sandbox.ok("wallet_wait_event", **body)


def states(sandbox):
    return [delivery["state"] for delivery in sandbox.look("deliveries")["deliveries"]]


def waiting(sandbox, address, answers, **options):
    """A blocking wait in another thread."""
    driver = Driver(sandbox.url)
    driver.key, driver.wallet_id = sandbox.key, sandbox.wallet_id

    def run():
        body = {"address": address, "expected_sat": 50_000, **options}
        try:
            answers.append(driver.call("wallet_wait_event", **body).json())
        except requests.ConnectionError:
            answers.append("cut")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive() and not answers
    return thread


def test_a_blocking_wait_ends_when_the_money_comes(sandbox):
    address, answers = sandbox.inbox(), []
    thread = waiting(sandbox, address, answers)
    sandbox.pay(address, 60_000)
    thread.join(5)
    assert (answers[0]["result"]["status"], answers[0]["result"]["received_sat"]) == ("confirmed", 60_000)


@pytest.mark.parametrize("form", ["timeout", "error", "cut"])
def test_a_blocking_wait_ends_by_the_sandbox_clock(sandbox, form):
    sandbox.control("knobs", wait_timeout_form=form)
    address, answers = sandbox.inbox(), []
    sandbox.pay(address, 10)
    thread = waiting(sandbox, address, answers, timeout_sec=100)
    for _ in range(200):
        sandbox.control("clock", advance_s=101)
        thread.join(0.02)
        if answers:
            break
    if form == "timeout":
        assert (answers[0]["result"]["status"], answers[0]["result"]["received_sat"]) == ("timeout", 10)
    else:
        assert answers[0] == "cut" or answers[0]["error"] == "TIMEOUT"


def test_a_timeout_over_the_maximum_is_clamped_or_rejected(sandbox, receiver):
    address = sandbox.inbox()
    watch(sandbox, receiver, address, timeout_sec=5_000)
    sandbox.control("clock", advance_s=601)
    assert [entry["state"] for entry in sandbox.look("watches")["watches"]] == ["expired"]
    sandbox.control("knobs", wait_over_max="reject")
    assert sandbox.refused("wallet_wait_event", address=address, expected_sat=1, timeout_sec=5_000) == "BAD_REQUEST"


def test_a_watch_answers_at_once_and_calls_back_when_reached(sandbox, receiver):
    address = sandbox.inbox()
    answer = watch(sandbox, receiver, address)
    assert list(answer) == ["address", "callback_url", "expected_sat", "status", "wallet_id"]
    assert answer["status"] == "watching"
    sandbox.pay(address, 49_999)
    assert sandbox.control("callbacks/flush") == {"ended": 0}
    sandbox.pay(address, 1)
    sandbox.control("callbacks/flush")
    assert receiver.types == ["application/json"]
    assert json.loads(receiver.bodies[0]) == {
        "address": address,
        "callback_url": receiver.url,
        "coin": "btc",
        "expected_sat": 50_000,
        "net": "test",
        "reached": True,
        "received_sat": 50_000,
        "status": "confirmed",
        "wallet_id": sandbox.wallet_id,
    }
    sandbox.pay(address, 5)
    sandbox.control("callbacks/flush")
    assert len(receiver.bodies) == 1


def test_the_callback_body_can_be_enveloped(sandbox, receiver):
    sandbox.control("knobs", callback_body="envelope")
    address = sandbox.inbox()
    sandbox.pay(address, 50_000)
    watch(sandbox, receiver, address)
    sandbox.control("callbacks/flush")
    body = json.loads(receiver.bodies[0])
    assert sorted(body) == ["ok", "request_id", "result"] and body["result"]["reached"] is True


def test_two_watches_on_one_address_both_fire(sandbox, receiver):
    address = sandbox.inbox()
    watch(sandbox, receiver, address)
    watch(sandbox, receiver, address)
    sandbox.pay(address, 50_000)
    sandbox.control("callbacks/flush")
    assert len(receiver.bodies) == 2


def test_a_restart_loses_watches_and_expiry_is_silent(sandbox, receiver):
    lost, late = sandbox.inbox(), sandbox.inbox()
    watch(sandbox, receiver, lost)
    sandbox.control("restart")
    watch(sandbox, receiver, late)
    sandbox.control("clock", advance_s=600)
    sandbox.pay(lost, 50_000)
    sandbox.pay(late, 50_000)
    sandbox.control("callbacks/flush")
    assert [entry["state"] for entry in sandbox.look("watches")["watches"]] == ["lost", "expired"]
    assert receiver.bodies == []


def test_a_callback_is_tried_three_times_by_default(sandbox, receiver):
    receiver.answers = [500, 302, 503, 200]
    address = sandbox.inbox()
    watch(sandbox, receiver, address)
    sandbox.pay(address, 50_000)
    sandbox.control("callbacks/flush")
    assert states(sandbox) == ["failed"]
    attempts = sandbox.look("deliveries")["deliveries"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [500, 302, 503]


def test_a_retry_waits_for_the_clock(sandbox, receiver):
    sandbox.control("knobs", callback_backoff_s=[1000])
    receiver.answers = [500]
    address = sandbox.inbox()
    watch(sandbox, receiver, address)
    sandbox.pay(address, 50_000)
    until(lambda: len(receiver.bodies) == 1)
    until(lambda: states(sandbox) == ["scheduled"])
    sandbox.control("clock", advance_s=1001)
    until(lambda: states(sandbox) == ["delivered"])
    assert len(receiver.bodies) == 2


def one_faulty_callback(sandbox, receiver, kind, **params):
    sandbox.fault(kind, "callback", **params)
    address = sandbox.inbox()
    watch(sandbox, receiver, address)
    sandbox.pay(address, 50_000)
    return address


def test_a_callback_can_be_lost(sandbox, receiver):
    one_faulty_callback(sandbox, receiver, "drop")
    sandbox.control("callbacks/flush")
    assert receiver.bodies == [] and states(sandbox) == ["dropped"]


def test_a_callback_can_be_late(sandbox, receiver):
    one_faulty_callback(sandbox, receiver, "delay", seconds=500)
    assert states(sandbox) == ["scheduled"]
    sandbox.control("clock", advance_s=501)
    until(lambda: len(receiver.bodies) == 1)


def test_a_callback_can_come_more_than_once(sandbox, receiver):
    one_faulty_callback(sandbox, receiver, "duplicate", copies=3)
    sandbox.control("callbacks/flush")
    assert len(receiver.bodies) == 3 and len(set(receiver.bodies)) == 1


def test_a_callback_can_name_another_address_too_little_or_be_no_json(sandbox, receiver):
    address = one_faulty_callback(sandbox, receiver, "wrong_address")
    sandbox.control("callbacks/flush")
    assert json.loads(receiver.bodies[0])["address"] != address
    one_faulty_callback(sandbox, receiver, "too_little")
    sandbox.control("callbacks/flush")
    assert json.loads(receiver.bodies[1])["received_sat"] < 50_000
    one_faulty_callback(sandbox, receiver, "not_json")
    sandbox.control("callbacks/flush")
    assert receiver.bodies[2].startswith(b"<html>")


def test_anybody_can_forge_a_callback(sandbox, receiver):
    receiver.answers = [404]
    body = {"address": sandbox.inbox(), "reached": True, "received_sat": 50_000}
    assert sandbox.control("forge", callback_url=receiver.url, body=body) == {"status": 404}
    assert json.loads(receiver.bodies[0]) == body
    assert sandbox.control("forge", callback_url=receiver.url, body="not json") == {"status": 200}


def test_callbacks_go_to_loopback_only(sandbox):
    assert "refused" in sandbox.control("forge", callback_url="http://192.0.2.1/x", body={})["error"]
    address = sandbox.inbox()
    body = {"address": address, "expected_sat": 1, "callback_url": "http://billing.example/x"}
    sandbox.ok("wallet_wait_event", **body)
    sandbox.pay(address, 1)
    sandbox.control("callbacks/flush")
    assert states(sandbox) == ["refused"]


def test_a_stopped_sandbox_is_gone_even_for_kept_connections():
    served = serve_in_thread()
    sandbox = Driver(served.url).ready()
    served.stop()
    with pytest.raises(requests.ConnectionError):
        sandbox.raw("wallet_list", timeout=2)
    sandbox.http.close()
