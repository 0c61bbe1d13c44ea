"""What the emulated gateway answers, mode by mode, and how its knobs change that."""

import threading

import pytest

from sandbox.bitcoin import serve_in_thread
from tests.sandbox_bitcoin.driver import Driver


def test_every_inbox_has_an_address_of_its_own(sandbox):
    addresses = {sandbox.inbox() for _ in range(20)} | {sandbox.ok("wallet_receive")["address"]}
    assert len(addresses) == 21


def test_wallet_receive_repeats_itself_when_sticky(sandbox):
    sandbox.control("knobs", receive="sticky")
    first = sandbox.ok("wallet_receive")
    assert sandbox.ok("wallet_receive") == first
    assert first["addresses"] == [first["address"]]


def test_a_key_cannot_see_the_wallets_of_another_key(sandbox):
    other = Driver(sandbox.url).ready()
    assert other.refused("wallet_balance", wallet_id=sandbox.wallet_id) == "WALLET_NOT_FOUND"
    assert other.refused("wallet_poll", address=sandbox.inbox(), expected_sat=1) == "ADDRESS_NOT_FOUND"
    assert other.ok("wallet_list")["wallets"] == [{"coin": "btc", "net": "test", "wallet_id": other.wallet_id}]


@pytest.mark.parametrize(
    ("mode", "body", "code", "status"),
    [
        ("nonsense", {}, "UNKNOWN_MODE", 400),
        ("wallet_poll", "{", "BAD_JSON", 400),
        ("wallet_poll", "[1]", "BAD_JSON", 400),
        ("wallet_balance", {}, "BAD_REQUEST", 400),
        ("wallet_balance", {"wallet_id": "w_0"}, "WALLET_NOT_FOUND", 404),
        ("wallet_create", {"net": "main"}, "BAD_REQUEST", 400),
    ],
)
def test_refusals_follow_the_status_knob(sandbox, mode, body, code, status):
    answer = sandbox.raw(mode, body)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    sandbox.control("knobs", status="always200")
    answer = sandbox.raw(mode, body)
    assert (answer.status_code, answer.json()["error"]) == (200, code)


def test_a_call_without_a_known_key_is_unauthorized(sandbox):
    assert Driver(sandbox.url).raw("wallet_list").status_code == 401


@pytest.mark.parametrize("expected", [0, -1, 1.0, "5", True, None])
def test_expected_sat_must_be_a_positive_integer(sandbox, expected):
    assert sandbox.refused("inbox_create", expected_sat=expected) == "BAD_REQUEST"


def test_a_get_on_a_mode_is_refused(sandbox):
    assert sandbox.http.get(f"{sandbox.url}/v1/btc?mode=wallet_list", timeout=5).json()["error"] == "BAD_REQUEST"


def test_unconfirmed_money_reaches_by_default(sandbox):
    address = sandbox.inbox()
    sandbox.pay(address, 30_000)
    assert sandbox.poll(address, 20_000)["reached"] is True
    balance = sandbox.ok("wallet_balance")
    assert (balance["balance_sat"], balance["confirmed_sat"], balance["unconfirmed_sat"]) == (30_000, 0, 30_000)


@pytest.mark.parametrize("depth", [1, 2])
def test_min_conf_hides_money_until_it_is_that_deep(sandbox, depth):
    sandbox.control("knobs", min_conf=depth)
    address = sandbox.inbox()
    sandbox.pay(address, 50_000, confirmations=depth - 1)
    assert sandbox.poll(address) | {"reached": False, "received_sat": 0} == sandbox.poll(address)
    sandbox.control("mine", blocks=1)
    assert sandbox.poll(address)["received_sat"] == 50_000


def test_received_sat_never_falls_through_spending(sandbox):
    address = sandbox.funded(200_000)
    sandbox.send(sandbox.stranger(), 150_000)
    assert sandbox.poll(address)["received_sat"] == 200_000
    assert sandbox.ok("wallet_balance")["balance_sat"] == 50_000


def test_unconfirmed_receipts_cannot_be_spent(sandbox):
    sandbox.pay(sandbox.inbox(), 100_000)
    assert sandbox.send(sandbox.stranger(), 60_000).json()["error"] == "SEND_FAILED"


def test_a_send_reaches_the_recipient_with_the_service_fee_taken_off(sandbox):
    other = Driver(sandbox.url).ready()
    address = other.inbox()
    sandbox.funded()
    sandbox.send(address, 50_000)
    assert other.poll(address)["received_sat"] == 48_500


@pytest.mark.parametrize(
    ("knobs", "sat", "fee", "sent", "left"),
    [
        ({}, 50_033, 1_500, 48_533, 149_967),
        ({"fee_rounding": "ceil"}, 50_033, 1_501, 48_532, 149_967),
        ({"fee_rounding": "ceil"}, 50_000, 1_500, 48_500, 150_000),
        ({"fee_model": "on_top"}, 50_000, 1_500, 50_000, 148_500),
        ({"fee_bps": 0}, 50_000, 0, 50_000, 150_000),
        ({"min_send_sat": 1_000}, 1_000, 30, 970, 199_000),
    ],
)
def test_fees_follow_the_knobs(sandbox, knobs, sat, fee, sent, left):
    sandbox.funded(200_000)
    sandbox.control("knobs", **knobs)
    result = sandbox.send(sandbox.stranger(), sat).json()["result"]
    assert (result["requested_sat"], result["service_fee_sat"], result["sent_sat"]) == (sat, fee, sent)
    assert sandbox.ok("wallet_balance")["confirmed_sat"] == left


def test_a_high_fee_market_fails_small_sends_as_rpc_error(sandbox):
    sandbox.funded(200_000)
    sandbox.control("knobs", feerate=20)
    assert sandbox.send(sandbox.stranger(), 50_000).json()["error"] == "SEND_FAILED"
    assert sandbox.send(sandbox.stranger(), 125_000).json()["ok"] is True


def test_a_send_below_the_minimum_is_refused(sandbox):
    sandbox.funded()
    assert sandbox.send(sandbox.stranger(), 49_999).json()["error"] == "AMOUNT_TOO_SMALL"


@pytest.mark.parametrize(
    "to", ["tb1qnonsense", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1BoatSLRHtKNngkdXEeobR76b53"]
)
def test_a_destination_that_is_no_test_address_is_refused(sandbox, to):
    sandbox.funded()
    assert sandbox.send(to, 50_000).json()["error"] == "BAD_ADDRESS"


def test_both_destination_names_work_but_must_not_differ(sandbox):
    sandbox.funded(400_000)
    one, two = sandbox.stranger(), sandbox.stranger()
    assert sandbox.ok("wallet_send", to_address=one, amount_sat=50_000)["sent_sat"] == 48_500
    assert sandbox.ok("wallet_send", to=one, to_address=one, amount_sat=50_000)["sent_sat"] == 48_500
    assert sandbox.refused("wallet_send", to=one, to_address=two, amount_sat=50_000) == "BAD_REQUEST"
    sandbox.control("knobs", destination_field="to_address")
    assert sandbox.refused("wallet_send", to=one, amount_sat=50_000) == "BAD_REQUEST"


def test_an_idempotency_key_gives_the_same_transaction_with_a_new_request_id(sandbox):
    sandbox.funded()
    to = sandbox.stranger()
    first, second = (sandbox.send(to, 50_000, idempotency="a").json() for _ in range(2))
    assert first["result"] == second["result"]
    assert first["request_id"] != second["request_id"]
    assert sandbox.send(to, 50_001, idempotency="a").json()["error"] == "IDEMPOTENCY_CONFLICT"


def test_without_an_idempotency_key_every_call_sends(sandbox):
    sandbox.funded()
    to = sandbox.stranger()
    assert len({sandbox.send(to, 50_000).json()["result"]["txid"] for _ in range(2)}) == 2
    sandbox.control("knobs", require_idempotency=True)
    assert sandbox.send(to, 50_000).json()["error"] == "BAD_REQUEST"


@pytest.mark.parametrize(("remember", "second"), [(False, True), (True, False)])
def test_a_failed_send_is_remembered_only_by_knob(sandbox, remember, second):
    sandbox.control("knobs", remember_failures=remember)
    to = sandbox.stranger()
    assert sandbox.send(to, 50_000, idempotency="a").json()["ok"] is False
    sandbox.funded()
    assert sandbox.send(to, 50_000, idempotency="a").json()["ok"] is second


def test_the_same_key_in_flight_is_refused_and_sends_once(sandbox):
    sandbox.funded()
    sandbox.control("knobs", send_takes_s=0.3)
    to, answers = sandbox.stranger(), []
    drivers = [Driver(sandbox.url) for _ in range(2)]
    for driver in drivers:
        driver.key, driver.wallet_id = sandbox.key, sandbox.wallet_id
    threads = [
        threading.Thread(target=lambda d=d: answers.append(d.send(to, 50_000, idempotency="a").json())) for d in drivers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(answer.get("error", "") for answer in answers) == ["", "IDEMPOTENCY_IN_PROGRESS"]
    assert sandbox.ok("wallet_balance")["balance_sat"] == 150_000


@pytest.mark.parametrize(
    ("form", "top", "inner"),
    [
        ("superset", {"configured", "fee_bps", "min_send_sat", "ok", "result"}, True),
        ("flat", {"configured", "fee_bps", "min_send_sat", "ok"}, False),
        ("result", {"ok", "result"}, True),
        ("bare", {"ok"}, False),
    ],
)
def test_health_comes_in_the_three_documented_forms_and_with_every_member_left_out(sandbox, form, top, inner):
    sandbox.control("knobs", health_form=form)
    body = sandbox.http.get(f"{sandbox.url}/health", timeout=5).json()
    assert set(body) == top
    if inner:
        assert set(body["result"]) == {
            "coin",
            "configured",
            "mainnet",
            "mainnet_synced",
            "rpc_active",
            "testnet",
            "testnet_synced",
        }


def test_health_can_be_unwell(sandbox):
    sandbox.control("knobs", health_overrides={"ok": False, "testnet_synced": False})
    body = sandbox.http.get(f"{sandbox.url}/health", timeout=5).json()
    assert (body["ok"], body["result"]["testnet_synced"]) == (False, False)


def test_an_unknown_knob_or_value_changes_nothing(sandbox):
    before = sandbox.look("knobs")
    for body in ({"min_conf": 2, "nonsense": 1}, {"status": "sometimes"}, {"min_conf": True}, {"fault": {"kind": "?"}}):
        assert sandbox.http.post(f"{sandbox.url}/_control/knobs", json=body, timeout=5).status_code == 400
    assert sandbox.look("knobs") == before


def test_regtest_gives_bcrt_addresses_and_answers_to_test_as_well():
    served = serve_in_thread(net="regtest")
    try:
        sandbox = Driver(served.url).ready("regtest")
        address = sandbox.inbox()
        assert address.startswith("bcrt1q") and len(address) == 44
        sandbox.pay(address, 1_000)
        assert sandbox.poll(address, 1_000)["reached"] is True
        assert Driver(served.url).ready("test").inbox().startswith("bcrt1q")
    finally:
        served.stop()


def test_main_needs_an_explicit_switch():
    with pytest.raises(ValueError, match="allow_main"):
        serve_in_thread(net="main")
    served = serve_in_thread(net="main", allow_main=True, knobs={"gateway_version": "6.1"})
    try:
        sandbox = Driver(served.url).ready("main")
        assert sandbox.wallet_id.startswith("wm_") and sandbox.inbox().startswith("bc1q")
    finally:
        served.stop()


def test_presets_survive_a_reset_and_a_seed_repeats_itself():
    key, wallet_id = "SUBTC-KEY-" + "0f" * 24, "w_" + "ab" * 22
    served = serve_in_thread(api_key=key, wallet_id=wallet_id, seed=7)
    try:
        sandbox = Driver(served.url)
        sandbox.key, sandbox.wallet_id = key, wallet_id
        first = sandbox.inbox()
        sandbox.control("reset")
        assert sandbox.inbox() == first
    finally:
        served.stop()


def test_calls_are_recorded_without_keys(sandbox):
    sandbox.raw("wallet_balance", {"wallet_id": sandbox.wallet_id, "note": sandbox.key})
    sandbox.raw("key_status&key=" + sandbox.key, idempotency=sandbox.key)
    text = sandbox.http.get(f"{sandbox.url}/_control/calls", timeout=5).text
    assert sandbox.key not in text and sandbox.key.removeprefix("SUBTC-KEY-") not in text
    calls = sandbox.look("calls")["calls"]
    assert [call["query"] for call in calls[:3]] == ["mode=key_create", "mode=wallet_create", "mode=wallet_balance"]
    assert calls[0]["key"] is None and calls[1]["key"] == calls[2]["key"] != ""
    assert sandbox.key not in sandbox.http.get(f"{sandbox.url}/_control/state", timeout=5).text
