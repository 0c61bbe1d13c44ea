"""One key, one answer; one billing payment, one invoice; however often and in parallel it is asked for."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier, Event

import pytest

from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.core.rail import Offer, Wanted
from bridge.invoices.targets import fill_spare_addresses
from bridge.store import idempotency
from bridge.store.idempotency import Scope
from bridge.store.together import Together
from tests.builders import with_rail
from tests.flows.world import World, until


def test_the_same_key_and_body_replay_the_first_answer_to_the_byte(world: World) -> None:
    first = world.ask()
    invoice = json.loads(first.body)
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "settled"
    again = world.ask()
    assert (again.status, again.body, again.is_replay) == (201, first.body, True)
    assert world.calls("inbox_create") == 1


def test_a_key_used_with_another_body_is_refused_and_changes_nothing(world: World) -> None:
    first = world.open()
    with pytest.raises(Refused) as refused:
        world.ask(amount_text="11.00")
    assert (refused.value.code, refused.value.field) == ("idempotency_mismatch", "Idempotency-Key")
    assert world.invoice(first) == first


def test_the_same_key_of_another_merchant_is_another_key(world: World) -> None:
    invoices = [world.open(key="shared", merchant=merchant) for merchant in ("shop", "other", "puller")]
    assert len({invoice["id"] for invoice in invoices}) == 3
    assert len({invoice["address"] for invoice in invoices}) == 3


def test_the_same_key_of_another_operation_is_another_key(world: World) -> None:
    world.ask(key="shared")
    scope = Scope(merchant="shop", operation="refund", key="shared")
    assert _begin(world, scope, body_sha256="x") is None


def test_another_key_for_the_same_billing_payment_finds_the_same_invoice(world: World) -> None:
    first = world.open()
    again = world.ask(key="second-key")
    assert (again.status, again.is_replay) == (200, False)
    assert json.loads(again.body) == first
    assert world.ask(key="second-key").is_replay
    assert world.calls("inbox_create") == 1


def test_while_the_first_request_runs_its_key_waits_and_later_it_is_taken_over(world: World) -> None:
    scope = Scope(merchant="shop", operation="open_invoice", key="key-7")

    def begin() -> object:
        return _begin(world, scope, body_sha256="f" * 64)

    assert begin() is None
    with pytest.raises(Conflict) as running:
        begin()
    assert (running.value.code, running.value.retry_after_seconds) == ("idempotency_in_progress", 1)
    world.advance(31)
    assert begin() is None
    with pytest.raises(Conflict):
        begin()


def test_a_key_that_comes_free_between_claim_and_look_is_said_to_run_still(world: World) -> None:
    scope = Scope(merchant="shop", operation="open_invoice", key="key-7")
    asked = {"body_sha256": "f" * 64, "now": world.bridge.clock(), "lease_seconds": 30}
    with world.bridge.store.write() as tx, pytest.raises(Conflict, match="still runs"):
        idempotency.begun_before(tx, scope, **asked)


def test_an_opening_whose_process_died_is_taken_over_after_its_lease(world: World) -> None:
    """A process killed after its first transaction leaves its key and its claim running."""
    with world.bridge.store.write() as tx:
        now, whose, together = world.bridge.clock(), {"merchant": "shop", "billing_payment_id": "7"}, Together()
        scope = Scope(merchant="shop", operation="open_invoice", key="key-of-the-dead")
        key = idempotency.begin(together, scope, body_sha256="x", now=now, lease_seconds=30)
        opening = idempotency.take_opening(together, owner="dead", now=now, lease_seconds=30, **whose)
        together.run(tx)
    assert (key.value, opening.value) == ("key-of-the-dead", "dead")
    world.advance(31)
    assert world.open()["status"] == "new"
    assert world.rows("SELECT * FROM openings") == []


def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    with pytest.raises(Refused):
        world.ask(amount_text="0.01")
    assert world.ask().status == 201


def test_what_an_answer_stood_for_is_kept_with_its_key(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    (row,) = world.rows("SELECT invoice_id, quote_version, address, settlement_status FROM idempotency")
    assert tuple(row) == (invoice["id"], 1, invoice["address"], "settled")


def _begin(world: World, scope: Scope, *, body_sha256: str) -> object:
    asked, together = {"body_sha256": body_sha256, "now": world.bridge.clock(), "lease_seconds": 30}, Together()
    with world.bridge.store.write() as tx:
        key = idempotency.begin(together, scope, **asked)
        together.run(tx)
        return None if key.value is not None else idempotency.begun_before(tx, scope, **asked)


def _at_once(count: int, ask) -> list[object]:
    """The outcomes of `count` calls that start together: answers, or error codes."""
    barrier = Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return ask(number)
        except BridgeError as error:
            return error.code

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_twelve_parallel_creates_of_one_payment_make_one_invoice_and_one_address(world: World) -> None:
    world.control("knobs", latency_s=0.1)
    outcomes = _at_once(12, lambda number: world.ask(key=f"key-{number}"))
    found = {json.loads(outcome.body)["id"] for outcome in outcomes}
    assert len(found) == 1
    assert Counter(outcome.status for outcome in outcomes) == {201: 1, 200: 11}
    assert world.calls("inbox_create") == 1
    ((addresses,),) = world.rows("SELECT count(DISTINCT address) FROM invoices")
    assert addresses == 1
    assert [event["type"] for event in world.feed()] == ["invoice.created"]


def test_twelve_parallel_creates_with_one_key_make_one_invoice_and_the_rest_are_told_to_wait(world: World) -> None:
    world.control("knobs", latency_s=0.1)
    outcomes = _at_once(12, lambda _: world.ask(key="the-key"))
    made = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} <= {"idempotency_in_progress"}
    assert len({outcome.body for outcome in made}) == 1
    assert [outcome.is_replay for outcome in made].count(False) == 1
    assert world.calls("inbox_create") == 1
    assert world.ask(key="the-key").is_replay


def test_parallel_creates_over_a_gateway_that_fails_for_some_still_make_one_invoice(world: World) -> None:
    world.fault("inbox_create", "error_500_after", times=3)
    outcomes = _at_once(6, lambda number: world.ask(key=f"key-{number}"))
    assert outcomes.count("provider_unavailable") == 3
    found = {json.loads(outcome.body)["id"] for outcome in outcomes if not isinstance(outcome, str)}
    assert len(found) == 1


def test_a_request_that_was_slower_than_its_claim_gets_the_invoice_of_who_took_over(world: World) -> None:
    world.control("knobs", latency_s=0.5)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(world.ask, key="slow")
        until(lambda: world.rows("SELECT * FROM openings"))
        world.advance(31)
        fast = world.ask(key="fast")
        assert json.loads(slow.result().body)["id"] == json.loads(fast.body)["id"]
    assert len(world.rows("SELECT * FROM invoices")) == 1
    assert world.rows("SELECT * FROM openings") == []


@pytest.mark.parametrize("keys", [("first", "second", "third"), ("first", "second", "first")])
def test_who_asks_the_wallet_gets_the_invoice_that_was_opened_without_a_claim(worlds, keys: tuple[str, ...]) -> None:
    world = worlds(subtc={"spare_addresses": 1})
    asks, opened = world.bridge.receiving.asks, []

    def slow(wanted: Wanted) -> Offer:
        # Meanwhile the worker lays an address by, and the client opens the payment in a second window.
        assert fill_spare_addresses(world.bridge, owner="w1") == 1
        opened.append(world.ask(key=keys[1]))
        return asks(wanted)

    first = _asking(world, slow).ask(key=keys[0])
    again = world.ask(key=keys[2])
    assert [each.status for each in (opened[0], first, again)] == [201, 200, 200]
    assert again.is_replay == (keys[2] == keys[0])
    assert len({json.loads(each.body)["id"] for each in (opened[0], first, again)}) == 1
    assert world.rows("SELECT * FROM openings") == []
    assert {row.state for row in world.rows("SELECT state FROM idempotency")} == {"done"}


def test_a_slow_request_that_fails_does_not_free_the_key_of_who_took_over(world: World) -> None:
    asks, is_taken_over = world.bridge.receiving.asks, Event()

    def gives_up(_: Wanted) -> Offer:
        assert is_taken_over.wait(10)
        raise Unavailable("provider_unavailable", "too slow")

    def goes_on(wanted: Wanted) -> Offer:
        is_taken_over.set()
        with pytest.raises(Unavailable):
            slow.result(10)
        return asks(wanted)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_asking(world, gives_up).ask)
        until(lambda: world.rows("SELECT * FROM openings"))
        world.advance(31)
        taken_over = _asking(world, goes_on).ask()
    again = world.ask()
    assert (again.status, again.is_replay, again.body) == (201, True, taken_over.body)
    assert world.rows("SELECT * FROM openings") == []


def _asking(world: World, asks: Callable[[Wanted], Offer]) -> World:
    return replace(world, bridge=with_rail(world.bridge, asks=asks))


def test_twelve_different_payments_opened_at_once_get_twelve_addresses(world: World) -> None:
    outcomes = _at_once(12, lambda number: world.ask(f"p{number}"))
    assert len({json.loads(outcome.body)["address"] for outcome in outcomes}) == 12


def test_opening_and_looking_at_once_lose_nothing(world: World) -> None:
    """A client reloads the payment page while the worker writes what it saw: one of the two writes is told to look again."""
    invoice = world.open()
    world.pay(invoice, confirmations=1)

    def either(number: int) -> object:
        if number % 2:
            return world.ask(key=f"reload-{number}")
        with suppress(Conflict):
            world.look(invoice)
        return None

    _at_once(8, either)
    assert world.seen(invoice) == ("settled", "none", None)
    world.deliver()
    assert world.billing.types().count("invoice.settled") == 1
