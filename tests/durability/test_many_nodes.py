"""Two web nodes and three workers over one PostgreSQL, as processes: no double work, take-over, rolling restarts."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import requests

from tests.durability.proxy import nginx_before
from tests.durability.shop import API_KEY, Shop
from tests.durability.truth import faults_in

pytestmark = pytest.mark.parametrize("engine_name", ["postgresql"])
PAYMENTS = 24


@pytest.fixture
def shop(shops) -> Shop:
    started = shops()
    for _ in range(2):
        started.start_web()
    for _ in range(3):
        started.start_worker()
    return started


def web_ports(shop: Shop) -> list[int]:
    return [program.port for program in shop.programs if program.port]


def drive_all(shop: Shop, payments: list[str]) -> list[dict]:
    """Opens and pays all of them, over both web nodes and in parallel, and waits until each is set paid."""
    ports = web_ports(shop)

    def open_at(payment: str) -> dict:
        body = {"billing_payment_id": payment, "amount": "10.00", "currency": "USD"}
        headers = {"Idempotency-Key": f"bm-{payment}-1"}
        # Twice, on both nodes: a client who clicks again must get the same invoice.
        for port in (ports[hash(payment) % 2], ports[hash(payment) % 2 - 1]):
            reply = shop.api("POST", "/v1/invoices", port=port, json=body, headers=headers)
            assert reply.status_code == 201, reply.text
        return reply.json()

    with ThreadPoolExecutor(8) as clients:
        opened = list(clients.map(open_at, payments))
    shop.until(lambda: len(shop.sandbox.world.callbacks.watches) >= len(payments), "all are watched")
    for invoice in opened:
        shop.pay(invoice)
    shop.control("mine", blocks=1)
    shop.advance(6)
    shop.until(lambda: len(shop.receiver.paid()) == len(payments), "all are set paid")
    shop.until_quiet()
    return opened


def test_no_invoice_is_opened_read_or_told_twice_by_several_nodes(shop):
    opened = drive_all(shop, [str(number) for number in range(PAYMENTS)])

    assert len(shop.calls("inbox_create")) == PAYMENTS
    assert len(shop.calls("wallet_wait_event")) == PAYMENTS
    told = Counter(event["id"] for event in shop.receiver.told)
    assert set(told.values()) == {1}
    assert shop.receiver.paid() == {str(number): 1 for number in range(PAYMENTS)}
    polled = Counter(call["body"].split('"address":')[1].split('"')[1] for call in shop.calls("wallet_poll"))
    # One look after opening, one for the doorbell, one for the block, one more for a block seen in between.
    assert {invoice["address"] for invoice in opened} == set(polled)
    assert max(polled.values()) <= 4 + shop.offset_seconds // 30, polled
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def test_others_take_over_when_a_web_node_and_two_workers_are_killed_at_work(shop):
    shop.receiver.delay_seconds = 0.2
    web, _, *workers = shop.programs
    doomed = [web, *workers[:2]]

    def kill_at_work() -> None:
        while len(shop.receiver.told) < 5:
            time.sleep(0.005)
        shop.programs = [program for program in shop.programs if program not in doomed]
        for program in doomed:
            program.kill()

    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill_at_work)
        drive_all(shop, [str(number) for number in range(PAYMENTS)])
        killed.result()

    assert all(program.exit_code == -9 for program in doomed)
    assert shop.receiver.paid() == {str(number): 1 for number in range(PAYMENTS)}
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def test_a_rolling_restart_under_load_fails_no_request(shop, tmp_path):
    answers: Counter[int] = Counter()
    opened: list[str] = []
    stopping = threading.Event()

    def load(client: int, port: int) -> None:
        with requests.Session() as session:
            for number in count():
                if stopping.is_set():
                    return
                payment = f"{client}-{number}"
                body = {"billing_payment_id": payment, "amount": "10.00", "currency": "USD"}
                headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": f"bm-{payment}"}
                base = f"http://127.0.0.1:{port}"
                reply = session.post(f"{base}/v1/invoices", json=body, headers=headers, timeout=30)
                answers[reply.status_code] += 1
                opened.append(payment)
                page = reply.json()["payment_url"].partition("/pay/")[2]
                answers[session.get(f"{base}/pay/{page}/status", timeout=30).status_code] += 1

    with nginx_before(web_ports(shop), tmp_path) as port, ThreadPoolExecutor(4) as clients:
        running = [clients.submit(load, client, port) for client in range(4)]
        try:
            for program in list(shop.programs):
                time.sleep(0.3)
                assert program.stop() == 0, program.tail()
                shop.programs.remove(program)
                shop.start_web(port=program.port) if program.port else shop.start_worker()
            time.sleep(0.3)
        finally:
            stopping.set()
        for each in running:
            each.result()

    assert set(answers) <= {200, 201}, answers
    assert len(opened) == len(set(opened)) == shop.count("SELECT count(*) FROM invoices") > 20
