"""Three bookkeepers compared: every seeded fault is found, and a clean shop is called clean."""

from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from sqlalchemy import event

from bridge.books import reconcile as reconcile_module
from bridge.books.compare import wallet_variances
from bridge.books.keep_books import refresh_gauges
from bridge.books.reconcile import (
    list_reconciliations,
    reconcile_due,
    set_baseline,
    show_reconciliation,
    start_reconciliation,
    start_scheduled,
    step,
    take_billing_report,
)
from bridge.context import Chain
from bridge.core.errors import Refused
from bridge.core.evidence import ChainReading
from bridge.desk.resolve_review import list_reviews, resolve, show_review
from bridge.store import leases
from bridge.upkeep.check import alerts
from tests.books.runs import HOUR, change, codes, paid, reconcile, report_of, told
from tests.flows.test_own_wallet import DESCRIPTOR

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


def test_two_who_begin_at_once_begin_one_run(world, monkeypatch):
    """Each finds none under way, and asks the gateway."""
    others = []

    def slow(bridge):
        monkeypatch.setattr(reconcile_module, "wallet_variances", wallet_variances)
        others.append(start_scheduled(bridge))
        return wallet_variances(bridge)

    monkeypatch.setattr(reconcile_module, "wallet_variances", slow)
    assert start_reconciliation(world.bridge, actor="anna", reason="a test") == others[0]
    assert [run["id"] for run in list_reconciliations(world.bridge, limit=9)] == others


@dataclass
class NewNode:
    """The world's chain as a node tells it that has searched nothing but what it was asked for; it keeps from when on that was."""

    chain: Chain
    asked: dict[str, datetime] = field(default_factory=dict)

    def read(self, address, *, born_at, asked_at, known=()) -> ChainReading:
        self.asked[address] = born_at
        return replace(self.chain.read(address, born_at=born_at, asked_at=asked_at, known=known), since=born_at)

    def tip(self):
        return self.chain.tip()


def gauge(world, name, **labels):
    refresh_gauges(world.bridge)
    return world.bridge.metrics.registry.get_sample_value(name, labels)


def recon_items(world):
    items = list_reviews(world.bridge, match={"state": "open", "kind": "recon_diff"}, limit=100)
    return [show_review(world.bridge, item["id"]) for item in items]


def test_a_clean_shop_reconciles_to_the_satoshi(world):
    settled = paid(world, "1")
    partial = world.open("2")
    world.pay(partial, 5_000)
    world.look(partial)
    world.open("3")
    world.advance(2 * HOUR)
    world.look(partial)
    report_of(
        world, [told(settled), told(world.invoice(partial)), told(partial, billing_payment_id="3", external_id="")]
    )
    report = reconcile(world.bridge)
    assert report["findings"] == []
    assert (report["is_clean"], report["checked"], report["phase"]) == (True, 3, "done")
    for side in ("ledger", "chain", "provider", "billing", "wallet"):
        assert gauge(world, "recon_variance_sat", side=side) == 0
    assert gauge(world, "bridge_recon_age_seconds") < 60  # this clock ticks, and the machine may be busy
    assert recon_items(world) == []


def test_money_that_we_lost_is_found_and_taken_in_again(world):
    invoice = paid(world)
    change(world, "DELETE FROM payments WHERE invoice_id = :id", id=invoice["id"])
    report = reconcile(world.bridge)
    assert codes(report) == ["books_differ", "output_missing"]
    sat = invoice["received_sat"]
    assert report["variance_sat"]["chain"] == sat
    assert gauge(world, "recon_variance_sat", side="chain") == sat
    assert world.invoice(invoice)["received_sat"] == sat
    [item] = recon_items(world)
    assert item["invoice_id"] == invoice["id"]
    assert [f["code"] for f in item["blocks"]["findings"]] == ["books_differ", "output_missing"]
    assert item["blocks"]["quote"] and item["blocks"]["money"] and item["blocks"]["wallet_history"]
    assert codes(reconcile(world.bridge)) == []


def test_money_that_only_we_have_is_found(world):
    invoice = paid(world)
    change(
        world,
        "INSERT INTO payments (invoice_id, key, amount_sat, confirmations, first_seen_at, replaceable, replaced, source,"
        " asked_at) SELECT invoice_id, 'ff:0', 700, 9, first_seen_at, replaceable, replaced, source, asked_at"
        " FROM payments WHERE invoice_id = :id",
        id=invoice["id"],
    )
    report = reconcile(world.bridge)
    assert codes(report) == ["books_differ", "output_extra", "wallet_differs"]
    assert (report["variance_sat"]["chain"], report["variance_sat"]["ledger"]) == (700, 700)


def test_an_altered_sum_is_found(world):
    invoice = paid(world)
    change(world, "UPDATE payments SET amount_sat = amount_sat - 300 WHERE invoice_id = :id", id=invoice["id"])
    report = reconcile(world.bridge)
    assert codes(report) == ["books_differ", "output_different"]
    assert report["variance_sat"]["chain"] == 300


def test_an_entry_slipped_into_the_ledger_is_found(world):
    invoice = paid(world)
    change(
        world,
        "INSERT INTO entries (journal_id, account, asset, units, service_ref)"
        " SELECT MAX(id), 'wallet:hot', 'BTC', -1000, '' FROM journals WHERE invoice_id = :id",
        id=invoice["id"],
    )
    report = reconcile(world.bridge)
    assert codes(report) == ["books_differ", "journal_unbalanced", "wallet_differs"]
    assert report["variance_sat"]["ledger"] == 1_000
    assert gauge(world, "recon_variance_sat", side="wallet") == 1_000


@ONE_ENGINE
def test_a_second_paid_signal_is_found(world):
    invoice = paid(world)
    change(
        world,
        "INSERT INTO events (id, invoice_id, merchant, type, sequence, created_at, body)"
        " SELECT 'evt_again', invoice_id, merchant, type, 99, created_at, body FROM events"
        " WHERE invoice_id = :id AND type = 'invoice.settled'",
        id=invoice["id"],
    )
    assert codes(reconcile(world.bridge)) == ["settled_twice"]


@ONE_ENGINE
def test_an_output_that_pays_two_invoices_is_found(world):
    first, second = paid(world, "1"), paid(world, "2")
    change(
        world,
        "UPDATE payments SET key = (SELECT key FROM payments WHERE invoice_id = :first) WHERE invoice_id = :second",
        first=first["id"],
        second=second["id"],
    )
    found = codes(reconcile(world.bridge))
    assert found.count("output_counted_twice") == 2
    assert "output_missing" in found and "output_extra" in found


def test_money_in_the_wallet_that_nobody_booked_is_found_until_it_is_said_to_be_foreign(world):
    paid(world)
    stray = world.wallet.create_inbox(expected_sat=1)
    world.control("pay", address=stray, amount_sat=12_345)
    world.mine()
    report = reconcile(world.bridge)
    assert codes(report) == ["wallet_differs"]
    assert gauge(world, "recon_variance_sat", side="wallet") == 12_345
    with pytest.raises(Refused):
        set_baseline(world.bridge, baseline_sat=12_345, actor="anna", reason=" ")
    set_baseline(world.bridge, baseline_sat=12_345, actor="anna", reason="was there before")
    assert codes(reconcile(world.bridge)) == []
    assert "wallet_baseline_set" in [row.action for row in world.rows("SELECT action FROM audit")]


@ONE_ENGINE
@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"status": 2}, "settled_not_paid", "extra"),
        ({"amount_text": "9.00"}, "billing_amount_differs", "different"),
        ({"amount_text": "ten"}, "billing_amount_differs", "different"),
        ({"currency": "RUB"}, "billing_amount_differs", "different"),
        ({"external_id": "inv_other"}, "external_id_differs", "different"),
    ],
)
def test_what_the_billing_system_has_otherwise_is_found(world, changes, code, kind):
    invoice = paid(world)
    report_of(world, [told(invoice, **changes)])
    report = reconcile(world.bridge)
    assert [(f["side"], f["code"], f["kind"]) for f in report["findings"]] == [("billing", code, kind)]
    assert recon_items(world)[0]["invoice_id"] == invoice["id"]


@ONE_ENGINE
def test_a_payment_that_is_paid_there_without_money_here_is_found(world):
    invoice = world.open()
    report_of(world, [told(invoice, status=4)])
    assert codes(reconcile(world.bridge)) == ["paid_not_settled"]


@ONE_ENGINE
def test_an_invoice_that_a_restored_database_lost_is_found_by_the_billing_systems_word(world):
    report_of(
        world,
        [
            {"billing_payment_id": "55", "status": 4, "amount_text": "1.00", "currency": "USD", "external_id": "inv_a"},
            {"billing_payment_id": "56", "status": 9, "amount_text": "1.00", "currency": "USD"},
        ],
    )
    report = reconcile(world.bridge)
    assert [(f["code"], f["theirs"]) for f in report["findings"]] == [("unknown_here", "payment 55, status 4, inv_a")]
    [item] = recon_items(world)
    assert item["blocks"]["what"]["findings"][0]["code"] == "unknown_here"
    resolve(world.bridge, item["id"], decision="acknowledge", actor="anna", reason="old test payment")


@ONE_ENGINE
def test_money_on_an_address_that_was_forgotten_here_is_shown_with_its_payment(world):
    address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    world.control("pay", address=address, amount_sat=15_924)
    world.mine()
    row = {"billing_payment_id": "55", "status": 2, "amount_text": "1.00", "currency": "USD", "external_id": "inv_a"}
    empty = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
    rows = [row | {"address": address}, row | {"billing_payment_id": "56", "address": empty}]
    report_of(world, [*rows, row | {"billing_payment_id": "57", "address": "nonsense"}])
    found = {f["theirs"]: f["variance_sat"] for f in reconcile(world.bridge)["findings"] if f["code"] == "unknown_here"}
    assert found == {
        f"payment 55, status 2, inv_a; 15924 sat came to its address {address}": 15_924,
        "payment 56, status 2, inv_a": 0,
        "payment 57, status 2, inv_a": 0,
    }
    assert recon_items(world)


def test_a_reader_who_is_ahead_of_the_feed_misses_nothing_that_comes(world):
    """He was told of events that the database has lost since."""
    world.open("1")
    end = world.feed()[-1]["position"]
    assert [event["type"] for event in world.feed(after=end)] == []
    assert recon_items(world) == []
    ahead = end + 7
    assert world.feed(after=ahead) == []
    [item] = recon_items(world)
    [finding] = item["blocks"]["what"]["findings"]
    assert (finding["code"], finding["ours"]) == ("feed_ahead", f"the feed ends at {end}")
    world.open("2")
    assert [event["type"] for event in world.feed(after=ahead)] == ["test", "invoice.created"]
    assert world.feed(after=10**15) == []
    assert len(recon_items(world)) == 1 and world.feed()[-1]["position"] < 10**8


@ONE_ENGINE
def test_a_paid_invoice_that_a_whole_report_does_not_name_is_found(world):
    paid(world)
    report_of(world, [], is_last=False)
    assert codes(reconcile(world.bridge)) == []
    report_of(world, [], report_id="r2")
    assert codes(reconcile(world.bridge)) == ["unknown_there"]


@ONE_ENGINE
def test_a_settlement_that_may_still_be_on_its_way_is_no_finding(world):
    invoice = world.open()
    world.pay(invoice)
    world.mine()
    world.look(invoice)
    report_of(world, [told(world.invoice(invoice), status=2)])
    assert codes(reconcile(world.bridge)) == []


@ONE_ENGINE
def test_an_older_report_never_undoes_a_newer_one(world):
    invoice = paid(world)
    report_of(world, [], report_id="slow", is_last=False)
    world.advance(60)
    report_of(world, [told(invoice)], report_id="fast")
    report_of(world, [told(invoice, status=2)], report_id="slow")
    assert codes(reconcile(world.bridge)) == []


@ONE_ENGINE
def test_fresh_money_is_news_and_no_finding(world):
    invoice = world.open()
    world.pay(invoice)
    report = reconcile(world.bridge)
    assert (report["findings"], report["caught_up"]) == ([], 1)
    assert world.invoice(invoice)["status"] == "processing"


@ONE_ENGINE
def test_without_a_chain_reader_the_gateways_totals_are_compared(worlds):
    world = worlds(chain={"esplora": []}, policy={"default": {"provider_only_max_sat": 10**9}})
    invoice = world.open()
    world.pay(invoice)
    assert world.seen(invoice)[0] == "settled"
    assert codes(reconcile(world.bridge)) == []
    change(world, "UPDATE payments SET amount_sat = amount_sat + 50")
    assert codes(reconcile(world.bridge)) == ["books_differ", "provider_below"]
    change(world, "DELETE FROM payments")
    assert "provider_above" in codes(reconcile(world.bridge))


@ONE_ENGINE
def test_the_gateways_calls_are_shared_with_those_who_wait(worlds):
    world = worlds(
        chain={"esplora": []}, policy={"default": {"provider_only_max_sat": 10**9}}, subtc={"calls_per_minute": 4}
    )
    for number in range(3):
        world.open(str(number))
    world.advance(62)
    before = world.calls("wallet_poll")
    run_id = start_reconciliation(world.bridge, actor="anna", reason="month end")
    for _ in range(3):
        assert not step(world.bridge, run_id).is_over
    # Half of the calls, and the whole wallet's balance took one of them.
    assert world.calls("wallet_poll") - before == 1
    world.advance(63)
    for _ in range(4):
        step(world.bridge, run_id)
    report = show_reconciliation(world.bridge, run_id)
    assert (report["checked"], report["is_clean"]) == (3, True)


@ONE_ENGINE
def test_a_world_that_does_not_answer_makes_the_run_incomplete(world):
    paid(world)
    world.control("knobs", outage="503")
    try:
        report = reconcile(world.bridge)
    finally:
        world.heal()
    assert not report["is_clean"]
    assert report["unread"] >= 1


@ONE_ENGINE
def test_a_run_goes_on_page_by_page_where_it_stood(world):
    for number in range(5):
        world.open(str(number))
    run_id = start_reconciliation(world.bridge, actor="anna", reason="month end")
    seen = [step(world.bridge, run_id, limit=2).counts["checked"] for _ in range(3)]
    assert seen == [2, 4, 5]
    for _ in range(2):
        step(world.bridge, run_id, limit=2)
    assert list_reconciliations(world.bridge, limit=5)[0]["is_clean"]
    assert step(world.bridge, run_id).is_over


@ONE_ENGINE
def test_old_invoices_have_their_journals_checked_but_not_their_addresses(world):
    invoice = paid(world)
    world.advance(30 * 24 * HOUR)
    before = world.calls("wallet_poll")
    change(world, "UPDATE payments SET amount_sat = amount_sat - 300 WHERE invoice_id = :id", id=invoice["id"])
    assert codes(reconcile(world.bridge)) == ["books_differ"]
    assert world.calls("wallet_poll") == before


@ONE_ENGINE
def test_the_schedule_begins_a_run_resumes_a_dead_ones_page_and_trips_when_it_stands_still(world):
    world.open()
    assert reconcile_due(world.bridge, owner="w1") == 0
    assert list_reconciliations(world.bridge, limit=5) == []
    world.advance(6 * HOUR)
    with world.bridge.store.write() as tx:
        leases.take_free(tx, "reconcile", owner="died", now=world.bridge.clock(), lease_seconds=300)
    assert reconcile_due(world.bridge, owner="w1") == 0
    assert list_reconciliations(world.bridge, limit=5) == []
    world.advance(301)
    assert reconcile_due(world.bridge, owner="w1") == 1
    assert list_reconciliations(world.bridge, limit=5)[0]["finished_at"] is None
    assert [reconcile_due(world.bridge, owner="w2") for _ in range(4)] == [1, 1, 0, 0]
    [run] = list_reconciliations(world.bridge, limit=5)
    assert run["is_clean"] and run["is_scheduled"]
    assert "reconciliation_old" not in [alert.rule for alert in alerts(world.bridge)]
    world.advance(13 * HOUR)
    assert "reconciliation_old" in [alert.rule for alert in alerts(world.bridge)]


@ONE_ENGINE
def test_a_run_needs_somebody_and_a_period(world):
    with pytest.raises(Refused, match="who"):
        start_reconciliation(world.bridge, actor=" ", reason="x")
    now = world.bridge.clock()
    with pytest.raises(Refused, match="period"):
        start_reconciliation(world.bridge, actor="anna", reason="month end", from_at=now, to_at=now)
    with pytest.raises(Refused):
        show_reconciliation(world.bridge, "rec_none")


@ONE_ENGINE
def test_a_report_of_another_merchants_id_is_refused(world):
    report_of(world, [], report_id="r1")
    stolen = {"report_id": "r1", "covers_from": world.bridge.clock(), "payments": (), "is_last": True}
    with pytest.raises(Refused):
        take_billing_report(world.bridge, "other", **stolen)


@ONE_ENGINE
def test_a_restored_bridge_in_read_only_mode_finds_what_it_lost_and_moves_nothing(world):
    """Yesterday's database: it knows the invoice, but not that it was paid; the billing system does."""
    invoice = world.open()
    world.look(invoice)
    txid = world.pay(invoice)
    world.mine(6)
    report_of(world, [told(invoice, status=4)])
    world.switch("read_only")
    report = reconcile(world.bridge)
    assert (codes(report), report["caught_up"]) == (["paid_not_settled", "wallet_differs"], 1)
    assert world.invoice(invoice)["status"] == "new"
    assert world.billing.told == []
    world.switch("normal")
    reconcile(world.bridge)
    world.deliver()
    assert world.billing.types().count("invoice.settled") == 1
    assert txid in str(world.rows("SELECT key FROM payments"))
    assert codes(reconcile(world.bridge)) == []


@ONE_ENGINE
def test_the_schedule_rests_in_read_only_mode(world):
    world.open()
    world.advance(7 * HOUR)
    world.switch("read_only")
    assert reconcile_due(world.bridge, owner="w1") == 0
    assert list_reconciliations(world.bridge, limit=5) == []


@ONE_ENGINE
def test_the_past_of_what_is_over_is_searched_no_further_than_a_look_does(worlds):
    """A node that is new would search weeks for each of them."""
    world = worlds(policy={"default": {"monitor_seconds": 2 * HOUR, "invoice_expiry_seconds": HOUR}})
    over, young = paid(world, "1"), world.open("2")
    node = NewNode(world.bridge.chain)
    bridge = replace(world.bridge, chain=node)
    before = world.bridge.clock()
    report = reconcile(bridge)
    assert node.asked[over["address"]] >= before
    assert node.asked[young["address"]] < before
    # What it did not search is not said to be compared, nor to be gone.
    assert (report["findings"], report["unread"], report["is_clean"]) == ([], 1, False)


@ONE_ENGINE
def test_a_page_of_a_run_reads_the_highest_block_once(world):
    for number in range(4):
        world.open(str(number))
    asked = []
    event.listen(world.bridge.store.engine, "before_cursor_execute", lambda *a: asked.append("FROM chain_tips" in a[2]))
    run_id = start_reconciliation(world.bridge, actor="anna", reason="month end")
    asked.clear()
    assert step(world.bridge, run_id).counts["checked"] == 4
    assert sum(asked) == 1


@ONE_ENGINE
def test_money_to_the_own_wallet_is_taken_in_also_where_a_node_has_not_searched_all(worlds):
    world = worlds(subtc=None, own_wallet={"descriptor": DESCRIPTOR})
    invoice = world.open()
    world.pay(invoice)

    class Behind(NewNode):
        def read(self, address, **about):
            return replace(super().read(address, **about), since=about["asked_at"])

    report = reconcile(replace(world.bridge, chain=Behind(world.bridge.chain)))
    assert (report["caught_up"], report["unread"]) == (1, 1)
    assert world.invoice(invoice)["status"] == "processing"
