"""What our readings do not show, over the real flow: servers that forget, lag, differ, or are away at a deadline."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.books.reconcile import show_reconciliation, start_reconciliation, step
from bridge.chain.esplora import EsploraReader
from bridge.core.errors import Unavailable
from bridge.core.evidence import ChainReading, KnownOutput, Tip
from bridge.desk.explain import explain
from bridge.invoices.chain import follow_tip
from tests.flows.world import World
from tests.payouts.desk import settings, staffed

DAY = 86_400
PATIENCE = 601


def told(world: World) -> list[str]:
    world.deliver()
    return world.billing.types()


def closed_at(world: World) -> Any:
    ((at,),) = world.rows("SELECT closed_at FROM invoices")
    return at


def gap(world: World) -> str | None:
    ((code,),) = world.rows("SELECT gap FROM invoices")
    return None if code is None else str(code)


@pytest.mark.parametrize("depth", [1, 9])
def test_a_server_that_indexes_anew_takes_nothing_back(world: World, depth: int) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=depth)
    assert world.seen(invoice) == ("settled", "none", None)
    heard = told(world)
    world.fault("esplora", "blind")
    for _ in range(3):
        assert world.seen(invoice) == ("settled", "none", None)
        world.advance(PATIENCE)
    assert world.reviews() == ["evidence_missing"]
    assert world.invoice(invoice)["confirmed_sat"] == invoice["remaining_sat"]
    world.heal()
    assert world.seen(invoice) == ("settled", "none", None)
    assert (world.reviews(), gap(world), told(world)) == ([], None, heard)


def test_a_server_that_is_behind_while_the_payer_pays_in_time_expires_nothing(world: World) -> None:
    world.bridge = replace(world.bridge, oldest_tip=timedelta(hours=2))
    world.mine(20)
    invoice = world.open()
    world.look(invoice)
    world.fault("esplora", "lag", blocks=20)
    world.fault("esplora", "blind")
    world.pay(invoice, confirmations=1)
    for seconds in (60, DAY, 60, 7 * DAY, 3_600):
        world.advance(seconds)
        assert world.seen(invoice) == ("new", "none", None)
    assert (told(world), closed_at(world)) == ([], None)
    assert world.reviews() == ["evidence_missing"]
    world.heal()
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert (world.reviews(), told(world)) == ([], ["invoice.settled"])
    story = " ".join(explain(world.bridge, invoice["id"], lang="en"))
    assert "answered itself: our readings are complete again." in story and "wallet was read" not in story


def test_a_server_that_stands_still_over_the_end_of_the_watch_cancels_nothing(world: World) -> None:
    """Its newest block is minutes old, as a healthy one's may be, and the gateway does not answer."""
    world.bridge = replace(world.bridge, oldest_tip=timedelta(hours=2))
    invoice = world.open()
    for seconds in (DAY, 7 * DAY - 600):
        world.advance(seconds)
        world.mine()
        world.look(invoice)
    world.fault("esplora", "lag", blocks=1, waiting=False)
    world.fault("wallet_poll", "error_500_before")
    world.pay(invoice, confirmations=1)
    world.advance(660)
    assert world.seen(invoice) == ("expired", "none", None)
    assert (closed_at(world), gap(world), told(world)) == (None, None, ["invoice.expired"])
    world.advance(301)
    assert world.poll() == 1
    world.heal()
    assert world.seen(invoice)[:2] == ("expired", "paid_late")
    assert "invoice.cancelled" not in told(world)


@pytest.fixture
def another_server(world: World) -> Iterator[EsploraReader]:
    """The same chain by another name."""
    url = world.sandbox.url.replace("127.0.0.1", "localhost")
    with closing(EsploraReader(base_urls=[f"{url}/esplora"])) as reader:
        yield reader


@pytest.mark.parametrize("depth", [0, 1, 9])
def test_two_servers_that_differ_in_turn_say_one_thing(world: World, another_server: EsploraReader, depth: int) -> None:
    first = world.bridge
    invoice = world.open()
    world.pay(invoice, confirmations=depth)
    stands = world.seen(invoice)
    heard = told(world)
    for _ in range(8):
        world.bridge = replace(first, chain=another_server)
        world.fault("esplora", "blind")
        assert world.seen(invoice) == stands
        world.bridge = first
        world.heal()
        assert world.seen(invoice) == stands
        world.advance(100)
    assert (told(world), gap(world)) == (heard, "payment_not_shown")
    assert world.reviews() == ["evidence_missing"]
    world.advance(PATIENCE)
    world.look(invoice)
    assert (world.reviews(), gap(world), told(world)) == ([], None, heard)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_raised_fee_counts_once_though_the_server_that_showed_the_first_is_gone(
    world: World, another_server: EsploraReader, is_ours: bool
) -> None:
    invoice, other = world.open(), world.open("2")
    txid = world.pay(invoice, replaceable=True)
    assert world.seen(invoice)[0] == "processing"
    world.bridge = replace(world.bridge, chain=another_server)
    world.control("replace", txid=txid, **({} if is_ours else {"address": other["address"]}))
    for blocks in (0, 0, 1):
        if blocks:
            world.mine(blocks)
        world.look(invoice)
        assert world.invoice(invoice)["received_sat"] == (invoice["remaining_sat"] if is_ours else 0)
        assert world.rows("SELECT gap FROM invoices WHERE gap IS NOT NULL") == []
    assert world.invoice(invoice)["status"] == ("settled" if is_ours else "new")
    assert world.reviews() == ([] if is_ours else ["replaced"])


def test_a_waiting_payment_that_its_server_forgets_is_a_question_and_after_a_day_gone(world: World) -> None:
    invoice = world.open()
    txid = world.pay(invoice)
    assert world.seen(invoice)[0] == "processing"
    world.control("drop", txid=txid)
    for _ in range(3):
        assert world.seen(invoice) == ("processing", "none", None)
        world.advance(PATIENCE)
    assert (told(world), world.reviews()) == (["invoice.processing"], ["evidence_missing"])
    world.advance(DAY)
    assert world.seen(invoice) == ("expired", "none", None)
    assert world.invoice(invoice)["reason"] == "replaced"
    assert told(world) == ["invoice.processing", "invoice.expired"]
    assert world.reviews() == ["replaced"]


def test_what_was_taken_unconfirmed_is_not_reversed_by_a_mempool_that_forgets(worlds: Callable[..., World]) -> None:
    world = worlds(policy={"default": {"zero_conf_max_sat": 20_000}})
    invoice = world.open()
    txid = world.pay(invoice)
    assert world.seen(invoice)[0] == "settled"
    world.fault("esplora", "lacks", tx=txid)
    for _ in range(3):
        assert world.seen(invoice) == ("settled", "none", None)
        world.advance(PATIENCE)
    world.heal()
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert (told(world), world.reviews()) == (["invoice.settled"], [])


def test_money_of_the_last_second_is_priced_then_settled_by_the_late_rule(worlds: Callable[..., World]) -> None:
    world = worlds(policy={"default": {"late": "accept", "late_auto_seconds": 7 * DAY}})
    invoice = world.open()
    world.advance(8 * DAY - 2)
    world.pay(invoice, confirmations=1)  # a second later
    world.advance(60)
    assert world.seen(invoice) == ("settled", "paid_late", None)
    assert "invoice.cancelled" not in told(world)
    assert [kind for (kind,) in world.rows("SELECT kind FROM quotes ORDER BY version")] == ["offer", "late"]


@pytest.mark.parametrize("seconds", [60, 3_600])
def test_an_older_answer_does_not_take_late_money_out_of_the_price_that_it_was_settled_at(
    worlds: Callable[..., World], seconds: int
) -> None:
    """It was asked before and came after the settlement, or the clock was behind that asked it."""
    world = worlds(policy={"default": {"late": "accept", "late_auto_seconds": 7 * DAY}})
    invoice = world.open()
    world.advance(2 * DAY)
    world.pay(invoice, confirmations=1)
    right = world.bridge.clock
    assert world.seen(invoice) == ("settled", "paid_late", None)
    world.bridge = replace(world.bridge, clock=lambda: right() - timedelta(seconds=seconds))
    for _ in range(2):
        assert world.seen(invoice) == ("settled", "paid_late", None)
    assert "reorged" not in world.reviews()


def test_money_of_the_last_second_waits_for_a_price(worlds: Callable[..., World]) -> None:
    world = worlds(policy={"default": {"late": "accept", "late_auto_seconds": 7 * DAY}})
    invoice = world.open()
    world.advance(8 * DAY - 2)
    world.pay(invoice, confirmations=1)
    world.fault("price:*", "down")
    world.advance(60)
    for _ in range(3):
        assert world.seen(invoice) == ("expired", "paid_late", None)
        assert world.invoice(invoice)["reason"] == "late_checking"
        assert closed_at(world) is None
        world.advance(301)
        assert world.poll() == 1
    world.heal()
    assert world.seen(invoice) == ("settled", "paid_late", None)
    assert told(world) == ["invoice.expired", "invoice.settled"]


def test_money_that_came_in_time_is_not_told_expired_while_no_price_can_be_had(world: World) -> None:
    invoice = world.open()
    world.advance(3_600)
    world.pay(invoice, confirmations=1)
    world.fault("price:*", "down")
    world.advance(DAY)
    for _ in range(2):
        assert world.seen(invoice) == ("new", "paid_partial", None)
        world.advance(301)
    world.heal()
    assert world.seen(invoice)[0] == "settled"
    assert [event for event in told(world) if event != "invoice.updated"] == ["invoice.settled"]


def test_a_reader_that_is_away_over_a_deadline_lets_nothing_expire_or_close(world: World) -> None:
    invoice = world.open()
    world.look(invoice)
    world.fault("esplora", "down")
    world.advance(DAY)
    assert world.seen(invoice) == ("new", "none", None)
    assert world.invoice(invoice)["reason"] == "evidence_missing"
    world.advance(301)
    assert world.poll() == 1
    world.heal()
    assert world.seen(invoice) == ("expired", "none", None)
    world.fault("esplora", "down")
    world.advance(7 * DAY)
    for _ in range(3):
        assert world.seen(invoice) == ("expired", "none", None)
        world.advance(301)
    assert (closed_at(world), told(world), world.reviews()) == (None, ["invoice.expired"], ["evidence_missing"])
    world.heal()
    world.look(invoice)
    assert closed_at(world) is not None
    assert (told(world), world.reviews()) == (["invoice.expired", "invoice.cancelled"], [])


@dataclass(kw_only=True)
class AsRewards:
    """The real reader, but what it shows is told to be a miner's reward."""

    reader: EsploraReader

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        seen = self.reader.read(address, born_at=born_at, asked_at=asked_at, known=known)
        return replace(seen, outputs=tuple(replace(output, coinbase=True) for output in seen.outputs))

    def tip(self) -> Tip:
        return self.reader.tip()


def test_a_miners_reward_settles_when_it_can_be_spent(world: World) -> None:
    assert isinstance(world.bridge.chain, EsploraReader)
    world.bridge = replace(world.bridge, chain=AsRewards(reader=world.bridge.chain))
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    for blocks in (0, 9, 89):
        world.mine(blocks) if blocks else None
        world.advance(PATIENCE)
        assert world.seen(invoice) == ("processing", "none", None)
    [depths] = world.rows("SELECT confirmations_seen, confirmations_needed FROM invoices")
    assert tuple(depths) == (99, 100)
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert (told(world), world.reviews()) == (["invoice.processing", "invoice.settled"], [])


def test_nobody_rules_that_nothing_was_sent_while_the_reader_has_not_searched(worlds: Callable[..., World]) -> None:
    desk = staffed(worlds(**settings()))
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "error_500_before", times=1)
    desk.send()
    follow_tip(desk.world.bridge, owner="w1")
    desk.world.fault("esplora", "lag", blocks=2)
    with pytest.raises(Unavailable) as unsearched:
        desk.rule("payout_failed")
    assert (unsearched.value.code, desk.now(payout)["state"]) == ("evidence_missing", "unknown")
    desk.world.heal()
    desk.rule("payout_failed")
    assert desk.now(payout)["state"] == "failed"


def test_a_reconciliation_finds_nothing_missing_where_nothing_was_searched(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=9)
    world.look(invoice)
    world.fault("esplora", "lag", blocks=20)
    world.fault("esplora", "blind")
    run_id = start_reconciliation(world.bridge, actor="anna", reason="month end")
    while not step(world.bridge, run_id, limit=200).is_over:
        pass
    report = show_reconciliation(world.bridge, run_id)
    assert [finding for finding in report["findings"] if finding["code"].startswith("output_")] == []
    assert report["unread"] >= 1
