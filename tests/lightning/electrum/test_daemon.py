"""What Electrum's daemon really answers: each test fails when a new Electrum answers otherwise, and names what we rely on.

Owns the facts that `bridge.rails.electrum` and its stand-in in the sandbox are built on; must not ask the bridge.
"""

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lightning.electrum.programs import Daemon, ElectrumError, is_open, restart, until

pytestmark = pytest.mark.lightning

UNPAID, EXPIRED, PAID = 0, 1, 3


def ask(daemon: Daemon, btc: str, *, memo: str = "An order", expiry: int = 600) -> dict[str, Any]:
    """A payment request of the daemon."""
    asked: dict[str, Any] = daemon("add_request", amount=btc, memo=memo, expiry=expiry, lightning=True)
    return asked


def test_a_request_that_is_paid_over_the_channel_is_told_as_paid_and_settled(shop: Daemon, payer: Daemon) -> None:
    asked = ask(shop, "0.00001500")
    assert asked["lightning_invoice"].startswith("lnbcrt15u1")
    assert (asked["amount_sat"], asked["amount_msat"]) == (1_500, 1_500_000)
    assert asked["request_id"] == asked["rhash"]
    assert (asked["status"], asked["can_receive"]) == (UNPAID, True)
    paid = payer("lnpay", invoice=asked["lightning_invoice"])
    assert paid["success"]
    assert paid["payment_hash"] == asked["rhash"] == hashlib.sha256(bytes.fromhex(paid["preimage"])).hexdigest()
    told = shop("get_request", request_id=asked["rhash"])
    assert (told["status"], told["preimage"]) == (PAID, paid["preimage"])
    settled = shop("check_hold_invoice", payment_hash=asked["rhash"])
    assert (settled["status"], settled["received_amount_sat"]) == ("settled", 1_500)
    assert settled["invoice_amount_sat"] == 1_500


def test_a_preimage_is_told_only_once_it_is_paid(shop: Daemon, payer: Daemon) -> None:
    asked = ask(shop, "0.00001")
    assert "preimage" not in asked
    assert "preimage" not in shop("get_request", request_id=asked["rhash"])


def test_of_a_request_that_is_not_paid_the_check_of_held_ones_knows_nothing(shop: Daemon, payer: Daemon) -> None:
    """So whoever wants to know what came asks for the request first."""
    with pytest.raises(ElectrumError, match=r"internal error.*AssertionError"):
        shop("check_hold_invoice", payment_hash=ask(shop, "0.00001")["rhash"])


def test_a_held_payment_is_called_paid_and_only_afterwards_settled(shop: Daemon, payer: Daemon) -> None:
    preimage = secrets.token_bytes(32)
    payment_hash = hashlib.sha256(preimage).hexdigest()
    asked = shop("add_hold_invoice", payment_hash=payment_hash, amount="0.00002", memo="held", expiry=600)
    before = shop("getbalance").get("lightning", "0")

    def told() -> dict[str, Any]:
        found: dict[str, Any] = shop("check_hold_invoice", payment_hash=payment_hash)
        return found

    assert told()["status"] == "unpaid"
    with ThreadPoolExecutor(1) as aside:
        paying = aside.submit(payer, "lnpay", invoice=asked["invoice"])
        until(lambda: told()["status"] == "paid", seconds=30)
        # Called paid, and the shop has not a satoshi more.
        assert shop("getbalance").get("lightning", "0") == before
        assert payment_hash not in [each["payment_hash"] for each in shop("lightning_history")]
        shop("settle_hold_invoice", preimage=preimage.hex())
        assert paying.result(timeout=60)["success"]
    assert until(lambda: told()["status"] == "settled" and told())["received_amount_sat"] == 2_000
    # And no request of it ever existed.
    with pytest.raises(ElectrumError, match="Request not found"):
        shop("get_request", request_id=payment_hash)


def test_the_payer_refuses_what_is_expired_or_names_no_amount(shop: Daemon, payer: Daemon) -> None:
    short = ask(shop, "0.00001", expiry=1)
    until(lambda: shop("get_request", request_id=short["rhash"])["status"] == EXPIRED, seconds=10)
    with pytest.raises(ElectrumError, match="This invoice has expired"):
        payer("lnpay", invoice=short["lightning_invoice"])
    without = ask(shop, "0")
    assert without["amount_msat"] is None
    with pytest.raises(ElectrumError, match="Missing amount"):
        payer("lnpay", invoice=without["lightning_invoice"])


def test_paying_twice_is_refused_by_the_payer(shop: Daemon, payer: Daemon) -> None:
    asked = ask(shop, "0.00001")
    assert payer("lnpay", invoice=asked["lightning_invoice"])["success"]
    with pytest.raises(ElectrumError, match="paid already"):
        payer("lnpay", invoice=asked["lightning_invoice"])


def test_what_is_more_than_the_channel_can_carry_is_asked_for_all_the_same(shop: Daemon, payer: Daemon) -> None:
    asked = ask(shop, "0.5")
    assert asked["can_receive"] is False
    failed = payer("lnpay", invoice=asked["lightning_invoice"])
    assert (failed["success"], failed["preimage"]) == (False, None)
    (kept,) = [each for each in payer("list_invoices") if each["invoice_id"] == asked["rhash"]]
    assert kept["status"] not in (PAID, 4)


def test_part_of_a_satoshi_is_dropped_without_a_word(shop: Daemon, payer: Daemon) -> None:
    assert ask(shop, "0.000000015")["amount_msat"] == 1_000


def test_two_requests_with_one_memo_are_two(shop: Daemon, payer: Daemon) -> None:
    first, second = ask(shop, "0.00001", memo="order 7"), ask(shop, "0.00001", memo="order 7")
    pending = [each["rhash"] for each in shop("list_requests", pending=True) if each["message"] == "order 7"]
    assert sorted(pending) == sorted([first["rhash"], second["rhash"]])


def test_an_unknown_hash_is_said_to_be_unknown(shop: Daemon, payer: Daemon) -> None:
    with pytest.raises(ElectrumError, match="Request not found"):
        shop("get_request", request_id="00" * 32)
    assert shop("check_hold_invoice", payment_hash="00" * 32)["status"] == "unknown"


def test_what_the_daemon_says_of_itself(shop: Daemon, payer: Daemon) -> None:
    told = shop("getinfo")
    assert (told["network"], told["connected"], told["version"]) == ("regtest", True, "4.8.3")
    assert told["blockchain_height"] == told["server_height"]
    (wallet,) = shop("list_wallets")
    assert (wallet["path"], wallet["synchronized"]) == (shop.wallet, True)
    (channel,) = shop("list_channels")
    assert channel["capacity"] == channel["local_balance"] + channel["remote_balance"] == 1_000_000
    assert channel["remote_reserve"] == 10_000


def test_after_a_restart_a_request_has_the_same_hash_and_another_text(shop: Daemon, payer: Daemon) -> None:
    """Its clock starts anew, and where the peer is not back yet the way to a private channel is missing: the first text is the one
    to keep. Until somebody loads the wallet it knows nothing.
    """
    asked = ask(shop, "0.00001600")
    restart(shop)
    with pytest.raises(ElectrumError, match="wallet not loaded"):
        shop("get_request", request_id=asked["rhash"], wallet_path=shop.wallet)
    shop("load_wallet", wallet_path=shop.wallet)
    told = shop("get_request", request_id=asked["rhash"])
    assert (told["rhash"], told["timestamp"], told["expiry"]) == (asked["rhash"], asked["timestamp"], asked["expiry"])
    assert told["lightning_invoice"] != asked["lightning_invoice"]
    until(lambda: is_open(shop) and is_open(payer))
    assert payer("lnpay", invoice=asked["lightning_invoice"])["success"]
    assert shop("get_request", request_id=asked["rhash"])["status"] == PAID
