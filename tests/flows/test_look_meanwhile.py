"""What somebody writes while a look waits for the worlds: the look takes it into account, and takes nothing away."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.context import Bridge
from bridge.invoices.observe import look
from bridge.invoices.poll import answer_doorbells, look_and_release, poll_due
from bridge.invoices.record import open_review
from bridge.store import invoices
from bridge.turns import give_back, take_calls
from tests.flows.world import World


def during_the_look(world: World, meanwhile: Callable[[], Any], *, at: str = "look.read") -> Bridge:
    """The bridge with something that happens once, after the first answers and before they are written."""
    left = [meanwhile]

    def crash_point(name: str) -> None:
        if name == at and left:
            left.pop()()

    return replace(world.bridge, crash_point=crash_point)


def test_two_looks_at_once_book_the_same_money_once(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    look(during_the_look(world, lambda: world.look(invoice)), invoice["id"])
    world.deliver()
    assert world.billing.types() == ["invoice.settled"]
    assert world.rows("SELECT count(*) FROM payments") == [(1,)]
    assert (world.balance("wallet:hot"), world.balance("quote_buffer")) == (15_539, -154)


def test_money_that_another_look_saw_first_is_counted_beside_ours(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 5_000, confirmations=1)

    def meanwhile() -> None:
        world.pay(invoice, 10_539, confirmations=1)
        world.look(invoice)

    look(during_the_look(world, meanwhile), invoice["id"])
    now = world.invoice(invoice)
    assert (now["status"], now["received_sat"]) == ("settled", 15_539)
    assert world.balance("wallet:hot") == 15_539


def test_a_price_that_was_given_meanwhile_is_the_one_that_counts(world: World) -> None:
    invoice = world.open()
    world.advance(1_000)
    again: list[dict[str, Any]] = []
    look(during_the_look(world, lambda: again.append(world.open(key="again"))), invoice["id"])
    assert world.invoice(invoice)["quote"]["version"] == again[0]["quote"]["version"]


def test_a_review_that_was_opened_meanwhile_holds_what_it_must_hold(world: World) -> None:
    """A review is no change of its invoice, so the look has to ask for it where nobody can open another one."""
    invoice = world.open()
    world.pay(invoice, confirmations=1)

    def meanwhile() -> None:
        with world.bridge.store.write() as tx:
            row = invoices.find(tx, id=invoice["id"])
            open_review(tx, world.bridge, row, kind="suspicious_address", now=world.bridge.clock())

    look(during_the_look(world, meanwhile), invoice["id"])
    assert world.invoice(invoice)["hold"] == "review"
    world.deliver()
    assert "invoice.settled" not in world.billing.types()


def test_a_doorbell_during_the_look_rings_on(world: World) -> None:
    invoice = world.open()

    def meanwhile() -> None:
        world.pay(invoice, confirmations=1)
        world.ring(invoice)

    look_and_release(during_the_look(world, meanwhile), invoice["id"], owner="w1")
    assert world.invoice(invoice)["status"] == "new"
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["status"] == "settled"


def lease_of(world: World) -> Any:
    return world.rows("SELECT lease_owner, lease_until IS NULL FROM invoices")[0]


def test_the_lease_ends_with_what_the_look_records(world: World) -> None:
    invoice, held = world.open(), []
    world.ring(invoice)
    bridge = during_the_look(world, lambda: held.append(lease_of(world)[0]))
    assert answer_doorbells(bridge, owner="w1", limit=1, submit=lambda work: work()) == 1
    assert held == ["w1"]
    assert lease_of(world)[0] is None
    assert lease_of(world)[1]


def test_a_look_that_took_longer_than_its_lease_leaves_the_next_ones(world: World) -> None:
    world.open()
    world.advance(31)

    def meanwhile() -> None:
        world.advance(61)
        assert poll_due(world.bridge, owner="w2", limit=1, submit=lambda work: None) == 1

    bridge = during_the_look(world, meanwhile)
    assert poll_due(bridge, owner="w1", limit=1, submit=lambda work: work()) == 1
    owner, is_free = lease_of(world)
    assert (owner, bool(is_free)) == ("w2", False)


@pytest.mark.parametrize("calls", [1, 2])
def test_those_that_rang_first_are_looked_at_first_where_calls_are_few(
    worlds: Callable[..., World], calls: int
) -> None:
    world = worlds(subtc={"calls_per_minute": 12})
    opened = [world.open(str(number)) for number in range(3)]
    world.advance(62)
    with world.bridge.store.write() as tx:
        assert take_calls(tx, world.bridge, now=world.bridge.clock(), wanted=100) > calls
        give_back(tx, calls=calls)
    for invoice in (opened[2], opened[0], opened[1]):
        world.ring(invoice)
    looked: list[Any] = []
    assert answer_doorbells(world.bridge, owner="w1", limit=8, submit=looked.append) == calls
    first = [opened[2]["id"], opened[0]["id"]][:calls]
    assert {row[0] for row in world.rows("SELECT id FROM invoices WHERE lease_owner = 'w1'")} == set(first)
