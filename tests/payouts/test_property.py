"""Thousands of small misfortunes: whatever goes wrong around refunds and sweeps, money leaves at most once.

Owns random histories of requests, approvals, faults, crashes, double clicks and two workers; must not copy a rule.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.desk.resolve_review import list_reviews, resolve
from bridge.payouts.decide_payout import list_payouts
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.sweep import propose_sweep
from bridge.payouts.treasury import read_balances
from sandbox.addresses import random_address
from tests.flows.world import open_world
from tests.parts import WHOLE
from tests.payouts.desk import COLD, FLOAT_SAT, Desk, staffed
from tests.payouts.desk import settings as settings_of
from tests.payouts.test_sending import Killed

FAULTS = (
    "lost_response",
    "error_500_before",
    "error_500_after",
    "send_failed_but_sent",
    "cut_before",
    "cut_midway",
    "truncated_json",
    "rate_limited",
    "no_result",
)
CRASHES = ("payout.intended", "payout.called", "payout.committing", "payout.committed")
RULINGS = ("payout_sent", "payout_failed", "payout_retry")
STEPS = st.one_of(
    st.tuples(st.just("refund"), st.integers(0, 1), st.sampled_from([50_000, 60_000, 90_000, 140_000])),
    st.tuples(st.just("approved"), st.integers(0, 1), st.sampled_from([50_000, 60_000])),
    st.tuples(st.just("mishap"), st.integers(0, 1), st.sampled_from(FAULTS + CRASHES)),
    st.tuples(st.just("mishap"), st.integers(0, 1), st.sampled_from(FAULTS + CRASHES)),
    st.tuples(st.just("refund_all"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("approve"), st.integers(0, 3), st.sampled_from(["ann", "bob", "ann", "fay"])),
    st.tuples(st.just("reject"), st.integers(0, 3), st.just("bob")),
    st.tuples(st.just("sweep"), st.just(0), st.just(0)),
    st.tuples(st.just("fault"), st.just(0), st.sampled_from(FAULTS)),
    st.tuples(st.just("crash"), st.just(0), st.sampled_from(CRASHES)),
    st.tuples(st.just("work"), st.integers(1, 2), st.sampled_from([60, 3_700])),
    st.tuples(st.just("work"), st.just(2), st.just(3_700)),
    st.tuples(st.just("rule"), st.just(0), st.sampled_from(RULINGS)),
    st.tuples(st.just("confirm"), st.just(0), st.sampled_from([1, 6])),
)


@dataclass
class History:
    """One life of a desk: two settled invoices, and whatever happens to their money."""

    desk: Desk
    invoices: list[dict[str, Any]]
    addresses: Iterator[str]
    keys: Any = field(default_factory=lambda: itertools.count(1))

    def take(self, step: tuple[str, Any, Any]) -> None:
        """One step; being refused is an answer like any other."""
        name, first, second = step
        with suppress(BridgeError):
            getattr(self, f"do_{name}")(first, second)
        self.check()

    def do_refund(self, nth: int, net_sat: int) -> None:
        self.desk.ask(self.invoices[nth], "custom", net_sat=net_sat, destination=next(self.addresses))

    def do_approved(self, nth: int, net_sat: int) -> None:
        self.desk.approved(self.invoices[nth], "custom", net_sat=net_sat, destination=next(self.addresses))

    def do_mishap(self, nth: int, kind: str) -> None:
        """A refund that is approved and meets a fault or a crash when it is sent."""
        with suppress(BridgeError):
            self.do_approved(nth, 50_000)
        self.desk.world.advance(3_700)
        if kind in CRASHES:
            self.do_crash(0, kind)
            return
        self.do_fault(0, kind)
        self.do_work(2, 60)

    def do_refund_all(self, nth: int, double_click: bool) -> None:
        key, address = f"form-{next(self.keys)}", next(self.addresses)

        def click(_: int) -> None:
            with suppress(BridgeError):
                self.desk.ask(self.invoices[nth], key=key, destination=address)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(click, range(2 if double_click else 1)))

    def do_approve(self, nth: int, actor: str) -> None:
        for payout in self.payouts()[nth : nth + 1]:
            self.desk.approve(payout, actor)

    def do_reject(self, nth: int, actor: str) -> None:
        for payout in self.payouts()[nth : nth + 1]:
            self.desk.reject(payout, actor)

    def do_sweep(self, _: int, __: int) -> None:
        propose_sweep(self.desk.world.bridge, actor="fay", reason="full", key=f"sweep-{next(self.keys)}")

    def do_fault(self, _: int, kind: str) -> None:
        self.desk.world.fault("wallet_send", kind, times=1)

    def do_crash(self, _: int, point: str) -> None:
        def crash(name: str) -> None:
            if name == point:
                raise Killed

        with suppress(Killed):
            send_payouts(replace(self.desk.world.bridge, crash_point=crash), owner="w9")

    def do_work(self, workers: int, seconds: int) -> None:
        self.desk.world.advance(seconds)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda n: send_payouts(self.desk.world.bridge, owner=f"w{n}"), range(workers)))

    def do_rule(self, _: int, decision: str) -> None:
        """A person rules on the open question, in a hurry; for payout_sent they look the transaction up."""
        for item in self.questions():
            (payout,) = [p for p in self.payouts() if p["review_id"] == item["id"]]
            txid = next((txid for txid, address in self.outputs() if address == payout["destination"]), "")
            resolve(self.desk.world.bridge, item["id"], decision=decision, actor="fay", reason="seen", txid=txid)

    def do_confirm(self, _: int, blocks: int) -> None:
        self.desk.confirm(blocks)

    def payouts(self) -> list[dict[str, Any]]:
        return list(list_payouts(self.desk.world.bridge, match={}, limit=200)["payouts"])

    def questions(self) -> list[dict[str, Any]]:
        match = {"state": "open", "kind": "outcome_unknown"}
        return list_reviews(self.desk.world.bridge, match=match, limit=50)

    def outputs(self) -> list[tuple[str, str]]:
        """(txid, address) of everything on the sandbox's chain and in its mempool."""
        transactions = self.desk.world.sandbox.world.chain.transactions
        return [(txid, output.address) for txid, made in transactions.items() for output in made.outputs]

    def check(self) -> None:
        payouts = self.payouts()
        paid = [address for _, address in self.outputs()]
        for payout in payouts:
            times = paid.count(payout["destination"]) if payout["kind"] == "refund" else 0
            assert times <= 1, payout
            assert times == 0 or payout["state"] in ("submitting", "unknown", "sent", "confirmed"), payout
            assert payout["state"] not in ("sent", "confirmed") or payout["kind"] != "refund" or times == 1, payout
        assert paid.count(COLD) <= sum(p["kind"] == "sweep" and p["state"] not in ("requested",) for p in payouts)
        unknown = {p["review_id"] for p in payouts if p["state"] == "unknown"}
        assert unknown == {item["id"] for item in self.questions()}
        for invoice in self.invoices:
            live = [p for p in payouts if p["invoice_id"] == invoice["id"] and p["state"] not in ("rejected", "failed")]
            assert sum(p["net_sat"] for p in live) <= invoice["received_sat"]
        uncertain = sum(p["gross_sat"] for p in payouts if p["state"] in ("submitting", "unknown"))
        gap_sat = self.desk.books().get("wallet:hot", 0) - self.desk.gateway_sat()
        assert gap_sat in (0, uncertain), (gap_sat, uncertain)

    def finish(self) -> None:
        """The gateway is well again and people clear up: everything ends, and the books are the wallet to the satoshi."""
        self.desk.world.heal()
        for _ in range(12):
            for decision in ("payout_retry",):
                with suppress(BridgeError):
                    self.do_rule(0, decision)
            self.do_work(2, 3_700)
            self.desk.confirm()
            self.check()
        payouts = self.payouts()
        waiting = [p for p in payouts if p["state"] in ("submitting", "unknown", "sent")]
        assert waiting == []
        books = self.desk.books()
        assert books.get("wallet:hot", 0) == self.desk.gateway_sat()
        assert books.get("inflight:sweep", 0) == 0
        gone = sum((p["sent_sat"] or 0) + (p["paid_fee_sat"] or 0) for p in payouts)
        assert books.get("wallet:hot", 0) + gone == FLOAT_SAT + sum(i["received_sat"] for i in self.invoices)


@contextmanager
def history(url: str, seed: int) -> Iterator[History]:
    with open_world(url, **settings_of(treasury={"sweep_above_sat": 1})) as world:
        desk = staffed(world)
        invoices = [desk.settled(number) for number in ("7", "8")]
        read_balances(world.bridge, owner="w1")
        rng = random.Random(seed)
        yield History(desk=desk, invoices=invoices, addresses=iter(lambda: random_address("test", rng), ""))


@pytest.fixture
def fresh_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[int], str]:
    """Makes the URL of a migrated database for one more example."""
    if engine_name == "sqlite":
        template = request.getfixturevalue("sqlite_template")

        def copied(number: int) -> str:
            path = tmp_path / f"{number}.db"
            path.write_bytes(template.read_bytes())
            return f"sqlite:///{path}"

        return copied
    cluster, template = request.getfixturevalue("postgresql_cluster"), request.getfixturevalue("postgresql_template")

    def created(number: int) -> str:
        cluster.create_database(f"payouts_{number}", template=template)
        return str(cluster.url(f"payouts_{number}"))

    return created


@pytest.mark.parametrize(
    ("engine_name", "examples"), [("sqlite", 20), ("postgresql", 6)] if WHOLE else [("sqlite", 10), ("postgresql", 3)]
)
def test_money_leaves_at_most_once_whatever_goes_wrong(fresh_url: Callable[[int], str], examples: int) -> None:
    numbers = itertools.count(1)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        # A life takes a second: making a failed one shorter would take an hour, and its steps are printed anyway.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps=st.lists(STEPS, min_size=8, max_size=22), seed=st.integers(0, 2**32))
    def lives(steps: list[tuple[str, Any, Any]], seed: int) -> None:
        with history(fresh_url(next(numbers)), seed) as life:
            for step in steps:
                life.take(step)
            life.finish()

    lives()


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_on_a_sweep_ends_in_books_that_match(fresh_url: Callable[[int], str], fault: str) -> None:
    with history(fresh_url(1), seed=1) as life:
        life.take(("sweep", 0, 0))
        life.take(("approve", 0, "ann"))
        life.take(("fault", 0, fault))
        for ruling in RULINGS:
            life.take(("work", 2, 3_700))
            life.take(("rule", 0, ruling))
        life.finish()
