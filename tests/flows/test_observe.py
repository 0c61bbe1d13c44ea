"""Money on an invoice's address, as our own reads see it: part, enough, too much, late, replaced, undone."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from bridge.core.policy import Policy, Rule
from bridge.invoices.observe import look
from tests.flows.world import World


def told(world: World) -> list[str]:
    world.deliver()
    return world.billing.types()


def test_money_is_seen_then_confirmed_then_settled_and_told_once(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    assert world.seen(invoice) == ("processing", "none", None)
    assert world.seen(invoice) == ("processing", "none", None)
    world.mine()
    for _ in range(3):
        assert world.seen(invoice) == ("settled", "none", None)
    assert told(world) == ["invoice.processing", "invoice.settled"]
    assert [event["sequence"] for _, event in world.billing.told] == [2, 3]
    assert world.balance("wallet:hot") == 15_539
    assert world.balance("quote_buffer") == -154
    assert world.balance("customer:prepayment") == -15_385


def test_the_event_carries_the_whole_invoice_as_it_then_was(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    world.deliver()
    ((merchant, event),) = world.billing.told
    now = world.invoice(invoice)
    assert (merchant, event["type"], event["invoice"]) == ("shop", "invoice.settled", now)
    assert (now["received_sat"], now["confirmed_sat"], now["remaining_sat"]) == (15_539, 15_539, 0)


def test_a_part_keeps_its_price_and_the_rest_is_asked_for(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 5_539, confirmations=1)
    assert world.seen(invoice) == ("new", "paid_partial", None)
    now = world.invoice(invoice)
    assert (now["received_sat"], now["remaining_sat"], now["reason"]) == (5_539, 10_000, "partial")
    world.pay(now, confirmations=1)
    assert world.seen(invoice) == ("settled", "none", None)
    assert told(world) == ["invoice.updated", "invoice.settled"]


def test_the_rest_of_a_part_is_quoted_anew_when_the_price_lapsed(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 7_770, confirmations=1)
    world.look(invoice)
    world.advance(901)
    world.control("price", currency="USD", price="60000.00")
    again = world.open(key="again")
    assert again["quote"]["version"] == 2
    assert 8_410 <= again["remaining_sat"] <= 8_420  # 5.00 USD at 60,000 with the buffer
    world.pay(again, confirmations=1)
    assert world.seen(again) == ("settled", "none", None)
    assert world.balance("wallet:hot") == 7_770 + again["remaining_sat"]


def test_one_satoshi_too_little_is_not_paid_and_one_too_much_is_kept_for_the_client(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 15_538, confirmations=1)
    assert world.seen(invoice) == ("new", "paid_partial", None)
    world.pay(invoice, 600, confirmations=1)
    assert world.seen(invoice) == ("settled", "paid_over", None)
    assert world.balance("customer:overpayment") == -599
    assert world.reviews() == []


def test_twice_the_amount_settles_and_asks_a_person_about_the_excess(world: World) -> None:
    invoice = world.open()
    for _ in range(2):
        world.pay(invoice, confirmations=1)
    assert world.seen(invoice) == ("settled", "paid_over", None)
    assert world.reviews() == ["over"]
    assert world.balance("customer:overpayment") == -15_539
    assert told(world) == ["invoice.settled"]


def test_money_after_the_settlement_is_kept_and_told(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    world.pay(invoice, 9_000, confirmations=1)
    assert world.seen(invoice) == ("settled", "paid_over", None)
    assert told(world) == ["invoice.settled", "invoice.updated"]
    assert world.balance("customer:overpayment") == -9_000


def test_money_seen_in_time_and_confirmed_after_the_price_lapsed_counts_at_its_price(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.advance(86_401)
    world.control("price", currency="USD", price="30000.00")
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)


def test_money_first_seen_in_a_block_counts_from_the_blocks_time(world: World) -> None:
    """We were down while it was in the mempool: the block says that it came while the price held."""
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.advance(3_600)
    assert world.seen(invoice) == ("settled", "none", None)


def test_a_blocks_early_time_does_not_move_money_that_we_saw_ourselves(world: World) -> None:
    """A miner's clock may lie far back: money for the second quote must not fall to before it."""
    world.open()
    world.advance(901)
    again = world.open(key="again")
    world.pay(again)
    world.look(again)
    world.control("clock", advance_s=-600)
    world.mine()
    world.advance(600)
    assert world.seen(again) == ("settled", "none", None)


def test_late_money_that_covers_at_todays_price_settles_as_late(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    assert world.seen(invoice) == ("expired", "none", None)
    world.control("price", currency="USD", price="66000.00")
    world.pay(invoice, 15_539, confirmations=1)
    assert world.seen(invoice) == ("settled", "paid_late", None)
    assert told(world)[-1] == "invoice.settled"
    assert [row.kind for row in world.rows("SELECT kind FROM quotes ORDER BY version")] == ["offer", "late"]


def test_who_waits_until_the_price_has_lapsed_pays_what_was_due_in_time(worlds) -> None:
    world = worlds(policy={"default": {"fee_buffer_minor": {"USD": 25}}})
    short, whole = world.open("1"), world.open("2")
    assert short["remaining_sat"] == whole["remaining_sat"] == 15_924
    world.advance(1_100)
    world.pay(short, 15_923, confirmations=1)
    world.pay(whole, 15_924, confirmations=1)
    assert world.seen(short) == ("new", "paid_partial", None)
    assert world.seen(whole) == ("settled", "none", None)
    assert [row.kind for row in world.rows("SELECT kind FROM quotes WHERE version = 2")] == ["late", "late"]
    assert (world.balance("customer:overpayment"), world.balance("quote_buffer")) == (0, 15_385 - 15_924)


def test_late_money_is_valued_by_the_rule_that_its_invoice_was_opened_under(worlds) -> None:
    world = worlds(policy={"default": {"risk_bps": 100}})
    invoice = world.open()
    shop = world.bridge.merchants["shop"]
    dearer = replace(shop, policy=Policy(default=Rule(risk_bps=500)))
    world.bridge = replace(world.bridge, merchants=dict(world.bridge.merchants) | {"shop": dearer})
    assert world.open("2")["remaining_sat"] == 16_154
    world.advance(1_100)
    world.pay(invoice, 15_539, confirmations=1)
    assert world.seen(invoice) == ("settled", "none", None)


@pytest.mark.parametrize("kind", ["offer", "late"])
def test_the_flat_buffer_is_charged_once_whether_the_rest_comes_at_a_new_price_or_at_none(worlds, kind: str) -> None:
    world = worlds(policy={"default": {"fee_buffer_minor": {"USD": 25}}})
    short, whole = world.open("1"), world.open("2")
    for invoice in (short, whole):
        world.pay(invoice, 7_962, confirmations=1)
        assert world.seen(invoice) == ("new", "paid_partial", None)
    world.advance(1_100)
    for number in ("1", "2") if kind == "offer" else ():
        assert world.open(number, key=f"again-{number}")["remaining_sat"] == 7_970
    world.pay(short, 7_969, confirmations=1)
    world.pay(whole, 7_970, confirmations=1)
    assert world.seen(short) == ("new", "paid_partial", None)
    assert world.seen(whole) == ("settled", "none", None)
    assert world.balance("customer:overpayment") == 0
    assert {row.kind for row in world.rows("SELECT kind FROM quotes WHERE version = 2")} == {kind}


def test_late_money_that_no_longer_covers_waits_for_a_person(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    world.look(invoice)
    world.control("price", currency="USD", price="60000.00")
    world.pay(invoice, 15_539, confirmations=1)
    assert world.seen(invoice)[0] == "expired"
    assert world.invoice(invoice)["hold"] == "review"
    assert world.reviews() == ["late"]
    assert "invoice.settled" not in told(world)


def test_very_late_money_is_always_a_persons_business(world: World) -> None:
    invoice = world.open()
    world.advance(86_400 + 3_700)
    world.look(invoice)
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[2] == "review"
    assert world.reviews() == ["late"]


def test_late_money_without_a_price_waits_for_the_next_look(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    world.look(invoice)
    world.pay(invoice, 15_700, confirmations=1)
    world.fault("price:*", "down")
    assert world.seen(invoice)[:2] == ("expired", "paid_late")
    world.heal()
    assert world.seen(invoice) == ("settled", "paid_late", None)


def test_money_to_a_closed_invoice_is_seen_kept_and_given_to_a_person(world: World) -> None:
    invoice = world.open()
    world.advance(86_400 + 604_801)
    world.look(invoice)
    world.pay(invoice, confirmations=1)
    world.advance(86_401)
    assert world.poll() == 1
    assert world.invoice(invoice)["received_sat"] == 15_539
    assert "late" in world.reviews()
    assert "invoice.settled" not in told(world)


def test_a_replaced_payment_takes_its_promise_back(world: World) -> None:
    invoice = world.open()
    txid = world.pay(invoice, replaceable=True)
    assert world.seen(invoice)[0] == "processing"
    elsewhere = world.open("2")["address"]
    world.control("replace", txid=txid, address=elsewhere)
    assert world.seen(invoice) == ("new", "none", None)
    now = world.invoice(invoice)
    assert (now["received_sat"], now["remaining_sat"], now["reason"]) == (0, 15_539, "replaced")
    assert world.reviews() == ["replaced"]
    world.mine()
    assert world.seen(invoice)[0] == "new"
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice) == ("settled", "none", None)
    assert told(world).count("invoice.settled") == 1


def test_a_payment_with_a_raised_fee_counts_once(world: World) -> None:
    invoice = world.open()
    txid = world.pay(invoice, replaceable=True)
    world.look(invoice)
    world.control("replace", txid=txid)
    world.look(invoice)
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert world.invoice(invoice)["received_sat"] == 15_539
    assert world.balance("wallet:hot") == 15_539


def test_a_reorganised_payment_before_settling_waits_again(world: World) -> None:
    invoice = world.open(amount_text="1000.00")  # 1,553,847 sat need two blocks
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "processing"
    world.control("reorg", depth=1)
    assert world.seen(invoice)[0] == "processing"
    world.mine(2)
    assert world.seen(invoice) == ("settled", "none", None)


def test_a_settled_payment_that_a_reorganisation_undoes_is_told_reversed_in_the_books_and_held(world: World) -> None:
    invoice = world.open()
    txid = world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "settled"
    world.control("reorg", depth=1, drop=[txid])
    assert world.seen(invoice) == ("invalid", "none", "review")
    assert "reorged" in world.reviews()
    assert world.balance("wallet:hot") == 0
    assert told(world) == ["invoice.settled", "invoice.invalid", "invoice.review"]


def test_a_reorganised_payment_that_comes_back_is_not_settled_a_second_time(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    world.control("reorg", depth=1)
    world.look(invoice)
    world.mine(2)
    world.look(invoice)
    assert told(world).count("invoice.settled") == 1
    assert world.balance("wallet:hot") == 15_539


def test_a_look_asks_the_database_seven_times(world: World) -> None:
    """Of an invoice with one target, while the chain has no new block; in 0.2.0 it was nine."""
    invoice = world.open()
    world.look(invoice)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            asked.append(statement)

    event.listen(world.bridge.store.engine, "before_cursor_execute", note)
    look(world.bridge, invoice["id"], is_granted=True)
    event.remove(world.bridge.store.engine, "before_cursor_execute", note)
    assert len(asked) == 7, asked


def test_a_crowd_of_dust_hides_no_payment_and_grows_no_answer(world: World) -> None:
    invoice = world.open()
    paid = [world.pay(invoice, sat) for sat in [600] * 12 + [invoice["remaining_sat"]] + [600] * 12]
    world.mine()
    world.seen(invoice)
    told = world.invoice(invoice)["payments"]
    assert len(told) == 20
    assert max(told, key=lambda each: each["amount_sat"])["txid"] == paid[12]
    assert [each["first_seen_at"] for each in told] == sorted(each["first_seen_at"] for each in told)


def test_dust_is_kept_and_pays_nothing(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, 545, confirmations=1)
    world.look(invoice)
    now = world.invoice(invoice)
    assert (now["received_sat"], now["remaining_sat"]) == (545, 15_539)


def test_a_large_amount_waits_for_a_person(world: World) -> None:
    invoice = world.open(amount_text="13000.00")
    world.pay(invoice, confirmations=6)
    assert world.seen(invoice)[2] == "review"
    assert world.reviews() == ["large_amount"]
    assert "invoice.settled" not in told(world)


def test_money_that_never_confirms_ends_with_a_person(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.advance(86_400 + 604_801)
    assert world.seen(invoice) == ("invalid", "none", "review")
    assert world.reviews() == ["failed_to_confirm"]


def test_nothing_is_cancelled_in_billing_before_the_watching_ends(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    world.look(invoice)
    assert told(world) == ["invoice.expired"]
    world.advance(604_801)
    world.look(invoice)
    assert told(world) == ["invoice.expired", "invoice.cancelled"]
    world.look(invoice)
    assert told(world) == ["invoice.expired", "invoice.cancelled"]


def test_two_outputs_of_one_transaction_are_two_payments(world: World) -> None:
    invoice = world.open()
    halves = [{"address": invoice["address"], "amount_sat": sat} for sat in (8_000, 7_539)]
    world.control("pay", outputs=halves, confirmations=1)
    world.advance(1)
    assert world.seen(invoice) == ("settled", "none", None)
    assert len(world.rows("SELECT * FROM payments")) == 2


def test_with_every_callback_dropped_polling_alone_settles_and_delivers(world: World) -> None:
    from bridge.invoices.poll import arm_watches

    world.fault("callback", "drop")
    invoice = world.open()
    arm_watches(world.bridge, limit=1)
    world.pay(invoice)
    for _ in range(3):
        world.advance(30)
        world.work()
        world.mine()
    assert world.rows("SELECT * FROM inbox") == []
    assert world.invoice(invoice)["status"] == "settled"
    assert world.billing.types() == ["invoice.processing", "invoice.settled"]
