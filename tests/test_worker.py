"""The worker's loop: every job in its turn, none in another's way, and an end in good order."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from bridge.books import reconcile
from bridge.books.verify import verify_audit
from bridge.core.errors import Unavailable
from bridge.invoices.offer_beside import offer_beside
from bridge.store import generation
from bridge.turns import take_turn
from bridge.upkeep.watch import keep_generation
from bridge.worker import ROUNDS, Hands, Worker
from tests.flows.conftest import worlds  # noqa: F401  (a fixture)
from tests.flows.world import World, answer, until
from tests.rails.toy import ToyNode, toy_rail

Worlds = Callable[..., World]


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """The worker's loop in a thread, ended and waited for."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def world(worlds: Worlds) -> World:  # noqa: F811
    return worlds()


def test_a_payment_goes_from_the_chain_to_the_merchant_without_any_callback(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    with running(Worker(world.bridge)):
        world.advance(31)
        until(lambda: world.billing.types() == ["invoice.settled"])
        until(lambda: len(world.rows("SELECT * FROM event_positions")) == 2)
        unsealed = "SELECT id FROM audit WHERE id NOT IN (SELECT audit_id FROM audit_chain)"
        until(lambda: not world.rows(unsealed))
    assert verify_audit(world.bridge).is_intact


def test_a_doorbell_is_answered_at_once(world: World) -> None:
    invoice = world.open()
    with running(Worker(world.bridge)):
        world.pay(invoice, confirmations=1)
        world.ring(invoice)
        until(lambda: world.billing.types() == ["invoice.settled"], seconds=20)


def test_a_new_block_wakes_what_waits_for_it(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    with running(Worker(world.bridge)):
        world.advance(6)
        until(lambda: world.rows("SELECT * FROM leases WHERE name = 'follow_tip'"))
        world.mine()
        world.advance(6)
        until(lambda: world.invoice(invoice)["status"] == "settled")


def test_two_workers_share_the_work_and_tell_everything_once(world: World) -> None:
    opened = [world.open(str(number)) for number in range(8)]
    for invoice in opened:
        world.pay(invoice, confirmations=1)
    with running(Worker(world.bridge)), running(Worker(world.bridge)):
        world.advance(31)
        until(lambda: len(world.billing.told) >= 8)
        until(lambda: not world.rows("SELECT * FROM deliveries WHERE state = 'pending'"))
    told = [event["id"] for _, event in world.billing.told]
    assert len(told) == len(set(told)) == 8
    assert world.balance("wallet:hot") == 8 * 15_539


def test_a_worker_that_is_stopped_finishes_what_it_began_and_gives_its_leases_back(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: object):
        begun.set()
        assert go_on.wait(10)
        return answer()

    world.billing.answers["shop"] = slow
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    worker = Worker(world.bridge)
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(worker.run)
        assert begun.wait(10)
        worker.stop()
        time.sleep(0.05)
        assert not ending.done()
        go_on.set()
        ending.result(10)
    assert [row.state for row in world.rows("SELECT state FROM deliveries")] == ["delivered"]
    assert world.rows("SELECT * FROM leases WHERE owner = :owner", owner=worker.owner) == []
    assert world.rows("SELECT * FROM invoices WHERE lease_owner IS NOT NULL") == []


def test_a_dead_endpoint_does_not_hold_up_another_merchant(world: World) -> None:
    release = threading.Event()

    def dead(_: object):
        assert release.wait(20)
        return answer("retry", None)

    world.billing.answers["other"] = dead
    for number in range(12):
        invoice = world.open(f"o{number}", merchant="other")
        world.pay(invoice)
        world.look(invoice)
    with running(Worker(world.bridge, threads=8)):
        try:
            until(lambda: len(world.billing.types("other")) == 4)
            mine = world.open("mine")
            world.pay(mine, confirmations=1)
            world.ring(mine)
            until(lambda: world.billing.types("shop") == ["invoice.settled"], seconds=20)
            assert len(world.billing.types("other")) == 4
        finally:
            release.set()


def test_a_gateway_that_hangs_does_not_keep_events_from_merchants(worlds: Worlds) -> None:  # noqa: F811
    world = worlds(subtc={"timeout_seconds": 8})
    settled = world.open("1")
    world.pay(settled, confirmations=1)
    world.look(settled)
    world.open("2")
    world.control("knobs", outage="hang")
    told = [0.0]
    release = iter([answer("retry", 503, retry_after_seconds=1)])
    world.billing.answers["shop"] = lambda _: next(release, answer())
    with running(Worker(world.bridge)):
        until(lambda: len(world.billing.told) == 1)
        told[0] = time.monotonic()
        world.advance(10)
        until(lambda: len(world.billing.told) == 2, seconds=8)
        assert time.monotonic() - told[0] < 4
        world.heal()


def test_a_gateway_that_hangs_keeps_nobody_from_noticing_what_came_over_another_way(worlds: Worlds) -> None:  # noqa: F811
    world, node = worlds(subtc={"timeout_seconds": 8}), ToyNode()
    world.bridge = replace(world.bridge, rails=(*world.bridge.rails, toy_rail(node)))
    invoice = world.open("1")
    offer_beside(world.bridge, invoice["payment_url"].rpartition("/")[2], "lightning")
    world.control("knobs", outage="hang")
    with running(Worker(world.bridge)):
        world.advance(31)
        until(lambda: node.reads)
        # The errands wait for the gateway now.
        world.advance(7)
        time.sleep(1)
        read, began = node.reads, time.monotonic()
        world.advance(2)
        until(lambda: node.reads > read, seconds=6)
        assert time.monotonic() - began < 3
        world.heal()


def test_a_job_that_fails_leaves_the_others_running(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        """A chain reader with a defect."""

        def tip(self) -> int:
            raise RuntimeError("a defect")

    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    worker = Worker(replace(world.bridge, chain=Broken()))
    with running(worker):
        until(lambda: world.billing.types() == ["invoice.settled"])
        until(lambda: "job.failed" in caplog.text)


def test_what_passes_is_told_by_its_name_and_a_defect_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fails(trouble: Exception) -> None:
        raise trouble

    hands = Hands(2)
    for trouble in (Unavailable("database_unavailable", "It is away."), RuntimeError("a defect")):
        hands.submit(partial(fails, trouble))
        until(lambda: hands.free == 2)
    away, defect = caplog.records
    assert (away.__dict__["code"], bool(away.exc_info)) == ("database_unavailable", False)
    assert defect.exc_info


def test_a_gateway_that_hangs_while_books_are_owed_does_not_hold_up_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(bridge: object) -> tuple[dict[str, int], int]:
        asked.set()
        assert release.wait(30)
        return {}, 0

    monkeypatch.setattr(reconcile, "wallet_variances", hang)
    keep_generation(world.bridge)
    with world.bridge.store.write() as tx:
        tx.execute(update(generation.generation).values(recheck=generation.OWED))
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    with running(Worker(world.bridge)):
        assert asked.wait(10)
        world.advance(31)
        until(lambda: world.billing.types() == ["invoice.settled"])
        release.set()
        until(lambda: world.rows("SELECT * FROM generation WHERE recheck NOT IN ('', 'owed')"))


def test_hands_take_no_more_than_they_can_do_and_are_free_again_after_a_failure() -> None:
    hands, release = Hands(2), threading.Event()

    def fail() -> None:
        release.wait(10)
        raise RuntimeError("a defect")

    hands.submit(fail)
    hands.submit(lambda: None)
    until(lambda: hands.free == 1)
    release.set()
    until(lambda: hands.free == 2)
    hands.drain()


def test_a_turn_is_one_workers_per_pause(world: World) -> None:
    bridge, now = world.bridge, world.bridge.clock()
    assert take_turn(bridge, "a job", owner="one", now=now, every_seconds=60)
    assert not take_turn(bridge, "a job", owner="one", now=now + timedelta(seconds=59), every_seconds=60)
    assert not take_turn(bridge, "a job", owner="two", now=now + timedelta(seconds=59), every_seconds=60)
    assert take_turn(bridge, "another job", owner="two", now=now, every_seconds=60)
    assert take_turn(bridge, "a job", owner="two", now=now + timedelta(seconds=61), every_seconds=60)


def test_a_log_tells_every_job_of_the_worker_from_every_other() -> None:
    names = [name for each in ROUNDS for name in each.jobs]
    assert len(set(names)) == len(names)


def test_no_round_waits_for_the_hand_of_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), threading.Event()
    monkeypatch.setattr("bridge.worker.number_events", lambda *_, **__: int(not release.wait(10)))
    monkeypatch.setattr("bridge.worker.add_up", lambda *_, **__: int(bool(asked.set())))
    program = Worker(world.bridge)
    with ExitStack() as stack:
        stack.callback(release.set)
        program.step()
        assert asked.wait(5)
    program.stop()
    program.run()
