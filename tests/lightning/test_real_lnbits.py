"""What the rail and the emulated server take for granted of LNbits, each fact by itself: a newer one that differs fails here.

Run by `make lightning`.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bridge.config import Lnbits
from bridge.core.errors import Refused
from bridge.core.rail import Wanted
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.poll import sense_beside
from bridge.lightning.bolt11 import decoded
from bridge.rails.lnbits import TRIED_WITH, LnbitsWallet
from tests.flows.world import open_world
from tests.lightning.real import RealLnbits
from tests.payouts.desk import settings, staffed
from tests.sandbox_bitcoin.driver import Receiver, until

pytestmark = pytest.mark.lightning
NOW = datetime.now(UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    endpoint = Receiver()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def wallet(lnbits: RealLnbits) -> Iterator[LnbitsWallet]:
    """The rail's client of the shop's wallet."""
    client = client_of(lnbits, lnbits.shop["inkey"])
    yield client
    client.close()


def client_of(lnbits: RealLnbits, invoice_key: str) -> LnbitsWallet:
    account = {"url": lnbits.url, "wallet_id": lnbits.shop["id"], "admin_key": lnbits.shop["adminkey"]}
    return LnbitsWallet(Lnbits.model_validate(account | {"invoice_key": invoice_key}), network="main")


def wanted(sat: int = 1_500, *, reference: str, seconds: int = 600, **more: str) -> Wanted:
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    return Wanted(due_units=sat, reference=reference, memo="VPS", expires_at=expires_at, **more)


def test_an_account_needs_no_key_and_gives_two(lnbits: RealLnbits) -> None:
    made = lnbits.call("POST", "account", name="another").json()
    assert {"id", "adminkey", "inkey"} <= set(made)
    assert len({made["id"], made["adminkey"], made["inkey"]}) == 3


def test_an_invoice_is_made_in_millisatoshi_of_the_main_network_with_its_preimage_at_once(lnbits: RealLnbits) -> None:
    made = lnbits.make(1_500, external_id="made:1")
    assert (made["amount"], made["status"], made["external_id"]) == (1_500_000, "pending", "made:1")
    assert made["wallet_id"] == lnbits.shop["id"]
    assert len(made["preimage"]) == 64
    asked = decoded(made["bolt11"])
    assert (asked.network, asked.amount_msat, asked.payment_hash) == ("main", 1_500_000, made["payment_hash"])


def test_only_the_wallets_own_key_is_told_more_than_whether_it_was_paid(lnbits: RealLnbits) -> None:
    made = lnbits.make()
    assert lnbits.read(made["payment_hash"])["details"]["status"] == "pending"
    assert lnbits.read(made["payment_hash"])["preimage"] is None
    for key in ("", "0" * 32):
        assert set(lnbits.read(made["payment_hash"], key=key)) == {"paid", "preimage"}
    other = lnbits.call("GET", f"payments/{made['payment_hash']}", key=lnbits.payer["inkey"])
    assert (other.status_code, other.json()) == (404, {"detail": "Payment does not exist."})


def test_a_key_of_nobody_is_not_found_and_none_is_unauthorized(lnbits: RealLnbits) -> None:
    assert lnbits.call("GET", "wallet", key="0" * 32).status_code == 404
    assert lnbits.call("GET", "payments", key="0" * 32).status_code == 404
    assert lnbits.call("GET", "wallet").status_code == 401


def test_what_is_paid_is_positive_here_and_negative_there(lnbits: RealLnbits) -> None:
    made = lnbits.make(1_500)
    assert lnbits.pay(made["bolt11"]).json()["amount"] == -1_500_000
    here, there = (lnbits.read(made["payment_hash"], key=each["inkey"]) for each in (lnbits.shop, lnbits.payer))
    assert (here["paid"], here["details"]["status"], here["details"]["amount"]) == (True, "success", 1_500_000)
    assert (there["paid"], there["details"]["amount"]) == (True, -1_500_000)


def test_what_cannot_be_paid_is_520_with_the_word_failed(lnbits: RealLnbits) -> None:
    made = lnbits.make()
    empty = lnbits.call("POST", "account", name="empty").json()
    poor = lnbits.pay(made["bolt11"], wallet=empty)
    assert (poor.status_code, poor.json()) == (520, {"detail": "Insufficient balance.", "status": "failed"})
    assert lnbits.pay(made["bolt11"]).status_code == 201
    again = lnbits.pay(made["bolt11"])
    assert (again.status_code, again.json()["status"]) == (520, "failed")
    assert lnbits.call("POST", "payments", key=lnbits.shop["inkey"], out=True, bolt11=made["bolt11"]).status_code == 403


def test_an_external_id_makes_a_second_invoice_and_finds_both(lnbits: RealLnbits) -> None:
    made = {lnbits.make(external_id="twice:1")["payment_hash"] for _ in range(2)}
    assert len(made) == 2
    found = lnbits.call("GET", "payments?external_id=twice%3A1&limit=20", key=lnbits.shop["inkey"]).json()
    assert {each["payment_hash"] for each in found} == made
    assert lnbits.call("GET", "payments?external_id=nothing", key=lnbits.shop["inkey"]).json() == []


def test_parts_of_a_satoshi_are_cut_off_silently_and_nothing_is_refused(lnbits: RealLnbits) -> None:
    assert lnbits.make(1.5)["amount"] == 1_000
    none = lnbits.call("POST", "payments", key=lnbits.shop["inkey"], out=False, unit="sat", amount=0)
    assert (none.status_code, none.json()["status"]) == (520, "failed")
    much = lnbits.call("POST", "payments", key=lnbits.shop["inkey"], out=False, unit="sat", amount=10_000_001)
    assert (much.status_code, much.json()["status"]) == (520, "failed")


def test_one_that_ran_out_is_still_paid_unless_somebody_looked_at_it(lnbits: RealLnbits) -> None:
    unread, read = (lnbits.make(20, expiry=1) for _ in range(2))
    time.sleep(2.5)
    gone = lnbits.read(read["payment_hash"])
    assert (gone["paid"], gone["status"], gone["details"]["labels"]) == (False, "failed", ["expired"])
    assert lnbits.pay(unread["bolt11"]).status_code == 201
    assert lnbits.read(unread["payment_hash"])["paid"] is True
    lnbits.pay(read["bolt11"])
    assert lnbits.read(read["payment_hash"])["paid"] is False


def test_a_webhook_is_unsigned_json_in_json_twice_and_never_again(lnbits: RealLnbits, receiver: Receiver) -> None:
    receiver.answers = [500, 500]
    made = lnbits.make(webhook=receiver.url)
    lnbits.pay(made["bolt11"])
    until(lambda: len(receiver.bodies) == 2, seconds=20)
    time.sleep(3)
    assert len(receiver.bodies) == 2
    assert all(body.startswith(b'"{') for body in receiver.bodies)
    assert lnbits.read(made["payment_hash"])["details"]["webhook_status"] == "500"


def test_a_webhook_to_no_web_address_is_refused_with_the_invoice(lnbits: RealLnbits) -> None:
    body = {"out": False, "unit": "sat", "amount": 1, "webhook": "ftp://127.0.0.1/x"}
    assert lnbits.call("POST", "payments", key=lnbits.shop["inkey"], **body).status_code == 400


def test_the_rail_finds_its_own_invoice_again_and_reads_what_came(lnbits: RealLnbits, wallet: LnbitsWallet) -> None:
    asked = wanted(1_234, reference="rail:1")
    offer = wallet.offer(asked)
    assert wallet.offer(asked) == offer
    now = datetime.now(UTC)
    assert wallet.read(offer.text, born_at=now, asked_at=now).outputs == ()
    before = wallet.balance().confirmed_sat
    assert lnbits.pay(offer.text).status_code == 201
    (output,) = wallet.read(offer.text, born_at=now, asked_at=datetime.now(UTC)).outputs
    assert (output.outpoint, output.amount_sat, output.amount_msat) == (f"{offer.key}:0", 1_234, 1_234_000)
    assert output.block_time is not None and abs(output.block_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert wallet.balance().confirmed_sat == before + 1_234


def test_the_rail_knows_its_clock_and_notices_a_key_of_nobody(lnbits: RealLnbits, wallet: LnbitsWallet) -> None:
    server_time = wallet.health().server_time
    assert server_time is not None and abs(server_time - datetime.now(UTC)) < timedelta(minutes=1)
    offer = wallet.offer(wanted(reference="rail:2"))
    stranger = client_of(lnbits, "0" * 32)
    for call in (stranger.health, stranger.balance, lambda: stranger.read(offer.text, born_at=NOW, asked_at=NOW)):
        with pytest.raises(Refused):
            call()
    stranger.close()


def test_the_rail_pays_an_invoice_once(lnbits: RealLnbits, wallet: LnbitsWallet) -> None:
    lnbits.fund(lnbits.shop, 50_000)
    made = lnbits.call("POST", "payments", key=lnbits.payer["inkey"], out=False, unit="sat", amount=777, memo="refund")
    bolt11 = made.json()["bolt11"]
    before = wallet.balance().confirmed_sat
    sent = wallet.send(destination=bolt11, gross_sat=777, idempotency_key="pay_1")
    assert sent == wallet.send(destination=bolt11, gross_sat=777, idempotency_key="pay_1")
    assert (sent.sent_sat, sent.fee_sat) == (777, 0)
    assert wallet.balance().confirmed_sat == before - 777


def test_the_rail_tells_of_a_payment_whether_it_left(lnbits: RealLnbits, wallet: LnbitsWallet) -> None:
    lnbits.fund(lnbits.shop, 50_000)
    made = lnbits.call("POST", "payments", key=lnbits.payer["inkey"], out=False, unit="sat", amount=778, memo="refund")
    bolt11 = made.json()["bolt11"]
    assert wallet.told(bolt11, 778) is None
    sent = wallet.send(destination=bolt11, gross_sat=778, idempotency_key="pay_3")
    assert wallet.told(bolt11, 778) == sent


def test_what_a_payer_pays_is_settled_within_seconds_and_without_a_block(lnbits: RealLnbits, database_url: str) -> None:
    account = {"url": lnbits.url, "wallet_id": lnbits.shop["id"], "invoice_key": lnbits.shop["inkey"]}
    with open_world(database_url, lnbits=account | {"invoices_of": "main"}) as world:
        invoice = world.open()
        target = offer_beside(world.bridge, str(invoice["payment_url"]).rpartition("/")[2], "lightning")
        asked = decoded(target.text)
        assert (asked.amount_msat, asked.payment_hash) == (invoice["remaining_sat"] * 1_000, target.key)
        assert abs(asked.expires_at - datetime.fromisoformat(invoice["quote"]["expires_at"])) < timedelta(seconds=5)
        assert invoice["billing_payment_id"] in asked.description
        assert lnbits.pay(target.text).status_code == 201
        began = time.monotonic()
        until(lambda: sense_beside(world.bridge, owner="w1") or time.sleep(0.1), seconds=5)
        world.work()
        assert time.monotonic() - began < 5
        assert world.invoice(invoice)["status"] == "settled"
        assert world.billing.types() == ["invoice.settled"]


def test_a_refund_that_people_approved_is_paid_once_and_done_by_its_word(lnbits: RealLnbits, database_url: str) -> None:
    lnbits.fund(lnbits.shop, 50_000)
    account = {"url": lnbits.url, "wallet_id": lnbits.shop["id"], "invoices_of": "main"}
    account |= {"invoice_key": lnbits.shop["inkey"], "admin_key": lnbits.shop["adminkey"]}
    with open_world(database_url, **settings(lnbits=account)) as world:
        desk = staffed(world)
        invoice = desk.settled(text="10.00")
        wanted = {"out": False, "unit": "sat", "amount": invoice["received_sat"], "expiry": 86_400}
        made = lnbits.call("POST", "payments", key=lnbits.payer["inkey"], **wanted).json()
        payout = desk.approved(invoice, destination=made["bolt11"])
        desk.send()
        assert (desk.now(payout)["state"], desk.now(payout)["txid"]) == ("sent", made["payment_hash"])
        desk.confirm()
        assert desk.now(payout)["state"] == "confirmed"
        assert lnbits.read(made["payment_hash"], key=lnbits.payer["inkey"])["paid"] is True
        with pytest.raises(Refused, match="another refund"):
            desk.ask(desk.settled("8", text="10.00"), destination=made["bolt11"])


def test_the_rail_is_refused_by_an_empty_wallet_and_nothing_left(lnbits: RealLnbits, wallet: LnbitsWallet) -> None:
    made = lnbits.call("POST", "payments", key=lnbits.payer["inkey"], out=False, unit="sat", amount=9_000_000, memo="x")
    before = wallet.balance().confirmed_sat
    with pytest.raises(Refused, match="Insufficient balance"):
        wallet.send(destination=made.json()["bolt11"], gross_sat=9_000_000, idempotency_key="pay_2")
    assert wallet.balance().confirmed_sat == before


def test_after_a_restart_what_waited_has_failed_without_a_word_and_is_not_listed(lnbits: RealLnbits) -> None:
    """The last one: the server's address is another afterwards, and its settings are its own."""
    made = lnbits.make(external_id="forgotten:1")
    lnbits.stop()
    lnbits.start({})
    after = lnbits.read(made["payment_hash"])
    assert (after["status"], after["details"]["labels"]) == ("failed", [])
    assert lnbits.call("GET", "payments?external_id=forgotten%3A1", key=lnbits.shop["inkey"]).json() == []
    wallet = client_of(lnbits, lnbits.shop["inkey"])
    now = datetime.now(UTC)
    assert wallet.read(made["bolt11"], born_at=now, asked_at=now).gap == "rail_forgot"
    ring_url = "http://127.0.0.1:9/callbacks/lnbits/x"
    refused = lnbits.call(
        "POST", "payments", key=lnbits.shop["inkey"], out=False, unit="sat", amount=1, webhook=ring_url
    )
    assert (refused.status_code, "is not allowed" in refused.json()["detail"]) == (400, True)
    offer = wallet.offer(wanted(reference="rail:3", ring_url=ring_url))
    assert offer.key is not None and lnbits.read(offer.key)["details"]["webhook"] is None
    wallet.close()


def test_its_version_stands_in_its_own_description_and_is_one_that_was_tried(wallet: LnbitsWallet) -> None:
    assert wallet.version().startswith(TRIED_WITH)
