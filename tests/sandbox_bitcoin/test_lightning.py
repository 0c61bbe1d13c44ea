"""What the emulated LNbits answers, as the real one was seen to; `make lightning` asks the same of that."""

import json
from typing import Any

import pytest
import requests

from tests.sandbox_bitcoin.driver import Driver, Receiver, until


class Server:
    """Short words for its API; `shop` is a wallet as it was opened."""

    def __init__(self, sandbox: Driver) -> None:
        self.sandbox, self.http = sandbox, sandbox.http
        self.shop = self.call("POST", "account", key=None, name="shop").json()

    def call(self, method: str, path: str, *, key: str | None = "", **body: Any) -> requests.Response:
        key = self.shop["inkey"] if key == "" else key
        headers = {"X-Api-Key": key} if key else {}
        content = {"json": body} if body else {}
        return self.http.request(
            method, f"{self.sandbox.url}/lnbits/api/v1/{path}", headers=headers, timeout=10, **content
        )

    def make(self, sat: float = 1_500, **more: Any) -> dict[str, Any]:
        reply = self.call("POST", "payments", out=False, unit="sat", amount=sat, memo="VPS", **more)
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    def read(self, made: dict[str, Any], **options: Any) -> dict[str, Any]:
        return dict(self.call("GET", f"payments/{made['payment_hash']}", **options).json())


@pytest.fixture
def server(sandbox: Driver) -> Server:
    return Server(sandbox)


def test_an_invoice_is_made_in_millisatoshi_with_its_preimage_at_once(server: Server) -> None:
    made = server.make()
    assert (made["amount"], made["status"], made["wallet_id"]) == (1_500_000, "pending", server.shop["id"])
    assert made["bolt11"].startswith("lntb15u1") and len(made["preimage"]) == 64
    server.sandbox.control("knobs", ln_prefix="bc")
    assert server.make()["bolt11"].startswith("lnbc15u1")


def test_who_is_told_what(server: Server) -> None:
    made, other = server.make(), server.call("POST", "account", key=None, name="other").json()
    assert server.read(made)["details"]["status"] == "pending"
    for key in (None, "0" * 32):
        assert set(server.read(made, key=key)) == {"paid", "preimage"}
    assert server.call("GET", f"payments/{made['payment_hash']}", key=other["inkey"]).status_code == 404
    assert server.call("GET", "wallet", key="0" * 32).status_code == 404
    assert server.call("GET", "wallet", key=None).status_code == 401


def test_a_second_invoice_for_one_external_id_is_a_second(server: Server) -> None:
    made = {server.make(external_id="one")["payment_hash"] for _ in range(2)}
    found = server.call("GET", "payments?external_id=one&limit=20").json()
    assert len(made) == 2 and {each["payment_hash"] for each in found} == made


def test_parts_of_a_satoshi_are_cut_off_and_nothing_and_too_much_are_refused(server: Server) -> None:
    assert server.make(1.5)["amount"] == 1_000
    for sat in (0, 10_000_001):
        reply = server.call("POST", "payments", out=False, unit="sat", amount=sat)
        assert (reply.status_code, reply.json()["status"]) == (520, "failed")


def test_what_ran_out_is_still_paid_unless_somebody_looked_at_it(server: Server) -> None:
    unread, read, late = (server.make(expiry=60) for _ in range(3))
    server.sandbox.control("clock", advance_s=61)
    assert server.read(read)["details"]["labels"] == ["expired"]
    server.sandbox.control("ln_pay", bolt11=unread["bolt11"])
    assert server.read(unread)["paid"] is True
    server.sandbox.control("knobs", ln_late="refuse")
    for made in (read, late):
        refused = server.http.post(f"{server.sandbox.url}/_control/ln_pay", json={"bolt11": made["bolt11"]}, timeout=10)
        assert refused.status_code == 400


@pytest.mark.parametrize(("says", "status"), [("failed", 200), ("forgotten", 404)])
def test_after_a_restart_what_waited_has_failed_or_is_gone_and_is_not_listed(
    server: Server, says: str, status: int
) -> None:
    made, paid = server.make(external_id="one"), server.make()
    server.sandbox.control("ln_pay", bolt11=paid["bolt11"])
    server.sandbox.control("ln_restart", says=says)
    assert server.call("GET", f"payments/{made['payment_hash']}").status_code == status
    assert server.call("GET", "payments?external_id=one").json() == []
    assert server.read(paid)["paid"] is True


def test_a_payment_rings_twice_unsigned_with_json_in_json_and_only_then(server: Server, receiver: Receiver) -> None:
    made = server.make(webhook=receiver.url)
    assert receiver.bodies == []
    receiver.answers = [500, 500]
    server.sandbox.control("ln_pay", bolt11=made["bolt11"])
    until(lambda: len(receiver.bodies) == 2)
    assert json.loads(json.loads(receiver.bodies[0]))["payment_hash"] == made["payment_hash"]
    until(lambda: server.read(made)["details"]["webhook_status"] == "500")
    server.sandbox.control("clock", advance_s=3_600)
    server.sandbox.control("callbacks/flush")
    assert len(receiver.bodies) == 2


@pytest.mark.parametrize(("kind", "heard"), [("drop", 0), ("duplicate", 3), ("not_json", 2)])
def test_the_webhooks_faults(server: Server, receiver: Receiver, kind: str, heard: int) -> None:
    server.sandbox.fault(kind, mode="ln_webhook", copies=3)
    server.sandbox.control("ln_pay", bolt11=server.make(webhook=receiver.url)["bolt11"])
    server.sandbox.control("callbacks/flush")
    until(lambda: len(receiver.bodies) == heard)


def test_what_is_held_is_not_there_until_it_is_settled(server: Server) -> None:
    server.sandbox.control("knobs", ln_hold=True)
    made, back = server.make(), server.make()
    for each in (made, back):
        server.sandbox.control("ln_pay", bolt11=each["bolt11"])
    assert server.call("GET", "wallet").json()["balance"] == 0
    server.sandbox.control("ln_settle", payment_hash=made["payment_hash"])
    server.sandbox.control("ln_cancel", payment_hash=back["payment_hash"])
    assert server.call("GET", "wallet").json()["balance"] == 1_500_000
    assert (server.read(made)["paid"], server.read(back)["paid"]) == (True, False)


def test_a_send_needs_the_admin_key_money_and_an_invoice_and_is_made_once(server: Server) -> None:
    bolt11 = server.sandbox.control("ln_payee", sat=1_000)["bolt11"]

    def send(text: str, key: str) -> requests.Response:
        return server.call("POST", "payments", key=key, out=True, bolt11=text)

    assert send(bolt11, server.shop["inkey"]).status_code == 403
    assert send(bolt11, server.shop["adminkey"]).json()["detail"] == "Insufficient balance."
    server.sandbox.control("ln_pay", bolt11=server.make(5_000)["bolt11"])
    assert send("lnbc1", server.shop["adminkey"]).status_code == 520
    sent = send(bolt11, server.shop["adminkey"])
    assert (sent.status_code, sent.json()["amount"], sent.json()["fee"]) == (201, -1_000_000, -1_500)
    assert send(bolt11, server.shop["adminkey"]).status_code == 520
    assert server.call("GET", "wallet").json()["balance"] == 5_000_000 - 1_001_500


@pytest.mark.parametrize(("kind", "status"), [("503", 503), ("cut", None)])
def test_an_outage_is_its_own_and_leaves_the_gateway_alone(server: Server, kind: str, status: int | None) -> None:
    server.sandbox.control("knobs", ln_outage=kind)
    if status is None:
        with pytest.raises(requests.ConnectionError):
            server.call("GET", "wallet")
    else:
        assert server.call("GET", "wallet").status_code == status
    assert server.sandbox.inbox()


def test_faults_of_the_gateway_do_not_reach_it_and_its_own_are_scripted_alike(server: Server) -> None:
    server.sandbox.fault("error_500_before", mode="*", times=None)
    assert server.call("GET", "wallet").status_code == 200
    server.sandbox.control("knobs", clear_faults=True)
    server.sandbox.fault("error", mode="ln_*", detail="no funding source", state="failed")
    refused = server.call("GET", "wallet")
    assert (refused.status_code, refused.json()) == (520, {"detail": "no funding source", "status": "failed"})
    assert server.call("GET", "wallet").status_code == 200


def test_no_control_shows_a_key(server: Server) -> None:
    server.make()
    shown = json.dumps(server.sandbox.look("ln_state"))
    assert server.shop["inkey"] not in shown and server.shop["adminkey"] not in shown


def test_a_preset_wallet_is_there_again_after_a_reset() -> None:
    from sandbox.world import World

    world = World(lnbits=("a" * 32, "b" * 32, "c" * 32))
    world.reset()
    wallet = world.lightning.wallet_of("b" * 32)
    assert wallet is not None and wallet.wallet_id == "a" * 32
    world.close()
