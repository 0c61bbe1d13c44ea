"""The rail `electrum` over two real daemons: what it asks for is really paid, and what it sends really arrives.

Owns the rail's calls against the real thing; what the daemon answers by itself is in test_daemon.py.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.config import Electrum
from bridge.core.errors import OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import FINAL, ChainReading
from bridge.core.rail import Offer, Wanted
from bridge.lightning.bolt11 import decoded
from bridge.rails.electrum import ElectrumWallet
from tests.lightning.electrum.programs import Daemon, is_open, restart, until

pytestmark = pytest.mark.lightning


def settings(daemon: Daemon, **changed: Any) -> Electrum:
    asked = {
        "url": daemon.url,
        "user": daemon.user,
        "password": SecretStr(daemon.password),
        "node_id": daemon("nodeid").partition("@")[0],
        "wallet": daemon.wallet,
    }
    return Electrum(**asked | changed)


@pytest.fixture
def wallet(shop: Daemon, payer: Daemon) -> Iterator[ElectrumWallet]:
    opened = ElectrumWallet(settings(shop), network="regtest")
    yield opened
    opened.close()


def wanted(sat: int = 1_500, *, seconds: int = 600, reference: str | None = None) -> Wanted:
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    return Wanted(due_units=sat, reference=reference or secrets.token_hex(8), memo="Order 7", expires_at=ends)


def read(wallet: ElectrumWallet, offer: Offer) -> ChainReading:
    now = datetime.now(UTC)
    return wallet.read(offer.text, born_at=now - timedelta(hours=1), asked_at=now)


def test_what_it_asks_for_is_really_paid_and_read_as_a_final_fact(wallet: ElectrumWallet, payer: Daemon) -> None:
    asked = wanted()
    offer = wallet.offer(asked)
    assert offer.expires_at is not None and asked.expires_at is not None
    assert abs(offer.expires_at - asked.expires_at) < timedelta(seconds=5)
    request = decoded(offer.text)
    assert (request.network, request.amount_msat, request.payment_hash) == ("regtest", 1_500_000, offer.key)
    assert re.fullmatch(r"Order 7 \([0-9a-f]{16}\)", request.description)
    before = wallet.balance().balance_sat
    nothing = read(wallet, offer)
    assert (nothing.outputs, nothing.gap) == ((), "")
    assert payer("lnpay", invoice=offer.text)["success"]
    reading = until(lambda: paid(wallet, offer), seconds=10)
    (output,) = reading.outputs
    assert (output.outpoint, output.amount_sat, output.confirmations) == (f"{offer.key}:0", 1_500, FINAL)
    assert reading.gap == ""
    assert wallet.balance().balance_sat == before + 1_500


def paid(wallet: ElectrumWallet, offer: Offer) -> ChainReading | None:
    """The reading once the daemon has settled what it calls paid."""
    try:
        reading = read(wallet, offer)
    except Unavailable as waits:
        assert waits.code == "rail_not_settled"
        return None
    return reading if reading.outputs else None


def test_an_offer_whose_answer_was_lost_is_found_again_before_a_second_is_made(wallet: ElectrumWallet) -> None:
    asked = wanted()
    assert wallet.offer(asked) == wallet.offer(asked)
    assert wallet.offer(wanted()).key != wallet.offer(wanted()).key


def test_more_than_the_channel_can_carry_is_not_offered_and_leaves_nothing_open(
    wallet: ElectrumWallet, shop: Daemon
) -> None:
    assert 900_000 < wallet.inbound_sat() < 990_000
    before = len(shop("list_requests", pending=True))
    with pytest.raises(Unavailable) as refused:
        wallet.offer(wanted(5_000_000))
    assert refused.value.code == "no_inbound_capacity"
    assert len(shop("list_requests", pending=True)) == before


def test_a_request_that_the_daemon_forgot_is_missing_evidence(wallet: ElectrumWallet, shop: Daemon) -> None:
    offer = wallet.offer(wanted())
    shop("delete_request", request_id=offer.key)
    assert read(wallet, offer).gap == "rail_forgot"


def test_an_expired_request_is_read_as_nothing_came(wallet: ElectrumWallet, shop: Daemon) -> None:
    offer = wallet.offer(wanted(seconds=2))
    until(lambda: shop("get_request", request_id=offer.key)["status"] == 1, seconds=10)
    reading = read(wallet, offer)
    assert (reading.outputs, reading.gap) == ((), "")


def test_it_is_well_and_another_network_or_wallet_is_refused(wallet: ElectrumWallet, shop: Daemon) -> None:
    health = wallet.health()
    assert health.ok
    assert health.server_time is not None
    assert abs(health.server_time - datetime.now(UTC)) < timedelta(seconds=5)
    elsewhere = ElectrumWallet(settings(shop), network="main")
    for ask in (elsewhere.health, elsewhere.balance, lambda: elsewhere.offer(wanted())):
        with pytest.raises(ProtocolError) as wrong:
            ask()
        assert wrong.value.code == "wrong_network"
    with pytest.raises(ProtocolError) as other:
        ElectrumWallet(settings(shop, node_id="02" + "11" * 32), network="regtest").health()
    assert other.value.code == "provider_other_wallet"


def test_a_wrong_login_is_said_and_shows_no_password(shop: Daemon, payer: Daemon) -> None:
    with pytest.raises(Refused) as refused:
        ElectrumWallet(settings(shop, password=SecretStr("not-this-one")), network="regtest").health()
    assert refused.value.code == "provider_login_wrong"
    assert "not-this-one" not in refused.value.detail


def test_a_refund_really_arrives_and_a_second_try_sends_nothing(
    wallet: ElectrumWallet, shop: Daemon, payer: Daemon
) -> None:
    # The shop must keep its reserve in the channel.
    funded = wallet.offer(wanted(50_000))
    assert payer("lnpay", invoice=funded.text)["success"]
    back = payer("add_request", amount="0.00002", memo="back", expiry=600, lightning=True)
    before = wallet.balance().balance_sat
    sent = wallet.send(destination=back["lightning_invoice"], gross_sat=2_000, idempotency_key="k")
    assert (sent.txid, sent.requested_sat, sent.sent_sat, sent.fee_sat) == (back["rhash"], 2_000, 2_000, 0)
    assert wallet.send(destination=back["lightning_invoice"], gross_sat=2_000, idempotency_key="k") == sent
    assert wallet.balance().balance_sat == before - 2_000
    assert payer("get_request", request_id=back["rhash"])["status"] == 3


def test_a_refund_that_finds_no_way_has_surely_not_left(wallet: ElectrumWallet, payer: Daemon) -> None:
    back = payer("add_request", amount="0.5", memo="too much", expiry=600, lightning=True)
    with pytest.raises(Refused):
        wallet.send(destination=back["lightning_invoice"], gross_sat=50_000_000, idempotency_key="k")
    with pytest.raises(Refused) as wrong:
        wallet.send(destination=back["lightning_invoice"], gross_sat=1, idempotency_key="k")
    assert wrong.value.code == "wrong_amount"


def test_a_refund_that_is_held_is_of_unknown_outcome_until_it_is_settled(
    wallet: ElectrumWallet, shop: Daemon, payer: Daemon
) -> None:
    funded = wallet.offer(wanted(50_000))
    assert payer("lnpay", invoice=funded.text)["success"]
    preimage = secrets.token_bytes(32)
    payment_hash = hashlib.sha256(preimage).hexdigest()
    held = payer("add_hold_invoice", payment_hash=payment_hash, amount="0.00003", memo="held", expiry=600)["invoice"]
    hasty = ElectrumWallet(settings(shop, timeout_seconds=3), network="regtest")
    with ThreadPoolExecutor(1) as aside:
        first = aside.submit(hasty.send, destination=held, gross_sat=3_000, idempotency_key="k")
        until(lambda: payer("check_hold_invoice", payment_hash=payment_hash)["status"] == "paid", seconds=30)
        with pytest.raises(OutcomeUnknown):
            first.result(timeout=60)
    with pytest.raises(OutcomeUnknown):
        wallet.send(destination=held, gross_sat=3_000, idempotency_key="k")
    payer("settle_hold_invoice", preimage=preimage.hex())
    until(lambda: payer("check_hold_invoice", payment_hash=payment_hash)["status"] == "settled", seconds=30)
    sent = until(lambda: settled(wallet, held), seconds=30)
    assert (sent.txid, sent.sent_sat) == (payment_hash, 3_000)


def settled(wallet: ElectrumWallet, text: str) -> Any:
    try:
        return wallet.send(destination=text, gross_sat=3_000, idempotency_key="k")
    except OutcomeUnknown:
        return None


def test_a_daemon_that_was_restarted_is_given_its_wallet_again(
    wallet: ElectrumWallet, shop: Daemon, payer: Daemon
) -> None:
    offer = wallet.offer(wanted(1_600))
    restart(shop)
    reading = read(wallet, offer)
    assert (reading.outputs, reading.gap) == ((), "")
    until(lambda: is_open(shop) and is_open(payer))
    assert payer("lnpay", invoice=offer.text)["success"]
    assert until(lambda: paid(wallet, offer), seconds=10).outputs[0].amount_sat == 1_600
