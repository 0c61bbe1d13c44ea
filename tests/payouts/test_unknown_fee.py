"""A gateway whose health names no fee: people send knowing that it is unknown, and nothing else depends on it.

Every member of the gateway's health is optional (SUBTC contract 5.1): the sandbox leaves them out in two ways.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bridge.core.errors import Refused, Unavailable
from bridge.desk.explain import explain
from bridge.payouts.decide_payout import list_payouts
from bridge.payouts.sweep import propose_sweep, sweep_due
from bridge.payouts.treasury import read_balance, read_balances, treasury_view
from bridge.upkeep.check import alerts
from bridge.upkeep.doctor import PASS, WARN, Finding, Place, examine
from tests.builders import with_rail
from tests.payouts.desk import COLD, FLOAT_SAT, PAYER, Desk
from tests.payouts.test_sending import is_honest, txid_paying

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
SILENT = pytest.mark.parametrize("form", ["result", "bare"])
DAY = 86_400


def silent(desk: Desk, form: str = "result") -> Desk:
    """The same desk at a gateway that names neither fee nor minimum."""
    desk.world.control("knobs", health_form=form)
    return desk


def taken_sat(gross_sat: int) -> int:
    """What the sandbox keeps of a send: 300 bps, rounded down."""
    return gross_sat * 300 // 10_000


def terms(desk: Desk) -> Finding:
    return next(each for each in examine(desk.world.bridge, Place()) if each.name == "gateway_terms")


@SILENT
def test_a_refund_is_asked_approved_sent_and_booked_under_an_unknown_fee(desk: Desk, form: str) -> None:
    invoice = silent(desk, form).settled()
    sat = invoice["received_sat"]
    asked = desk.ask(invoice)
    assert (asked["gross_sat"], asked["fee_bps"], asked["fee_sat"], asked["net_sat"]) == (sat, None, None, sat)
    assert desk.send() == 0, "nobody has approved it"
    desk.approve(asked)
    desk.send()

    fee_sat, sent = taken_sat(sat), desk.now(asked)
    assert (sent["state"], sent["sent_sat"], sent["paid_fee_sat"]) == ("sent", sat - fee_sat, fee_sat)
    assert (sent["fee_bps"], sent["still_owed_sat"]) == (None, fee_sat)
    assert desk.arrived() == [sat - fee_sat]
    desk.confirm()
    books = desk.books()
    assert books["wallet:hot"] == desk.gateway_sat() == FLOAT_SAT
    assert (books["provider_fee"], books["refunds_payable"]) == (fee_sat, -fee_sat)
    assert desk.world.reviews() == [], "people knew that less would arrive: it is no difference"


def test_the_approval_and_the_story_say_that_the_fee_was_unknown(desk: Desk) -> None:
    invoice = silent(desk).settled()
    payout = desk.approved(invoice)
    desk.send()
    (row,) = desk.world.rows("SELECT actor, detail FROM audit WHERE action = 'payout_approved'")
    assert row.actor == "ann" and '"fee_bps": null' in row.detail
    told = " ".join(explain(desk.world.bridge, invoice["id"], lang="en"))
    assert "What the gateway takes of it was unknown." in told
    assert f"the gateway kept {desk.now(payout)['paid_fee_sat']:,} sat" in told


def test_what_did_not_arrive_stays_owed_and_can_be_asked_for_once_more(desk: Desk) -> None:
    invoice = silent(desk).settled("7", text="1200.00")
    first = desk.approved(invoice)
    desk.approve(first, "bob")  # so much needs two
    desk.send()
    owed_sat = desk.now(first)["still_owed_sat"]
    assert owed_sat == taken_sat(invoice["received_sat"]) > 50_000
    with pytest.raises(Refused) as error:
        desk.ask(invoice, "custom", net_sat=owed_sat + 1)
    assert error.value.code == "above_refundable"
    desk.confirm()
    again = desk.approved(invoice)
    assert again["net_sat"] == owed_sat
    desk.send()
    assert desk.now(again)["state"] == "sent"
    assert desk.books()["refunds_payable"] == -taken_sat(owed_sat)
    assert is_honest(desk)


def test_a_configured_fee_gives_the_figures_that_the_gateway_would_have_given(desks: Callable[..., Desk]) -> None:
    desk = silent(desks(subtc={"fee_bps": 300}))
    payout = desk.approved(desk.settled(), "custom", net_sat=48_500)
    assert (payout["gross_sat"], payout["fee_bps"], payout["fee_sat"]) == (50_000, 300, 1_500)
    desk.send()
    assert desk.arrived() == [48_500]
    assert desk.now(payout)["still_owed_sat"] == 0
    assert desk.books()["provider_fee"] == 1_500
    assert terms(desk).state == PASS


def test_what_the_gateway_names_counts_and_the_doctor_says_that_the_settings_differ(desks: Callable[..., Desk]) -> None:
    desk = desks(subtc={"fee_bps": 250})
    assert desk.ask(desk.settled(), "custom", net_sat=48_500)["gross_sat"] == 50_000
    item = terms(desk)
    assert (item.state, "subtc.fee_bps says 250" in item.detail) == (WARN, True)
    desk.world.control("knobs", fee_bps=250)
    assert terms(desk).state == PASS


def test_the_doctor_says_when_nobody_names_the_fee_and_what_the_last_send_took(desk: Desk) -> None:
    assert terms(desk).state == PASS
    payout = silent(desk).approved(desk.settled())
    desk.send()
    item, sent = terms(desk), desk.now(payout)
    assert item.state == WARN and item.mend
    assert f"the last send took {sent['paid_fee_sat']} of {sent['gross_sat']} sat" in item.detail


@SILENT
def test_without_the_gateways_minimum_the_configured_one_counts(desks: Callable[..., Desk], form: str) -> None:
    desk = silent(desks(payouts={"min_send_sat": 60_000}), form)
    with pytest.raises(Refused) as error:
        desk.ask(desk.settled(), "custom", net_sat=59_999)
    assert error.value.code == "below_min_send" and "60000" in error.value.detail


def test_a_minimum_above_the_configured_one_is_a_warning(desk: Desk) -> None:
    desk.world.control("knobs", min_send_sat=90_000)
    item = terms(desk)
    assert (item.state, "payouts.min_send_sat says 50000" in item.detail) == (WARN, True)


def test_a_fee_that_is_named_after_the_approval_asks_the_people_again(desk: Desk) -> None:
    payout = silent(desk).approved(desk.settled(), "custom", net_sat=97_000)
    desk.world.control("knobs", health_form="superset")
    desk.send()
    now = desk.now(payout)
    assert (now["state"], now["approvals"]) == ("requested", [])
    assert (now["gross_sat"], now["fee_bps"], now["fee_sat"]) == (100_000, 300, 3_000)
    desk.approve(payout)
    desk.send()
    assert desk.arrived() == [97_000]


def test_a_fee_that_is_no_longer_named_holds_nothing_up(desk: Desk) -> None:
    payout = desk.approved(desk.settled(), "custom", net_sat=97_000)
    silent(desk).send()
    assert (desk.now(payout)["state"], desk.arrived()) == ("sent", [97_000])


def test_a_lost_answer_under_an_unknown_fee_is_settled_by_what_the_chain_shows(desk: Desk) -> None:
    desk.world.control("pay", address=PAYER, amount_sat=70_000)  # the payer's address had other money long before
    desk.world.mine()
    desk.world.advance(3 * 3_600)
    invoice = silent(desk).settled()
    payout = desk.approved(invoice)
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    with pytest.raises(Refused) as hasty:
        desk.rule("payout_failed")
    assert hasty.value.code == "chain_shows_money"
    (sat,) = [sat for sat in desk.arrived() if sat != 70_000]
    desk.rule("payout_sent", txid=txid_of(desk, sat))
    sent = desk.now(payout)
    assert (sent["sent_sat"], sent["paid_fee_sat"]) == (sat, invoice["received_sat"] - sat)
    assert is_honest(desk)


def txid_of(desk: Desk, sat: int) -> str:
    """The transaction that paid so much to the payer."""
    transactions = desk.world.sandbox.world.chain.transactions
    paying = [
        t for t, made in transactions.items() if any((o.address, o.value_sat) == (PAYER, sat) for o in made.outputs)
    ]
    return str(paying[0])


def test_money_that_lay_there_before_the_approval_is_not_taken_for_the_refund(desk: Desk) -> None:
    desk.world.control("pay", address=PAYER, amount_sat=70_000)
    desk.world.mine()
    desk.world.advance(3 * 3_600)
    payout = silent(desk).approved(desk.settled())
    desk.world.fault("wallet_send", "error_500_before", times=1)
    desk.send()
    desk.rule("payout_failed")
    assert desk.now(payout)["state"] == "failed"


def test_without_chain_and_fee_nobody_rules_how_much_arrived(desk: Desk) -> None:
    payout = silent(desk).approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    txid, reader = txid_paying(desk, PAYER), desk.world.bridge.chain
    desk.world.bridge = replace(desk.world.bridge, chain=None)
    with pytest.raises(Refused) as error:
        desk.rule("payout_sent", txid=txid)
    assert error.value.code == "arrived_unknown"
    desk.world.bridge = with_rail(desk.world.bridge, fee_bps=300)
    desk.rule("payout_sent", txid=txid)
    gross_sat = payout["gross_sat"]
    assert desk.now(payout)["sent_sat"] == gross_sat - -(-gross_sat * 300 // 10_000)
    desk.world.bridge = replace(desk.world.bridge, chain=reader)


def proposed_sweep(desk: Desk) -> dict:
    (sweep,) = list_payouts(desk.world.bridge, match={"kind": "sweep"}, limit=5)["payouts"]
    return dict(sweep)


@pytest.mark.parametrize("mode", ["propose", "auto"])
def test_a_scheduled_sweep_under_an_unknown_fee_waits_for_a_person(desks: Callable[..., Desk], mode: str) -> None:
    desk = silent(desks(treasury={"sweep_mode": mode}))
    desk.settled()
    desk.world.advance(DAY + 1)
    sweep_due(desk.world.bridge, owner="w1")
    sweep, sat = proposed_sweep(desk), desk.gateway_sat()
    assert (sweep["state"], sweep["gross_sat"], sweep["fee_sat"]) == ("requested", sat, None)
    assert desk.send() == 0
    desk.approve(sweep)
    desk.send()
    sent = desk.now(sweep)
    assert desk.arrived(COLD) == [sat - taken_sat(sat)] == [sent["sent_sat"]]
    desk.confirm()
    books = desk.books()
    assert (books["wallet:cold"], books["provider_fee"]) == (sent["sent_sat"], taken_sat(sat))
    assert "wallet:hot" not in books
    assert desk.world.reviews() == []


def test_an_automatic_sweep_goes_by_itself_under_a_configured_fee(desks: Callable[..., Desk]) -> None:
    desk = silent(desks(treasury={"sweep_mode": "auto"}, subtc={"fee_bps": 300}))
    desk.settled()
    desk.world.advance(DAY + 1)
    sweep_due(desk.world.bridge, owner="w1")
    desk.send()
    assert proposed_sweep(desk)["state"] == "sent"


def test_a_person_may_propose_a_sweep_though_the_fee_is_unknown(desk: Desk) -> None:
    silent(desk).settled()
    sweep = propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k1")
    assert (sweep["fee_bps"], sweep["net_sat"]) == (None, desk.gateway_sat())


@SILENT
def test_balances_cap_and_alarm_need_no_fee(desks: Callable[..., Desk], form: str) -> None:
    desk = silent(desks(treasury={"max_hot_sat": 150_000, "stop_new_invoices": True}), form)
    read_balances(desk.world.bridge, owner="w1")
    view = treasury_view(desk.world.bridge)
    assert view["wallets"][0]["confirmed_sat"] == FLOAT_SAT and view["is_over_cap"]
    assert (view["sweep"]["fee_bps"], view["sweep"]["fee_sat"]) == (None, None)
    with pytest.raises(Unavailable) as error:
        desk.world.open("9")
    assert error.value.code == "hot_wallet_full"
    assert "bridge_hot_cap_sat 150000.0" in desk.world.bridge.metrics.text().decode()
    rules = {alert.rule for alert in alerts(desk.world.bridge, ask_outside=True)}
    assert "hot_balance" in rules and "provider_down" not in rules


def test_a_health_page_that_fails_hides_no_balance_but_nothing_is_sent_past_it(desk: Desk) -> None:
    payout = desk.approved(desk.settled())
    desk.world.fault("health", "down")
    seen = read_balance(desk.world.bridge, "hot")
    assert seen is not None and seen.confirmed_sat == desk.gateway_sat()
    assert desk.send() == 0
    with pytest.raises(Unavailable):
        propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k1")
    with pytest.raises(Unavailable):
        desk.ask(desk.world.invoice({"id": payout["invoice_id"]}), "custom", net_sat=50_000)
    desk.world.heal()
    desk.send()
    assert desk.now(payout)["state"] == "sent"
