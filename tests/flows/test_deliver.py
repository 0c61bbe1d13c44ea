"""Telling merchants: in order, until they agree, without one of them standing in the way of another."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from bridge.billmanager import Notifier
from bridge.core.errors import Refused
from bridge.core.schedule import DELAYS_SECONDS
from bridge.desk.explain import explain
from bridge.invoices.deliver import Courier, choose, deliver_due, list_deliveries, redeliver, show_delivery
from bridge.invoices.observe import look
from bridge.runtime import MerchantNotifier
from tests.flows.test_look_meanwhile import during_the_look
from tests.flows.world import World, answer


def settle(world: World, billing_payment_id: str = "7", **request: object) -> dict:
    """An invoice with two events to tell: processing, settled."""
    invoice = world.open(billing_payment_id, **request)
    world.pay(invoice)
    world.look(invoice)
    world.mine()
    world.look(invoice)
    return invoice


def states(world: World, **match: str) -> list[str]:
    return [row["state"] for row in reversed(list_deliveries(world.bridge, match=match, limit=100))]


def always(outcome: str, status: int | None, **more: int):
    return lambda _: answer(outcome, status, **more)


def test_the_events_of_an_invoice_arrive_in_order_and_once(world: World) -> None:
    settle(world)
    assert world.deliver() == 2
    assert world.billing.types() == ["invoice.processing", "invoice.settled"]
    assert world.deliver() == 0
    assert states(world) == ["delivered", "delivered"]


def test_money_for_a_merchant_that_no_setting_names_any_more_is_seen_and_asks_a_person(world: World) -> None:
    invoice, known = world.open(), world.bridge
    nobody = {name: merchant for name, merchant in known.merchants.items() if name != "shop"}
    world.bridge = replace(known, merchants=nobody, billing=MerchantNotifier((), Notifier()))
    world.pay(invoice)
    world.mine()
    recorded = world.look(invoice)
    assert recorded is not None and recorded.invoice.status == "settled"
    assert world.deliver() == 1
    assert (states(world), world.reviews()) == (["parked"], ["delivery_dead"])
    assert any("settled" in line for line in explain(world.bridge, invoice["id"], lang="en"))
    # A mistake is put right by naming it again.
    world.bridge = known
    (parked,) = choose(known, state=None, merchant="shop")
    redeliver(known, parked, actor="anna", reason="the merchant is back")
    assert (world.deliver(), world.billing.types()) == (1, ["invoice.settled"])


@dataclass
class ToyHands:
    """So many free hands, which do what they are given when the test says so."""

    free: int = 1
    given: list[Callable[[], None]] = field(default_factory=list)

    def submit(self, work: Callable[[], None]) -> None:
        self.given.append(work)

    def go(self) -> None:
        while self.given:
            self.given.pop(0)()


def seen_by(world: World, courier: Courier, number: str = "7") -> None:
    invoice = world.open(number)
    world.pay(invoice)
    look(world.bridge, invoice["id"], courier=courier)


def test_what_a_look_records_is_told_at_once_by_who_has_a_hand_free(world: World) -> None:
    hands = ToyHands()
    courier = Courier(owner="w1", hands=hands)
    seen_by(world, courier)
    assert world.deliver(owner="w2") == 0
    hands.go()
    assert (world.billing.types(), states(world)) == (["invoice.processing"], ["delivered"])
    hands.free = 0
    seen_by(world, courier, "8")
    assert (len(hands.given), world.deliver(owner="w2")) == (0, 1)


def test_who_dies_with_an_event_in_hand_leaves_it_to_the_others_once_the_lease_is_over(world: World) -> None:
    hands = ToyHands()
    seen_by(world, Courier(owner="w1", hands=hands))
    world.advance(61)
    assert world.deliver(owner="w2") == 1
    hands.go()
    assert (states(world), len(world.billing.told)) == (["delivered"], 2)
    assert show_delivery(world.bridge, list_deliveries(world.bridge, match={}, limit=1)[0]["id"])["attempts"] == 1


def test_who_has_an_event_in_hand_has_it_for_as_long_however_long_the_worlds_took_to_answer(world: World) -> None:
    hands, invoice = ToyHands(), world.open()
    world.pay(invoice)
    slow = during_the_look(world, lambda: world.advance(50))
    look(slow, invoice["id"], courier=Courier(owner="w1", hands=hands))
    world.advance(55)
    assert world.deliver(owner="w2") == 0
    hands.go()
    assert (states(world), len(world.billing.told)) == (["delivered"], 1)


def test_nothing_is_told_at_once_before_an_earlier_event_or_while_the_bridge_is_silent(world: World) -> None:
    hands = ToyHands()
    courier = Courier(owner="w1", hands=hands)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.mine()
    look(world.bridge, invoice["id"], courier=courier)
    assert hands.given == []
    world.deliver()
    assert world.billing.types() == ["invoice.processing", "invoice.settled"]
    world.switch("queued")
    seen_by(world, courier, "8")
    assert (hands.given, world.deliver()) == ([], 0)


def test_a_dead_endpoint_has_few_hands_of_a_courier(world: World) -> None:
    hands = ToyHands(free=9)
    courier = Courier(owner="w1", hands=hands)
    for number in range(6):
        seen_by(world, courier, str(number))
    assert len(hands.given) == 4
    hands.go()
    seen_by(world, courier, "7")
    assert len(hands.given) == 1


def test_what_a_dead_endpoint_was_claimed_for_counts_among_its_hands(world: World) -> None:
    hands = ToyHands(free=9)
    courier = Courier(owner="w1", hands=hands)
    for number in range(4):
        invoice = world.open(str(number))
        world.pay(invoice)
        world.look(invoice)
    assert deliver_due(world.bridge, owner="w1", limit=9, submit=hands.submit, courier=courier) == 4
    seen_by(world, courier, "7")
    assert len(hands.given) == 4
    hands.go()
    seen_by(world, courier, "8")
    assert len(hands.given) == 1


def test_an_event_waits_for_the_earlier_ones_of_its_invoice(world: World) -> None:
    world.billing.answers["shop"] = always("retry", 500)
    settle(world)
    world.deliver()
    assert world.billing.types() == ["invoice.processing"]
    world.billing.answers.clear()
    world.advance(7)
    world.deliver()
    assert world.billing.types() == ["invoice.processing", "invoice.processing", "invoice.settled"]


def test_a_parked_event_does_not_hold_the_later_ones_back(world: World) -> None:
    replies = iter([answer("parked", 422), answer()])
    world.billing.answers["shop"] = lambda _: next(replies)
    settle(world)
    world.deliver()
    assert states(world) == ["parked", "delivered"]


def test_the_same_event_keeps_its_id_over_all_tries(world: World) -> None:
    world.billing.answers["shop"] = always("retry", None)
    settle(world)
    for _ in range(4):
        world.deliver()
        world.advance(700)
    assert len({event["id"] for _, event in world.billing.told}) == 1
    assert len(world.billing.told) == 4


def test_the_schedule_is_kept_in_the_database_to_its_end_and_then_a_person_is_asked(world: World) -> None:
    world.billing.answers["shop"] = always("retry", 503)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    for delay in DELAYS_SECONDS:
        assert world.deliver() == 1
        world.advance(delay - 1)
        assert world.deliver() == 0
        world.advance(delay // 5 + 2)
    assert world.deliver() == 1
    assert states(world) == ["parked"]
    assert world.reviews() == ["delivery_dead"]
    (row,) = list_deliveries(world.bridge, match={}, limit=1)
    assert row["attempts"] == len(DELAYS_SECONDS) + 1
    assert world.invoice(invoice)["hold"] is None


@pytest.mark.parametrize("status", [401, 409, 410, 422])
def test_a_final_no_parks_at_once_with_an_item_for_a_person(world: World, status: int) -> None:
    world.billing.answers["shop"] = always("parked", status)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.deliver()
    assert states(world) == ["parked"]
    assert world.reviews() == ["delivery_dead"]
    world.advance(100_000)
    assert world.deliver() == 0


def test_retry_after_is_honoured(world: World) -> None:
    world.billing.answers["shop"] = always("retry", 503, retry_after_seconds=400)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    assert world.deliver() == 1
    world.advance(390)
    assert world.deliver() == 0
    world.advance(11)
    assert world.deliver() == 1


def test_every_try_is_logged_with_what_was_answered(world: World) -> None:
    replies = iter([answer("retry", None), answer("retry", 503), answer()])
    world.billing.answers["shop"] = lambda _: next(replies)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    for _ in range(3):
        world.deliver()
        world.advance(60)
    (row,) = list_deliveries(world.bridge, match={"invoice_id": invoice["id"]}, limit=9)
    tries = show_delivery(world.bridge, row["id"])["attempts_log"]
    assert [(each["outcome"], each["status"]) for each in tries] == [
        ("retry", None),
        ("retry", 503),
        ("delivered", 200),
    ]
    assert tries[0]["answer_excerpt"] == "the receiver's words"
    assert len(tries[0]["body_sha256"]) == 64
    assert tries[0]["latency_ms"] == 3


def test_a_dead_endpoint_of_one_merchant_leaves_the_others_alone(world: World) -> None:
    world.billing.answers["other"] = always("retry", None)
    for number in range(12):
        settle(world, f"o{number}", merchant="other")
    settle(world, "mine")
    world.deliver(limit=10)
    assert world.billing.types("shop") == ["invoice.processing", "invoice.settled"]


def test_no_merchant_holds_more_than_half_of_a_workers_hands(world: World) -> None:
    for number in range(20):
        invoice = world.open(f"o{number}", merchant="other")
        world.pay(invoice)
        world.look(invoice)
    mine = world.open("mine")
    world.pay(mine)
    world.look(mine)
    taken: list[object] = []
    rounds = [deliver_due(world.bridge, owner=f"w{n}", limit=8, submit=taken.append) for n in range(3)]
    held = world.rows("SELECT merchant, count(*) AS n FROM deliveries WHERE lease_owner IS NOT NULL GROUP BY merchant")
    assert {row.merchant: row.n for row in held} == {"other": 4, "shop": 1}
    assert sum(rounds) == 5


def test_a_crashed_carriers_lease_runs_out_and_the_event_is_sent_again(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    taken: list[object] = []
    assert deliver_due(world.bridge, owner="crashed", limit=9, submit=taken.append) == 1
    assert world.deliver(owner="other") == 0
    world.advance(61)
    assert world.deliver(owner="other") == 1
    assert states(world) == ["delivered"]
    (late_work,) = taken
    late_work()  # type: ignore[operator]
    assert states(world) == ["delivered"]
    assert len(world.billing.told) == 2


def test_a_merchant_without_an_address_is_told_in_the_feed_only(world: World) -> None:
    settle(world, merchant="puller")
    assert world.deliver() == 0
    types = [event["type"] for event in world.feed("puller")]
    assert types == ["invoice.created", "invoice.processing", "invoice.settled"]
    assert world.feed("shop") == []


def test_a_parked_delivery_can_be_sent_again_and_the_receiver_sees_the_same_id(world: World) -> None:
    world.billing.answers["shop"] = always("parked", 409)
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.deliver()
    world.billing.answers.clear()
    (delivery_id,) = choose(world.bridge, state=None, merchant="shop")
    assert choose(world.bridge, state=None, merchant="other") == []
    assert redeliver(world.bridge, delivery_id, actor="anna", reason="their server is back")
    assert not redeliver(world.bridge, delivery_id, actor="anna", reason="again")  # it is under way already
    world.deliver()
    assert states(world) == ["delivered"]
    assert len({event["id"] for _, event in world.billing.told}) == 1
    kept = world.rows("SELECT actor, reason FROM audit WHERE action = 'redelivered'")
    assert [tuple(row) for row in kept] == [("anna", "their server is back")]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_sending_again_needs_a_name_a_reason_and_a_delivery(world: World) -> None:
    for who in ({"actor": " ", "reason": "x"}, {"actor": "anna", "reason": " "}):
        with pytest.raises(Refused, match="Say who"):
            redeliver(world.bridge, "dlv_x", **who)
    with pytest.raises(Refused, match="no such delivery"):
        show_delivery(world.bridge, "dlv_x")
    with pytest.raises(Refused, match="no such delivery"):
        redeliver(world.bridge, "dlv_x", actor="anna", reason="x")


def test_sequences_have_no_gaps_over_a_whole_life(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 8_000)
    world.look(invoice)
    world.advance(86_401)
    world.look(invoice)
    world.pay(invoice, 8_000, confirmations=1)
    world.look(invoice)
    world.pay(invoice, 8_000, confirmations=1)
    world.look(invoice)
    world.deliver()
    sequences = [event["sequence"] for event in world.feed()]
    assert sequences == list(range(1, len(sequences) + 1))
    told = [event["sequence"] for _, event in world.billing.told]
    assert all(before < after for before, after in itertools.pairwise(told))
