"""One bridge as an operator runs it: a configuration file, its programs, both outside worlds, and a payment driven through.

Owns the driving, whose every step may be repeated; must not look into the bridge but over HTTP and its command.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import text

from bridge.store.db import Store, open_store
from sandbox.bitcoin import Served, serve_in_thread
from sandbox.clock import turn
from sandbox.lightning import LnPayment
from tests.durability.programs import Program, Zygote, free_port, wait_until_answering
from tests.durability.receiver import Receiver
from tests.flows.world import LNBITS, account_at

KEY = "SUBTC-KEY-" + "a" * 48
WALLET = "wt_" + "b" * 44
API_KEY = "k" * 30
SECRET = "whsec_" + "A" * 32
STEP_SECONDS = 120
IMPATIENT_AFTER_SECONDS = 0.7
# As many programs that want a processor are usual for a run of the tests: more of them, and everything takes longer.
USUAL_LOAD = 2 * (os.cpu_count() or 1)
OWED = """
    SELECT (SELECT count(*) FROM deliveries WHERE state = 'pending') + (SELECT count(*) FROM unnumbered_events)
         + (SELECT count(*) FROM audit) - (SELECT count(*) FROM audit_chain)
"""


class Died(Exception):
    """A program was killed while a step waited."""


@dataclass(kw_only=True)
class Shop:
    """The set-up of one test. `advance` moves the one clock that all programs and the sandbox share."""

    zygote: Zygote
    directory: Path
    database_url: str
    store: Store
    sandbox: Served
    receiver: Receiver
    settings: dict[str, Any] = field(default_factory=dict)
    subtc: dict[str, Any] = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=dict)
    # The rails of the second way.
    beside: tuple[str, ...] = ()
    programs: list[Program] = field(default_factory=list)
    port: int = 0
    offset_seconds: int = 0
    _configs: int = 0

    def config(self, **changes: Any) -> Path:
        """Writes a configuration file; `changes` replace top-level settings."""
        self._configs += 1
        path = self.directory / f"config-{self._configs}.yaml"
        outside = self.sandbox.url
        pointers = {"alpha": "/data/{currency}/last", "beta": "/bitcoin/{currency_lower}"}
        settings = {
            "network": "test",
            "database_url": self.database_url,
            "public_url": f"http://127.0.0.1:{self.port}",
            "listen": f"127.0.0.1:{self.port}",
            "web_processes": 1,
            "web_threads": 4,
            "worker_threads": 4,
            "token_secret": "t" * 32,
            "log_level": "warning",
            "clock_offset_file": str(self.directory / "clock"),
            "subtc": {"base_url": outside, "key": KEY, "wallet_id": WALLET, "calls_per_minute": 6_000} | self.subtc,
            "chain": {"esplora": [f"{outside}/esplora"], "max_tip_age_seconds": 0},
            "prices": {
                "sources": [
                    {"name": name, "url": f"{outside}/prices/{name}?currency={{currency}}", "pointer": pointer}
                    for name, pointer in pointers.items()
                ]
            },
            "merchants": [
                {
                    "id": "shop",
                    "api_keys": [API_KEY],
                    "currencies": ["USD"],
                    "notify_url": self.receiver.url,
                    "notify_secrets": [SECRET],
                    "policy": {"default": self.rule},
                }
            ],
        }
        settings |= {rail: account_at(outside, rail) for rail in self.beside}
        path.write_text(json.dumps(settings | self.settings | changes))
        return path

    def start_web(self, *, port: int | None = None, file_size_limit: int | None = None, **changes: Any) -> Program:
        """A web server, on a port of its own unless told; the last one started is the one that requests go to."""
        self.port = port or free_port()
        limits = {"file_size_limit": file_size_limit} if file_size_limit else {}
        program = self.zygote.start("web", self.config(**changes), "serve", **limits)
        program.port = self.port
        self.programs.append(program)
        wait_until_answering(program, self.port)
        return program

    def start_worker(self, **changes: Any) -> Program:
        program = self.zygote.start("worker", self.config(**changes), "worker")
        self.programs.append(program)
        return program

    def start(self, **changes: Any) -> None:
        self.start_web(**changes)
        self.start_worker(**changes)

    def command(self, *arguments: str, **changes: Any) -> Program:
        """One command of an operator, run to its end."""
        program = self.zygote.start("command", self.config(**changes), *arguments)
        program.wait()
        return program

    def move_to(self, database_url: str) -> None:
        """From now on the programs that are started, and this shop's own looks, use another database."""
        self.store.close()
        self.database_url, self.store = database_url, open_store(database_url, pool_size=2)

    def kill_all(self) -> None:
        for program in self.programs:
            program.kill()
        self.programs.clear()

    def victims(self) -> list[Program]:
        """The programs that died by SIGKILL, or of which a process did."""
        return [program for program in self.programs if program.was_killed]

    def advance(self, seconds: int) -> None:
        self.offset_seconds += seconds
        turn(self.directory / "clock", self.offset_seconds)
        self.control("clock", advance_s=seconds)

    def control(self, command: str, **body: Any) -> dict[str, Any]:
        reply = requests.post(f"{self.sandbox.url}/_control/{command}", json=body, timeout=10)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def calls(self, mode: str) -> list[dict[str, Any]]:
        """What the gateway was asked in this mode, oldest first."""
        seen = requests.get(f"{self.sandbox.url}/_control/calls", timeout=10).json()["calls"]
        return [call for call in seen if f"mode={mode}" in call["query"]]

    def api(self, method: str, path: str, *, port: int | None = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {API_KEY}"} | options.pop("headers", {})
        url = f"http://127.0.0.1:{port or self.port}{path}"
        return requests.request(method, url, headers=headers, timeout=30, **options)

    def until(self, look: Callable[[], Any], what: str, *, nudges: bool = True) -> Any:
        """What `look` returns once it is something. While nothing moves the clock is moved, as a day would: to a worker that runs
        a jump, after which nothing is done for its age alone; sooner than the programs could have moved, what one of them holds would
        lapse in its hands.

        Raises Died as soon as a program was killed, AssertionError after a bounded time.
        """
        started = nudged = time.monotonic()
        while time.monotonic() - started < STEP_SECONDS:
            # A program may die with half an answer sent: that is no answer.
            with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if found := look():
                    return found
            if self.victims():
                raise Died(what)
            patience = IMPATIENT_AFTER_SECONDS * max(1, os.getloadavg()[0] / USUAL_LOAD)
            if nudges and time.monotonic() - nudged > patience:
                nudged = time.monotonic()
                self.advance(31)
            time.sleep(0.03)
        logs = "\n".join(f"== {program.name}\n{program.tail()}" for program in self.programs)
        raise AssertionError(f"never: {what}\n{logs}")

    def open(self, billing_payment_id: str, *, wanted: str = "10.00") -> dict[str, Any]:
        """Opens the invoice as the module does: again and again with the same key until there is an answer."""
        body = {"billing_payment_id": billing_payment_id, "amount": wanted, "currency": "USD"}

        def answered() -> dict[str, Any] | None:
            headers = {"Idempotency-Key": f"bm-{billing_payment_id}-1"}
            reply = self.api("POST", "/v1/invoices", json=body, headers=headers)
            assert reply.status_code in (200, 201, 409, 503), reply.text
            return reply.json() if reply.ok else None

        found: dict[str, Any] = self.until(answered, "an invoice is opened")
        return found

    def invoice(self, billing_payment_id: str) -> dict[str, Any] | None:
        reply = self.api("GET", f"/v1/invoices?billing_payment_id={billing_payment_id}")
        found = reply.json()["invoices"] if reply.ok else []
        assert len(found) <= 1, found
        return found[0] if found else None

    def received_sat(self, address: str) -> int:
        with self.sandbox.world.lock:
            return self.sandbox.world.chain.received_sat(address, min_conf=0)

    def lightning(self) -> list[LnPayment]:
        """What the Lightning server knows of requests, paid or not."""
        with self.sandbox.world.lock:
            return list(self.sandbox.world.lightning.payments)

    def offer(self, invoice: dict[str, Any]) -> str:
        """The payer asks to pay over Lightning, again and again until there is something to pay."""

        def offered() -> str:
            path = f"/pay/{invoice['payment_url'].partition('/pay/')[2]}/way"
            reply = self.api("POST", path, data={"way": "lightning"}, headers={"Accept": "application/json"})
            return str(reply.json()["text"]) if reply.ok else ""

        return str(self.until(offered, "there is an offer over Lightning"))

    def pay(self, invoice: dict[str, Any]) -> None:
        """The payer pays once, what the page asks for."""
        if not self.received_sat(invoice["address"]):
            self.control("pay", address=invoice["address"], amount_sat=invoice["remaining_sat"])

    def until_status(self, billing_payment_id: str, *wanted: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            invoice = self.invoice(billing_payment_id)
            return invoice if invoice and invoice["status"] in wanted else None

        found: dict[str, Any] = self.until(reached, f"the invoice is {wanted}")
        return found

    def until_set_paid(self, billing_payment_id: str) -> None:
        self.until(lambda: self.receiver.paid().get(billing_payment_id), "the payment is set paid")

    def values(self, statement: str) -> list[Any]:
        """The first column of what the database answers, for facts that no interface shows."""
        with self.store.read() as tx:
            return list(tx.execute(text(statement)).scalars())

    def count(self, statement: str) -> int:
        return int(self.values(statement)[0])

    def until_quiet(self) -> None:
        """Everything that is owed is done: events numbered, audit sealed, nothing waits to be delivered."""
        self.until(lambda: self.count(OWED) == 0, "nothing is owed any more")


@contextlib.contextmanager
def open_shop(zygote: Zygote, directory: Path, database_url: str, **settings: Any) -> Iterator[Shop]:
    """A shop whose programs are not started yet; `settings` are Shop's."""
    with contextlib.ExitStack() as stack:
        knobs = {"callback_backoff_s": [0.3]}
        sandbox = serve_in_thread(net="test", api_key=KEY, wallet_id=WALLET, lnbits=LNBITS, knobs=knobs)
        stack.callback(sandbox.stop)
        receiver = stack.enter_context(contextlib.closing(Receiver(SECRET)))
        shop = Shop(
            zygote=zygote,
            directory=directory,
            database_url=database_url,
            store=open_store(database_url, pool_size=2),
            sandbox=sandbox,
            receiver=receiver,
            **settings,
        )
        stack.callback(lambda: shop.store.close())  # the store that it has by then
        stack.callback(shop.kill_all)
        yield shop
