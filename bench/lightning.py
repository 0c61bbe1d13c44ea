"""Lightning beside the first way: what an offer on the pay page costs, and how soon BILLmanager has a payment paid.

Owns these measurements, of the demo's programs: the real module in an emulated BILLmanager, and LNbits, emulated or the real one
with its fake wallet. Each of ours is taken right beside LNbits' own: its create call, its webhook.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

from bench.peer import VERSION
from bench.place import Bench, new_directory
from bench.table import Report
from bridge.core.rail import Wanted
from bridge.invoices.poll import poll_due, sense_beside
from bridge.invoices.targets import offered
from bridge.store import targets
from bridge.store.db import migrate, open_store
from bridge.store.tables import delivery_attempts, invoices
from sandbox.demo import PORTS, Demo, Walk, running, until
from sandbox.serving import HttpServer
from tests.durability.crowd import gather
from tests.lightning.real import RealLnbits, real_lnbits
from tests.rails.toy import ToyNode, toy_rail

OFFERS, ORDERS = 30, 12
OPEN_INVOICES, SIMULATED_SECONDS, CALLS_PER_MINUTE = 10_000, 600, 60
RATIO, BY_DOORBELL_MS, BY_POLLING_MS = 1.3, 150, 2_000
TIMEOUT = 30
PAID = 4


@dataclass(frozen=True, kw_only=True)
class Node:
    """An LNbits with the shop's wallet; `pay` returns once a BOLT11 is settled."""

    name: str
    url: str
    invoice_key: str
    pay: Callable[[str], object]

    def make(self, sat: int, **more: Any) -> str:
        """Its own create call: the BOLT11."""
        body = {"out": False, "unit": "sat", "amount": sat, "memo": "bench", "expiry": 900} | more
        reply = requests.post(
            f"{self.url}/api/v1/payments", json=body, headers={"X-Api-Key": self.invoice_key}, timeout=TIMEOUT
        )
        reply.raise_for_status()
        return str(reply.json()["bolt11"])


class Webhooks:
    """What LNbits calls when a payment settled, and when it did."""

    def __init__(self) -> None:
        self.rung = threading.Event()
        ringing = self.rung

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ringing.set()
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = HttpServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._server.start()

    def ring(self, node: Node, text: str) -> None:
        """Pays the invoice and waits for its webhook."""
        node.pay(text)
        if not self.rung.wait(TIMEOUT):
            raise RuntimeError("LNbits sent no webhook in time")

    def close(self) -> None:
        self._server.close()


def measure(
    bench: Bench, report: Report, python: Path | None = None, *, offers: int = OFFERS, orders: int = ORDERS
) -> None:
    """Over LNbits as the sandbox emulates it, or over the real one that `python` has."""
    with _shop(bench, python, has_doorbell=True) as (demo, node):
        _offers(report, demo, node, offers)
        _by_doorbell(report, demo, node, orders)
    with _shop(bench, python, has_doorbell=False) as (demo, node):
        sensed_ms = statistics.median(_settled_ms(node, _order(demo)) for _ in range(orders))
        report.at_most(f"{node.name}: settled to paid, no doorbell, p50 ms", sensed_ms, BY_POLLING_MS)


def _offers(report: Report, demo: Demo, node: Node, count: int) -> None:
    """One after another, each beside LNbits' own create call for the same sum; the first of each warms up."""
    ours, theirs = [], []
    for _ in range(count + 1):
        walk = Walk(demo)
        walk.place_order()
        walk.open_pay_page()
        theirs.append(_took_ms(partial(node.make, walk.invoice["remaining_sat"])))
        ours.append(_took_ms(partial(_ask, walk)))
    own_ms, page_ms = statistics.median(theirs[1:]), statistics.median(ours[1:])
    report.note(f"{node.name}: its own create call, p50 ms", own_ms, f"{own_ms:.1f}")
    report.note(f"{node.name}: offer through the page, p50 ms", page_ms, f"{page_ms:.1f}")
    report.at_most(f"{node.name}: offer through the page / own create", page_ms / own_ms, RATIO)


def _by_doorbell(report: Report, demo: Demo, node: Node, orders: int) -> None:
    """Each order beside an invoice whose webhook LNbits sends to somebody who does nothing."""
    ours, theirs = [], []
    with closing(Webhooks()) as hooks:
        for _ in range(orders):
            ours.append(_settled_ms(node, _order(demo)))
            hooks.rung.clear()
            text = node.make(1_000, webhook=hooks.url)
            theirs.append(_took_ms(partial(hooks.ring, node, text)))
    webhook_ms, module_ms = statistics.median(theirs), statistics.median(_told_ms(demo, orders))
    report.note(f"{node.name}: settled to LNbits' own webhook, p50 ms", webhook_ms, f"{webhook_ms:.0f}")
    report.note(f"{node.name}: of it in module and BILLmanager, p50 ms", module_ms, f"{module_ms:.0f}")
    report.at_most(f"{node.name}: settled to paid by doorbell, p50 ms", statistics.median(ours), BY_DOORBELL_MS)


def _order(demo: Demo) -> tuple[Walk, str]:
    """An order with its pay page open, and the BOLT11 that the page offers."""
    walk = Walk(demo)
    walk.place_order()
    walk.open_pay_page()
    return walk, _ask(walk)


def _ask(walk: Walk) -> str:
    page = walk.invoice["payment_url"]
    reply = requests.post(
        f"{page}/way", data={"way": "lightning"}, headers={"Accept": "application/json"}, timeout=TIMEOUT
    )
    reply.raise_for_status()
    return str(reply.json()["text"])


def _settled_ms(node: Node, order: tuple[Walk, str]) -> float:
    """From before it is paid until BILLmanager's payment has the status of one that is."""
    walk, text = order

    def paid() -> None:
        node.pay(text)
        deadline = time.monotonic() + TIMEOUT
        while walk.control("billmanager", f"payments/{walk.order['payment_id']}")["status"] != PAID:
            if time.monotonic() > deadline:
                raise RuntimeError("BILLmanager was not told in time")
            time.sleep(0.01)

    return _took_ms(paid)


def _told_ms(demo: Demo, orders: int) -> list[int]:
    """How long BILLmanager with the module took to answer each notification; the last answer is kept after the status was seen."""
    with closing(open_store(f"sqlite:///{demo.directory / 'bridge.db'}")) as store:

        def told() -> list[int]:
            with store.read() as tx:
                found = tx.execute(select(delivery_attempts.c.latency_ms)).scalars().all()
            return list(found) if len(found) >= orders else []

        return list(until(told, "the notifications were not answered"))


def _took_ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1_000 * (time.perf_counter() - started)


@contextmanager
def _shop(bench: Bench, python: Path | None, *, has_doorbell: bool) -> Iterator[tuple[Demo, Node]]:
    """The demo over an LNbits that rings, or is not asked to."""
    with ExitStack() as stack:
        place, real = new_directory(bench), None
        if python is not None:
            real = stack.enter_context(real_lnbits(place / "lnbits", python))
        change = partial(_over, real, has_doorbell)
        demo = stack.enter_context(running(place, wanted_ports=dict.fromkeys(PORTS, 0), change=change, tick_seconds=0))
        walk = Walk(demo)
        walk.add_method()
        yield demo, (_emulated(demo, walk) if real is None else _real(real))


def _over(real: RealLnbits | None, has_doorbell: bool, settings: dict[str, Any]) -> None:
    """The calls of a shop that its budget keeps not waiting; and the real LNbits, whose fake wallet names the main network."""
    settings["lnbits"] |= {"calls_per_minute": 6_000, "callbacks": has_doorbell}
    if real is not None:
        keys = {"invoice_key": real.shop["inkey"], "admin_key": real.shop["adminkey"]}
        settings["lnbits"] |= {"url": real.url, "wallet_id": real.shop["id"], "invoices_of": "main"} | keys


def _emulated(demo: Demo, walk: Walk) -> Node:
    return Node(
        name="lightning",
        url=f"{demo.url('bitcoin')}/lnbits",
        invoice_key=demo.secrets["lnbits_invoice_key"],
        pay=lambda text: walk.control("bitcoin", "ln_pay", {"bolt11": text}),
    )


def _real(real: RealLnbits) -> Node:
    return Node(name=f"LNbits {VERSION}", url=real.url, invoice_key=real.shop["inkey"], pay=real.pay)


def many_open(bench: Bench, report: Report, *, count: int = OPEN_INVOICES, seconds: int = SIMULATED_SECONDS) -> None:
    """So many open Lightning invoices in simulated time, without a doorbell, under a budget of so many calls a minute."""
    url = f"sqlite:///{new_directory(bench) / 'crowd.db'}"
    migrate(url)
    node = ToyNode()
    crowd = gather(url, open_invoices=count, calls_per_minute=CALLS_PER_MINUTE, seed=1)
    bridge, now = crowd.bridge, crowd.world.clock()
    rail = toy_rail(node, calls_per_minute=CALLS_PER_MINUTE)
    bridge = replace(bridge, rails=(*bridge.rails, rail))
    with bridge.store.write() as tx:
        rows = tx.execute(select(invoices.c.id, invoices.c.remaining_sat)).all()
        for row in rows:
            wanted = Wanted(due_units=row.remaining_sat, reference=row.id, expires_at=now + timedelta(hours=1))
            targets.add(tx, row.id, offered(rail, node.asks(wanted), due_units=wanted.due_units, now=now))
    most, spent = 0, deque[int](maxlen=60)
    sense_ms: list[float] = []
    try:
        for _ in range(seconds):
            crowd.world.clock.advance(1)
            before = node.reads
            sense_ms.append(_took_ms(lambda: sense_beside(bridge, owner="w")))
            poll_due(bridge, owner="w", limit=8, submit=lambda work: work())
            spent.append(node.reads - before)
            most = max(most, sum(spent))
    finally:
        bridge.store.close()
    name = f"{count:,} open Lightning invoices"
    report.at_most(f"{name}: most calls in any minute", most, CALLS_PER_MINUTE)
    report.note(
        f"{name}: finding whom to ask, p50 ms", statistics.median(sense_ms), f"{statistics.median(sense_ms):.1f}"
    )
