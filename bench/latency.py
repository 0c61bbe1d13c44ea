"""From a callback to the signed "settled" at the merchant; one dead endpoint among twenty; status polls; two nodes of each.

Owns these measurements; stub world, real programs, a receiver in this process.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import requests

from bench.place import API_KEY, SECRET, Bench, Place, open_place
from bench.table import Report
from bridge.config import load_settings
from bridge.invoices.inbox import send_test_event
from bridge.runtime import build
from tests.durability.receiver import Receiver

PER_SECOND = 20
POLLS_PER_SECOND = 200


@contextmanager
def receivers(count: int) -> Iterator[list[Receiver]]:
    running = [Receiver(SECRET) for _ in range(count)]
    try:
        yield running
    finally:
        for receiver in running:
            receiver.close()


def callback_to_settled(bench: Bench, report: Report, engine: str) -> None:
    """20 payments a second, each told by a callback: how long until the merchant hears "settled"."""
    with (
        open_place(bench, engine) as place,
        settling(place, rounds=1, count=max(20, round(PER_SECOND * bench.seconds))) as settle,
    ):
        delays = settle(0)
    report.at_most(f"{engine}: callback to settled, p50 ms at 20/s", statistics.median(delays), 20)
    report.at_most(f"{engine}: callback to settled, p99 ms at 20/s", percentile(delays, 99), 100)


@contextmanager
def settling(place: Place, *, rounds: int, count: int) -> Iterator[Callable[[int], list[float]]]:
    """A web node and a worker over `rounds` times `count` invoices; a call pays those of one round, 20 a second.

    It returns the ordered milliseconds from each callback until the merchant hears "settled".
    """
    with receivers(1) as (receiver,):
        url = place.web(merchant={"notify_url": receiver.url})
        opened = [[open_invoice(url, f"lat-{each}-{number}") for number in range(count)] for each in range(rounds)]
        place.worker(merchant={"notify_url": receiver.url})
        time.sleep(1.5)
        tokens = token_maker(place)

        def settle(each: int) -> list[float]:
            rung_at: dict[str, float] = {}

            def pay(number: int) -> None:
                invoice = opened[each][number]
                _post(f"{place.stub}/_pay", {"address": invoice["address"], "amount_sat": invoice["remaining_sat"]})
                rung_at[invoice["billing_payment_id"]] = time.monotonic()
                _post(f"{url}/callbacks/subtc/{tokens(invoice['id'])}", {"n": number})

            told_before = len(receiver.paid())
            _paced(pay, count, PER_SECOND)
            _wait(lambda: len(receiver.paid()) == told_before + count, 30)
            return sorted(
                1_000 * (at - rung_at[event["invoice"]["billing_payment_id"]])
                for event, at in zip(receiver.told, receiver.told_at, strict=True)
                if event["type"] == "invoice.settled" and event["invoice"]["billing_payment_id"] in rung_at
            )

        yield settle


def dead_endpoint(bench: Bench, report: Report, engine: str) -> None:
    """Twenty merchants get events; then again while one of them never answers."""
    p95 = {is_dead: _delays_with(bench, engine, is_dead=is_dead) for is_dead in (False, True)}
    report.note(f"{engine}: twenty endpoints well, p95 ms", p95[False], f"{p95[False]:.1f}")
    report.at_most(f"{engine}: the others' p95 with one of twenty dead / well", p95[True] / p95[False], 1.10)


def _delays_with(bench: Bench, engine: str, *, is_dead: bool) -> float:
    with open_place(bench, engine) as place, receivers(20) as endpoints:
        merchants = [
            {
                "id": f"m{number}",
                "api_keys": [f"{number:02}" * 15],
                "currencies": ["USD"],
                "notify_url": endpoint.url,
                "notify_secrets": [SECRET] if number == 0 else [SECRET[:-2] + f"{chr(65 + number)}A"],
            }
            for number, endpoint in enumerate(endpoints)
        ]
        for endpoint, merchant in zip(endpoints, merchants, strict=True):
            endpoint.secret = merchant["notify_secrets"][0]
        endpoints[0].delay_seconds = 60 if is_dead else 0
        place.worker(merchants=merchants)
        bridge = build(load_settings(place.config(merchants=merchants)))
        sent_at: dict[str, float] = {}
        rounds = max(10, round(4 * bench.seconds))

        def tell(number: int) -> None:
            sent = time.monotonic()
            sent_at[send_test_event(bridge, f"m{number % 20}", actor="bench", reason="bench")] = sent

        _paced(tell, 20 * rounds, 40)
        well = endpoints[1:]
        _wait(lambda: sum(len(endpoint.told) for endpoint in well) == 19 * rounds, 40)
        delays = sorted(
            1_000 * (at - sent_at[event["id"]])
            for endpoint in well
            for event, at in zip(endpoint.told, endpoint.told_at, strict=True)
        )
        bridge.store.close()
        return percentile(delays, 95)


def status_polls(bench: Bench, report: Report, engine: str) -> None:
    """200 pay pages a second asking whether anything changed, with the ETag they have."""
    with open_place(bench, engine) as place, ExitStack() as connections:
        url = place.web()
        pages = []
        for number in range(20):
            invoice = open_invoice(url, f"poll-{number}")
            path = "/pay/" + invoice["payment_url"].partition("/pay/")[2] + "/status"
            pages.append((path, requests.get(url + path, timeout=30).headers["ETag"]))
        host = url.removeprefix("http://")
        local = threading.local()
        delays: list[float] = []

        def poll(number: int) -> None:
            if not hasattr(local, "connection"):
                local.connection = connections.enter_context(closing(HTTPConnection(host, timeout=30)))
            path, etag = pages[number % len(pages)]
            started = time.monotonic()
            local.connection.request("GET", path, headers={"If-None-Match": etag})
            answer = local.connection.getresponse()
            answer.read()
            assert answer.status == 304, answer.status
            delays.append(1_000 * (time.monotonic() - started))

        _paced(poll, round(POLLS_PER_SECOND * bench.seconds), POLLS_PER_SECOND)
    report.at_most(f"{engine}: status polls with ETag at 200/s, p95 ms", percentile(sorted(delays), 95), 20)


def more_nodes(bench: Bench, report: Report) -> None:
    """How fast a burst of paid invoices is settled and told: one web node and worker, then two of each."""
    rates = {nodes: _burst(bench, nodes) for nodes in (1, 2)}
    for nodes, rate in rates.items():
        report.note(f"postgresql: paid invoices settled and told, {nodes}+{nodes} nodes", rate, f"{rate:.0f}/s")
    report.at_least("postgresql: two web nodes and workers / one of each", rates[2] / rates[1], 1.0)


def _burst(bench: Bench, nodes: int) -> float:
    with open_place(bench, "postgresql") as place, receivers(1) as (receiver,):
        options: dict[str, Any] = {"merchant": {"notify_url": receiver.url}}
        urls = [place.web(**options, web_processes=1) for _ in range(nodes)]
        count = max(20, round(60 * bench.seconds))
        with ThreadPoolExecutor(8) as clients:
            opened = list(clients.map(lambda n: open_invoice(urls[n % nodes], f"burst-{n}"), range(count)))
        for _ in range(nodes):
            place.worker(**options)
        time.sleep(1.5)
        tokens = token_maker(place)
        for invoice in opened:
            _post(f"{place.stub}/_pay", {"address": invoice["address"], "amount_sat": invoice["remaining_sat"]})
        started = time.monotonic()
        with ThreadPoolExecutor(8) as clients:
            list(
                clients.map(
                    lambda n: _post(f"{urls[n % nodes]}/callbacks/subtc/{tokens(opened[n]['id'])}", {"n": n}),
                    range(count),
                )
            )
        _wait(lambda: len(receiver.paid()) == count, 120)
        return count / (max(receiver.told_at) - started)


def open_invoice(url: str, payment: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": f"bm-{payment}"}
    body = {"billing_payment_id": payment, "amount": "10.00", "currency": "USD"}
    reply = requests.post(f"{url}/v1/invoices", json=body, headers=headers, timeout=30)
    reply.raise_for_status()
    return dict(reply.json())


def _post(url: str, body: dict[str, Any]) -> None:
    requests.post(url, json=body, timeout=30).raise_for_status()


def token_maker(place: Place) -> Callable[[str], str]:
    bridge = build(load_settings(place.config()))
    bridge.store.close()
    return bridge.callback_token


def _paced(work: Callable[[int], None], count: int, per_second: int) -> None:
    """Starts `work` on time whether or not the last one has ended, as strangers do."""
    with ThreadPoolExecutor(16) as pool:
        started = time.monotonic()
        running = []
        for number in range(count):
            time.sleep(max(0, started + number / per_second - time.monotonic()))
            running.append(pool.submit(work, number))
        for each in running:
            each.result()


def _wait(is_done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise RuntimeError("the bridge did not get done in time")
        time.sleep(0.005)


def percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
