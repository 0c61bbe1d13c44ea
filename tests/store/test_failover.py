"""A standby takes over from its PostgreSQL primary: killed, frozen, without what it had not received, and the former one comes back."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.books.reconcile import list_reconciliations, reconcile_due, show_reconciliation, take_billing_report
from bridge.core.errors import BridgeError, Unavailable
from bridge.store import generation, leases
from bridge.store.db import migrate, open_store
from bridge.upkeep.watch import after_failover, keep_generation
from tests.flows.world import World, open_world, until
from tests.postgres import Pair, open_pair

GAP = 1_000_000


@pytest.fixture
def pair() -> Iterator[Pair]:
    with open_pair("bridge") as opened:
        migrate(opened.primary.url("bridge"))
        yield opened


@contextmanager
def shop(pair: Pair, state: Path) -> Iterator[World]:
    """A bridge over both servers whose worker has been at work."""
    with open_world(pair.url, state_directory=str(state), database_wait_seconds=2, retention_days={}) as world:
        keep_generation(world.bridge)
        yield world


def settle(world: World, number: str) -> dict[str, Any]:
    """An order paid and told to the billing system, pushed and pulled."""
    invoice = world.open(number)
    world.pay(invoice)
    world.mine(6)
    assert world.seen(invoice)[0] == "settled"
    world.deliver()
    return invoice


def told(world: World) -> list[str]:
    return [
        event["invoice"]["billing_payment_id"] for _, event in world.billing.told if event["type"] == "invoice.settled"
    ]


def standing(world: World) -> tuple[int, str]:
    """The generation that the bridge works with, and its mode."""
    with world.bridge.store.read() as tx:
        return generation.find(tx).number, leases.mode_of(tx)


def asked(world: World) -> tuple[int, str] | None:
    try:
        return standing(world)
    except Unavailable:
        return None


def code_at(url: str, state: Path) -> str:
    """What a program is told that starts on this machine now."""
    with closing(open_store(url, state_directory=state, limit_seconds=2)) as store:
        try:
            store.check_writable()
        except Unavailable as trouble:
            return trouble.code
    return ""


def test_a_killed_primary_whose_commits_waited_for_the_standby_costs_nothing(pair: Pair, tmp_path: Path) -> None:
    pair.wait_for_commits()
    with shop(pair, tmp_path) as world:
        first = settle(world, "1")
        keep_generation(world.bridge)
        pair.fail_over()
        assert until(lambda: asked(world), seconds=30) == (2, "normal")
        settle(world, "2")
        assert world.invoice(first)["status"] == "settled"
        assert told(world) == ["1", "2"]
        assert [event["position"] for event in world.feed()] == list(range(1, len(world.feed()) + 1))
        [row] = world.rows("SELECT detail FROM audit WHERE action = 'failed_over'")
        assert json.loads(row.detail)["is_lossy"] is False


def test_a_frozen_primary_is_left_and_refused_when_it_goes_on(pair: Pair, tmp_path: Path) -> None:
    pair.wait_for_commits()
    with shop(pair, tmp_path) as world, ExitStack() as stack:
        settle(world, "1")
        keep_generation(world.bridge)
        for process in pair.primary.processes():
            stack.callback(os.kill, process, signal.SIGCONT)
            os.kill(process, signal.SIGSTOP)
        pair.standby.promote()
        assert until(lambda: asked(world), seconds=60) == (2, "normal")
        stack.close()
        assert code_at(pair.primary.url("bridge"), tmp_path) == "database_fenced"
        # Named first and taking writes again, it is passed over.
        world.bridge.store.engine.dispose()
        assert standing(world) == (2, "normal")
        settle(world, "2")
        assert told(world) == ["1", "2"]


def test_what_a_standby_had_not_received_is_noticed_and_nothing_is_given_out_twice(pair: Pair, tmp_path: Path) -> None:
    with shop(pair, tmp_path) as world:
        kept = settle(world, "1")
        world.feed()
        pair.catch_up()
        pair.standby.kill()
        forgotten = settle(world, "2")
        seen = world.feed()[-1]["position"]
        keep_generation(world.bridge)
        pair.primary.kill()
        pair.standby.start()
        pair.standby.promote()

        assert until(lambda: asked(world), seconds=30) == (2, "read_only")
        assert world.invoice(kept)["status"] == "settled"
        with pytest.raises(BridgeError) as refused:
            world.open("3")
        assert refused.value.code == "mode_read_only"
        assert [event["position"] > seen + GAP / 2 for event in world.feed(after=seen)] == [True]

        # The billing system remembers what the bridge forgot; a worker compares, whatever the mode.
        rows = [
            {"billing_payment_id": each["billing_payment_id"], "status": 4, "amount_text": "10.00", "currency": "USD"}
            | {"external_id": each["id"], "address": each["address"]}
            for each in (kept, forgotten)
        ]
        report = {"report_id": "r1", "covers_from": world.bridge.clock(), "payments": rows, "is_last": True}
        take_billing_report(world.bridge, "shop", **report)
        assert keep_generation(world.bridge) == 1
        until(
            lambda: (
                reconcile_due(world.bridge, owner="w1") == 0
                and list_reconciliations(world.bridge, limit=1)[0]["finished_at"]
            )
        )
        found = show_reconciliation(world.bridge, list_reconciliations(world.bridge, limit=1)[0]["id"])["findings"]
        told_of = {each["code"]: each["theirs"] for each in found}
        came = f"{forgotten['remaining_sat']} sat came to its address {forgotten['address']}"
        assert told_of["unknown_here"] == f"payment 2, status 4, {forgotten['id']}; {came}"
        assert told_of["wallet_differs"] == f"+{forgotten['remaining_sat']} sat"
        assert "recon_diff" in world.reviews()

        # A person has nothing to say twice.
        assert after_failover(world.bridge, this_one=False, actor="anna", reason="a test") == 2
        world.switch("normal")
        again = world.open("2")
        assert (again["id"], again["address"]) != (forgotten["id"], forgotten["address"])
        assert told(world) == ["1", "2"]

        pair.primary.start()
        assert code_at(pair.primary.url("bridge"), tmp_path) == "database_fenced"
        assert code_at(pair.url, tmp_path) == ""
        assert standing(world) == (2, "normal")
