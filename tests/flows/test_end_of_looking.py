"""What is final and old is looked at no more; money that still comes to it is noticed within a day all the same."""

from typing import Any

import pytest

from bridge.core.schedule import DONE, OLD
from bridge.invoices.poll import RETRY_SECONDS
from tests.books.runs import codes, reconcile
from tests.flows.test_own_wallet import WITHOUT_GATEWAY
from tests.flows.world import World, open_world

DAY, MONTH = 86_400, 30 * 86_400
WATCHED = 8 * DAY


def looked_at(world: World, invoice: dict[str, Any]) -> int:
    return int(world.rows("SELECT look_class FROM invoices WHERE id = :id", id=invoice["id"])[0].look_class)


def settled(world: World, name: str = "7") -> dict[str, Any]:
    invoice = world.open(name)
    world.pay(invoice)
    world.mine(6)
    assert world.seen(invoice)[0] == "settled"
    return invoice


def looks_in(world: World, days: int) -> int:
    count = 0
    for _ in range(days):
        world.advance(DAY)
        count += world.poll()
    return count


def test_a_settled_invoice_is_looked_at_until_its_watch_is_over(world: World) -> None:
    invoice = settled(world)
    assert looks_in(world, 7) == 7
    assert looked_at(world, invoice) == OLD
    assert looks_in(world, 2) == 1
    assert looked_at(world, invoice) == DONE
    assert looks_in(world, 60) == 0


def test_what_nobody_paid_is_looked_at_a_month_longer(world: World) -> None:
    invoice = world.open()
    world.advance(WATCHED)
    assert looks_in(world, 29) == 29
    assert looked_at(world, invoice) == OLD
    assert looks_in(world, 3) <= 2
    assert looked_at(world, invoice) == DONE
    assert looks_in(world, 60) == 0


def test_what_is_not_as_deep_as_it_has_to_be_is_looked_at_on(database_url: str) -> None:
    with open_world(database_url, policy={"default": {"final_depth": 100_000}}) as world:
        invoice = settled(world)
        world.advance(WATCHED)
        assert looks_in(world, 3) == 3
        assert looked_at(world, invoice) == OLD


def test_money_that_waits_for_a_person_is_looked_at_on(world: World) -> None:
    invoice = world.open()
    world.advance(WATCHED)
    world.pay(invoice, confirmations=6)
    world.look(invoice)
    assert "late" in world.reviews()
    looks_in(world, 40)
    assert looked_at(world, invoice) != DONE


@pytest.mark.parametrize("paid_to", ["settled", "unpaid"])
def test_late_money_on_an_old_address_is_noticed_by_the_wallets_balance(world: World, paid_to: str) -> None:
    old = settled(world) if paid_to == "settled" else world.open()
    settled(world, "another")
    world.advance(WATCHED + MONTH)
    looks_in(world, 2)
    assert looked_at(world, old) == DONE
    assert reconcile(world.bridge)["is_clean"]
    world.pay(old, 7_000, confirmations=6)
    assert looks_in(world, 1) == 0
    found = reconcile(world.bridge)
    assert codes(found) == ["wallet_differs"] and "recon_diff" in world.reviews()
    assert world.poll() >= 1
    before = 15_539 if paid_to == "settled" else 0
    assert world.invoice(old)["received_sat"] == before + 7_000
    assert {"settled": "over", "unpaid": "late"}[paid_to] in world.reviews()
    assert codes(reconcile(world.bridge)) == []


def test_a_doorbell_is_answered_however_old_the_invoice_is(world: World) -> None:
    invoice = settled(world)
    world.advance(WATCHED)
    world.poll()
    assert looked_at(world, invoice) == DONE
    world.pay(invoice, 7_000, confirmations=6)
    world.ring(invoice)
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["received_sat"] == 15_539 + 7_000


def test_only_so_many_are_looked_at_again_in_one_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.books.reconcile.LOOKED_AT_AGAIN", 2)
    many = [settled(world, str(number)) for number in range(4)]
    world.advance(WATCHED)
    for each in many:
        world.advance(1)
        world.look(each)
    assert {looked_at(world, each) for each in many} == {DONE}
    world.pay(many[3], 7_000, confirmations=6)
    for _ in range(2):
        reconcile(world.bridge)
        assert world.poll() == 2
    assert world.invoice(many[3])["received_sat"] == 15_539 + 7_000


@pytest.mark.parametrize("changes", [WITHOUT_GATEWAY, {"reconciliation": {"every_hours": 0}}])
def test_where_nobody_would_notice_looking_goes_on(database_url: str, changes: dict[str, Any]) -> None:
    with open_world(database_url, **changes) as world:
        invoice = settled(world)
        world.advance(WATCHED)
        assert looks_in(world, 3) == 3
        assert looked_at(world, invoice) == OLD


def test_another_block_on_top_is_no_reading_that_is_kept(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    for _ in range(12):
        world.mine()
        world.look(invoice)
    kept = world.rows("SELECT body FROM observations ORDER BY id")
    # Seen, in a block, and as deep as the policy wants it; one confirmation settles this sum.
    assert len(kept) == 3
    assert world.rows("SELECT confirmations FROM payments") == [(12,)]


def test_a_doorbell_whose_look_failed_is_not_the_last_word(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = settled(world)
    world.advance(WATCHED)
    world.poll()
    assert looked_at(world, invoice) == DONE
    world.pay(invoice, 7_000, confirmations=6)
    world.ring(invoice)
    with monkeypatch.context() as broken:
        broken.setattr("bridge.invoices.poll.look", lambda *_, **__: 1 // 0)
        assert world.answer_doorbells() == 1
    world.advance(RETRY_SECONDS + 1)
    assert world.poll() == 1
    assert world.invoice(invoice)["received_sat"] == 15_539 + 7_000
