"""The SUBTC client against the published samples and against everything a gateway may get wrong."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Health, ProviderReading, Sent, WalletBalance
from bridge.outbound import Limits
from bridge.rails.subtc.client import SubtcWallet
from tests import canned
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

BASE = "https://gateway.example"
KEY = "SUBTC-KEY-" + "0f" * 24
WALLET = "w_" + "c0ffee" * 7 + "00"
OTHER_WALLET = "w_" + "beef00" * 7 + "00"
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OTHER_ADDRESS = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
MAIN_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
TXID = "3d" * 32
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.3, deadline_seconds=0.6, max_bytes=4000)

POLLED = {
    "address": ADDRESS,
    "coin": "btc",
    "expected_sat": 20000,
    "net": "test",
    "reached": True,
    "received_sat": 30000,
    "wallet_id": WALLET,
}
SENT = {
    "coin": "btc",
    "fee_addr": OTHER_ADDRESS,
    "fee_bps": 300,
    "net": "test",
    "network_fee_by": "service_fee",
    "requested_sat": 50000,
    "send_method": "sendmany",
    "sent_sat": 48500,
    "service_fee_sat": 1500,
    "txid": TXID,
    "wallet_id": WALLET,
}
BALANCE = {
    "addresses": [ADDRESS],
    "balance_sat": 48500,
    "balance_source": "getbalances",
    "coin": "btc",
    "confirmed_sat": 48500,
    "immature_sat": 0,
    "net": "test",
    "unconfirmed_sat": 0,
    "wallet_id": WALLET,
}


def wallet(base_url: str = BASE, **options: Any) -> SubtcWallet:
    settings: dict[str, Any] = {"key": KEY, "network": "test", "wallet_id": WALLET, "limits": QUICK}
    return SubtcWallet(base_url=base_url, **{**settings, **options})


def enveloped(result: object) -> dict[str, object]:
    return {"ok": True, "request_id": "66d6705f7e7a1c82", "result": result}


def gateway_says(result: object, **options: Any) -> None:
    canned.post(f"{BASE}/v1/btc", json=enveloped(result), **options)


def poll(client: SubtcWallet, expected_sat: int = 20000) -> ProviderReading:
    return client.poll(address=ADDRESS, expected_sat=expected_sat, asked_at=NOW)


def send(client: SubtcWallet, **options: Any) -> Sent:
    arguments: dict[str, Any] = {"destination": ADDRESS, "gross_sat": 50000, "idempotency_key": "refund-1_a"}
    return client.send(**{**arguments, **options})


def request() -> tuple[str, dict[str, str], Any]:
    sent = canned.calls[-1]
    return sent.url, dict(sent.headers.items()), json.loads(sent.body) if sent.body else None


# The published samples, field by field


@canned.activate
def test_an_inbox_is_created_for_an_expected_amount() -> None:
    gateway_says({"address": ADDRESS, "coin": "btc", "expected_sat": 50000, "net": "test", "wallet_id": WALLET})
    assert wallet().create_inbox(expected_sat=50000) == ADDRESS
    url, headers, body = request()
    assert url == f"{BASE}/v1/btc?mode=inbox_create"
    assert headers["X-SUBTC-KEY"] == KEY
    assert headers["Content-Type"] == "application/json"
    assert body == {"wallet_id": WALLET, "expected_sat": 50000}


@canned.activate
def test_a_wallet_can_be_asked_for_its_receiving_address_instead() -> None:
    gateway_says({"address": ADDRESS, "addresses": [ADDRESS], "coin": "btc", "net": "test", "wallet_id": WALLET})
    assert wallet(address_mode="wallet_receive").create_inbox(expected_sat=50000) == ADDRESS
    url, _, body = request()
    assert url.endswith("mode=wallet_receive")
    assert body == {"wallet_id": WALLET}


@canned.activate
def test_a_poll_reads_the_cumulative_total() -> None:
    gateway_says(POLLED)
    assert poll(wallet()) == ProviderReading(address=ADDRESS, received_sat=30000, reached=True, asked_at=NOW)
    url, _, body = request()
    assert url.endswith("mode=wallet_poll")
    assert body == {"wallet_id": WALLET, "address": ADDRESS, "expected_sat": 20000}


@canned.activate
@pytest.mark.parametrize(("header", "told"), [("Fri, 20 Nov 2026 12:00:07 GMT", True), ("yesterday", False)])
def test_a_poll_tells_the_gateways_clock(header: str, told: bool) -> None:
    gateway_says(POLLED, headers={"Date": header})
    assert poll(wallet()).server_time == (datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC) if told else None)


@canned.activate
def test_a_partial_payment_is_not_reached() -> None:
    gateway_says({**POLLED, "reached": False, "received_sat": 19999})
    assert poll(wallet()).reached is False


@canned.activate
@pytest.mark.parametrize("missing", [set(), {"balance_source", "immature_sat"}])
def test_a_balance_is_read_with_and_without_the_newer_members(missing: set[str]) -> None:
    gateway_says({member: value for member, value in BALANCE.items() if member not in missing})
    expected = WalletBalance(balance_sat=48500, confirmed_sat=48500, unconfirmed_sat=0, immature_sat=0)
    assert wallet().balance() == expected


@canned.activate
def test_a_watch_is_armed_for_ten_minutes_at_most() -> None:
    watching = {"address": ADDRESS, "expected_sat": 20000, "status": "watching", "wallet_id": WALLET}
    url = "https://bridge.example/callbacks/subtc/token"
    gateway_says({**watching, "callback_url": url})
    wallet().watch(address=ADDRESS, expected_sat=20000, timeout_seconds=9999, callback_url=url)
    _, _, body = request()
    assert body == {
        "wallet_id": WALLET,
        "address": ADDRESS,
        "expected_sat": 20000,
        "timeout_sec": 600,
        "callback_url": url,
    }


@canned.activate
@pytest.mark.parametrize("destination_field", ["to", "to_address"])
def test_a_send_gives_the_gateways_own_numbers(destination_field: str) -> None:
    gateway_says(SENT)
    sent = send(wallet(destination_field=destination_field))
    assert sent == Sent(txid=TXID, requested_sat=50000, sent_sat=48500, fee_sat=1500)
    url, headers, body = request()
    assert url.endswith("mode=wallet_send")
    assert headers["X-SUBTC-IDEMPOTENCY"] == "refund-1_a"
    assert body == {"wallet_id": WALLET, destination_field: ADDRESS, "amount_sat": 50000}


@canned.activate
def test_the_older_name_of_the_fee_is_understood() -> None:
    gateway_says({**{m: v for m, v in SENT.items() if m != "service_fee_sat"}, "fee_sat": 1500})
    assert send(wallet()).fee_sat == 1500


@canned.activate
def test_a_fee_that_does_not_add_up_is_booked_as_told_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    gateway_says({**SENT, "sent_sat": 50000})
    assert send(wallet()).sent_sat == 50000
    assert [record.__dict__["action"] for record in caplog.records] == ["subtc_send_fee_differs"]


@canned.activate
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"ok": True, "configured": True, "fee_bps": 300, "min_send_sat": 20000}, (True, 300, 20000)),
        ({"ok": True, "result": {"coin": "btc", "testnet": True, "testnet_synced": True}}, (True, None, None)),
        ({"ok": True, "result": {"testnet": True, "testnet_synced": False}}, (False, None, None)),
        ({"ok": True, "result": {"mainnet_synced": False, "testnet": True}}, (True, None, None)),
        ({"ok": True, "configured": False}, (False, None, None)),
        ({"ok": False, "error": "DOWN"}, (False, None, None)),
        ({"status": "ok", "fee_bps": 300, "enabled_coins": ["btc"]}, (False, 300, None)),
        ({"ok": True, "fee_bps": 3.5, "min_send_sat": "20000"}, (True, None, None)),
        ({"ok": 1}, (False, None, None)),
    ],
)
def test_every_published_form_of_health_is_read(body: object, expected: tuple[bool, int | None, int | None]) -> None:
    canned.get(f"{BASE}/health", json=body, headers={"Date": "Fri, 20 Nov 2026 12:00:00 GMT"})
    ok, fee_bps, min_send_sat = expected
    assert wallet().health() == Health(ok=ok, fee_bps=fee_bps, min_send_sat=min_send_sat, server_time=NOW)
    assert "X-SUBTC-KEY" not in canned.calls[0].headers


@canned.activate
def test_a_key_and_a_wallet_can_be_created() -> None:
    gateway_says({"key": KEY})
    assert wallet(key="", wallet_id="").create_key() == KEY
    url, headers, body = request()
    assert (url.endswith("mode=key_create"), body) == (True, None)
    assert "X-SUBTC-KEY" not in headers


@canned.activate
def test_a_wallet_is_created_for_the_network_and_must_be_of_it() -> None:
    gateway_says({"coin": "btc", "net": "test", "wallet_id": WALLET})
    assert wallet(wallet_id="").create_wallet() == WALLET
    assert request()[2] == {"net": "test"}
    gateway_says({"coin": "btc", "net": "test", "wallet_id": "wm_" + "a" * 44})
    canned.remove("POST", f"{BASE}/v1/btc")
    gateway_says({"coin": "btc", "net": "test", "wallet_id": "wm_" + "a" * 44})
    with pytest.raises(ProtocolError):
        wallet(wallet_id="").create_wallet()


@canned.activate
def test_key_status_gives_the_count_and_never_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gateway_says({"key": KEY, "wallet_count": 3})
    assert wallet().key_status() == 3
    assert KEY not in caplog.text


@canned.activate
def test_unknown_members_are_ignored() -> None:
    gateway_says({**POLLED, "confirmations": "many", "new": {"a": [1]}})
    assert poll(wallet()).received_sat == 30000


# What no answer may be


@canned.activate
@pytest.mark.parametrize(
    "received_sat", [30000.0, "30000", True, None, -1, 2_100_000_000_000_001, 3e4, [30000], {"sat": 30000}]
)
def test_an_amount_that_is_no_integer_is_neither_paid_nor_unpaid(received_sat: object) -> None:
    gateway_says({**POLLED, "received_sat": received_sat})
    with pytest.raises(ProtocolError) as error:
        poll(wallet())
    assert (error.value.code, error.value.field) == ("provider_bad_amount", "received_sat")


@canned.activate
@pytest.mark.parametrize(
    "body",
    [
        {"ok": True},
        {"ok": True, "result": None},
        {"ok": True, "result": []},
        {"ok": "true", "result": POLLED},
        {"ok": 1, "result": POLLED},
        {"result": POLLED},
        POLLED,
        {"address": ADDRESS},
        [],
        "ok",
        None,
        7,
    ],
)
def test_an_answer_without_the_envelope_is_a_protocol_error(body: object) -> None:
    canned.post(f"{BASE}/v1/btc", body=json.dumps(body))
    with pytest.raises(ProtocolError) as error:
        poll(wallet())
    assert error.value.code == "provider_bad_envelope"


@canned.activate
@pytest.mark.parametrize(("reached", "received_sat"), [(True, 19999), (True, 0), (False, 20000), (False, 30000)])
def test_reached_must_agree_with_our_own_comparison(reached: bool, received_sat: int) -> None:
    gateway_says({**POLLED, "reached": reached, "received_sat": received_sat})
    with pytest.raises(ProtocolError) as error:
        poll(wallet())
    assert error.value.code == "provider_disagrees"


@canned.activate
@pytest.mark.parametrize("reached", ["true", 1, None])
def test_reached_must_be_a_boolean(reached: object) -> None:
    gateway_says({**POLLED, "reached": reached})
    with pytest.raises(ProtocolError):
        poll(wallet())


@canned.activate
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("address", OTHER_ADDRESS),
        ("wallet_id", OTHER_WALLET),
        ("expected_sat", 20001),
        ("expected_sat", 20000.0),
        ("expected_sat", "20000"),
        ("net", "main"),
        ("net", None),
        ("coin", "ltc"),
    ],
)
def test_an_answer_about_something_else_is_refused(member: str, value: object) -> None:
    gateway_says({**POLLED, member: value})
    with pytest.raises(ProtocolError) as error:
        poll(wallet())
    assert (error.value.code, error.value.field) == ("provider_other_answer", member)


@canned.activate
@pytest.mark.parametrize("member", ["address", "wallet_id", "expected_sat", "net", "coin"])
def test_an_echo_may_be_absent(member: str) -> None:
    gateway_says({name: value for name, value in POLLED.items() if name != member})
    assert poll(wallet()).received_sat == 30000


@canned.activate
@pytest.mark.parametrize(
    "address",
    [MAIN_ADDRESS, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", ADDRESS[:-1] + "q", "", None, 5, "tb1q", "x" * 5000],
)
def test_an_address_of_another_network_or_a_broken_one_is_never_shown(address: object) -> None:
    gateway_says({"address": address, "wallet_id": WALLET})
    with pytest.raises(ProtocolError):
        wallet(limits=Limits()).create_inbox(expected_sat=50000)


# Failures of reads


@canned.activate
@pytest.mark.parametrize("status", [200, 400, 401, 404, 409])
def test_a_clean_refusal_is_surfaced_whatever_its_status(status: int) -> None:
    body = {"ok": False, "error": "WALLET_NOT_FOUND", "detail": {"hint": f"key {KEY}"}}
    canned.post(f"{BASE}/v1/btc", json=body, status=status)
    with pytest.raises(Refused) as error:
        poll(wallet())
    assert error.value.code == "provider_refused"
    assert "WALLET_NOT_FOUND" in error.value.detail
    assert KEY not in error.value.detail


@canned.activate
@pytest.mark.parametrize("error", [None, 5, "<script>", "x" * 500, ["A"], "lower"])
def test_a_refusal_with_a_strange_code_is_still_a_refusal(error: object) -> None:
    canned.post(f"{BASE}/v1/btc", json={"ok": False, "error": error})
    with pytest.raises(Refused, match="UNNAMED"):
        poll(wallet())


@canned.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "<html>"),
        (502, "{}"),
        (503, '{"ok":false,"error":"NODE_UNAVAILABLE"}'),
        (200, "<html>"),
        (200, '{"ok":tr'),
    ],
)
def test_what_may_pass_by_itself_is_unavailable(status: int, body: str) -> None:
    canned.post(f"{BASE}/v1/btc", body=body, status=status)
    with pytest.raises(Unavailable):
        poll(wallet())


@canned.activate
@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "30"}, 30), ({}, None), ({"Retry-After": "x"}, None)]
)
def test_slowing_down_is_asked_with_and_without_a_time(headers: dict[str, str], seconds: int | None) -> None:
    canned.post(f"{BASE}/v1/btc", json={"ok": False, "error": "RATE_LIMITED"}, status=429, headers=headers)
    for ask in (poll, send):
        with pytest.raises(Unavailable) as error:
            ask(wallet())
        assert (error.value.code, error.value.retry_after_seconds) == ("provider_rate_limited", seconds)


@canned.activate
def test_a_redirect_is_not_followed_with_the_key() -> None:
    canned.post(f"{BASE}/v1/btc", status=307, headers={"Location": "https://elsewhere.example/v1/btc"})
    with pytest.raises(ProtocolError) as error:
        poll(wallet())
    assert error.value.code == "provider_redirected"
    assert len(canned.calls) == 1


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (hang_up, Unavailable),
        (silent, Unavailable),
        (always(answer("x" * 5000)), ProtocolError),
        (always(b"\x00\x00\r\n\r\n"), Unavailable),
    ],
)
def test_a_broken_connection_says_nothing_about_payment(script: Any, kind: type[BridgeError]) -> None:
    with RawServer(script) as server, pytest.raises(kind):
        poll(wallet(server.url))


# Sends: sent, surely not sent, unknown


@canned.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"ok": False, "error": "SEND_FAILED", "detail": {"hint": "rpc error"}}),
        (502, {"ok": False, "error": "SEND_FAILED", "detail": {"hint": "rpc error"}}),
        (400, {"ok": False, "error": "SEND_FAILED"}),
        (503, {"ok": False, "error": "NODE_UNAVAILABLE"}),
        (409, {"ok": False, "error": "IDEMPOTENCY_IN_PROGRESS"}),
        (200, {"ok": False, "error": "IDEMPOTENCY_IN_PROGRESS"}),
        (200, {"ok": False, "error": "IDEMPOTENCY_CONFLICT"}),
        (408, {"ok": False, "error": "TIMEOUT"}),
        (500, "oops"),
        (504, "<html>"),
        (200, "{"),
        (200, ""),
        (307, ""),
        (200, {"ok": True}),
        (200, enveloped({**SENT, "txid": None})),
        (200, enveloped({**SENT, "txid": "3d"})),
        (200, enveloped({**SENT, "requested_sat": 60000})),
        (200, enveloped({**SENT, "requested_sat": "50000"})),
        (200, enveloped({**SENT, "sent_sat": 48500.0})),
        (200, enveloped({**SENT, "service_fee_sat": True})),
        (200, enveloped({**SENT, "wallet_id": OTHER_WALLET})),
        (200, enveloped({**SENT, "net": "main"})),
        (200, {"txid": TXID, "status": "pending", "fee_sat": 200}),
    ],
)
def test_a_send_with_a_doubtful_answer_is_of_unknown_outcome(status: int, body: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    canned.post(f"{BASE}/v1/btc", body=text, status=status)
    with pytest.raises(OutcomeUnknown) as error:
        send(wallet())
    assert error.value.code == "send_outcome_unknown"


@canned.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"ok":false,"error":"AMOUNT_TOO_SMALL"}'),
        (400, '{"ok":false,"error":"BAD_ADDRESS"}'),
        (401, '{"ok":false,"error":"UNAUTHORIZED"}'),
        (404, "<html>"),
    ],
)
def test_a_send_that_was_cleanly_refused_is_refused(status: int, body: str) -> None:
    canned.post(f"{BASE}/v1/btc", body=body, status=status)
    with pytest.raises(Refused) as error:
        send(wallet())
    assert error.value.code == "provider_refused"


@pytest.mark.parametrize(
    "script", [hang_up, silent, always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), always(answer("x" * 5000))]
)
def test_a_send_cut_off_after_writing_is_of_unknown_outcome(script: Any) -> None:
    with RawServer(script) as server, pytest.raises(OutcomeUnknown):
        send(wallet(server.url))
    assert len(server.requests) == 1


def test_a_send_that_never_left_may_be_repeated_with_the_same_key() -> None:
    with pytest.raises(Unavailable) as error:
        send(wallet(f"http://127.0.0.1:{free_port()}"))
    assert error.value.code == "provider_unreachable"


def test_a_send_over_a_connection_the_gateway_has_closed_meanwhile_is_never_repeated_by_itself() -> None:
    """A kept-alive connection may die just as the send is written: only the caller knows whether to ask again."""

    def once_then_hang_up(connection: Any, request: bytes) -> None:
        if b"wallet_send" in request:
            hang_up(connection, request)
        else:
            connection.sendall(answer(json.dumps(enveloped(BALANCE))))

    with RawServer(once_then_hang_up) as server:
        client = wallet(server.url)
        client.balance()
        with pytest.raises(OutcomeUnknown):
            send(client)
        client.close()
    assert (len(server.requests), server.connections) == (2, 1)


@canned.activate
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"destination": MAIN_ADDRESS}, "destination"),
        ({"destination": ADDRESS[:-1] + "q"}, "destination"),
        ({"destination": ""}, "destination"),
        ({"gross_sat": 0}, "amount_sat"),
        ({"gross_sat": -5}, "amount_sat"),
        ({"gross_sat": 50000.0}, "amount_sat"),
        ({"gross_sat": True}, "amount_sat"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "a" * 65}, "idempotency_key"),
        ({"idempotency_key": "a b"}, "idempotency_key"),
        ({"idempotency_key": "a\r\nX: y"}, "idempotency_key"),
    ],
)
def test_a_send_that_cannot_be_right_never_leaves(options: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as error:
        send(wallet(), **options)
    assert error.value.field == field
    assert len(canned.calls) == 0


# The key and the place it goes to


@pytest.mark.parametrize(
    "base_url", ["http://gateway.example", "http://10.0.0.5:8080", "ftp://gateway.example", "", "//x"]
)
def test_a_gateway_without_https_is_refused_at_the_start(base_url: str) -> None:
    with pytest.raises(Refused):
        wallet(base_url)


def test_plain_http_is_fine_on_this_machine() -> None:
    wallet("http://127.0.0.1:5000")
    wallet("http://localhost:5000")


@pytest.mark.parametrize(
    ("wallet_id", "network"), [("wm_" + "a" * 44, "test"), ("wt_" + "a" * 44, "main"), ("x", "test")]
)
def test_a_wallet_of_another_network_is_refused_at_the_start(wallet_id: str, network: str) -> None:
    with pytest.raises(Refused):
        wallet(wallet_id=wallet_id, network=network)


@pytest.mark.parametrize("key", ["", "abc\r\nX-Evil: 1", "ключ", "a b"])
def test_a_key_that_cannot_be_a_header_is_refused_without_being_quoted(key: str) -> None:
    with pytest.raises(Refused) as error:
        poll(wallet(key=key))
    assert error.value.code == "bad_provider_key"
    assert not key or key not in error.value.detail


def test_a_key_may_come_from_a_function_and_is_asked_each_time() -> None:
    keys = iter(["first", "second"])
    with canned.activated():
        canned.post(f"{BASE}/v1/btc", json=enveloped(BALANCE))
        client = wallet(key=lambda: next(keys))
        client.balance()
        client.balance()
        assert [call.headers["X-SUBTC-KEY"] for call in canned.calls] == ["first", "second"]


def test_the_key_shows_in_no_text_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = wallet(f"http://127.0.0.1:{free_port()}")
    texts = [repr(client), str(client)]
    for ask in (poll, send):
        with pytest.raises(BridgeError) as error:
            ask(client)
        chain = [error.value, error.value.__cause__]
        assert error.value.__suppress_context__
        texts += [repr(link) for link in chain] + [str(vars(error.value))]
    assert not any(KEY in text for text in [*texts, caplog.text])


def test_a_balance_is_read_however_many_addresses_the_wallet_has() -> None:
    """The answer lists every address that was ever given out; only answers that have such a list may be that long."""
    result = BALANCE | {"addresses": [ADDRESS] * 20_000}
    with RawServer(always(answer(enveloped(result)))) as server:
        patient = Limits(connect_seconds=1, read_seconds=5, deadline_seconds=10, max_bytes=4000)
        asked = wallet(server.url, limits=patient)
        assert asked.balance().balance_sat == 48_500
        with pytest.raises(ProtocolError) as refused:
            asked.poll(address=ADDRESS, expected_sat=20_000, asked_at=NOW)
    assert refused.value.code == "provider_answer_too_large"
