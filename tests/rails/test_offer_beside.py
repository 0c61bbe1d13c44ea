"""A second way to pay is made when the payer asks: once, for this invoice alone, and never at the first way's cost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.books.compare import wallet_variances
from bridge.books.export import export
from bridge.books.keep_books import refresh_gauges
from bridge.context import BESIDE_CRASH_POINTS
from bridge.core.errors import BridgeError, Refused, Unavailable
from bridge.core.evidence import Health, WalletBalance
from bridge.core.offering import Offering, WayRule
from bridge.core.rail import Doorbell, Offer, Wanted
from bridge.desk.evidence import evidence, receipt
from bridge.desk.explain import explain
from bridge.desk.find import find
from bridge.invoices.offer_beside import LEASE_SECONDS, offer_beside
from bridge.invoices.pay import PayView, pay_view, requote
from bridge.invoices.poll import sense_beside
from bridge.invoices.read_invoices import list_invoices
from bridge.invoices.ways import ShownWay
from bridge.metrics import Metrics
from bridge.payouts.treasury import read_balances, treasury_rows
from bridge.store import leases, targets
from bridge.turns import PROVIDER
from bridge.upkeep.check import Thresholds, Watching, alerts, readiness
from bridge.upkeep.doctor import Place, examine
from tests.books.runs import codes, reconcile
from tests.flows.world import World
from tests.rails.toy import ToyNode, toy_rail

DUE_SAT = 15_539
LIGHTNING = "lightning"


@dataclass(kw_only=True)
class Shop:
    """A world whose invoices can be paid over the toy besides, when their payer asks."""

    world: World
    node: ToyNode

    def open(self, number: str = "7", **request: Any) -> dict[str, Any]:
        return self.world.open(number, **request)

    def public_id(self, invoice: dict[str, Any]) -> str:
        return str(invoice["payment_url"]).rpartition("/")[2]

    def ask(self, invoice: dict[str, Any], way: str = LIGHTNING) -> Any:
        return offer_beside(self.world.bridge, self.public_id(invoice), way)

    def refusal(self, invoice: dict[str, Any], way: str = LIGHTNING) -> str:
        with pytest.raises(BridgeError) as refused:
            self.ask(invoice, way)
        return refused.value.code

    def view(self, invoice: dict[str, Any]) -> PayView:
        return pay_view(self.world.bridge, self.public_id(invoice))

    def way(self, invoice: dict[str, Any], way: str = LIGHTNING) -> ShownWay:
        return next(each for each in self.view(invoice).ways if each.way == way)

    def targets(self, invoice: dict[str, Any]) -> int:
        with self.world.bridge.store.read() as tx:
            return len(targets.of_invoice(tx, invoice["id"]))

    def rules(self, rules: Offering) -> None:
        merchants = dict(self.world.bridge.merchants)
        merchants["shop"] = replace(merchants["shop"], offering=rules)
        self.world.bridge = replace(self.world.bridge, merchants=merchants)


@pytest.fixture
def shop(worlds: Callable[..., World]) -> Shop:
    world, node = worlds(), ToyNode()
    world.bridge = replace(world.bridge, rails=(*world.bridge.rails, toy_rail(node)))
    return Shop(world=world, node=node)


def test_it_is_made_when_the_payer_asks_and_not_before(shop: Shop) -> None:
    invoice = shop.open()
    assert (shop.node.asked, shop.targets(invoice)) == ([], 1)
    assert shop.way(invoice) == ShownWay(way=LIGHTNING, state="possible", due_sat=DUE_SAT)
    made = shop.ask(invoice)
    assert (made.way, made.account, made.due_units) == (LIGHTNING, "wallet:lightning", DUE_SAT)
    shown = shop.way(invoice)
    assert (shown.state, shown.text, shown.uri) == ("offered", made.text, f"lightning:{made.text}")
    assert shown.expires_at == made.expires_at


def test_an_offer_waits_for_two_turns_to_write_and_the_claim_ends_with_the_second(shop: Shop) -> None:
    invoice, store = shop.open(), shop.world.bridge.store
    before = store.writes
    shop.ask(invoice)
    assert store.writes - before == 2
    with store.read() as tx:
        assert leases.is_free(
            tx, f"beside:{invoice['id']}:ln_toy", now=shop.world.bridge.clock(), lease_seconds=LEASE_SECONDS
        )


def test_asked_for_again_it_is_the_same(shop: Shop) -> None:
    invoice = shop.open()
    assert shop.ask(invoice).text == shop.ask(invoice).text
    assert (len(shop.node.asked), shop.targets(invoice)) == (1, 2)


def test_two_tabs_at_once_make_one(shop: Shop) -> None:
    invoice = shop.open()
    with ThreadPoolExecutor(4) as tabs:
        made = list(tabs.map(lambda _: shop.ask(invoice).text, range(4)))
    assert (len(set(made)), len(shop.node.made), shop.targets(invoice)) == (1, 1, 2)


def test_the_invoice_says_both_ways_beside_what_it_said_before(shop: Shop) -> None:
    invoice = shop.open()
    assert invoice["ways"] == [
        {
            "way": "bitcoin",
            "text": invoice["address"],
            "uri": invoice["bip21"],
            "due_sat": DUE_SAT,
            "expires_at": invoice["expires_at"],
        }
    ]
    made = shop.ask(invoice)
    now = shop.world.invoice(invoice)
    assert [each["way"] for each in now["ways"]] == ["bitcoin", LIGHTNING]
    assert (now["ways"][1]["text"], now["ways"][1]["due_sat"]) == (made.text, DUE_SAT)
    assert now["ways"][1]["expires_at"] == now["quote"]["expires_at"]
    assert {name: now[name] for name in invoice if name != "ways"} == {k: v for k, v in invoice.items() if k != "ways"}


def test_paid_over_it_the_billing_system_hears_settled_with_its_way(shop: Shop) -> None:
    invoice = shop.open()
    made, paid_at = shop.ask(invoice), shop.world.bridge.clock()
    shop.node.pay(made.text, at=paid_at)
    assert shop.world.seen(invoice)[0] == "settled"
    shop.world.deliver()
    ((_, event),) = shop.world.billing.told
    assert (event["type"], event["invoice"]["ways"][1]["way"]) == ("invoice.settled", LIGHTNING)
    told = event["invoice"]["payments"]
    assert told == [
        {
            "way": LIGHTNING,
            "amount_sat": DUE_SAT,
            "first_seen_at": paid_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "txid": None,
            "payment_hash": made.key,
        }
    ]
    assert shop.world.invoice(invoice)["payments"] == told
    listed = list_invoices(shop.world.bridge, "shop", match={}, limit=5, cursor=None)["invoices"]
    assert [each["payments"] for each in listed] == [told]


@pytest.mark.parametrize("reference", ["key", "text", "link", "loud"])
def test_it_is_found_by_what_the_payer_sees_of_it(shop: Shop, reference: str) -> None:
    invoice, other = shop.open(), shop.open("8")
    made = shop.ask(invoice)
    shop.ask(other)
    named = {"key": made.key, "text": made.text, "link": f"lightning:{made.text}", "loud": made.text.upper()}
    assert [each["id"] for each in find(shop.world.bridge, named[reference]).invoices] == [invoice["id"]]


def test_a_lost_answer_is_found_again_by_our_reference(shop: Shop) -> None:
    invoice = shop.open()
    shop.node.loses_answers = True
    assert shop.refusal(invoice) == "way_unavailable"
    assert (shop.way(invoice).state, shop.way(invoice).code) == ("refused", "rail_unwell")
    assert shop.way(invoice, "bitcoin").state == "offered"
    shop.node.loses_answers = False
    shop.world.advance(31)
    assert shop.ask(invoice).text in shop.node.made
    assert shop.node.first_tries == [True, False]
    assert shop.world.rows("SELECT * FROM leases WHERE name LIKE 'beside:%'") == []


def test_a_payers_wallet_shows_the_shop_and_the_number_that_both_know_and_nothing_of_ours(shop: Shop) -> None:
    shop.world.bridge = replace(shop.world.bridge, shop_name="Beispiel GmbH")
    shop.ask(shop.open("1047"))
    assert shop.node.memos == ["Beispiel GmbH #1047"]
    assert len(shop.node.made) == 1 and len(set(shop.node.asked)) == 1


def test_a_silent_rail_leaves_the_first_way_as_it_was(shop: Shop) -> None:
    invoice = shop.open()
    shop.node.is_silent = True
    assert shop.refusal(invoice) == "way_not_offered"  # its health said so
    assert shop.view(invoice).shown_sat == DUE_SAT
    shop.world.pay(invoice)
    shop.world.mine()
    assert shop.world.seen(invoice)[0] == "settled"


@pytest.mark.parametrize(
    "spoiled",
    [{"text": ""}, {"text": "two words"}, {"text": "lñ"}, {"key": "ABC"}, {"text": "x" * 5_000}, {"expires_at": None}],
    ids=["empty", "spaced", "not ascii", "loud key", "too long", "for ever"],
)
def test_nonsense_of_a_rail_is_not_offered_and_somebody_looks_at_it(shop: Shop, spoiled: dict[str, Any]) -> None:
    invoice = shop.open()
    shop.node.spoils = spoiled
    assert shop.refusal(invoice) == "way_unavailable"
    assert (shop.targets(invoice), shop.world.reviews()) == (1, ["suspicious_address"])
    assert shop.world.invoice(invoice)["hold"] is None


def test_what_outlives_its_price_is_not_offered(shop: Shop) -> None:
    invoice = shop.open()
    shop.node.spoils = {"expires_at": shop.world.bridge.clock() + timedelta(hours=3)}
    assert shop.refusal(invoice) == "way_unavailable"


@pytest.mark.parametrize("same", ["text", "key"])
def test_what_was_given_out_before_is_nobody_elses(shop: Shop, same: str) -> None:
    first, second = shop.open("1"), shop.open("2")
    made = shop.ask(first)
    shop.node.spoils = {same: getattr(made, same)}
    assert shop.refusal(second) == "way_unavailable"
    assert (shop.targets(second), shop.world.reviews()) == (1, ["suspicious_address"])


def test_after_a_new_price_it_is_made_anew_and_the_old_one_stays_watched(shop: Shop) -> None:
    invoice = shop.open()
    old = shop.ask(invoice)
    shop.world.advance(16 * 60)
    assert shop.refusal(invoice) == "way_not_offered"
    assert {each.state for each in shop.view(invoice).ways} == {"refused"}
    requote(shop.world.bridge, shop.public_id(invoice))
    new = shop.ask(invoice)
    assert (new.text != old.text, shop.targets(invoice)) == (True, 3)
    shop.node.pay(old.text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    assert shop.world.invoice(invoice)["received_sat"] == DUE_SAT


def test_after_a_part_it_asks_for_the_rest(shop: Shop) -> None:
    invoice = shop.open()
    shop.ask(invoice)
    shop.world.pay(invoice, 9_000)
    shop.world.look(invoice)
    assert shop.way(invoice).state == "possible"
    assert shop.ask(invoice).due_units == DUE_SAT - 9_000


@pytest.mark.parametrize("state", ["settled", "closed", "held"])
def test_an_invoice_that_waits_for_nobody_has_no_second_way(shop: Shop, state: str) -> None:
    invoice = shop.open()
    if state == "settled":
        shop.world.pay(invoice)
        shop.world.mine()
    if state == "closed":
        shop.world.advance(timedelta(days=30).total_seconds())
    shop.world.look(invoice)
    if state == "held":
        with shop.world.bridge.store.write() as tx:
            tx.exec_driver_sql("UPDATE invoices SET hold = 'review'")
    assert shop.refusal(invoice) == "way_not_offered"
    assert {each.state for each in shop.view(invoice).ways} == {"refused"}
    assert shop.node.asked == []


def test_the_merchants_table_says_when_it_is_offered_and_why_not(shop: Shop) -> None:
    invoice = shop.open(customer_country="DE")
    shop.rules({"lightning": WayRule(most_sat=DUE_SAT - 1)})
    assert (shop.refusal(invoice), shop.way(invoice).code) == ("way_not_offered", "above_maximum")
    shop.rules({"lightning": WayRule(but_countries=("DE",))})
    assert (shop.refusal(invoice), shop.way(invoice).code) == ("way_not_offered", "not_for_country")
    shop.rules({"bitcoin": WayRule(least_sat=DUE_SAT + 1)})
    assert [(each.way, each.state) for each in shop.view(invoice).ways] == [
        ("bitcoin", "refused"),
        (LIGHTNING, "possible"),
    ]
    shop.rules({})
    assert shop.ask(invoice).way == LIGHTNING


def test_health_capacity_and_cost_are_asked_once_in_a_while_and_counted(shop: Shop) -> None:
    invoice, well = shop.open(), Health(ok=True, fee_bps=None, min_send_sat=None, server_time=None)
    shop.rules({"lightning": WayRule(max_cost_bps=10)})
    for stands, code in (
        (replace(well, ok=False), "rail_unwell"),
        (replace(well, inbound_sat=DUE_SAT - 1), "capacity_too_small"),
        (replace(well, receive_bps=11), "too_dear"),
    ):
        shop.node.stands = stands
        asked = shop.node.health_asked
        assert (shop.refusal(invoice), shop.way(invoice).code) == ("way_not_offered", code)
        assert shop.refusal(invoice) == "way_not_offered"
        assert shop.node.health_asked == asked + 1
        shop.world.advance(31)
    shop.node.stands = replace(well, inbound_sat=DUE_SAT, receive_bps=10)
    assert shop.ask(invoice).way == LIGHTNING


def test_of_two_rails_for_one_way_the_one_that_is_well_is_asked(shop: Shop) -> None:
    other = ToyNode()
    second = toy_rail(other, name="toy_two", wallet_id="ln_other")
    shop.world.bridge = replace(shop.world.bridge, rails=(*shop.world.bridge.rails, second))
    invoice = shop.open()
    shop.node.is_silent = True
    assert shop.ask(invoice).wallet_id == "ln_other"
    other.pay(next(iter(other.made)), at=shop.world.bridge.clock())
    assert shop.world.seen(invoice)[0] == "settled"


@pytest.mark.parametrize(
    "error",
    [
        Refused("bolt11_expired", "There is no time left to pay an invoice in.", field="expires_at"),
        Unavailable("no_inbound_capacity", "No channel can receive this sum now."),
    ],
)
def test_what_cannot_be_made_for_one_invoice_is_still_made_for_the_others(shop: Shop, error: BridgeError) -> None:
    """A payer who asks in the last second of a price, or for a sum of his choice, must not switch the way off for all."""
    theirs, ours, asks = shop.open("1"), shop.open("2"), shop.node.asks

    def choosy(wanted: Wanted) -> Offer:
        if wanted.reference.startswith(theirs["id"]):
            raise error
        return asks(wanted)

    rail_with(shop, asks=choosy)
    assert shop.refusal(theirs) == "way_unavailable"
    assert shop.way(ours).state == "possible"
    assert shop.ask(ours).way == LIGHTNING


def test_an_operators_switch_stops_it(shop: Shop) -> None:
    invoice = shop.open()
    shop.world.switch("paused", scope="wallet:ln_toy")
    assert shop.refusal(invoice) == "way_not_offered"
    shop.world.switch("normal", scope="wallet:ln_toy")
    shop.world.switch("limited")
    assert shop.refusal(invoice) == "mode_limited"


@pytest.mark.parametrize(
    ("mode", "scope"), [("paused", "wallet:ln_toy"), ("limited", "bridge"), ("read_only", "bridge")]
)
def test_a_sum_that_is_for_lightning_alone_can_be_paid_while_that_is_switched_off(
    shop: Shop, mode: str, scope: str
) -> None:
    invoice = shop.open()
    shop.rules({"bitcoin": WayRule(least_sat=DUE_SAT + 1)})
    shop.world.switch(mode, scope=scope)
    assert [(each.way, each.state, each.code) for each in shop.view(invoice).ways] == [
        ("bitcoin", "offered", ""),
        (LIGHTNING, "refused", "paused"),
    ]
    assert "paused by an operator" in "\n".join(explain(shop.world.bridge, invoice["id"], lang="en"))
    shop.world.switch("normal", scope=scope)
    assert [(each.state, each.code) for each in shop.view(invoice).ways] == [
        ("refused", "below_minimum"),
        ("possible", ""),
    ]


def test_a_way_that_is_not_there_and_an_invoice_that_is_not_there_are_refused(shop: Shop) -> None:
    assert shop.refusal(shop.open(), "pigeon") == "unknown_way"
    assert shop.refusal(shop.open(), "bitcoin") == "unknown_way"
    with pytest.raises(Refused, match="no such invoice"):
        offer_beside(shop.world.bridge, "x" * 22, LIGHTNING)


def test_the_calls_of_a_rail_beside_are_counted_apart(shop: Shop) -> None:
    narrow = toy_rail(shop.node, calls_per_minute=1)
    shop.world.bridge = replace(shop.world.bridge, rails=(*shop.world.bridge.rails[:-1], narrow))
    shop.ask(shop.open("1"))
    assert shop.refusal(shop.open("2")) == "call_budget_spent"
    assert shop.open("3")["status"] == "new"


def test_what_an_earlier_release_opened_can_be_paid_over_it_too(shop: Shop) -> None:
    """Such a node writes no target, so the first is read from the invoice's own columns."""
    invoice = shop.open()
    with shop.world.bridge.store.write() as tx:
        is_sqlite = tx.dialect.name == "sqlite"
        tx.exec_driver_sql(f"DROP TRIGGER {'targets_no_delete' if is_sqlite else 'targets_append_only ON targets'}")
        tx.exec_driver_sql("DELETE FROM targets")
    made = shop.ask(invoice)
    shop.node.pay(made.text, at=shop.world.bridge.clock())
    assert shop.world.seen(invoice)[0] == "settled"
    assert (shop.world.balance("wallet:lightning"), shop.world.balance("wallet:hot")) == (DUE_SAT, 0)
    shop.world.pay(invoice, DUE_SAT)
    shop.world.mine()
    assert shop.world.seen(invoice)[1] == "paid_over"
    assert shop.world.balance("wallet:hot") == DUE_SAT


def test_support_reads_which_ways_there_are_and_why_one_is_not(shop: Shop) -> None:
    invoice = shop.open()
    shop.rules({"lightning": WayRule(most_sat=1)})
    told = explain(shop.world.bridge, invoice["id"], lang="en")
    assert "Ways to pay: Bitcoin (offered); Lightning (not offered: the amount is too large)." in told
    shop.rules({})
    shop.node.pay(shop.ask(invoice).text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    told = explain(shop.world.bridge, invoice["id"], lang="ru")
    assert any("Другим способом оплаты пришло" in line for line in told)


def test_an_invoice_of_a_shop_with_one_way_is_told_as_ever(worlds: Callable[..., World]) -> None:
    world = worlds()
    invoice = world.open()
    assert not any("Ways" in line for line in explain(world.bridge, invoice["id"], lang="en"))
    with pytest.raises(Refused):
        offer_beside(world.bridge, str(invoice["payment_url"]).rpartition("/")[2], LIGHTNING)


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("point", BESIDE_CRASH_POINTS)
def test_killed_anywhere_the_next_try_makes_one_and_loses_none(shop: Shop, point: str) -> None:
    def crash(name: str) -> None:
        if name == point:
            raise Killed

    invoice = shop.open()
    with pytest.raises(Killed):
        offer_beside(replace(shop.world.bridge, crash_point=crash), shop.public_id(invoice), LIGHTNING)
    shop.world.advance(31)  # a dead process holds its claim so long
    made = shop.ask(invoice)
    assert (len(shop.node.made), shop.targets(invoice), made.text in shop.node.made) == (1, 2, True)
    # Only a try that is known to have made nothing, or to have been stored, lets the next one be the first.
    assert shop.node.first_tries[-1] is (len(shop.node.first_tries) == 1 and point == "beside.committed")
    assert shop.world.rows("SELECT count(*) FROM audit WHERE action = 'way_offered'") == [(1,)]
    shop.node.pay(made.text, at=shop.world.bridge.clock())
    assert shop.world.seen(invoice)[0] == "settled"
    assert reconcile(shop.world.bridge)["findings_count"] == 0


def test_the_claim_of_a_dead_process_ends_by_itself(shop: Shop) -> None:
    invoice = shop.open()
    with shop.world.bridge.store.write() as tx:
        lease = {"owner": "own_dead", "now": shop.world.bridge.clock(), "lease_seconds": 30}
        assert leases.take(tx, f"beside:{invoice['id']}:ln_toy", **lease)
    assert shop.refusal(invoice) == "offering_in_progress"
    assert shop.node.asked == []
    shop.world.advance(31)
    assert shop.ask(invoice).way == LIGHTNING


def test_what_came_over_it_stands_in_the_exports_by_rail_and_key(shop: Shop) -> None:
    invoice = shop.open(customer_id="c1")
    made = shop.ask(invoice)
    shop.node.pay(made.text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    span = {"from_at": datetime(2000, 1, 1, tzinfo=UTC), "to_at": datetime(2100, 1, 1, tzinfo=UTC)}
    for kind, end in (("invoices", ",rails,keys"), ("settlements", ",rails,keys,billing_status_at")):
        head, row, *_ = "".join(export(shop.world.bridge, kind=kind, format="csv", **span)).splitlines()
        told = dict(zip(head.split(","), row.split(","), strict=True))
        assert (told["rails"], told["keys"], told["txids"]) == ("toy", made.key, "")
        assert head.endswith(end)


def test_a_payment_over_it_hurries_the_look_within_a_second_and_is_asked_for_no_more(shop: Shop) -> None:
    invoice = shop.open()
    made = shop.ask(invoice)
    shop.world.poll()
    assert (shop.world.poll(), sense_beside(shop.world.bridge, owner="w1")) == (0, 0)
    shop.world.advance(1)
    shop.node.pay(made.text, msat=9_000_000, at=shop.world.bridge.clock())
    assert sense_beside(shop.world.bridge, owner="w1") == 1
    assert shop.world.poll() == 1
    assert shop.world.invoice(invoice)["received_sat"] == 9_000
    shop.world.advance(1)
    reads = shop.node.reads
    assert (sense_beside(shop.world.bridge, owner="w1"), shop.node.reads) == (0, reads)


def test_a_rail_that_is_asked_for_payments_and_does_not_answer_hurts_nobody(shop: Shop) -> None:
    shop.ask(shop.open())
    shop.node.is_silent = True
    assert sense_beside(shop.world.bridge, owner="w1") == 0


def test_what_cannot_be_said_of_one_invoice_keeps_no_other_from_being_noticed(shop: Shop) -> None:
    older, newer = (shop.open(number) for number in "78")
    paid = shop.ask(older)
    shop.node.nonsense_about.add(shop.ask(newer).text)
    shop.node.pay(paid.text, at=shop.world.bridge.clock())
    assert sense_beside(shop.world.bridge, owner="w1") == 1
    shop.world.poll()
    assert shop.world.invoice(older)["status"] == "settled"


def test_a_rail_that_takes_long_to_say_nothing_is_left_for_a_while(shop: Shop) -> None:
    for number in "789":
        shop.ask(shop.open(number))
    shop.node.is_silent = True
    shop.node.on_read = lambda: shop.world.advance(20)
    assert (sense_beside(shop.world.bridge, owner="w1"), shop.node.reads) == (0, 1)
    shop.world.advance(1)
    assert (sense_beside(shop.world.bridge, owner="w1"), shop.node.reads) == (0, 1)
    shop.world.advance(31)
    shop.node.is_silent = False
    shop.node.on_read = lambda: None
    assert (sense_beside(shop.world.bridge, owner="w1"), shop.node.reads) == (0, 4)


def test_a_rail_with_a_doorbell_is_told_where_it_rings_for_this_invoice(shop: Shop) -> None:
    rails = (
        *shop.world.bridge.rails[:-1],
        toy_rail(shop.node, doorbell=Doorbell(url="https://x.example/ring", seconds=0)),
    )
    shop.world.bridge = replace(shop.world.bridge, rails=rails)
    invoice = shop.open()
    shop.ask(invoice)
    assert shop.node.ring_urls == [f"https://x.example/ring/{shop.world.bridge.callback_token(invoice['id'])}"]


def test_what_lies_there_is_read_shown_and_held_against_the_books(shop: Shop) -> None:
    invoice = shop.open()
    shop.node.pay(shop.ask(invoice).text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    assert read_balances(shop.world.bridge, owner="w1") == 2
    span = {"from_at": datetime(2000, 1, 1, tzinfo=UTC), "to_at": datetime(2100, 1, 1, tzinfo=UTC)}
    row = next(row for row in treasury_rows(shop.world.bridge, **span) if row["role"] == LIGHTNING)
    assert (row["in_sat"], row["closing_sat"], row["read_sat"]) == (DUE_SAT, DUE_SAT, DUE_SAT)
    assert reconcile(shop.world.bridge)["findings_count"] == 0
    next(iter(shop.node.made.values())).paid_msat -= 1_000_000
    assert codes(reconcile(shop.world.bridge)) == ["output_different", "wallet_differs"]


def test_what_is_paid_while_the_wallet_is_compared_is_no_difference_and_what_is_more_is_one(shop: Shop) -> None:
    invoice, answers = shop.open(), list[WalletBalance]()
    made = shop.ask(invoice)

    def balance() -> WalletBalance:
        # Once before the invoices are looked at, once after.
        if len(answers) == 1:
            shop.node.pay(made.text, at=shop.world.bridge.clock())
        answers.append(shop.node.balance())
        return answers[-1]

    rail_with(shop, balance=balance)
    assert reconcile(shop.world.bridge)["findings_count"] == 0
    assert [each.balance_sat for each in answers] == [0, DUE_SAT]
    shop.world.look(invoice)
    assert reconcile(shop.world.bridge)["findings_count"] == 0
    shop.node.made["other"] = replace(shop.node.made[made.text], paid_msat=1_000)
    assert codes(reconcile(shop.world.bridge)) == ["wallet_differs"]


def test_its_wallet_is_compared_by_calls_of_its_own(shop: Shop) -> None:
    invoice = shop.open()
    shop.node.pay(shop.ask(invoice).text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    with shop.world.bridge.store.write() as tx:
        spent = {"limit": 1_000_000, "window_seconds": 61, "calls": 1_000_000}
        leases.spend(tx, PROVIDER, now=shop.world.bridge.clock(), **spent)
    found, _unread = wallet_variances(shop.world.bridge)
    assert found == {LIGHTNING: 0}


def beside(shop: Shop) -> dict[str, tuple[str, str]]:
    """What the doctor says of the rail."""
    found = examine(shop.world.bridge, Place())
    return {each.name: (each.state, each.detail) for each in found if each.name.startswith("rail")}


def rail_with(shop: Shop, **changes: Any) -> None:
    rails = (*shop.world.bridge.rails[:-1], toy_rail(shop.node, **changes))
    shop.world.bridge = replace(shop.world.bridge, rails=rails)


def test_the_doctor_says_whether_it_answers_takes_the_key_and_stands_well(shop: Shop) -> None:
    unknown = "network unknown, so it is judged with each offer; of its blocks it says nothing"
    assert beside(shop) == {
        "rail_key:toy": ("ok", ""),
        "rail:toy": ("ok", unknown),
        "rail_inbound:toy": ("ok", "it does not say how much can come in"),
    }
    shop.node.stands = replace(shop.node.stands, network="test", blocks_behind=0)
    assert beside(shop)["rail:toy"] == ("ok", "network test; up to date")
    shop.node.stands = replace(shop.node.stands, network="main")
    assert beside(shop)["rail:toy"][0] == "warn"
    shop.node.stands = replace(shop.node.stands, network="test", blocks_behind=2, ok=False)
    assert beside(shop)["rail:toy"] == ("warn", "network test; 2 blocks behind")
    shop.node.is_silent = True
    assert {name: state for name, (state, _) in beside(shop).items()} == {"rail_key:toy": "FAIL", "rail:toy": "warn"}


def test_the_doctor_holds_what_can_come_in_against_the_biggest_amount_that_is_offered(shop: Shop) -> None:
    shop.node.stands = replace(shop.node.stands, inbound_sat=50_000)
    assert beside(shop)["rail_inbound:toy"] == ("ok", "50000 sat can come in")
    rail_with(shop, most_units=50_001)
    assert beside(shop)["rail_inbound:toy"] == ("warn", "50000 sat can come in, up to 50001 sat are offered")
    every = {
        name: replace(m, offering={LIGHTNING: WayRule(most_sat=50_000)})
        for name, m in shop.world.bridge.merchants.items()
    }
    shop.world.bridge = replace(shop.world.bridge, merchants=every)
    assert beside(shop)["rail_inbound:toy"] == ("ok", "50000 sat can come in, up to 50000 sat are offered")
    shop.node.stands = replace(shop.node.stands, inbound_sat=0)
    assert beside(shop)["rail_inbound:toy"][0] == "warn"


@pytest.mark.parametrize(("seconds", "state"), [(-29, "ok"), (31, "warn"), (-31, "warn")])
def test_the_doctor_compares_its_clock_with_ours(shop: Shop, seconds: int, state: str) -> None:
    theirs = shop.world.bridge.clock() - timedelta(seconds=seconds)
    shop.world.bridge = replace(shop.world.bridge, clock=lambda: theirs + timedelta(seconds=seconds))
    shop.node.stands = replace(shop.node.stands, server_time=theirs)
    assert beside(shop)["rail_clock:toy"] == (state, f"{seconds} s against it")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.6.2", ("ok", "version 1.6.2")),
        ("1.60.0", ("warn", "version 1.60.0; tried with 1.6.x and 1.5.x")),
        ("", ("warn", "it does not say its version; tried with 1.6.x and 1.5.x")),
    ],
)
def test_the_doctor_says_whether_its_version_is_one_that_was_tried(
    shop: Shop, version: str, said: tuple[str, str]
) -> None:
    rail_with(shop, version=lambda: version, tried_with=("1.6.", "1.5."))
    assert beside(shop)["rail_version:toy"] == said


def test_the_bridge_is_ready_without_it_and_says_that_it_is_away(shop: Shop) -> None:
    def said() -> list[tuple[bool, str, bool]]:
        return [(c.ok, c.detail, c.is_needed) for c in readiness(shop.world.bridge) if c.name == "rail_toy"]

    shop.node.stands = replace(shop.node.stands, inbound_sat=700)
    assert said() == [(True, "inbound 700", False)]
    shop.node.is_silent = True
    shop.world.advance(31)
    assert said() == said() == [(False, "rail_unwell", False)]
    assert shop.node.health_asked == 2


def tripped(shop: Shop, **limits: int) -> dict[str, str]:
    """The alerts about other ways to pay, with who is asked outside."""
    found = alerts(shop.world.bridge, Watching(thresholds=Thresholds(**limits)), ask_outside=True)
    return {each.rule: each.detail for each in found if each.rule.startswith(("rail", "offers"))}


def test_a_rail_that_is_silent_while_an_offer_of_it_is_open_is_an_alert_after_a_while(shop: Shop) -> None:
    invoice = shop.open()
    shop.ask(invoice)
    shop.node.is_silent = True
    shop.world.look(invoice)
    assert "cannot be read" not in tripped(shop)["rail_silent"]
    shop.world.advance(601)
    assert tripped(shop)["rail_silent"].startswith("what came over another way cannot be read for 1 invoices since ")
    shop.node.is_silent = False
    shop.world.look(invoice)
    assert tripped(shop) == {}


def test_a_rail_that_says_that_it_is_not_well_is_an_alert_though_nothing_is_open(shop: Shop) -> None:
    assert tripped(shop) == {}
    shop.node.stands = replace(shop.node.stands, ok=False)
    assert tripped(shop) == {"rail_silent": "toy: it says that it is not well"}
    shop.node.is_silent = True
    assert tripped(shop) == {"rail_silent": "toy: rail_unavailable"}


@pytest.mark.parametrize(("sat", "is_told"), [(99_999, True), (100_000, False)])
def test_too_little_that_can_come_in_is_an_alert(shop: Shop, sat: int, is_told: bool) -> None:
    shop.node.stands = replace(shop.node.stands, inbound_sat=sat)
    told = {"rail_inbound": f"toy: {sat} sat can come in, limit 100000"} if is_told else {}
    assert tripped(shop) == told
    assert tripped(shop, rail_inbound_sat=0) == {}


def test_offers_that_came_to_nothing_are_counted_for_an_hour(shop: Shop) -> None:
    shop.node.spoils = {"text": "two words"}
    for number in range(3):
        shop.refusal(shop.open(str(number)))
        shop.world.advance(31)
    assert tripped(shop, offers_failed=2) == {"offers_failed": "3, limit 2"}
    assert tripped(shop, offers_failed=3) == {}
    shop.world.advance(3_600)
    assert tripped(shop, offers_failed=0) == {}


def figures(shop: Shop) -> dict[str, float]:
    refresh_gauges(shop.world.bridge)
    samples = [s for metric in shop.world.bridge.metrics.registry.collect() for s in metric.samples]
    told = {(s.name, s.labels.get("outcome", "")): s.value for s in samples if s.labels.get("rail") == "toy"}
    return {f"{name}{' ' + outcome if outcome else ''}": value for (name, outcome), value in told.items()}


def test_offers_ways_that_are_open_and_the_time_to_settled_are_counted_by_rail(shop: Shop) -> None:
    shop.world.bridge = replace(shop.world.bridge, metrics=Metrics(["shop"], ["toy"]))
    before = figures(shop)
    outcomes = ("made", "refused", "unavailable", "nonsense")
    assert [before[f"bridge_offers_total {each}"] for each in outcomes] == [0, 0, 0, 0]
    assert (before["bridge_ways_open"], before["bridge_rail_settlement_seconds_count"]) == (0, 0)
    shop.node.stands = replace(shop.node.stands, inbound_sat=90_000)
    invoice = shop.open()
    made = shop.ask(invoice)
    after = figures(shop)
    assert (after["bridge_offers_total made"], after["bridge_ways_open"], after["bridge_rail_well"]) == (1, 1, 1)
    assert after["bridge_rail_inbound_sat"] == 90_000
    shop.world.advance(12)
    shop.node.pay(made.text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    settled = figures(shop)
    assert (settled["bridge_ways_open"], settled["bridge_rail_settlement_seconds_count"]) == (0, 1)
    assert 12 <= settled["bridge_rail_settlement_seconds_sum"] < 20
    shop.node.is_silent = True
    shop.refusal(shop.open("8"))
    failed = figures(shop)
    assert (failed["bridge_offers_total unavailable"], failed["bridge_rail_well"]) == (1, 0)
    shop.world.advance(31)
    shop.node.is_silent, shop.node.spoils = False, {"text": "two words"}
    shop.refusal(shop.open("9"))
    assert figures(shop)["bridge_offers_total nonsense"] == 1


def test_page_receipt_and_evidence_name_the_payment_hash_and_no_transaction(shop: Shop) -> None:
    invoice = shop.open()
    made = shop.ask(invoice)
    shop.node.pay(made.text, at=shop.world.bridge.clock())
    shop.world.look(invoice)
    (shown,) = shop.view(invoice).payments
    assert (shown["way"], shown["payment_hash"], shown["txid"]) == (LIGHTNING, made.key, None)
    (paid,) = receipt(shop.world.bridge, shop.public_id(invoice))["transactions"]
    assert (paid["payment_hash"], paid["confirmations"], "txid" in paid) == (made.key, 1, False)
    bundle = evidence(shop.world.bridge, invoice["id"])
    assert [each["key"] for each in bundle["targets"]] == [None, made.key]
