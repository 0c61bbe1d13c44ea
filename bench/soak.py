"""`python -m bench.soak`: random payments, faults and restarts over real programs; at the end nothing is lost or done twice.

Owns the chances; the truths it ends with are those of the durability tests.
"""

import contextlib
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import requests

from bridge.config import load_settings
from bridge.core.errors import BridgeError
from bridge.runtime import build
from bridge.store.db import migrate
from sandbox import electrum
from sandbox.bolt11 import payment_hash_of
from tests.durability.leaks import Answers, ProcessList, leaks
from tests.durability.programs import open_zygote
from tests.durability.shop import API_KEY, KEY, OWED, SECRET, Shop, open_shop
from tests.durability.truth import came_over_lightning_sat, faults_in
from tests.flows.world import LNBITS
from tests.pooler import open_pooler
from tests.postgres import open_pair, start_cluster

FAULTS = (
    ("inbox_create", "lost_response"),
    ("inbox_create", "error_500_before"),
    ("wallet_poll", "lost_response"),
    ("wallet_poll", "truncated_json"),
    ("wallet_poll", "rate_limited"),
    ("wallet_wait_event", "down"),
    ("callback", "drop"),
    ("callback", "duplicate"),
    ("callback", "wrong_address"),
    ("callback", "not_json"),
    ("ln_create", "lost_response"),
    ("ln_create", "error_500_before"),
    ("ln_create", "wrong_amount"),
    ("ln_create", "wrong_network"),
    ("ln_list", "truncated_json"),
    ("ln_read", "lost_response"),
    ("ln_read", "rate_limited"),
    ("ln_read", "forgets"),
    ("ln_webhook", "drop"),
    ("ln_webhook", "duplicate"),
    ("ln_webhook", "not_json"),
)
# What the Lightning server may be like for a while; well again more often than not, else nothing is paid over it.
LIGHTNING: tuple[dict[str, Any], ...] = (
    {"ln_hold": True},
    {"ln_outage": "503"},
    {"ln_rings": 0},
    *[{"ln_hold": False, "ln_outage": None, "ln_rings": 2}] * 5,
)
# Of how many of the newest invoices one is paid over Lightning: of all that were ever opened most are past their deadline.
YOUNG = 12
QUIET_SECONDS = 120
FAILOVER_SECONDS = 60
SETTINGS = {"log_level": "info", "database_wait_seconds": 5}
BESIDE = ("lnbits", "electrum")
SAY_EVERY_SECONDS = 30
OPEN_ENDS = {
    "deliveries owed": "SELECT count(*) FROM deliveries WHERE state = 'pending'",
    "events or audit rows to come": OWED,
    # Blocks have taken everything; money on top of a settled invoice is in no hurry.
    "satoshi unconfirmed": "SELECT COALESCE(SUM(units), 0) FROM entries WHERE account = 'inflight:unconfirmed'",
    "invoices processing": "SELECT count(*) FROM invoices WHERE status = 'processing' AND hold IS NULL",
}


@dataclass
class Soak:
    """One run. `opened` is every invoice as it was first answered, by billing payment."""

    shop: Shop
    chance: random.Random
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    processes: ProcessList = field(default_factory=ProcessList)
    answers: Answers = field(init=False)
    started: float = field(default_factory=time.monotonic)
    said_at: float = 0.0

    def __post_init__(self) -> None:
        self.answers = Answers(self.shop.directory / "answers")
        ask = self.shop.api
        self.shop.api = lambda *args, **options: self.answers.keep(ask(*args, **options))  # type: ignore[method-assign]

    def say(self, stage: str, counts: Mapping[str, int] | None = None) -> None:
        """How far it is. A stage with counts comes round again and again, so it is told now and then."""
        now = time.monotonic()
        if counts is not None and now - self.said_at < SAY_EVERY_SECONDS:
            return
        self.said_at = now
        figures = "".join(f", {what} {count}" for what, count in (counts or {}).items())
        click.echo(f"{now - self.started:7.0f} s  {stage}{figures}")

    def step(self) -> None:
        """One thing that happens, chosen by weight."""
        actions: dict[Callable[[], None], int] = {
            self.open: 30,
            self.pay: 30,
            self.pay_over_lightning: 20,
            self.turn_lightning: 4,
            self.end_held: 6,
            self.mine: 8,
            self.pass_time: 4,
            self.break_something: 6,
            self.answer_badly: 3,
            self.look_around: 3,
            self.kill: 2,
            self.restart: 2,
        }
        action = self.chance.choices(list(actions), list(actions.values()))[0]
        self.done[action.__name__] += 1
        with contextlib.suppress(requests.ConnectionError):
            action()

    def open(self) -> None:
        """Sometimes a new order, sometimes a client who clicks again."""
        again = self.opened and self.chance.random() < 0.2
        payment = self.chance.choice(list(self.opened)) if again else f"{len(self.opened)}-{self.done['open']}"
        body = {
            "billing_payment_id": payment,
            "amount": f"{self.chance.randrange(500, 9_000) / 100:.2f}",
            "currency": "USD",
        }
        if again:
            body["amount"] = self.opened[payment]["amount"]
        reply = self.shop.api(
            "POST", "/v1/invoices", json=body, headers={"Idempotency-Key": f"k-{payment}-{self.done['open']}"}
        )
        if reply.ok:
            self.opened.setdefault(payment, reply.json())

    def pay(self) -> None:
        """Exactly, too much, or in two parts; sometimes late, because nobody is in a hurry here."""
        unpaid = [payment for payment in self.opened if payment not in self.paid]
        if not unpaid:
            return
        payment = self.chance.choice(unpaid)
        invoice = self.shop.invoice(payment)
        if invoice is None or not invoice["remaining_sat"]:
            return
        share = self.chance.choice([100, 100, 100, 100, 150, 50])
        self.shop.control(
            "pay", address=invoice["address"], amount_sat=max(invoice["remaining_sat"] * share // 100, 1_000)
        )
        if share >= 100:
            self.paid.add(payment)

    def pay_over_lightning(self) -> None:
        """What the page offers, sometimes with some thousandths or a satoshi more; now and then what was paid to the address already."""
        young = list(self.opened)[-YOUNG:]
        unpaid = [each for each in young if each not in self.paid]
        payment = self.chance.choice(unpaid if unpaid and self.chance.random() < 0.9 else young or [""])
        invoice = self.shop.invoice(payment) if payment else None
        if invoice is None:
            return
        path = f"/pay/{invoice['payment_url'].partition('/pay/')[2]}/way"
        reply = self.shop.api("POST", path, data={"way": "lightning"}, headers={"Accept": "application/json"})
        offers = [way["text"] for way in invoice["ways"] if way["way"] == "lightning"]
        text = reply.json()["text"] if reply.ok else self.chance.choice(offers or [""])
        if not text:
            return
        with self.shop.sandbox.world.lock, contextlib.suppress(ValueError):
            lightning, more_msat = self.shop.sandbox.world.lightning, self.chance.choice([0, 0, 0, 1, 600, 999, 1_000])
            paid = lightning.pay(text, lightning.incoming(payment_hash_of(text)).amount_msat + more_msat)
            self.done["paid over Lightning"] += 1
            if not paid.held:
                self.paid.add(payment)

    def turn_lightning(self) -> None:
        """The server is away, holds what comes, rings nobody, or restarts and has forgotten what waited."""
        if self.chance.random() < 0.1:
            self.shop.control("ln_restart", says=self.chance.choice(["failed", "forgotten"]))
        else:
            self.shop.control("knobs", **self.chance.choice(LIGHTNING))

    def end_held(self) -> None:
        """What hangs at the node is received, or goes back."""
        lightning = self.shop.sandbox.world.lightning
        with self.shop.sandbox.world.lock:
            for held in [each for each in lightning.payments if each.held]:
                end = self.chance.choice([lightning.settle, lightning.settle, lightning.cancel])
                end(held.payment_hash)

    def mine(self) -> None:
        self.shop.control("mine", blocks=self.chance.randrange(1, 3))

    def pass_time(self) -> None:
        self.shop.advance(self.chance.choice([5, 31, 61, 300]))

    def break_something(self) -> None:
        mode, kind = self.chance.choice(FAULTS)
        self.shop.control("knobs", fault={"mode": mode, "kind": kind, "times": self.chance.randrange(1, 4)})

    def answer_badly(self) -> None:
        """The merchant's endpoint fails or loses some answers."""
        kinds: list[int | str] = [503, "lost", 500]
        bad = iter([self.chance.choice(kinds) for _ in range(self.chance.randrange(1, 6))])
        self.shop.receiver.fault = lambda _event: next(bad, None)

    def look_around(self) -> None:
        """A payer, a stranger and a probe come by, some with nonsense; and somebody lists the processes."""
        self.processes.look()
        stranger = {"Authorization": "Bearer nobody-knows-this-key-0123456789"}
        visits: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/v1/invoices", {"data": b"{", "headers": {"Idempotency-Key": "k"}}),
            ("POST", "/v1/invoices", {"data": b'{"amount":[]}', "headers": {"Idempotency-Key": "k"}}),
            ("GET", "/v1/events?after=-1", {}),
            ("GET", "/v1/events?after=0&limit=500", {}),
            ("GET", "/v1/invoices", {"headers": stranger}),
            ("POST", "/callbacks/subtc/AAAA", {"data": b"\xff"}),
            *(("GET", path, {}) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/pay/AAAA")),
        ]
        for method, path, options in visits:
            self.shop.api(method, path, **options)
        if self.opened:
            page = self.chance.choice(list(self.opened.values()))["payment_url"].partition("/pay/")[2]
            for rest in ("", "/status", "/receipt", "/receipt.json"):
                self.shop.api("GET", f"/pay/{page}{rest}")

    def kill(self) -> None:
        self._replace(lambda program: program.kill())

    def restart(self) -> None:
        self._replace(lambda program: program.stop())

    def _replace(self, end: Callable[[Any], Any]) -> None:
        program = self.chance.choice(self.shop.programs)
        self.shop.programs.remove(program)
        end(program)
        if program.name == "web":
            self.shop.start_web()
        else:
            self.shop.start_worker()
        self.shop.advance(61)

    def settle_down(self) -> None:
        """No more faults; everything that was paid is confirmed, and everything that is owed is done."""
        self.shop.control("knobs", clear_faults=True, outage=None, ln_outage=None, ln_hold=False, ln_rings=2)
        self.end_held()
        self.shop.receiver.fault = lambda _event: None
        self.shop.control("mine", blocks=6)
        # No offer of Lightning is awaited any more: reconciliation would take what is not booked for a payment of one.
        self.shop.advance(1_801)
        # Old addresses are read rarely, so the more of them there are the longer it takes until all was seen.
        deadline = time.monotonic() + QUIET_SECONDS + len(self.opened) // 10
        while time.monotonic() < deadline:
            open_ends = self._open_ends()
            if not any(open_ends.values()) and not self._unexplained():
                return
            self.say("settling down", open_ends)
            # What the node held until now may be of an offer that is over: it is read again when its invoice is.
            self.shop.advance(601 if time.monotonic() < deadline - QUIET_SECONDS // 2 else 7_201)
            time.sleep(1)

    def _open_ends(self) -> dict[str, int]:
        return {what: self.shop.count(query) for what, query in OPEN_ENDS.items()} | {
            "satoshi unseen": self._unseen_sat()
        }

    def _unseen_sat(self) -> int:
        """What came and is not booked yet: an address that nobody is in a hurry about is read rarely."""
        accounts = "'wallet:hot', 'inflight:unconfirmed', 'wallet:lightning'"
        booked = f"SELECT COALESCE(SUM(units), 0) FROM entries WHERE account IN ({accounts})"
        world = self.shop.sandbox.world
        with world.lock:
            wallets = [w for account in world.gateway.accounts.values() for w in account.wallets.values()]
            came_sat = sum(sum(world.gateway.balance(wallet)) for wallet in wallets) + came_over_lightning_sat(world)
        return came_sat - self.shop.count(booked)

    def _unexplained(self) -> list[str]:
        """Payments whose money came in full and that are neither settled nor held with a reason that a person is told."""
        undecided = "SELECT billing_payment_id FROM invoices WHERE status <> 'settled' AND hold IS NULL"
        return [
            f"{payment}: {invoice['status']} {invoice['exception']} {invoice['hold']}"
            for payment in sorted(self.paid.intersection(self.shop.values(undecided)))
            if (invoice := self.shop.invoice(payment)) is not None
            and invoice["status"] != "settled"
            and invoice["hold"] is None
            and not invoice["remaining_sat"]
        ]

    def verdict(self) -> list[str]:
        told = self.shop.receiver.paid()
        settled = set(self.shop.values("SELECT billing_payment_id FROM invoices WHERE settled_at IS NOT NULL"))
        wrong = [f"unexplained {each}" for each in self._unexplained()]
        wrong += [f"set paid {count} times: {payment}" for payment, count in told.items() if count != 1]
        wrong += [f"settled but not told: {payment}" for payment in sorted(settled - set(told))]
        wrong += [f"told but not settled: {payment}" for payment in sorted(set(told) - settled)]
        self.shop.until_quiet()
        self.shop.kill_all()
        self.say("comparing the books, the facts, the gateway and the audit")
        wrong += faults_in(self.shop.config(), self.shop.sandbox.world)
        self.say("searching for secrets")
        wrong += self._leaks()
        self.say("exporting the books for bean-check")
        return wrong + self._refused_books()

    def _leaks(self) -> list[str]:
        bridge = build(load_settings(self.shop.config()))
        with contextlib.closing(bridge.store):
            tokens = {bridge.callback_token(each["id"]): each["id"] for each in self.opened.values()}
            secrets = {"the gateway's key": KEY, "the module's key": API_KEY, "the notify secret": SECRET}
            secrets |= {
                "the invoice key": LNBITS[1],
                "the admin key": LNBITS[2],
                "the daemon's password": electrum.PASSWORD,
            }
            secrets |= {"token_secret": "t" * 32} | {f"the callback token of {i}": t for t, i in tokens.items()}
            return leaks(
                secrets,
                store=bridge.store,
                logs=self.shop.directory,
                answers=self.answers,
                processes=self.processes,
            )

    def _refused_books(self) -> list[str]:
        """The books of the whole run, as the command exports them, go through bean-check."""
        books = self.shop.directory / "books.beancount"
        period = ("--from", "2000-01-01", "--to", "2100-01-01")
        exported = self.shop.command("export", *period, "--format", "beancount", "--output", str(books))
        if exported.exit_code:
            return [f"the books are not exported: {exported.tail()}"]
        checker = [sys.executable, "-W", "ignore", "-m", "beancount.scripts.check", str(books)]
        checked = subprocess.run(checker, capture_output=True, text=True, check=False)
        read = len(re.findall(r"^\d{4}-\d\d-\d\d \*", books.read_text(), re.MULTILINE))
        click.echo(f"bean-check read {read} transactions, {self.answers.count} answers were searched for secrets")
        return [f"bean-check: {line}" for line in (checked.stdout + checked.stderr).splitlines()[:20]]


def run(shop: Shop, *, seed: int, seconds: float, halfway: Callable[[], None] = lambda: None) -> tuple[Soak, list[str]]:
    """Lives for so many seconds and returns the run with everything that is wrong at its end; `halfway` happens in the middle."""
    soak = Soak(shop=shop, chance=random.Random(seed))
    for _ in range(2):
        shop.start_worker()
    shop.start_web()
    for happens in (halfway, None):
        ends_at = time.monotonic() + seconds / 2
        while time.monotonic() < ends_at:
            soak.step()
            soak.say("living", {"opened": len(soak.opened), "paid": len(soak.paid), "killed": soak.done["kill"]})
            time.sleep(0.02)
        if happens is not None:
            happens()
    soak.settle_down()
    return soak, soak.verdict()


def _database(
    stack: contextlib.ExitStack, directory: Path, engine: str, *, failover: bool
) -> tuple[str, Callable[[], None]]:
    """The address of an empty migrated database, and its disaster: a standby takes over, or SQLite's log is removed."""
    if engine == "sqlite":
        migrate(url := f"sqlite:///{directory / 'bridge.db'}")
        return url, (directory / "bridge.db-wal").unlink
    if failover:
        pair = stack.enter_context(open_pair("soak"))
        primary, url, take_over = pair.primary, pair.url, pair.fail_over
    else:
        primary = start_cluster()
        stack.callback(primary.stop)
        primary.create_database("soak")
        url, take_over = primary.url("soak"), lambda: None
    migrate(primary.url("soak"))
    if failover:
        pair.wait_for_commits()
    if engine != "pooled":
        return url, take_over
    pooler = stack.enter_context(open_pooler(primary.url("soak"), sessions=10))

    def lead_over() -> None:
        take_over()
        pooler.lead_to(pair.standby.url("soak"))

    return pooler.url, lead_over


def _fail_over(shop: Shop, take_over: Callable[[], None]) -> None:
    """The programs go on by themselves; whoever looks on waits until the database answers again."""
    take_over()
    began = time.monotonic()
    while time.monotonic() - began < FAILOVER_SECONDS:
        with contextlib.suppress(BridgeError, requests.RequestException):
            shop.count("SELECT count(*) FROM generation")
            checks = {each["name"]: each["ok"] for each in shop.api("GET", "/readyz").json()["checks"]}
            if checks.get("database"):
                click.echo(f"{time.monotonic() - began:7.1f} s  until the bridge was ready again")
                return
        time.sleep(0.1)
    raise click.ClickException("the bridge did not come back")


@click.command()
@click.option("--minutes", default=2.0, show_default=True)
@click.option(
    "--engine", type=click.Choice(["sqlite", "postgresql", "pooled"]), default="postgresql", show_default=True
)
@click.option(
    "--failover",
    is_flag=True,
    help="In the middle the primary dies and a synchronous standby takes over; SQLite loses its log.",
)
@click.option("--seed", type=int, help="The seed of an earlier run; the order of processes stays the machine's.")
def main(minutes: float, engine: str, failover: bool, seed: int | None) -> None:
    """Soak the bridge and say whether every promise held."""
    seed = secrets.randbelow(10**9) if seed is None else seed
    click.echo(f"seed {seed}, {minutes:g} minutes, {engine}{', failover' if failover else ''}")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        url, take_over = _database(stack, directory, engine, failover=failover)
        zygote = stack.enter_context(open_zygote())
        shop = stack.enter_context(
            open_shop(zygote, directory, url, settings=SETTINGS | {"state_directory": str(directory)}, beside=BESIDE)
        )
        # A node behind a real server takes nothing late; what comes late all the same is a matter of the scenarios.
        shop.control("knobs", ln_late="refuse", ln_channels=2)
        halfway = partial(_fail_over, shop, take_over)
        soak, wrong = run(shop, seed=seed, seconds=60 * minutes, halfway=halfway if failover else lambda: None)
        rows = dict(
            Counter(shop.values("SELECT status || '/' || exception || COALESCE('/' || hold, '') FROM invoices"))
        )
    click.echo(f"happened {dict(soak.done)}")
    click.echo(f"invoices {rows}; set paid {len(shop.receiver.paid())}")
    for each in wrong:
        click.echo(f"WRONG    {each}")
    click.echo("every promise held" if not wrong else f"{len(wrong)} promises broken; seed {seed}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
