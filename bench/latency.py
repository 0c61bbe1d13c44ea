"""From a callback to the signed "settled" at the merchant; one dead endpoint among twenty; status polls; whole lives a second, of
one node and of two.

Owns these measurements; stub world, real programs, a receiver in this process.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from bench.place import API_KEY, SECRET, Bench, Place, Run, open_place
from bench.table import Report
from bridge.config import load_settings
from bridge.invoices.inbox import send_test_event
from bridge.runtime import build
from tests.durability.receiver import Receiver

PER_SECOND = 20
POLLS_PER_SECOND = 200
# At most so many milliseconds, of the middle one and of 99 in a hundred.
SETTLED_MS = {"sqlite": {50: 12, 99: 40}, "postgresql": {50: 15, 99: 50}}


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
    for percent, at_most in SETTLED_MS[engine].items():
        report.at_most(f"{engine}: callback to settled, p{percent} ms at 20/s", percentile(delays, percent), at_most)


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
    report.at_most(f"{engine}: the others' p95 with one of twenty dead / well", p95[True] / p95[False], 1.05)


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
    report.at_most(f"{engine}: status polls with ETag at 200/s, p95 ms", percentile(sorted(delays), 95), 5)


def more_nodes(bench: Bench, report: Report) -> None:
    """How fast a burst of paid invoices is settled and told: one web node and worker, then two of each."""
    rates = {}
    for nodes in (1, 2):
        with open_place(bench, "postgresql") as place, living(place, nodes=nodes) as live:
            rates[nodes] = live(count_of(bench)).rate
        name = f"postgresql: paid, settled and told, {nodes}+{nodes} nodes"
        report.note(name, rates[nodes], f"{rates[nodes]:.0f}/s")
    report.at_least("postgresql: two web nodes and workers / one of each", rates[2] / rates[1], 1.0)


def whole_life(bench: Bench, report: Report, engine: str) -> None:
    """Invoices opened, paid, rung for, settled and told by one web node of one process and one worker, as fast as they can."""
    with open_place(bench, engine) as place, living(place) as live:
        lived = live(count_of(bench))
    report.note(f"{engine}: paid, settled and told, a second", lived.rate, f"{lived.rate:.0f}/s")
    each_ms = lived.cpu_ms / lived.count
    report.note(f"{engine}: processor for each, open to told, ms", each_ms, f"{each_ms:.1f}")


def count_of(bench: Bench) -> int:
    return max(20, round(60 * bench.seconds))


@contextmanager
def living(place: Place, *, nodes: int = 1) -> Iterator[Callable[[int], Run]]:
    """So many web nodes of one process and workers; a call has them open so many invoices, and then hear that these are paid.

    Told a second since the first was rung for; the processor's time is that of the opening too.
    """
    with receivers(1) as (receiver,), ThreadPoolExecutor(8) as clients, requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=8))
        options: dict[str, Any] = {"merchant": {"notify_url": receiver.url}}
        urls = [place.web(**options, web_processes=1) for _ in range(nodes)]
        for _ in range(nodes):
            place.worker(**options)
        time.sleep(1.5)
        tokens, numbers = token_maker(place), iter(range(1_000_000))

        def live(count: int) -> Run:
            began_ms, told_before = place.processor_ms(), len(receiver.paid())
            named = [f"life-{next(numbers)}" for _ in range(count)]
            opened = list(clients.map(lambda n: open_invoice(urls[n % nodes], named[n]), range(count)))
            for invoice in opened:
                paid = {"address": invoice["address"], "amount_sat": invoice["remaining_sat"]}
                session.post(f"{place.stub}/_pay", json=paid, timeout=30).raise_for_status()
            started = time.monotonic()

            def ring(number: int) -> None:
                rung = f"{urls[number % nodes]}/callbacks/subtc/{tokens(opened[number]['id'])}"
                session.post(rung, json={"n": number}, timeout=30).raise_for_status()

            list(clients.map(ring, range(count)))
            _wait(lambda: len(receiver.paid()) == told_before + count, 120)
            rate = count / (max(receiver.told_at) - started)
            return Run(rate=rate, count=count, cpu_ms=place.processor_ms() - began_ms)

        yield live


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
