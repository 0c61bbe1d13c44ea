"""A clock that was ahead and was put right: nothing waits for the times that it wrote, and nothing is lost by them."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bridge.books.keep_books import purge_due, seal_audit
from bridge.core.quote import Quote
from bridge.invoices.open_invoice import OPENING_LEASE_SECONDS
from bridge.invoices.pay import pay_view, requote
from bridge.invoices.poll import sense_balance
from bridge.store import idempotency, invoices, reconciliations
from bridge.store.idempotency import Scope
from bridge.store.together import Together
from bridge.upkeep.check import Thresholds, clock_faults
from bridge.upkeep.watch import WatchedClock, watch_clock
from bridge.worker import Worker
from tests.flows.test_poll import leased
from tests.flows.world import World, answer, until

DAY, HOUR = 86_400, 3_600
FAR, NEAR = timedelta(days=3), timedelta(hours=5)
AHEAD = pytest.mark.parametrize("ahead", [FAR, NEAR], ids=["three-days", "five-hours"])
# Who can notice: the worker that went on running, the next one by the mark of the last, or the next one by what it finds.
NOTICES = pytest.mark.parametrize("noticed_by", ["the same worker", "the mark", "what is stored"])


def put_right(world: World, noticed_by: str) -> None:
    """Sets the clock right after a worker did, or did not, run while it was wrong."""
    if noticed_by != "what is stored":
        world.work()
    if noticed_by != "the same worker":
        world.watched = WatchedClock()
    world.clock_ahead = timedelta(0)


def jumps(world: World) -> list[int]:
    """By how many seconds clocks were set back, as far as it was noticed."""
    return [row.seconds for row in world.rows("SELECT seconds FROM clock_jumps ORDER BY id")]


def stored(world: World, invoice: dict) -> object:
    with world.bridge.store.read() as tx:
        return invoices.find(tx, id=invoice["id"])


def quotes(world: World, invoice: dict) -> list[Quote]:
    with world.bridge.store.read() as tx:
        return invoices.quotes_of(tx, invoice["id"])


def nothing_is_ahead(world: World, invoice: dict) -> bool:
    now, row = world.bridge.clock(), stored(world, invoice)
    return all(at is None or at <= now for at in (row.created_at, row.updated_at, row.chain_asked_at, row.settled_at))


@AHEAD
@NOTICES
def test_money_is_seen_at_once_although_a_look_was_taken_by_a_clock_ahead(
    world: World, ahead: timedelta, noticed_by: str
) -> None:
    invoice = world.open()
    world.clock_ahead = ahead
    world.look(invoice)
    put_right(world, noticed_by)
    world.pay(invoice)
    world.work()
    assert (world.invoice(invoice)["status"], world.invoice(invoice)["received_sat"]) == ("processing", 15_539)
    assert jumps(world) == [pytest.approx(ahead.total_seconds(), abs=60)]
    world.mine()
    world.advance(31)
    world.work()
    assert world.invoice(invoice)["status"] == "settled"
    assert nothing_is_ahead(world, invoice)


@AHEAD
@NOTICES
def test_an_invoice_opened_by_a_clock_ahead_is_paid_like_any_other(
    world: World, ahead: timedelta, noticed_by: str
) -> None:
    world.clock_ahead = ahead
    invoice = world.open()
    put_right(world, noticed_by)
    world.pay(invoice)
    world.work()
    paid = world.invoice(invoice)
    assert (paid["status"], paid["exception"], paid["received_sat"]) == ("processing", "none", 15_539)
    assert nothing_is_ahead(world, invoice)
    assert paid["quote"]["due_sat"] == 15_539
    row, last = stored(world, invoice), quotes(world, invoice)[-1]
    assert row.expires_at - row.created_at == timedelta(days=1)
    assert (last.effective_from, last.expires_at - last.effective_from) == (row.created_at, timedelta(minutes=15))
    world.mine()
    world.advance(31)
    world.work()
    assert world.invoice(invoice)["status"] == "settled"
    assert world.billing.types() == ["invoice.processing", "invoice.settled"]


def test_with_the_clock_still_ahead_elsewhere_money_is_seen_by_a_right_worker(world: World) -> None:
    """Another machine serves the pages, and its clock stays wrong."""
    right = world.bridge
    world.clock_ahead = FAR
    invoice = world.open()
    wrong = world.bridge.clock()
    world.bridge = replace(right, clock=lambda: wrong - FAR)
    world.pay(invoice)
    world.work()
    assert world.invoice(invoice)["status"] == "processing"


def test_a_price_of_a_clock_ahead_is_not_offered_for_days(world: World) -> None:
    world.clock_ahead = FAR
    invoice = world.open()
    put_right(world, "the same worker")
    public_id = invoice["payment_url"].rsplit("/", 1)[-1]
    assert pay_view(world.bridge, public_id).shown_sat == 0
    requote(world.bridge, public_id)
    world.work()
    view = pay_view(world.bridge, public_id)
    assert (view.shown_sat, view.is_blind) == (15_539, False)
    assert view.looked_at is not None and view.looked_at <= world.bridge.clock()
    world.advance(901)
    assert pay_view(world.bridge, public_id).reason == "quote_lapsed"
    requote(world.bridge, public_id)
    assert pay_view(world.bridge, public_id).shown_sat == 15_539


def test_a_lapsed_price_of_a_clock_ahead_does_not_begin_anew(world: World) -> None:
    """The worker saw the jump, so it knows when the price was really shown."""
    world.work()
    world.clock_ahead = FAR
    invoice = world.open()
    world.work()
    world.advance(2 * HOUR)
    world.work()
    world.clock_ahead = timedelta(0)
    world.control("price", currency="USD", price="40000.00")
    world.work()
    public_id = invoice["payment_url"].rsplit("/", 1)[-1]
    assert pay_view(world.bridge, public_id).reason == "quote_lapsed"
    row = stored(world, invoice)
    assert world.bridge.clock() - row.created_at == pytest.approx(timedelta(hours=2), abs=timedelta(minutes=1))


@pytest.mark.parametrize("opened_ahead", [True, False])
def test_what_was_settled_by_a_clock_ahead_stays_settled(world: World, opened_ahead: bool) -> None:
    """Of the second invoice the price had lapsed by that clock, so its money was given the price of the day."""
    world.work()
    invoice = None if opened_ahead else world.open()
    world.clock_ahead = NEAR
    invoice = invoice or world.open()
    world.pay(invoice, confirmations=1)
    world.work()
    world.advance(HOUR)
    world.work()
    assert world.invoice(invoice)["status"] == "settled"
    world.clock_ahead = timedelta(0)
    for _ in range(3):
        world.work()
        world.advance(700)
    assert (world.invoice(invoice)["status"], world.reviews()) == ("settled", [])
    assert nothing_is_ahead(world, invoice)
    assert world.balance("wallet:hot") == 15_539


def test_an_amount_changed_in_the_meantime_stays_the_newest(world: World) -> None:
    world.clock_ahead = NEAR
    invoice = world.open()
    world.clock_ahead = timedelta(0)
    changed = json.loads(world.ask(key="another", amount_text="20.00").body)
    world.work()
    now = world.invoice(invoice)
    assert (now["amount"], now["quote"]["due_sat"]) == ("20.00", changed["quote"]["due_sat"])
    world.pay(now)
    world.work()
    world.advance(31)
    assert world.seen(invoice) == ("processing", "none", None)


def test_our_own_clock_behind_moves_nothing_that_was_right(world: World) -> None:
    invoice = world.open()
    world.work()
    before = stored(world, invoice)
    world.mine()
    world.clock_ahead = -FAR
    world.work()
    world.look(invoice)
    now = stored(world, invoice)
    assert (now.created_at, now.expires_at) == (before.created_at, before.expires_at)
    assert len(quotes(world, invoice)) == 1


def times(world: World, invoice: dict) -> tuple[object, ...]:
    row = stored(world, invoice)
    return row.created_at, row.expires_at, row.monitor_until, tuple(quotes(world, invoice))


def test_a_larger_jump_that_has_nothing_to_do_with_it_takes_no_time_from_a_payer(world: World) -> None:
    """Another node had been ten days ahead. The node that opened has no worker that could notice its own jump."""
    world.work()
    world.clock_ahead = timedelta(days=10)
    world.work()
    world.clock_ahead = timedelta(0)
    world.work()
    world.advance(HOUR)
    world.clock_ahead = NEAR
    invoice = world.open()
    world.clock_ahead = timedelta(0)
    really_shown_at = world.bridge.clock()
    world.advance(600)
    world.look(invoice)
    row, last = stored(world, invoice), quotes(world, invoice)[-1]
    assert row.expires_at >= really_shown_at + timedelta(days=1)
    assert last.expires_at >= really_shown_at + timedelta(minutes=15)
    assert row.expires_at < world.bridge.clock() + timedelta(days=1, minutes=1)


def test_of_two_clocks_that_were_ahead_the_one_that_showed_the_price_counts(world: World) -> None:
    world.work()
    world.clock_ahead = NEAR
    world.work()
    invoice = world.open()
    really_shown_at = world.bridge.clock() - NEAR
    world.clock_ahead = timedelta(0)
    watch_clock(world.bridge, world.watched, owner="w1")
    world.clock_ahead = 2 * NEAR
    world.look(invoice)
    world.clock_ahead = timedelta(0)
    world.look(invoice)
    row = stored(world, invoice)
    assert row.expires_at >= really_shown_at + timedelta(days=1) - timedelta(minutes=1)


def test_each_jump_that_a_worker_sees_is_kept(world: World) -> None:
    world.work()
    for ahead in (FAR, NEAR):
        world.clock_ahead = ahead
        watch_clock(world.bridge, world.watched, owner="w1")
        world.clock_ahead = timedelta(0)
        watch_clock(world.bridge, world.watched, owner="w1")
    assert jumps(world) == [-3 * DAY, 3 * DAY, -5 * HOUR, 5 * HOUR]


@pytest.mark.parametrize("behind", [timedelta(minutes=30), NEAR])
@pytest.mark.parametrize("has_chain", [True, False])
def test_a_node_whose_clock_is_behind_puts_nothing_right(world: World, behind: timedelta, has_chain: bool) -> None:
    """The newest block is an hour old: it does not tell. The gateway does, and where it keeps silent nobody does."""
    world.mine()
    world.advance(HOUR)
    if not has_chain:
        world.bridge = replace(world.bridge, chain=None)
    invoice = world.open()
    world.look(invoice)
    before = times(world, invoice)
    world.clock_ahead = -behind
    world.look(invoice)
    world.fault("wallet_poll", "error_500_before")
    world.look(invoice)
    assert times(world, invoice) == before
    world.clock_ahead = timedelta(0)
    world.heal()
    world.pay(invoice)
    assert world.seen(invoice)[0] == "processing"
    assert times(world, invoice) == before


def test_a_node_whose_clock_is_behind_brings_nothing_back_and_says_that_it_is_the_wrong_one(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    watch_clock(world.bridge, WatchedClock(), owner="right")
    waits = [row.next_look_at for row in world.rows("SELECT next_look_at FROM invoices")]
    world.clock_ahead = -NEAR
    watch_clock(world.bridge, WatchedClock(), owner="wrong")
    assert [row.next_look_at for row in world.rows("SELECT next_look_at FROM invoices")] == waits
    with world.bridge.store.read() as tx:
        faults = clock_faults(tx, world.bridge, now=world.bridge.clock(), limits=Thresholds())
    assert any("it is this one that is behind" in fault for fault in faults)


@pytest.mark.parametrize(("ahead", "is_put_right"), [(NEAR, True), (timedelta(hours=1), False)])
def test_without_a_gateways_clock_the_chain_tells_where_it_is_never_silent_so_long(
    world: World, ahead: timedelta, is_put_right: bool
) -> None:
    world.bridge = replace(world.bridge, oldest_tip=timedelta(hours=2))
    world.clock_ahead = ahead
    invoice = world.open()
    before = times(world, invoice)
    world.clock_ahead = timedelta(0)
    world.mine()
    world.fault("wallet_poll", "error_500_before")
    world.look(invoice)
    assert (times(world, invoice) != before) == is_put_right
    world.heal()
    world.pay(invoice)
    assert world.seen(invoice)[0] == "processing"


def test_a_lease_of_a_clock_ahead_keeps_nobody_from_a_job(world: World) -> None:
    world.open()
    world.clock_ahead = FAR
    assert seal_audit(world.bridge, owner="dead") > 0
    sense_balance(world.bridge, owner="dead")
    world.advance(31)
    assert len(leased(world, owner="dead")) == 1
    world.clock_ahead = timedelta(0)
    world.open("8")
    assert seal_audit(world.bridge, owner="w1") > 0
    world.work()
    world.advance(62)
    assert len(leased(world, owner="w1")) == 2


def test_a_delivery_that_was_put_off_by_a_clock_ahead_goes_out(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.billing.answers["shop"] = lambda _event: answer("retry", 503)
    world.clock_ahead = NEAR
    world.look(invoice)
    assert world.deliver() == 1
    world.billing.answers.clear()
    world.clock_ahead = timedelta(0)
    world.work()
    assert world.billing.types() == ["invoice.settled"] * 2
    assert world.rows("SELECT state FROM deliveries") == [("delivered",)]


def test_a_delivery_keeps_its_schedule_once_it_was_brought_back(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.billing.answers["shop"] = lambda _event: answer("retry", 503, retry_after_seconds=HOUR)
    world.clock_ahead = FAR
    world.look(invoice)
    world.deliver()
    world.clock_ahead = timedelta(0)
    for _ in range(5):
        world.work()
        world.advance(61)
    assert len(world.billing.told) == 2


def test_a_doorbell_of_a_clock_ahead_is_answered_once(world: World) -> None:
    invoice = world.open()
    world.clock_ahead = FAR
    world.ring(invoice)
    world.clock_ahead = timedelta(0)
    assert (world.answer_doorbells(), world.answer_doorbells()) == (1, 0)


def test_a_request_that_died_with_the_clock_ahead_may_be_made_again(world: World) -> None:
    """Its key and its claim of the billing payment ended by that clock in three days."""
    scope = Scope(merchant="shop", operation="open_invoice", key="key-7")
    claim = {"now": world.bridge.clock() + FAR, "lease_seconds": OPENING_LEASE_SECONDS}
    body = world.ask("6")
    assert body.status == 201
    together = Together()
    idempotency.begin(together, scope, body_sha256=sha_of("7"), **claim)
    idempotency.take_opening(together, merchant="shop", billing_payment_id="7", owner="dead", **claim)
    with world.bridge.store.write() as tx:
        together.run(tx)
    assert world.ask("7").status == 201


def sha_of(billing_payment_id: str) -> str:
    import hashlib

    body = {"billing_payment_id": billing_payment_id, "amount_text": "10.00", "currency": "USD"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def test_the_billing_systems_newer_word_counts_although_an_older_one_lies_ahead(world: World) -> None:
    now = world.bridge.clock()
    said = {"billing_payment_id": "7", "amount_text": "10.00", "currency": "USD", "external_id": ""}
    with world.bridge.store.write() as tx:
        for at, status in ((now + FAR, 1), (now, 4)):
            reconciliations.put_statuses(tx, merchant="shop", rows=[said | {"status": status}], now=at)
        for name, at in (("wrong", now + FAR), ("right", now)):
            reconciliations.open_report(tx, report_id=name, merchant="shop", covers_from=now, now=at, source="test")
            reconciliations.finish_report(tx, name, now=at)
        assert reconciliations.covered(tx, "shop", now=now) == (now, now)
        assert reconciliations.newest_report_at(tx, now=now) == {"shop": now}
    assert world.rows("SELECT status FROM billing_statuses") == [(4,)]


def test_an_invoice_is_not_let_rest_on_an_answer_from_ahead_of_now(world: World) -> None:
    world.open()
    sense_balance(world.bridge, owner="w1")
    world.clock_ahead = NEAR
    world.advance(31)
    world.poll()
    world.clock_ahead = timedelta(0)
    with world.bridge.store.write() as tx:
        tx.execute(text("UPDATE invoices SET next_look_at = 0"))
    assert sense_balance(world.bridge, owner="w1") == 0
    assert world.poll() == 1


def test_a_forward_jump_is_noticed_and_makes_nothing_due(world: World) -> None:
    world.open()
    world.work()
    world.clock_ahead = FAR
    watch_clock(world.bridge, world.watched, owner="w1")
    assert jumps(world) == [-3 * DAY]
    world.clock_ahead = timedelta(0)
    watch_clock(world.bridge, world.watched, owner="w1")
    assert jumps(world) == [-3 * DAY, 3 * DAY]


def test_a_jump_is_told_once_with_what_waited(world: World) -> None:
    invoice = world.open()
    world.work()
    world.clock_ahead = FAR
    world.look(invoice)
    world.clock_ahead = timedelta(0)
    for _ in range(4):
        watch_clock(world.bridge, world.watched, owner="w1")
        world.advance(61)
    (told,) = world.rows("SELECT actor, detail FROM audit WHERE action = 'clock_jumped'")
    assert told.actor == "w1"
    assert json.loads(told.detail)["brought_back"]["looks"] == 1


def test_two_nodes_whose_clocks_differ_say_so_once_an_hour(world: World) -> None:
    right, wrong = WatchedClock(), WatchedClock()
    for _ in range(10):
        world.clock_ahead = NEAR
        watch_clock(world.bridge, wrong, owner="wrong")
        world.clock_ahead = timedelta(0)
        watch_clock(world.bridge, right, owner="right")
        world.advance(61)
    assert jumps(world) == [5 * HOUR]


def test_a_jump_that_could_not_be_written_down_is_noticed_again(world: World) -> None:
    world.work()
    world.clock_ahead = FAR
    world.work()
    world.clock_ahead = timedelta(0)
    with world.bridge.store.write() as tx:
        tx.execute(text("ALTER TABLE clock_jumps RENAME TO away"))
    with pytest.raises(DBAPIError):
        watch_clock(world.bridge, world.watched, owner="w1")
    with world.bridge.store.write() as tx:
        tx.execute(text("ALTER TABLE away RENAME TO clock_jumps"))
    watch_clock(world.bridge, world.watched, owner="w1")
    assert jumps(world) == [-3 * DAY, 3 * DAY]


def test_the_worker_itself_sees_the_money_in_its_next_step(world: World) -> None:
    invoice = world.open()
    worker = Worker(world.bridge)
    worker.step()
    world.clock_ahead = FAR
    worker.step()
    until(lambda: (row := stored(world, invoice)).chain_asked_at is not None and row.lease_owner is None)
    world.clock_ahead = timedelta(0)
    world.pay(invoice)
    worker.step()
    until(lambda: world.invoice(invoice)["status"] == "processing", seconds=5)
    worker.stop()
    worker.run()


def test_nothing_is_purged_for_a_day_after_a_jump(world: World) -> None:
    world.ring(world.open())
    world.work()
    world.clock_ahead = timedelta(days=1_000)
    world.work()
    assert purge_due(world.bridge) == 0
    world.advance(DAY + 1)
    assert purge_due(world.bridge) > 0


def test_settings_that_were_changed_are_no_clock_that_was(world: World) -> None:
    """A question was given three days, and now the settings say one."""
    world.bridge = replace(world.bridge, review_due_seconds=3 * DAY)
    invoice = world.open(amount_text="20000.00")
    world.pay(invoice)
    world.look(invoice)
    assert world.reviews() == ["large_amount"]
    world.bridge = replace(world.bridge, review_due_seconds=DAY)
    world.work()
    assert jumps(world) == []


def test_by_a_right_clock_nothing_ever_lies_ahead(world: World) -> None:
    """Through every age, resting, with money in every state, with a receiver that asks for a day's patience."""
    world.billing.answers["shop"] = lambda _event: answer("retry", 503, retry_after_seconds=DAY)
    unpaid, part, paid, final = (world.open(name) for name in ("1", "2", "3", "4"))
    world.pay(part, 5_000)
    world.pay(paid)
    world.pay(final, confirmations=6)
    for pause in (*([20] * 5), *([300] * 8), *([HOUR] * 4), *([4 * HOUR] * 8), *([DAY] * 9)):
        for invoice in (unpaid, part, paid, final):
            world.look(invoice)
        world.work()
        world.watched = WatchedClock()  # a fresh worker looks through everything
        assert watch_clock(world.bridge, world.watched, owner="w2") == 0
        world.advance(pause)
        sense_balance(world.bridge, owner="w1")
    assert jumps(world) == []
    assert world.invoice(unpaid)["status"] == "expired"
