"""The switches of an operator, over real programs: in effect within a loop, kept over restarts, audited."""

import time

import pytest

from tests.durability.shop import WALLET, Shop
from tests.durability.truth import faults_in

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
ONE_LOOP_SECONDS = 0.8


def switch(shop: Shop, mode: str, *, wallet: str = "") -> None:
    chosen = ("--wallet", wallet) if wallet else ()
    done = shop.command("mode", mode, *chosen, "--actor", "anna", "--reason", "maintenance")
    assert done.exit_code == 0, done.tail()
    time.sleep(ONE_LOOP_SECONDS)


def try_to_open(shop: Shop, payment: str) -> tuple[int, str]:
    body = {"billing_payment_id": payment, "amount": "10.00", "currency": "USD"}
    reply = shop.api("POST", "/v1/invoices", json=body, headers={"Idempotency-Key": f"k-{payment}"})
    return reply.status_code, reply.json().get("code", "")


def finish(shop: Shop, *payments: str) -> None:
    shop.control("mine", blocks=1)
    shop.advance(61)
    shop.until(lambda: len(shop.receiver.paid()) == len(payments), "all are set paid")
    shop.until_quiet()
    assert shop.receiver.paid() == dict.fromkeys(payments, 1)
    assert "anna" in shop.values("SELECT actor FROM audit WHERE action = 'mode_set'")
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def restart(shop: Shop) -> None:
    for program in list(shop.programs):
        program.stop()
    shop.programs.clear()
    shop.start()


def test_read_only_calls_nobody_and_survives_a_restart(shops):
    shop = shops()
    shop.start()
    invoice = shop.open("7")
    switch(shop, "read_only")
    restart(shop)
    calls = len(shop.calls(""))
    shop.pay(invoice)
    shop.advance(120)
    time.sleep(ONE_LOOP_SECONDS)
    assert try_to_open(shop, "8") == (503, "mode_read_only")
    assert (shop.invoice("7") or {})["status"] == "new"
    assert len(shop.calls("")) == calls
    assert shop.receiver.told == []

    switch(shop, "normal")
    finish(shop, "7")


def test_queued_keeps_what_it_hears_and_tells_nobody(shops):
    shop = shops()
    shop.start()
    invoice = shop.open("7")
    switch(shop, "queued")
    shop.pay(invoice)
    shop.control("mine", blocks=1)
    shop.advance(6)
    shop.until_status("7", "settled")
    time.sleep(ONE_LOOP_SECONDS)
    assert shop.receiver.told == []
    restart(shop)
    time.sleep(ONE_LOOP_SECONDS)
    assert shop.receiver.told == []

    switch(shop, "normal")
    finish(shop, "7")


def test_limited_takes_no_new_invoices_and_finishes_the_old(shops):
    shop = shops()
    shop.start()
    shop.pay(shop.open("7"))
    switch(shop, "limited")
    restart(shop)
    assert try_to_open(shop, "8") == (503, "mode_limited")
    finish(shop, "7")


def test_a_paused_wallet_gives_no_address_and_is_asked_nothing(shops):
    shop = shops()
    shop.start()
    invoice = shop.open("7")
    switch(shop, "paused", wallet=WALLET)
    restart(shop)
    calls = len(shop.calls("wallet_poll"))
    shop.pay(invoice)
    shop.advance(120)
    time.sleep(ONE_LOOP_SECONDS)
    assert try_to_open(shop, "8") == (503, "wallet_paused")
    assert len(shop.calls("wallet_poll")) == calls

    switch(shop, "normal", wallet=WALLET)
    finish(shop, "7")
