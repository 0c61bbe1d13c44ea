"""Notifications: signed as an independent library expects, and every answer sorted by one table."""

import base64
import hashlib
import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks

from bridge.billmanager import Notifier, outcome_of, sign, verify
from bridge.core.credentials import decode_secret
from bridge.core.errors import Refused
from bridge.core.evidence import Answer
from bridge.outbound import Limits
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"an old secret, 24 bytes!").decode()
STRANGE_SECRET = "whsec_" + base64.b64encode(b"somebody else's 24 bytes").decode()
BODY = '{"id":"evt_1","type":"invoice.settled","text":"счёт"}'.encode()
NOW = datetime(2026, 11, 20, 12, 0, 0, 500, tzinfo=UTC)
QUICK = Limits(connect_seconds=1, read_seconds=0.3, deadline_seconds=0.5, max_bytes=3000)


def notify(url: str, *, secrets: Sequence[str] = (SECRET,), **options: Any) -> Answer:
    notifier = Notifier(limits=QUICK, **options)
    try:
        return notifier.notify(url, event_id="evt_1", body=BODY, secrets=secrets, now=NOW)
    finally:
        notifier.close()


def headers_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_an_independent_library_accepts_our_signature_over_the_wire() -> None:
    now = datetime.now(UTC)
    with RawServer(always(answer("ok"))) as server:
        notifier = Notifier(limits=QUICK)
        told = notifier.notify(server.url, event_id="evt_1", body=BODY, secrets=[SECRET, OLD_SECRET], now=now)
        notifier.close()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert told.outcome == "delivered"
    assert (head.startswith(b"POST / HTTP/1.1"), body) == (True, BODY)
    headers = headers_of(server.requests[0])
    for secret in (SECRET, OLD_SECRET):
        standardwebhooks.Webhook(secret).verify(body.decode(), headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(STRANGE_SECRET).verify(body.decode(), headers)
    assert headers["content-type"] == "application/json"


def test_we_accept_what_an_independent_library_signs() -> None:
    signature = standardwebhooks.Webhook(SECRET).sign("evt_2", NOW, BODY.decode())
    headers = {"Webhook-Id": "evt_2", "Webhook-Timestamp": str(int(NOW.timestamp())), "Webhook-Signature": signature}
    assert verify(headers=headers, body=BODY, secrets=[STRANGE_SECRET, SECRET], now=NOW) == "evt_2"


def test_while_a_secret_rotates_either_one_verifies() -> None:
    headers = sign(event_id="evt_1", body=BODY, secrets=[SECRET, OLD_SECRET], now=NOW)
    for secret in (SECRET, OLD_SECRET):
        assert verify(headers=headers, body=BODY, secrets=[secret], now=NOW) == "evt_1"
    with pytest.raises(Refused):
        verify(headers=headers, body=BODY, secrets=[STRANGE_SECRET], now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "0"},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "١٢٣"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v2,abc"},
        {"webhook-signature": "x" * 10_000},
    ],
)
def test_a_changed_header_is_a_bad_signature(change: dict[str, str]) -> None:
    headers = {**sign(event_id="evt_1", body=BODY, secrets=[SECRET], now=NOW), **change}
    with pytest.raises(Refused) as refusal:
        verify(headers=headers, body=BODY, secrets=[SECRET], now=NOW)
    assert refusal.value.code == "bad_signature"
    with pytest.raises(Refused):
        verify(headers={}, body=BODY, secrets=[SECRET], now=NOW)


def test_a_changed_body_is_a_bad_signature() -> None:
    headers = sign(event_id="evt_1", body=BODY, secrets=[SECRET], now=NOW)
    with pytest.raises(Refused):
        verify(headers=headers, body=BODY + b" ", secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("seconds", [-301, 302])
def test_an_old_or_early_notification_is_refused(seconds: int) -> None:
    headers = sign(event_id="evt_1", body=BODY, secrets=[SECRET], now=NOW)
    with pytest.raises(Refused) as refusal:
        verify(headers=headers, body=BODY, secrets=[SECRET], now=NOW + timedelta(seconds=seconds))
    assert refusal.value.code == "stale_signature"
    verify(headers=headers, body=BODY, secrets=[SECRET], now=NOW + timedelta(seconds=299))


@pytest.mark.parametrize("secret", ["", "abc", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", SECRET.removeprefix("whsec_")])
def test_a_secret_that_is_none_parks_and_is_not_quoted(secret: str) -> None:
    with pytest.raises(Refused) as refusal:
        sign(event_id="evt_1", body=BODY, secrets=[secret], now=NOW)
    assert refusal.value.code == "bad_secret"
    assert len(secret) < 8 or secret not in str(refusal.value)
    with RawServer(always(answer("ok"))) as server:
        told = notify(server.url, secrets=[secret])
    assert (told.outcome, told.error, server.requests) == ("parked", "bad_secret", [])


@pytest.mark.parametrize("size", range(16, 34))
def test_a_secret_is_the_same_with_and_without_its_padding(size: int) -> None:
    whole = "whsec_" + base64.b64encode(bytes(range(size))).decode()
    bare = whole.rstrip("=")
    assert decode_secret(bare) == decode_secret(whole) == bytes(range(size))
    headers = sign(event_id="evt_1", body=BODY, secrets=[bare], now=NOW)
    assert headers == sign(event_id="evt_1", body=BODY, secrets=[whole], now=NOW)
    assert verify(headers=headers, body=BODY, secrets=[whole], now=NOW) == "evt_1"


@pytest.mark.parametrize("cut", ["A" * 21, "A" * 25, "A" * 21 + "=", "AA=A" * 6])
def test_what_no_padding_can_complete_is_no_secret(cut: str) -> None:
    with pytest.raises(Refused) as refusal:
        decode_secret("whsec_" + cut)
    assert refusal.value.code == "bad_secret"


def test_without_a_secret_nothing_is_sent() -> None:
    assert notify("https://billing.example/", secrets=[]).outcome == "parked"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_two_hundreds_are_delivered(status: int) -> None:
    assert outcome_of(status) == "delivered"


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422, 425, 451])
def test_what_needs_a_person_is_parked(status: int) -> None:
    assert outcome_of(status) == "parked"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_what_passes_by_itself_is_tried_again(status: int) -> None:
    assert outcome_of(status) == "retry"


def test_an_answer_is_told_with_time_excerpt_and_hash() -> None:
    with RawServer(always(answer("done"))) as server:
        told = notify(server.url)
    assert (told.outcome, told.status, told.error, told.body_excerpt) == ("delivered", 200, None, "done")
    assert told.body_sha256 == hashlib.sha256(b"done").hexdigest()
    assert 0 <= told.latency_ms < 500


def test_a_wait_is_passed_on_with_a_retry_only() -> None:
    for status, seconds in (("503 Busy", 120), ("429 Slow Down", 120), ("409 Conflict", None)):
        with RawServer(always(answer("", status=status, headers="Retry-After: 120\r\n"))) as server:
            told = notify(server.url)
        assert told.retry_after_seconds == seconds
        assert told.error == f"http_{status[:3]}"


def test_a_redirect_is_not_followed() -> None:
    with RawServer(always(answer("ok"))) as target:
        moved = answer("", status="302 Found", headers=f"Location: {target.url}\r\n")
        with RawServer(always(moved)) as server:
            told = notify(server.url)
    assert (told.outcome, told.error, target.requests) == ("parked", "redirected", [])


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (hang_up, "cut"),
        (silent, "timeout"),
        (always(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"), "timeout"),
        (always(b"nonsense\r\n\r\n"), "cut"),
    ],
)
def test_a_broken_answer_is_tried_again(script: Any, error: str) -> None:
    with RawServer(script) as server:
        told = notify(server.url)
    assert (told.outcome, told.status, told.error) == ("retry", None, error)


def test_nobody_listening_is_tried_again() -> None:
    told = notify(f"http://127.0.0.1:{free_port()}")
    assert (told.outcome, told.error) == ("retry", "unreachable")


def test_a_huge_answer_does_not_undo_a_delivery() -> None:
    with RawServer(always(answer("x" * 100_000))) as server:
        told = notify(server.url)
    assert (told.outcome, len(told.body_excerpt)) == ("delivered", 1024)


def test_an_excerpt_holds_no_secret_and_no_control_letters() -> None:
    echo = json.dumps({"seen": SECRET, "auth": "Bearer abcdef", "signature": "v1,c2lnbmF0dXJl"}) + "\x1b[31m\x00"
    with RawServer(always(answer(echo, status="401 No"))) as server:
        told = notify(server.url)
    for secret in (SECRET, "abcdef", "c2lnbmF0dXJl", "\x1b", "\x00"):
        assert secret not in told.body_excerpt


def test_an_excerpt_of_any_bytes_is_text_of_at_most_a_kilobyte() -> None:
    for body in (b"\xff\xfe\x00" * 500, "ж".encode() * 1000, "🂡".encode() * 600):
        with RawServer(always(answer(body, status="500 Oops"))) as server:
            told = notify(server.url)
        assert len(told.body_excerpt.encode()) <= 1024


@pytest.mark.parametrize(
    "url",
    [
        "http://billing.example/mancgi/subtcresult",
        "https://10.0.0.7/mancgi/subtcresult",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.7]/",
        "https://user:pass@billing.example/",
        "ftp://billing.example/",
        "billing.example",
        "",
    ],
)
def test_a_target_that_must_not_be_called_is_parked(url: str) -> None:
    told = notify(url)
    assert (told.outcome, told.status, told.error) == ("parked", None, "blocked_url")


def test_a_name_that_leads_to_a_private_network_is_parked_unless_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))])
    url = f"https://billing.example:{port}/"
    assert notify(url).error == "blocked_url"
    assert notify(url, allow_private=frozenset({"billing.example"})).error == "unreachable"


def test_loopback_can_be_forbidden() -> None:
    assert notify(f"http://127.0.0.1:{free_port()}", allow_loopback=False).error == "blocked_url"
