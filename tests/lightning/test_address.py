"""Lightning addresses: a stranger's server is asked twice, and nothing of what it says is paid that was not asked for."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.lightning.bolt11 import Bolt11
from bridge.lightning.payee import is_address, resolved, to_strangers
from sandbox import bolt11
from tests import canned

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
ADDRESS = "anna.b+shop@pay.example.com"
WELL_KNOWN = "https://pay.example.com/.well-known/lnurlp/anna.b%2Bshop"
CALLBACK = "https://pay.example.com/cb"
SAID = {
    "tag": "payRequest",
    "callback": CALLBACK,
    "minSendable": 1_000,
    "maxSendable": 50_000_500,
    "metadata": '[["text/plain", "anna"]]',
}


def request(sat: int = 20_000, *, prefix: str = "tb", expiry_s: int = 600) -> str:
    asked = bolt11.Asked(
        prefix=prefix, payment_hash="ab" * 32, made_at=int(NOW.timestamp()), amount_msat=sat * 1_000, expiry_s=expiry_s
    )
    return bolt11.write(asked, private_key=7)


def resolve(address: str = ADDRESS, sat: int = 20_000) -> Bolt11:
    outbound = to_strangers()
    try:
        return resolved(address, sat=sat, network="test", now=NOW, outbound=outbound)
    finally:
        outbound.close()


def server(said: Any = SAID, made: Any = None, *, callback: str = CALLBACK, status: int = 200) -> None:
    for url, answer in (
        (WELL_KNOWN, said),
        (callback.partition("?")[0], {"pr": request(), "routes": []} if made is None else made),
    ):
        body = answer if isinstance(answer, str) else json.dumps(answer)
        canned.get(url, body=body, status=status)


@canned.activate
@pytest.mark.parametrize(("callback", "sent"), [(CALLBACK, "?amount="), (f"{CALLBACK}?id=7", "&amount=")])
def test_an_address_becomes_one_request_for_the_sum(callback: str, sent: str) -> None:
    server(SAID | {"callback": callback}, callback=callback)
    assert resolve().amount_msat == 20_000_000
    assert [call.url for call in canned.calls] == [WELL_KNOWN, f"{callback}{sent}20000000"]


@canned.activate
@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"pr": request(20_001)}, "wrong_amount"),
        ({"pr": request(prefix="bc")}, "wrong_network"),
        ({"pr": "lntb1"}, "bad_bolt11"),
        ({"pr": None}, "bad_bolt11"),
        ({}, "bad_bolt11"),
        ({"status": "ERROR", "reason": "<b>no</b>"}, "lightning_address_refuses"),
    ],
)
def test_another_request_than_was_asked_for_is_refused(made: dict[str, Any], code: str) -> None:
    server(made=made)
    with pytest.raises(Refused) as refused:
        resolve()
    assert (refused.value.code, refused.value.field) == (code, "destination")
    assert "<b>" not in refused.value.detail


@canned.activate
def test_a_request_that_has_run_out_is_refused() -> None:
    server(made={"pr": request()})
    outbound = to_strangers()
    with pytest.raises(Refused) as refused:
        resolved(ADDRESS, sat=20_000, network="test", now=NOW + timedelta(seconds=601), outbound=outbound)
    assert refused.value.code == "bolt11_expired"


@canned.activate
@pytest.mark.parametrize("sat", [0, 50_001])
def test_a_sum_that_the_address_does_not_take_is_refused_before_anything_is_made(sat: int) -> None:
    server()
    with pytest.raises(Refused, match="takes 1 to 50000 satoshi"):
        resolve(sat=sat)
    assert len(canned.calls) == 1


@canned.activate
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (SAID | {"tag": "withdrawRequest"}, ProtocolError),
        (SAID | {"callback": 7}, ProtocolError),
        (SAID | {"minSendable": "1000"}, ProtocolError),
        (SAID | {"maxSendable": 1.5}, ProtocolError),
        (SAID | {"callback": "http://pay.example.com/cb"}, Refused),
        (SAID | {"callback": "https://user:secret@pay.example.com/cb"}, Refused),
        ({"status": "ERROR"}, Refused),
        ([], Unavailable),
        ("<html>", Unavailable),
        ("", Unavailable),
    ],
)
def test_whatever_a_stranger_answers_there_is_an_error_of_ours(said: Any, kind: type[BridgeError]) -> None:
    server(said)
    with pytest.raises(kind):
        resolve()


@canned.activate
@pytest.mark.parametrize(
    ("status", "kind"), [(404, Refused), (301, Unavailable), (500, Unavailable), (429, Unavailable)]
)
def test_other_statuses_are_errors_and_redirects_are_not_followed(status: int, kind: type[BridgeError]) -> None:
    server(status=status)
    with pytest.raises(kind):
        resolve()
    assert len(canned.calls) == 1


@canned.activate
@pytest.mark.parametrize(
    "callback", ["https://127.0.0.1:1/cb", "https://localhost:1/cb", "https://10.0.0.1:1/cb", "https://[::1]:1/"]
)
def test_a_server_cannot_send_the_bridge_into_a_private_network(callback: str) -> None:
    server(SAID | {"callback": callback})
    canned.pass_on(callback)
    with pytest.raises(Refused) as refused:
        resolve()
    assert (refused.value.code, refused.value.field) == ("blocked_url", "destination")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "anna",
        "anna@localhost",
        "anna@127.0.0.1",
        "Anna@example.com",
        "anna@example.com/x",
        "a b@example.com",
        "anna@-a.com",
    ],
)
def test_what_is_no_address_asks_nobody(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(Refused) as refused:
        resolve(text)
    assert (refused.value.code, refused.value.field) == ("bad_lightning_address", "destination")


def test_addresses_are_told_from_requests() -> None:
    assert is_address(ADDRESS)
    assert not is_address(request())
