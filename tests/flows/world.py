"""A real bridge with its real adapters over real HTTP against the sandbox; only the billing side is a recorder.

Owns building, the shared clock and short words for what tests do again and again; must not copy a rule of the bridge.
"""

import atexit
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.books.keep_books import number_events, seal_audit
from bridge.config import Settings
from bridge.context import Bridge
from bridge.core.evidence import Answer
from bridge.desk.resolve_review import list_reviews
from bridge.invoices.deliver import deliver_due
from bridge.invoices.inbox import receive_callback
from bridge.invoices.observe import look
from bridge.invoices.open_invoice import Answered, NewInvoice, open_invoice
from bridge.invoices.poll import answer_doorbells, poll_due
from bridge.invoices.read_invoices import invoice_by_id, read_feed
from bridge.invoices.record import Recorded
from bridge.permit import set_mode
from bridge.runtime import build
from bridge.upkeep.watch import WatchedClock, watch_clock
from sandbox import electrum
from sandbox.bitcoin import Served, serve_in_thread

KEY = "SUBTC-KEY-" + "a" * 48
WALLET = "wt_" + "b" * 44
# Wallet, invoice key and admin key at the emulated LNbits.
LNBITS = ("1" * 32, "2" * 32, "3" * 32)
ACCOUNTS: dict[str, dict[str, Any]] = {
    "lnbits": dict(zip(("wallet_id", "invoice_key", "admin_key"), LNBITS, strict=True)),
    "electrum": {"user": electrum.USER, "password": electrum.PASSWORD, "node_id": electrum.NODE_ID},
}
POINTERS = {"alpha": "/data/{currency}/last", "beta": "/bitcoin/{currency_lower}"}


def answer(outcome: str = "delivered", status: int | None = 200, *, retry_after_seconds: int | None = None) -> Answer:
    """A receiver's answer as the adapter would report it."""
    return Answer(
        outcome=outcome,
        status=status,
        latency_ms=3,
        retry_after_seconds=retry_after_seconds,
        body_excerpt="the receiver's words",
        body_sha256=hashlib.sha256(b"the receiver's words").hexdigest(),
        error=None if outcome == "delivered" else f"http_{status}",
    )


def until(look: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What `look` returns once it is something; fails after a bounded time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {seconds} s")


@dataclass
class RecordingBilling:
    """The port Billing: keeps what each merchant was told and answers what the test wants, by merchant."""

    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, Any]], Answer]] = field(default_factory=dict)

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer:
        event = json.loads(body)
        assert event["id"] == event_id
        self.told.append((merchant, event))
        return self.answers.get(merchant, lambda _: answer())(event)

    def types(self, merchant: str = "shop") -> list[str]:
        return [event["type"] for told_to, event in self.told if told_to == merchant]


@dataclass(kw_only=True)
class World:
    """One bridge and everything around it."""

    bridge: Bridge
    sandbox: Served
    billing: RecordingBilling
    # How far the bridge's clock is ahead of the one that everybody else has.
    clock_ahead: timedelta = timedelta(0)
    watched: WatchedClock = field(default_factory=WatchedClock)

    @property
    def wallet(self) -> Any:
        """The bridge's own client of the wallet that payers pay to."""
        return self.bridge.receiving.sends

    def control(self, command: str, **body: Any) -> dict[str, Any]:
        """One command to the sandbox, as its operator."""
        reply = self._operator().post(f"/_control/{command}", json=body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json)

    def _operator(self) -> Any:
        """Asks the sandbox without a connection: tests turn it more often than the bridge asks it anything."""
        return self.sandbox.server.app.test_client()

    def fault(self, mode: str, kind: str, *, times: int | None = None, **parameters: Any) -> None:
        self.control("knobs", fault={"mode": mode, "kind": kind, "times": times, **parameters})

    def heal(self) -> None:
        self.control("knobs", clear_faults=True, outage=None)

    def calls(self, mode: str) -> int:
        """How often the gateway was asked for `mode`."""
        seen = self._operator().get("/_control/calls").json["calls"]
        return sum(f"mode={mode}" in call["query"] for call in seen)

    def control_state(self) -> dict[str, Any]:
        """What the sandbox knows about its chain and wallets."""
        return dict(self._operator().get("/_control/state").json)

    def advance(self, seconds: float) -> None:
        """Moves the one clock that bridge and sandbox share."""
        self.control("clock", advance_s=seconds)

    def ask(
        self, billing_payment_id: str = "7", *, key: str | None = None, merchant: str = "shop", **request: Any
    ) -> Answered:
        """Opens an invoice as the module would, for USD 10.00 unless the test says otherwise."""
        wanted = {"amount_text": "10.00", "currency": "USD"} | request
        body = json.dumps({"billing_payment_id": billing_payment_id} | wanted, sort_keys=True)
        return open_invoice(
            self.bridge,
            merchant=self.bridge.merchants[merchant],
            request=NewInvoice.of(billing_payment_id=billing_payment_id, **wanted),
            key=key or f"key-{billing_payment_id}",
            body_sha256=hashlib.sha256(body.encode()).hexdigest(),
        )

    def open(self, billing_payment_id: str = "7", **request: Any) -> dict[str, Any]:
        return dict(json.loads(self.ask(billing_payment_id, **request).body))

    def invoice(self, invoice: dict[str, Any]) -> dict[str, Any]:
        """The invoice as its merchant reads it now."""
        merchants = (m for m in self.bridge.merchants if self._owns(m, invoice["id"]))
        return invoice_by_id(self.bridge, next(merchants), invoice["id"])

    def _owns(self, merchant: str, invoice_id: str) -> bool:
        from bridge.store import invoices

        with self.bridge.store.read() as tx:
            row = invoices.find(tx, id=invoice_id)
        return row is not None and row.merchant == merchant

    def pay(self, invoice: dict[str, Any], amount_sat: int | None = None, **options: Any) -> str:
        """An outside payer pays the invoice's address, what remains unless told otherwise. Returns the txid."""
        self.advance(1)  # blocks tell whole seconds
        wanted = invoice["remaining_sat"] if amount_sat is None else amount_sat
        return str(self.control("pay", address=invoice["address"], amount_sat=wanted, **options)["txid"])

    def mine(self, blocks: int = 1) -> None:
        self.control("mine", blocks=blocks)

    def look(self, invoice: dict[str, Any]) -> Recorded | None:
        return look(self.bridge, invoice["id"])

    def seen(self, invoice: dict[str, Any]) -> tuple[str, str, str | None]:
        """Status, exception and hold after one own look."""
        self.look(invoice)
        now = self.invoice(invoice)
        return now["status"], now["exception"], now["hold"]

    def ring(self, invoice: dict[str, Any], body: bytes = b"{}", signature: str = "unchecked") -> None:
        """A callback of the gateway, or of somebody who stole its token."""
        token = self.bridge.callback_token(invoice["id"])
        receive_callback(self.bridge, token=token, headers={}, body=body, signature=signature)

    def answer_doorbells(self, *, owner: str = "w1", limit: int = 10) -> int:
        return answer_doorbells(self.bridge, owner=owner, limit=limit, submit=lambda work: work())

    def poll(self, *, owner: str = "w1", limit: int = 100) -> int:
        return poll_due(self.bridge, owner=owner, limit=limit, submit=lambda work: work())

    def deliver(self, *, owner: str = "w1", limit: int = 100) -> int:
        """Delivers until nothing is due; returns how many tries that took."""
        tries = 0
        for _ in range(50):
            done = deliver_due(self.bridge, owner=owner, limit=limit, submit=lambda work: work())
            tries += done
            if done == 0:
                break
        return tries

    def work(self) -> None:
        """One whole round of the worker, in this thread."""
        watch_clock(self.bridge, self.watched, owner="w1")
        self.answer_doorbells()
        self.poll()
        self.deliver()
        number_events(self.bridge, owner="w1")
        seal_audit(self.bridge, owner="w1")

    def feed(self, merchant: str = "shop", *, after: int = 0) -> list[dict[str, Any]]:
        number_events(self.bridge, owner="w1")
        return list(read_feed(self.bridge, merchant, after=after, limit=500)["events"])

    def switch(self, mode: str, *, scope: str = "bridge") -> None:
        set_mode(self.bridge, scope=scope, mode=mode, actor="anna", reason="a test")

    def reviews(self) -> list[str]:
        """Kinds of the open review items."""
        return [item["kind"] for item in list_reviews(self.bridge, match={"state": "open"}, limit=100)]

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        """What the database holds, for facts that no interface shows."""
        from sqlalchemy import text

        with self.bridge.store.read() as tx:
            return list(tx.execute(text(statement), parameters))

    def balance(self, account: str, asset: str = "BTC") -> int:
        from bridge.store import ledger

        with self.bridge.store.read() as tx:
            totals = ledger.totals(tx)
        assert all(sum(v for (_, a), v in totals.items() if a == each) == 0 for _, each in totals)
        return totals.get((account, asset), 0)


def account_at(sandbox_url: str, rail: str) -> dict[str, Any]:
    """The section of a rail of the second way: its account at the sandbox."""
    return ACCOUNTS[rail] | {"url": f"{sandbox_url}/{rail}", "calls_per_minute": 100_000}


def settings_for(sandbox_url: str, database_url: str, **changes: Any) -> Settings:
    """Settings as an operator writes them; `policy` is the rule of merchant shop, `currencies` are every merchant's, `prices`
    may be made from the sandbox's address, `lnbits` and `electrum` change the account at the emulated ones; other names replace sections.
    """
    policy = changes.pop("policy", {})
    if callable(changes.get("prices")):
        changes["prices"] = changes["prices"](sandbox_url)
    currencies = changes.pop("currencies", ["USD", "RUB", "JPY"])
    merchant = {"api_keys": ["k" * 30], "currencies": currencies, "notify_secrets": ["whsec_" + "A" * 32]}
    target = {"notify_url": "https://billing.invalid/mancgi/subtcresult"}
    merchants = [merchant | target | {"id": "shop", "policy": policy} | changes.pop("shop", {})]
    for number, name in enumerate(("other", "puller")):
        keys = {"api_keys": [str(number) * 30], "notify_secrets": ["whsec_" + str(number) * 32]}
        merchants.append(merchant | keys | {"id": name} | (target if name == "other" else {}))
    sources = [
        {"name": name, "url": f"{sandbox_url}/prices/{name}?currency={{currency}}", "pointer": pointer}
        for name, pointer in POINTERS.items()
    ]
    subtc = {"base_url": sandbox_url, "key": KEY, "wallet_id": WALLET, "calls_per_minute": 100_000}
    wanted = changes.pop("subtc", {})
    for rail in ACCOUNTS:
        if (given := changes.pop(rail, None)) is not None:
            changes[rail] = account_at(sandbox_url, rail) | given
    sections: dict[str, Any] = {
        "network": "test",
        "database_url": database_url,
        "public_url": "http://127.0.0.1:9",
        "token_secret": "t" * 32,
        "subtc": subtc | wanted if wanted is not None else None,
        # Blocks come when somebody asks for them, or moves the clock.
        "chain": {"esplora": [f"{sandbox_url}/esplora"], "max_tip_age_seconds": 0},
        "prices": {"sources": sources, "keep_seconds": 0},
        "merchants": merchants,
    }
    return Settings.model_validate(sections | changes)


@contextmanager
def open_sandbox() -> Iterator[Served]:
    """A sandbox that nobody used before, or an emptied one: to make one takes longer than most tests need it.

    One that somebody still talks to is ended: the end of that call would be the next test's.
    """
    sandbox = _IDLE.pop() if _IDLE else serve_in_thread(net="test", api_key=KEY, wallet_id=WALLET, lnbits=LNBITS)
    try:
        yield sandbox
    finally:
        sandbox.world.reset()
        if sandbox.server.is_idle:
            _IDLE.append(sandbox)
        else:
            sandbox.stop()


@atexit.register
def _end_idle_sandboxes() -> None:
    for sandbox in _IDLE:
        sandbox.stop()


@contextmanager
def open_world(database_url: str, **changes: Any) -> Iterator[World]:
    """A bridge over a migrated database and a sandbox of its own; the sandbox's clock is the bridge's clock."""
    with open_sandbox() as sandbox:
        billing = RecordingBilling()
        built = build(settings_for(sandbox.url, database_url, **changes))
        clock = sandbox.world.clock

        def now() -> datetime:
            return datetime.fromtimestamp(clock.now(), UTC) + world.clock_ahead

        bridge = replace(built, billing=billing, clock=now, monotonic=clock.now)
        world = World(bridge=bridge, sandbox=sandbox, billing=billing)
        with closing(bridge.store):
            yield world


_IDLE: list[Served] = []
