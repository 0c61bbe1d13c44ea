"""What may go wrong around the programs: lost replies, a dead gateway, slow receivers, a full disk, a restarted database, clocks."""

import subprocess
import time

import pytest

from bridge.store.db import migrate
from tests import postgres
from tests.durability.shop import Shop, open_shop
from tests.durability.truth import faults_in

PAYMENT = "7"


def settle(shop: Shop, payment: str = PAYMENT) -> None:
    """One payment from its order to its credit."""
    invoice = shop.open(payment)
    shop.pay(invoice)
    shop.until_status(payment, "processing", "settled")
    shop.control("mine", blocks=1)
    shop.advance(6)
    shop.until_set_paid(payment)


def assert_all_is_well(shop: Shop, *payments: str) -> None:
    shop.until_quiet()
    assert shop.receiver.paid() == dict.fromkeys(payments, 1)
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def fault(shop: Shop, mode: str, kind: str, **parameters) -> None:
    shop.control("knobs", fault={"mode": mode, "kind": kind, **parameters})


def test_lost_replies_on_every_side_change_nothing(shops):
    shop = shops()
    for mode in ("inbox_create", "wallet_wait_event", "wallet_poll"):
        fault(shop, mode, "lost_response", times=2)
    fault(shop, "callback", "duplicate", copies=3)
    lost = iter(["lost", "lost", 503])
    shop.receiver.fault = lambda event: next(lost, None) if event["type"] == "invoice.settled" else None
    shop.start()

    settle(shop)

    assert_all_is_well(shop, PAYMENT)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("outage", ["503", "cut", "hang"])
def test_a_dead_gateway_stops_new_invoices_and_nothing_else(shops, outage):
    shop = shops(subtc={"timeout_seconds": 1})
    shop.start()
    before = shop.open("before")
    shop.control("knobs", outage=outage)

    body = {"billing_payment_id": "during", "amount": "10.00", "currency": "USD"}
    refused = shop.api("POST", "/v1/invoices", json=body, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    page = before["payment_url"].partition("/pay/")[2]
    assert shop.api("GET", f"/pay/{page}/status").json()["status"] == "new"
    shop.pay(before)

    shop.control("knobs", outage=None)
    settle(shop, "before")
    settle(shop, "during")
    assert_all_is_well(shop, "before", "during")


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_slow_receiver_keeps_nobody_from_seeing_money(shops):
    shop = shops()
    shop.receiver.delay_seconds = 1.5
    shop.start()
    opened = [shop.open(str(number)) for number in range(6)]
    for invoice in opened:
        shop.pay(invoice)
    shop.control("mine", blocks=1)
    shop.advance(6)
    started = time.monotonic()
    shop.until(lambda: shop.count("SELECT count(*) FROM invoices WHERE status = 'settled'") == 6, "all settled")
    # Six deliveries one after the other would take nine seconds.
    assert time.monotonic() - started < 6
    shop.until(lambda: len(shop.receiver.paid()) == 6, "all are told in the end")
    assert_all_is_well(shop, *(str(number) for number in range(6)))


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_full_disk_is_a_clear_503_and_leaves_nothing_half_written(shops):
    shop = shops()
    shop.start_web(file_size_limit=1_000_000)
    answers = []
    for number in range(400):
        body = {"billing_payment_id": str(number), "amount": "10.00", "currency": "USD"}
        reply = shop.api("POST", "/v1/invoices", json=body, headers={"Idempotency-Key": f"k{number}"})
        answers.append(reply)
        if reply.status_code != 201:
            break
    last = answers[-1]
    assert (last.status_code, last.headers["Content-Type"]) == (503, "application/problem+json")
    assert last.json()["code"] == "database_unavailable"
    assert int(last.headers["Retry-After"]) > 0
    # What is ready takes writes, as those who call would send; a page may fit where an order did not.
    asked = (shop.api("GET", "/readyz") for _ in range(200))
    ready = next(reply for reply in asked if reply.status_code != 200)
    failing = [each["name"] for each in ready.json()["checks"] if not each["ok"]]
    assert (ready.status_code, failing) == (503, ["database"])

    shop.kill_all()
    shop.start()
    assert shop.count("SELECT count(*) FROM invoices") == len(answers) - 1
    payment = str(len(answers) - 1)
    reopened = shop.open(payment)
    assert reopened["status"] == "new"
    settle(shop, payment)
    assert_all_is_well(shop, payment)


def test_the_programs_outlive_a_restart_of_the_database(zygote, tmp_path):
    try:
        cluster = postgres.start_cluster()
    except FileNotFoundError as missing:
        pytest.skip(f"{missing}; `make test` installs it")
    try:
        cluster.create_database("outage")
        migrate(cluster.url("outage"))
        with open_shop(zygote, tmp_path, cluster.url("outage")) as shop:
            shop.start()
            shop.pay(shop.open(PAYMENT))
            postgres_control(cluster, "stop")
            refused = shop.api("GET", f"/v1/invoices?billing_payment_id={PAYMENT}")
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            assert shop.api("GET", "/healthz").status_code == 200
            time.sleep(0.5)
            postgres_control(cluster, "start")
            shop.store.engine.dispose()
            settle(shop)
            assert_all_is_well(shop, PAYMENT)
    finally:
        cluster.stop()


def postgres_control(cluster: postgres.Cluster, verb: str) -> None:
    """Stops the test's own server as an administrator would, or starts it again."""
    program = postgres._find_binaries() / "pg_ctl"
    command = [
        *postgres._AS_SERVER,
        program,
        verb,
        "-D",
        cluster.directory / "db",
        "-w",
        "-l",
        cluster.directory / "log",
    ]
    if verb == "stop":
        command += ["-m", "fast"]
    else:
        command += ["-o", f"{postgres._SERVER_OPTIONS} -c unix_socket_directories={cluster.directory}"]
    subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("jump", [600, -600])
@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_clock_that_jumps_ten_minutes_loses_nothing(shops, jump):
    shop = shops()
    shop.start()
    opened = [shop.open(str(number)) for number in range(3)]
    shop.pay(opened[0])
    shop.until_status("0", "processing")
    shop.advance(jump)
    shop.pay(opened[1])
    shop.until_status("1", "processing", "settled")
    shop.advance(-jump)
    shop.pay(opened[2])
    shop.until_status("2", "processing", "settled")
    shop.control("mine", blocks=1)
    shop.advance(6)
    shop.until(lambda: len(shop.receiver.paid()) == 3, "all are set paid")
    assert_all_is_well(shop, "0", "1", "2")
