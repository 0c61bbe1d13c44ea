"""Every scripted fault of the gateway, seen from the client's side of the wire."""

import threading
import time

import pytest
import requests

from tests.sandbox_bitcoin.driver import Driver, until

BREAKS = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


def test_a_counted_fault_ends_after_its_times_and_only_in_its_mode(sandbox):
    address = sandbox.inbox()
    sandbox.fault("truncated_json", "wallet_poll", times=2, skip=1)
    body = {"wallet_id": sandbox.wallet_id, "address": address, "expected_sat": 5}
    outcomes = []
    for _ in range(4):
        sandbox.ok("wallet_balance")
        try:
            sandbox.raw("wallet_poll", body).json()
            outcomes.append("whole")
        except requests.JSONDecodeError:
            outcomes.append("torn")
    assert outcomes == ["whole", "torn", "torn", "whole"]
    assert sandbox.look("knobs")["faults"] == []


def test_clearing_ends_a_fault_without_a_count(sandbox):
    sandbox.fault("down", times=None)
    assert [sandbox.raw("wallet_list").status_code for _ in range(3)] == [503] * 3
    sandbox.control("knobs", clear_faults=True)
    assert sandbox.raw("wallet_list").status_code == 200


def txids_after(sandbox, kind, **params):
    """Send with a fault, retry with the same key; the number of transactions that exist in the end."""
    sandbox.funded()
    to = sandbox.stranger()
    sandbox.fault(kind, "wallet_send", **params)
    try:
        answer = sandbox.send(to, 50_000, idempotency="a")
        first = answer.status_code
    except BREAKS:
        first = "broken"
    seen = len(sandbox.look("state")["mempool"])
    assert sandbox.send(to, 50_000, idempotency="a").json()["ok"] is True
    assert len(sandbox.look("state")["mempool"]) == 1
    return first, seen


@pytest.mark.parametrize(
    ("kind", "first", "sent"),
    [
        ("error_500_before", 500, 0),
        ("error_500_after", 500, 1),
        ("cut_before", "broken", 0),
        ("lost_response", "broken", 1),
        ("cut_midway", "broken", 1),
        ("truncated_json", 200, 1),
        ("not_json", 200, 1),
        ("no_result", 200, 1),
        ("send_failed_but_sent", 502, 1),
        ("error", 502, 0),
        ("node_unavailable", 503, 0),
        ("rate_limited", 429, 0),
        ("redirect", 307, 0),
        ("down", 503, 0),
    ],
)
def test_a_fault_strikes_before_or_after_the_money_moved(sandbox, kind, first, sent):
    assert txids_after(sandbox, kind) == (first, sent)


def test_an_error_may_also_hide_the_effect(sandbox):
    assert txids_after(sandbox, "error", code="NODE_UNAVAILABLE", after=True) == (503, 1)


@pytest.mark.parametrize("params", [{}, {"retry_after_s": 7}])
def test_rate_limiting_comes_with_and_without_retry_after(sandbox, params):
    sandbox.fault("rate_limited", **params)
    answer = sandbox.raw("wallet_list")
    assert (answer.status_code, answer.json()["error"]) == (429, "RATE_LIMITED")
    assert answer.headers.get("Retry-After") == ("7" if params else None)


def test_a_redirect_leads_to_another_host(sandbox):
    sandbox.fault("redirect")
    assert sandbox.raw("wallet_list").headers["Location"].startswith("http://redirected.invalid/")


@pytest.mark.parametrize(("kind", "type_"), [("string_numbers", str), ("float_numbers", float)])
def test_amounts_of_the_wrong_type(sandbox, kind, type_):
    address = sandbox.inbox()
    sandbox.fault(kind, "wallet_poll")
    assert type(sandbox.poll(address)["received_sat"]) is type_


def test_reached_with_too_little(sandbox):
    address = sandbox.inbox()
    sandbox.fault("reached_with_too_little", "wallet_poll")
    lie = sandbox.poll(address)
    assert lie["reached"] is True and lie["received_sat"] < lie["expected_sat"]
    assert sandbox.poll(address)["received_sat"] == 0


def test_another_address_is_echoed(sandbox):
    address = sandbox.inbox()
    sandbox.fault("wrong_address", "wallet_poll")
    assert sandbox.poll(address)["address"] != address
    assert sandbox.poll(address)["address"] == address


def test_an_address_is_handed_out_twice(sandbox):
    first, _ = sandbox.inbox(), sandbox.inbox()
    sandbox.fault("repeated_address", "inbox_create")
    assert sandbox.inbox() == first
    assert sandbox.inbox() != first


def test_a_test_wallet_gets_a_main_address(sandbox):
    sandbox.fault("main_address", "inbox_create")
    assert sandbox.inbox().startswith("bc1q")


def test_members_can_be_set_and_dropped(sandbox):
    address = sandbox.inbox()
    sandbox.fault("set_member", "wallet_poll", member="received_sat", value=-1)
    assert sandbox.poll(address)["received_sat"] == -1
    sandbox.fault("drop_member", "wallet_poll", member="received_sat")
    assert "received_sat" not in sandbox.poll(address)


@pytest.mark.parametrize("kind", ["latency", "slow_drip"])
def test_a_slow_answer_takes_its_time_and_holds_up_nobody_else(sandbox, kind):
    sandbox.fault(kind, "wallet_list", seconds=0.4)
    driver, ended = Driver(sandbox.url), []
    driver.key = sandbox.key
    thread = threading.Thread(target=lambda: ended.append(driver.raw("wallet_list").json()["ok"]))
    started = time.monotonic()
    thread.start()
    until(lambda: sandbox.look("knobs")["faults"] == [])
    sandbox.ok("wallet_list")
    assert not ended and time.monotonic() - started < 0.35
    thread.join(5)
    assert ended == [True] and time.monotonic() - started >= 0.35
    driver.http.close()


def test_the_latency_knob_slows_every_call(sandbox):
    sandbox.control("knobs", latency_s=0.1)
    started = time.monotonic()
    sandbox.ok("wallet_list")
    assert time.monotonic() - started >= 0.1


def test_an_outage_is_503_or_silence(sandbox):
    sandbox.control("knobs", outage="503")
    assert sandbox.raw("wallet_list").status_code == 503
    assert sandbox.http.get(f"{sandbox.url}/health", timeout=5).status_code == 503
    sandbox.control("knobs", outage="cut")
    with pytest.raises(BREAKS):
        sandbox.raw("wallet_list")
    sandbox.control("knobs", outage="hang")
    with pytest.raises(requests.Timeout):
        sandbox.raw("wallet_list", timeout=0.2)
    sandbox.control("knobs", outage=None)
    until(lambda: sandbox.raw("wallet_list").status_code == 200)
