"""Two ways to pay one invoice: over either, both, partly over each, and with one of them silent, forgetful, late or holding.

Owns what money means that came over a rail beside the first; the rail is a toy, the gateway and the chain are the sandbox's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.core.rail import Target, Wanted
from bridge.invoices.observe import look
from bridge.invoices.pay import pay_view
from bridge.invoices.targets import offered
from bridge.invoices.unread import missing_wallets
from bridge.store import invoices, targets
from bridge.store.db import Duplicate
from tests.books.runs import reconcile
from tests.flows.world import World
from tests.rails.toy import SHORT, ToyNode, toy_rail

DUE_SAT = 15_539


@dataclass(kw_only=True)
class Shop:
    """A world with an open invoice that can be paid to an address and over the toy."""

    world: World
    node: ToyNode
    invoice: dict[str, Any]
    target: Target

    def pay_chain(self, sat: int = DUE_SAT, *, blocks: int = 1) -> None:
        self.world.pay(self.invoice, sat)
        self.world.mine(blocks)

    def pay_toy(self, msat: int | None = None) -> None:
        self.world.advance(1)
        self.node.pay(self.target.text, msat=msat, at=self.world.bridge.clock())

    def seen(self) -> tuple[str, str, str | None]:
        return self.world.seen(self.invoice)

    def row(self) -> Any:
        with self.world.bridge.store.read() as tx:
            return invoices.find(tx, id=self.invoice["id"])

    def held(self) -> dict[str, int]:
        """What lies where by the books."""
        accounts = ("wallet:hot", "wallet:lightning", "customer:overpayment", "customer:unallocated")
        return {each: self.world.balance(each) for each in accounts if self.world.balance(each)}


@pytest.fixture
def shop(worlds: Callable[..., World]) -> Shop:
    return open_shop(worlds())


def open_shop(world: World) -> Shop:
    node = ToyNode()
    world.bridge = replace(world.bridge, rails=(*world.bridge.rails, toy_rail(node)))
    invoice = world.open()
    return Shop(world=world, node=node, invoice=invoice, target=offer(world, node, invoice, "first"))


def offer(world: World, node: ToyNode, invoice: dict[str, Any], reference: str, sat: int = DUE_SAT) -> Target:
    """What the toy makes for the invoice, stored beside its first target."""
    now = world.bridge.clock()
    made = node.asks(Wanted(due_units=sat, reference=reference, expires_at=now + SHORT))
    with world.bridge.store.write() as tx:
        targets.add(
            tx, invoice["id"], offered(world.bridge.rail_of("ln_toy") or toy_rail(node), made, due_units=sat, now=now)
        )
        return targets.of_invoice(tx, invoice["id"])[-1]


def test_it_is_paid_over_the_second_way_at_once(shop: Shop) -> None:
    shop.pay_toy()
    assert shop.seen() == ("settled", "none", None)
    assert shop.held() == {"wallet:lightning": DUE_SAT}
    assert shop.world.deliver() and shop.world.billing.types() == ["invoice.settled"]
    with shop.world.bridge.store.read() as tx:
        (payment,) = invoices.payment_rows(tx, shop.invoice["id"])
    assert (payment.target_id, payment.amount_msat, payment.key) == (
        shop.target.id,
        DUE_SAT * 1000,
        f"{shop.target.key}:0",
    )
    assert reconcile(shop.world.bridge)["findings_count"] == 0


def test_it_is_paid_over_the_first_way_as_ever(shop: Shop) -> None:
    shop.pay_chain()
    assert shop.seen() == ("settled", "none", None)
    assert shop.held() == {"wallet:hot": DUE_SAT}
    assert reconcile(shop.world.bridge)["findings_count"] == 0


def test_its_finality_is_no_depth_that_anybody_is_shown(shop: Shop) -> None:
    shop.pay_toy()
    shop.seen()
    view = pay_view(shop.world.bridge, shop.row().public_id)
    assert view.confirmations_seen == view.confirmations_needed
    assert shop.row().confirmations_seen == shop.row().confirmations_needed


@pytest.mark.parametrize("is_toy_first", [True, False], ids=["toy first", "chain first"])
def test_paid_over_both_the_second_is_an_overpayment_with_its_question(shop: Shop, is_toy_first: bool) -> None:
    first, second = (shop.pay_toy, shop.pay_chain) if is_toy_first else (shop.pay_chain, shop.pay_toy)
    first()
    assert shop.seen() == ("settled", "none", None)
    second()
    assert shop.seen() == ("settled", "paid_over", None)
    assert shop.held() == {
        "wallet:hot": DUE_SAT,
        "wallet:lightning": DUE_SAT,
        "customer:overpayment": -DUE_SAT,
    }
    assert shop.world.reviews() == ["over"]
    assert reconcile(shop.world.bridge)["findings_count"] == 0


def test_a_part_over_each_way_is_the_whole(shop: Shop) -> None:
    shop.pay_toy(msat=9_000_500)
    assert shop.seen() == ("new", "paid_partial", None)
    assert shop.held() == {"wallet:lightning": 9_000, "customer:unallocated": -9_000}
    shop.pay_chain(DUE_SAT - 9_000)
    assert shop.seen() == ("settled", "none", None)
    assert shop.held() == {"wallet:hot": DUE_SAT - 9_000, "wallet:lightning": 9_000}
    assert reconcile(shop.world.bridge)["findings_count"] == 0


def test_the_gateways_sum_is_compared_with_what_came_to_its_own_address(shop: Shop) -> None:
    """It knows nothing of the other way, so nothing disagrees."""
    shop.pay_toy(msat=9_000_000)
    shop.seen()
    shop.world.advance(3_000)
    shop.seen()
    shop.world.advance(3_000)
    assert shop.world.invoice(shop.invoice)["hold"] is None
    assert shop.row().disagrees_since is None
    assert shop.row().provider_sat == 0


def test_a_silent_second_way_never_costs_the_money_of_the_first(shop: Shop) -> None:
    shop.node.is_silent = True
    shop.pay_chain()
    assert shop.seen() == ("settled", "none", None)


def test_a_silent_first_way_never_costs_the_money_of_the_second(shop: Shop) -> None:
    shop.world.control("knobs", outage="503")
    shop.world.fault("esplora", "down")
    shop.pay_toy()
    shop.seen()
    assert (shop.row().received_sat, shop.row().gap) == (DUE_SAT, "chain_unavailable")
    shop.world.heal()
    assert shop.seen() == ("settled", "none", None)
    assert shop.row().gap is None


def test_that_nothing_came_needs_both_to_have_been_asked(shop: Shop) -> None:
    shop.node.is_silent = True
    shop.world.advance(timedelta(days=30).total_seconds())
    assert shop.seen()[0] == "new"
    assert (shop.row().gap, shop.row().reason) == ("rail_unavailable", "evidence_missing")
    shop.node.is_silent = False
    assert shop.seen()[0] == "expired"
    assert (shop.row().gap, shop.row().closed_at is not None) == (None, True)


def test_what_the_second_way_forgot_is_missing_evidence_and_never_nothing(shop: Shop) -> None:
    del shop.node.made[shop.target.text]
    shop.world.advance(timedelta(days=30).total_seconds())
    assert shop.seen()[0] == "new"
    assert shop.row().gap == "rail_forgot"
    shop.world.advance(timedelta(days=1).total_seconds())
    shop.seen()
    assert shop.world.reviews() == ["evidence_missing"]


def test_money_that_was_seen_is_not_undone_by_what_the_second_way_forgets(shop: Shop) -> None:
    shop.pay_toy(msat=9_000_000)
    shop.seen()
    del shop.node.made[shop.target.text]
    for _ in range(3):
        shop.world.advance(timedelta(days=2).total_seconds())
        shop.seen()
    assert shop.row().received_sat == 9_000
    assert shop.held()["wallet:lightning"] == 9_000


def test_what_is_only_held_is_not_money(shop: Shop) -> None:
    shop.node.made[shop.target.text].state = "held"
    assert shop.seen() == ("new", "none", None)
    assert shop.row().received_sat == 0
    shop.pay_toy()
    assert shop.seen() == ("settled", "none", None)


def test_paid_after_everything_was_over_it_is_late_money(shop: Shop) -> None:
    shop.world.advance(timedelta(days=3).total_seconds())
    assert shop.seen()[0] == "expired"
    shop.pay_toy()
    assert shop.seen()[:2] == ("expired", "paid_late")
    assert shop.row().received_sat == DUE_SAT


def test_paid_in_time_and_seen_late_it_is_valued_when_it_was_paid(shop: Shop) -> None:
    """The rail says when: an hour of its silence makes nobody late."""
    shop.pay_toy()
    shop.node.is_silent = True
    shop.world.advance(3_600)
    shop.seen()
    shop.node.is_silent = False
    assert shop.seen() == ("settled", "none", None)


def test_what_is_over_by_its_own_word_costs_no_routine_call_until_the_end(shop: Shop) -> None:
    def routine() -> int:
        before = shop.node.reads
        look(shop.world.bridge, shop.invoice["id"], is_routine=True)
        return shop.node.reads - before

    assert routine() == 1
    shop.world.advance(SHORT.total_seconds() + 1)
    assert [routine(), routine()] == [1, 0]
    row = shop.row()
    for deadline in (row.expires_at, row.monitor_until):
        shop.world.advance((deadline - shop.world.bridge.clock()).total_seconds() + 1)
        assert [routine(), routine()] == [1, 0]
    # Somebody who rings, or a person, has it asked all the same.
    shop.seen()
    assert routine() == 0


def test_a_wallet_whose_balance_stands_still_does_not_let_the_other_way_wait(shop: Shop) -> None:
    with shop.world.bridge.store.write() as tx:
        now = shop.world.bridge.clock()
        shop_row = shop.row()
        resting = invoices.rest_quiet(
            tx,
            wallet_id=shop_row.wallet_id,
            since=shop_row.created_at,
            now=now + timedelta(seconds=60),
            pauses={1: timedelta(seconds=30), 3: timedelta(seconds=300)},
            limit=10,
        )
    assert resting == 0


def test_a_renewed_offer_is_one_more_target_and_the_old_one_is_still_watched(shop: Shop) -> None:
    newer = offer(shop.world, shop.node, shop.invoice, "second")
    assert newer.text != shop.target.text
    shop.pay_toy()
    assert shop.seen() == ("settled", "none", None)
    shop.node.pay(newer.text, at=shop.world.bridge.clock())
    assert shop.seen() == ("settled", "paid_over", None)
    assert shop.held()["wallet:lightning"] == 2 * DUE_SAT


def test_what_the_rail_knows_an_offer_by_belongs_to_one_invoice_for_ever(shop: Shop) -> None:
    other = shop.world.open("8")
    made = shop.node.asks(Wanted(due_units=1_000, reference="first", expires_at=None))
    again = replace(made, text="another text")
    rail = shop.world.bridge.rail_of("ln_toy")
    assert rail is not None
    with pytest.raises(Duplicate), shop.world.bridge.store.write() as tx:
        targets.add(tx, other["id"], offered(rail, again, due_units=1_000, now=shop.world.bridge.clock()))


def test_every_look_again_posts_nothing_new(shop: Shop) -> None:
    shop.pay_toy()
    shop.seen()
    before = shop.world.rows("SELECT count(*) FROM journals")
    for _ in range(3):
        shop.world.advance(60)
        shop.seen()
    assert shop.world.rows("SELECT count(*) FROM journals") == before


@pytest.mark.parametrize("msat", [1_000, 99_000_000], ids=["less", "more"])
def test_a_rail_that_later_names_another_sum_changes_nothing_and_a_person_hears_of_it(shop: Shop, msat: int) -> None:
    shop.pay_toy(msat=9_000_000)
    shop.seen()
    shop.node.made[shop.target.text].paid_msat = msat
    shop.seen()
    assert (shop.row().received_sat, shop.row().gap) == (9_000, "payment_not_shown")
    assert shop.held()["wallet:lightning"] == 9_000
    shop.world.advance(3_600)
    shop.seen()
    assert "evidence_missing" in shop.world.reviews()


def test_a_way_that_an_operator_has_paused_is_not_asked_and_nothing_is_said_of_it(shop: Shop) -> None:
    shop.pay_toy()
    shop.world.switch("paused", scope="wallet:ln_toy")
    reads = shop.node.reads
    shop.seen()
    assert (shop.node.reads, shop.row().received_sat, shop.row().gap) == (reads, 0, "rail_unavailable")
    shop.world.switch("normal", scope="wallet:ln_toy")
    assert shop.seen() == ("settled", "none", None)


def test_a_way_that_the_settings_name_no_more_is_missed_and_its_silence_closes_nothing(shop: Shop) -> None:
    without = tuple(rail for rail in shop.world.bridge.rails if rail.wallet_id != "ln_toy")
    shop.world.bridge = replace(shop.world.bridge, rails=without)
    with shop.world.bridge.store.read() as tx:
        assert any("ln_toy" in sentence for sentence in missing_wallets(tx, shop.world.bridge))
    shop.world.advance(timedelta(days=30).total_seconds())
    assert (shop.seen()[0], shop.row().gap) == ("new", "rail_unavailable")
    assert "wallet_unread" in shop.world.reviews()


def test_a_way_that_is_only_followed_any_more_is_read_to_its_end(shop: Shop) -> None:
    rails = (*shop.world.bridge.rails[:-1], toy_rail(shop.node, asks=None, is_beside=False))
    shop.world.bridge = replace(shop.world.bridge, rails=rails)
    assert [*shop.world.bridge.former] == ["ln_toy"]
    with shop.world.bridge.store.read() as tx:
        assert invoices.watched_until(tx, "ln_toy") == shop.row().monitor_until
    shop.pay_toy()
    assert shop.seen() == ("settled", "none", None)


def test_what_was_offered_and_paid_while_a_look_was_on_its_way_keeps_its_own_account(
    worlds: Callable[..., World],
) -> None:
    """Two looks at once: the slower one asked before the second way was there, and writes after its money came."""
    world, node = worlds(), ToyNode()
    world.bridge = replace(world.bridge, rails=(*world.bridge.rails, toy_rail(node)))
    invoice = world.open()
    asked: list[Target] = []

    def meanwhile(name: str) -> None:
        if name == "look.read" and not asked:
            asked.append(offer(world, node, invoice, "late"))
            node.pay(asked[0].text, msat=9_000_000, at=world.bridge.clock())
            world.control("knobs", outage="503")
            world.fault("esplora", "down")
            look(world.bridge, invoice["id"])
            world.heal()

    look(replace(world.bridge, crash_point=meanwhile), invoice["id"])
    assert world.invoice(invoice)["received_sat"] == 9_000
    assert (world.balance("wallet:lightning"), world.balance("wallet:hot")) == (9_000, 0)
    assert world.rows("SELECT count(*) FROM journals WHERE kind LIKE 'capture%'") == [(1,)]
    assert world.rows("SELECT gap FROM invoices") == [(None,)]
    assert world.seen(invoice)[2] is None
