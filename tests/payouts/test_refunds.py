"""Refunds from the request to the last confirmation, as finance lives them."""

from typing import Any

import pytest

from bridge.core.errors import Conflict, Refused
from bridge.desk.claims import close_claim, open_claim
from bridge.desk.outlook import outlook
from bridge.desk.resolve_review import list_reviews, resolve
from bridge.invoices.billing_change import note_billing_change
from bridge.payouts.refunds import NewRefund, change_address, refund_form, request_refund, set_refund_address
from tests.payouts.desk import COLD, FLOAT_SAT, PAYER, TAPROOT, Desk

# Arithmetic and rules: the engine cannot change them; what it can change is in test_sending.py.
pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])


def code_of(error: pytest.ExceptionInfo[Any]) -> str:
    return str(error.value.code)


def test_a_refund_goes_from_request_to_final_and_the_books_follow(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.approved(invoice)
    assert desk.arrived() == []

    assert desk.send() == 1
    sent = desk.now(payout)
    assert (sent["state"], sent["waiting"]) == ("sent", "")
    assert desk.arrived() == [sent["sent_sat"]]
    assert sent["net_sat"] <= sent["sent_sat"] <= sent["net_sat"] + 1

    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed"
    assert desk.books()["wallet:hot"] == desk.gateway_sat() == FLOAT_SAT + invoice["received_sat"] - sent["gross_sat"]
    assert desk.books().get("refunds_payable", 0) == 0


def test_gross_fee_and_net_are_the_contracts_arithmetic(desk: Desk) -> None:
    payout = desk.ask(desk.settled(), "custom", net_sat=48_500)
    assert (payout["gross_sat"], payout["fee_sat"], payout["net_sat"]) == (50_000, 1_500, 48_500)


def test_the_minimum_is_said_before_anybody_works_on_it(desk: Desk) -> None:
    invoice = desk.settled()
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "custom", net_sat=48_499)
    assert code_of(error) == "below_min_send"
    assert "48500" in error.value.detail


def test_the_larger_of_two_minimums_counts(desk: Desk) -> None:
    invoice = desk.settled()
    desk.world.control("knobs", min_send_sat=90_000)
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "custom", net_sat=60_000)
    assert code_of(error) == "below_min_send"


@pytest.mark.parametrize(
    ("variant", "more", "part"),
    [("paid_sat", {}, (1, 1)), ("fiat_at_quote", {}, (100, 101)), ("fiat_at_quote", {"fiat_text": "50.00"}, (50, 101))],
)
def test_a_variant_says_how_much(desk: Desk, variant: str, more: dict[str, str], part: tuple[int, int]) -> None:
    invoice = desk.settled()
    expected_sat = invoice["received_sat"] * part[0] // part[1]
    assert abs(desk.ask(invoice, variant, **more)["net_sat"] - expected_sat) <= 1


def test_todays_rate_gives_fewer_satoshi_when_bitcoin_rose(desk: Desk) -> None:
    invoice = desk.settled()
    at_quote = desk.ask(invoice, "fiat_at_quote", fiat_text="40.00")["net_sat"]
    desk.world.control("price", currency="USD", price="68000.00")
    desk.world.advance(700)
    today = desk.ask(invoice, "fiat_today", fiat_text="40.00")
    assert today["net_sat"] == 4_000 * 10**8 // 6_800_000 < at_quote
    assert today["rate"] == "68000.00"


def test_todays_rate_never_gives_more_than_came(desk: Desk) -> None:
    invoice = desk.settled()
    desk.world.control("price", currency="USD", price="60000.00")
    desk.world.advance(700)
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "fiat_today")
    assert code_of(error) == "above_refundable"


def test_the_excess_alone_can_go_back_once(desk: Desk) -> None:
    due_sat = desk.world.open("8", amount_text="100.00")["remaining_sat"]
    invoice = desk.settled("9", sat=due_sat + 70_000)
    assert invoice["exception"] == "paid_over"
    payout = desk.approved(invoice, "excess_only")
    assert payout["net_sat"] == 70_000
    assert desk.books().get("customer:overpayment", 0) == 0
    assert desk.books()["refunds_payable"] == -70_000
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "excess_only")
    assert code_of(error) == "nothing_to_refund"


def test_refunds_together_never_exceed_what_came(desk: Desk) -> None:
    invoice = desk.settled()
    first = desk.ask(invoice, "custom", net_sat=invoice["received_sat"] - 60_000)
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "custom", net_sat=60_001)
    assert code_of(error) == "above_refundable"
    desk.ask(invoice, "custom", net_sat=60_000)
    desk.reject(first)
    assert desk.ask(invoice, "paid_sat")["net_sat"] == invoice["received_sat"] - 60_000


def test_a_double_click_is_one_refund(desk: Desk) -> None:
    invoice = desk.settled()
    assert desk.ask(invoice, key="form-1")["id"] == desk.ask(invoice, key="form-1")["id"]
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "excess_only", key="form-1")
    assert code_of(error) == "idempotency_mismatch"


def test_money_the_billing_system_paid_back_is_not_paid_back_again(desk: Desk) -> None:
    invoice = desk.settled()
    for _ in range(2):  # absolute: hearing it twice changes nothing
        note_billing_change(
            desk.world.bridge, "shop", invoice["id"], change="refunded", amount_text="50.00", currency="USD"
        )
    left_sat = desk.ask(invoice)["net_sat"]
    assert abs(left_sat - invoice["received_sat"] // 2) <= 1


def test_a_refund_in_the_billing_system_stops_an_approved_one_here_and_asks_a_person(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.approved(invoice)
    note_billing_change(desk.world.bridge, "shop", invoice["id"], change="refunded", amount_text=None, currency=None)
    desk.send()
    assert (desk.now(payout)["state"], desk.now(payout)["waiting"]) == ("approved", "refunded_elsewhere")
    assert "refunded_twice" in desk.world.reviews()
    assert desk.arrived() == []


def test_a_claim_of_the_client_does_not_take_the_question_of_two_refunds_with_it(desk: Desk) -> None:
    invoice, bridge = desk.settled(), desk.world.bridge
    desk.approved(invoice)
    claim = open_claim(bridge, invoice["id"], said="I was promised a refund", actor="sam", reason="he called")
    note_billing_change(bridge, "shop", invoice["id"], change="refunded", amount_text=None, currency=None)
    assert {"claim", "refunded_twice"} <= set(desk.world.reviews())
    [item] = list_reviews(bridge, match={"kind": "claim", "state": "open"}, limit=5)
    with pytest.raises(Conflict, match="Close the claim"):
        resolve(bridge, item["id"], decision="acknowledge", actor="sam", reason="seen")
    close_claim(bridge, claim["id"], outcome="withdrawn", actor="sam", reason="he has it")
    assert [each["kind"] for each in list_reviews(bridge, match={"state": "open"}, limit=5)] == ["refunded_twice"]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "wrong_network"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsy", "bad_address"),
        ("tb1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "bad_address"),
        (COLD, "own_address"),
        ("the invoice's", "own_address"),
    ],
)
def test_an_address_that_would_lose_the_money_is_refused(desk: Desk, address: str, code: str) -> None:
    invoice = desk.settled()
    with pytest.raises(Refused) as error:
        desk.ask(invoice, destination=invoice["address"] if address == "the invoice's" else address)
    assert code_of(error) == code


def test_taproot_is_paid(desk: Desk) -> None:
    payout = desk.approved(desk.settled(), destination=TAPROOT)
    desk.send()
    assert desk.arrived(TAPROOT) == [desk.now(payout)["sent_sat"]]


def test_nothing_leaves_before_the_cooling_time_is_over(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    assert desk.send(after_seconds=3_000) == 0
    assert desk.send(after_seconds=700) == 1
    assert desk.now(payout)["state"] == "sent"


def test_a_changed_address_voids_the_approval_and_starts_the_cooling_again(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    owed = desk.books()["refunds_payable"]
    change_address(desk.world.bridge, payout["id"], address=TAPROOT, actor="sam", reason="the client wrote")
    assert desk.now(payout)["state"] == "requested"
    assert owed < 0 == desk.books().get("refunds_payable", 0)
    assert desk.send() == 0
    desk.approve(payout, "bob")
    assert desk.send(after_seconds=60) == 0
    assert desk.send() == 1
    assert (desk.arrived(), len(desk.arrived(TAPROOT))) == ([], 1)


def test_the_payer_names_the_address_with_the_link_they_were_handed(desk: Desk) -> None:
    invoice = desk.settled()
    request = NewRefund(invoice_id=invoice["id"], variant="paid_sat")
    asked = request_refund(
        desk.world.bridge, merchant_id="shop", request=request, key="m1", actor="module:shop", reason="cancelled order"
    )
    with pytest.raises(Refused) as missing:
        desk.approve(asked.payout)
    assert code_of(missing) == "destination_missing"
    assert asked.form_url is not None
    path, _, proof = asked.form_url.partition("?proof=")
    public_id = path.split("/")[-2]
    with pytest.raises(Refused) as forged:
        set_refund_address(desk.world.bridge, public_id, address=PAYER, proof=proof[:-1] + "_")
    assert code_of(forged) == "bad_proof"
    named = set_refund_address(desk.world.bridge, public_id, address=PAYER.upper(), proof=proof)
    assert named["destination"] == PAYER
    desk.approve(asked.payout)
    desk.send()
    assert refund_form(desk.world.bridge, public_id, proof=proof)["state"] == "sent"
    with pytest.raises(Refused) as late:
        set_refund_address(desk.world.bridge, public_id, address=TAPROOT, proof=proof)
    assert code_of(late) == "already_submitted"


def test_money_that_is_not_final_is_not_refunded_yet(desk: Desk) -> None:
    invoice = desk.world.open("7", amount_text="100.00")
    desk.world.pay(invoice)
    desk.world.mine(2)
    desk.world.look(invoice)
    payout = desk.approved(invoice)
    desk.send()
    assert desk.now(payout)["waiting"] == "money_not_final"
    desk.world.mine(6)
    desk.world.look(invoice)
    desk.send()
    assert desk.now(payout)["state"] == "sent"


def test_a_held_invoice_pays_nothing_back_by_itself(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.approved(invoice)
    with desk.world.bridge.store.write() as tx:
        from bridge.invoices.record import open_review, record
        from bridge.store import invoices

        row = invoices.find(tx, id=invoice["id"])
        open_review(tx, desk.world.bridge, row, kind="reorged", now=desk.world.bridge.clock())
        record(tx, desk.world.bridge, row, now=desk.world.bridge.clock(), actor="worker", action="observed")
    desk.send()
    assert desk.now(payout)["waiting"] == "invoice_held"


def test_the_hot_wallet_keeps_what_it_owes_to_other_payers(desk: Desk) -> None:
    """The wallet was swept nearly empty; what is left belongs to a payer whose invoice is not settled."""
    invoice = desk.settled("7")
    part = desk.world.open("8", amount_text="100.00")
    desk.world.pay(part, 100_000)
    desk.world.mine(6)
    desk.world.look(part)
    payout = desk.approved(invoice)
    wallet = desk.world.wallet
    wallet.send(destination=TAPROOT, gross_sat=FLOAT_SAT, idempotency_key="somebody-else")
    assert desk.gateway_sat() - payout["gross_sat"] < 100_000
    desk.send()
    assert desk.now(payout)["waiting"] == "hot_needed_for_payers"
    assert desk.arrived() == []


def test_a_changed_fee_asks_the_people_again(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.control("knobs", fee_bps=500)
    desk.send()
    now = desk.now(payout)
    assert (now["state"], now["approvals"]) == ("requested", [])
    assert now["gross_sat"] == -(-payout["net_sat"] * 10_000 // 9_500)
    desk.approve(payout)
    desk.send()
    assert desk.now(payout)["state"] == "sent"


def test_a_gateway_that_takes_its_fee_on_top_is_booked_as_it_says_and_shown_to_a_person(desk: Desk) -> None:
    due_sat = desk.world.open("8", amount_text="100.00")["remaining_sat"]
    payout = desk.approved(desk.settled(sat=due_sat + 20_000), "custom", net_sat=100_000)
    desk.world.control("knobs", fee_model="on_top")
    desk.send()
    assert desk.now(payout)["state"] == "sent"
    assert desk.books()["wallet:hot"] == desk.gateway_sat()
    assert "recon_diff" in desk.world.reviews()


def test_two_refunds_of_an_invoice_that_differ_are_one_question_that_can_be_answered(desk: Desk) -> None:
    due_sat = desk.world.open("8", amount_text="100.00")["remaining_sat"]
    invoice = desk.settled(sat=due_sat + 60_000)
    desk.world.control("knobs", fee_model="on_top")
    for sat in (60_000, 70_000):
        desk.approved(invoice, "custom", net_sat=sat)
        desk.send()
    (item,) = list_reviews(desk.world.bridge, match={"state": "open", "kind": "recon_diff"}, limit=10)
    assert outlook(desk.world.bridge, item["id"]) is not None
    desk.rule("acknowledge", kind="recon_diff")
    assert "recon_diff" not in desk.world.reviews()


def test_an_approved_refund_can_be_stopped_and_its_money_is_free_again(desk: Desk) -> None:
    invoice = desk.settled()
    before = desk.books()
    payout = desk.approved(invoice)
    assert desk.reject(payout, "fay")["state"] == "rejected"
    assert desk.books() == before
    assert desk.send() == 0
    with pytest.raises(Conflict):
        desk.reject(payout)


def test_a_refund_a_person_ruled_is_taken_from_what_is_owed_already(desk: Desk) -> None:
    invoice = desk.world.open("7", amount_text="100.00")
    desk.world.pay(invoice, 90_000)
    desk.world.mine(6)
    desk.world.look(invoice)
    desk.world.advance(9 * 86_400)
    desk.world.look(invoice)
    desk.rule("refund", kind="partial")
    assert desk.books()["refunds_payable"] == -90_000
    desk.approved(invoice)
    assert desk.books()["refunds_payable"] == -90_000
    assert desk.send() == 1


def test_a_sent_payout_that_never_shows_up_is_a_persons(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.send()
    desk.world.control("drop", txid=desk.now(payout)["txid"])
    desk.world.advance(7_300)
    desk.confirm(blocks=1)
    desk.world.advance(100)
    desk.confirm(blocks=1)
    assert desk.now(payout)["state"] == "sent"
    assert desk.world.reviews().count("recon_diff") == 1
