"""The transcript of SUBTC contract 12, field by field, under both status knobs and both gateway versions."""

import re

import pytest

from tests.sandbox_bitcoin.driver import Driver

HEX_16 = re.compile(r"[0-9a-f]{16}")
HEX_64 = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(params=["always200", "mapped"])
def status(request):
    return request.param


@pytest.fixture(params=["4.2", "6.1"])
def version(request):
    return request.param


def result_of(answer):
    """The result of a success, after checking its envelope and the order of all members."""
    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["ok", "request_id", "result"]
    assert list(body["result"]) == sorted(body["result"])
    assert body["ok"] is True
    assert HEX_16.fullmatch(body["request_id"])
    return body["result"]


def test_the_transcript_of_the_contract_replays_field_by_field(served, status, version):
    served.world.reset()
    sandbox = Driver(served.url)
    sandbox.control("knobs", status=status, gateway_version=version)
    sandbox.key = result_of(sandbox.raw("key_create"))["key"]
    assert re.fullmatch(r"SUBTC-KEY-[0-9a-f]{48}", sandbox.key)
    assert result_of(sandbox.raw("key_status")) == {"key": sandbox.key, "wallet_count": 0}

    created = result_of(sandbox.raw("wallet_create", {"net": "test"}))
    wallet_id = sandbox.wallet_id = created["wallet_id"]
    assert re.fullmatch(("w_" if version == "4.2" else "wt_") + r"[0-9a-f]{44}", wallet_id)
    named = {"coin": "btc", "net": "test", "wallet_id": wallet_id}
    assert created == named
    address = result_of(sandbox.call("wallet_receive"))["address"]
    assert re.fullmatch(r"tb1q[02-9ac-hj-np-z]{38}", address)

    sandbox.pay(address, 48_500)
    sandbox.control("mine", blocks=1)
    balance = {**named, "addresses": [address], "balance_source": "getbalances", "immature_sat": 0}
    figures = {"balance_sat": 48_500, "confirmed_sat": 48_500, "unconfirmed_sat": 0}
    assert result_of(sandbox.call("wallet_balance")) == {**balance, **figures}

    destination = sandbox.stranger()
    failed = sandbox.send(destination, 50_000, idempotency="send-1")
    assert failed.status_code == (200 if status == "always200" else 502)
    assert failed.text == '{"detail":{"hint":"rpc error"},"error":"SEND_FAILED","ok":false}'

    sandbox.pay(address, 48_500)
    sandbox.control("mine", blocks=1)
    figures = {"balance_sat": 97_000, "confirmed_sat": 97_000, "unconfirmed_sat": 0}
    assert result_of(sandbox.call("wallet_balance")) == {**balance, **figures}

    sent = result_of(sandbox.send(destination, 50_000, idempotency="send-1"))
    assert HEX_64.fullmatch(sent["txid"])
    assert sent["fee_addr"].startswith("tb1q")
    assert sent == {
        **named,
        "fee_addr": sent["fee_addr"],
        "fee_bps": 300,
        "network_fee_by": "service_fee",
        "requested_sat": 50_000,
        "send_method": "sendmany",
        "sent_sat": 48_500,
        "service_fee_sat": 1_500,
        "txid": sent["txid"],
    }

    asked = {"address": address, "expected_sat": 20_000}
    waited = result_of(sandbox.call("wallet_wait_event", **asked, timeout_sec=300))
    assert waited == {**named, **asked, "received_sat": 97_000, "status": "confirmed"}
    polled = result_of(sandbox.call("wallet_poll", **asked))
    assert polled == {**named, **asked, "reached": True, "received_sat": 97_000}

    again = sandbox.send(destination, 50_000, idempotency="send-1")
    assert result_of(again) == sent
    assert result_of(sandbox.call("wallet_balance"))["balance_sat"] == 47_000
