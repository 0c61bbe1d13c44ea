"""Payouts that a clock ahead has put off: they leave when they should, and never before people could stop them."""

from datetime import timedelta

from sqlalchemy import text

from bridge.desk.resolve_review import list_reviews, show_review
from bridge.payouts.send_payouts import send_payouts
from tests.payouts.desk import PAYER, Desk

FAR = timedelta(days=3)


def test_a_payout_approved_by_a_clock_ahead_cools_down_from_when_that_was_noticed(desk: Desk) -> None:
    desk.fund(200_000)
    invoice = desk.settled()
    desk.world.clock_ahead = FAR
    payout = desk.approved(invoice)
    desk.world.clock_ahead = timedelta(0)
    desk.world.work()
    assert desk.send(after_seconds=60) == 0
    assert desk.send() == 1
    assert (desk.now(payout)["state"], len(desk.arrived())) == ("sent", 1)


def test_a_clock_that_jumps_ahead_does_not_end_the_cooling_time(desk: Desk) -> None:
    desk.fund(200_000)
    payout = desk.approved(desk.settled())
    desk.world.work()
    desk.world.clock_ahead = FAR
    desk.world.work()
    assert (send_payouts(desk.world.bridge, owner="w1"), desk.arrived()) == (0, [])
    assert desk.reject(payout)["state"] == "rejected"


def test_what_was_sent_by_a_clock_ahead_is_looked_for_at_once(desk: Desk) -> None:
    desk.fund(200_000)
    payout = desk.approved(desk.settled())
    desk.world.clock_ahead = FAR
    assert desk.send() == 1
    desk.world.clock_ahead = timedelta(0)
    desk.world.work()
    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed"


def test_a_sender_that_died_with_the_clock_ahead_is_given_up_in_time(desk: Desk) -> None:
    """Nothing else leaves the wallet until then."""
    desk.fund(200_000)
    payout = desk.approved(desk.settled())
    desk.send(after_seconds=1)
    with desk.world.bridge.store.write() as tx:
        dead = {"until": int((desk.world.bridge.clock() + FAR).timestamp() * 1_000_000), "id": payout["id"]}
        tx.execute(text("UPDATE payouts SET state = 'submitting', lease_until = :until WHERE id = :id"), dead)
    desk.world.advance(desk.world.bridge.payouts.cooling_seconds)
    send_payouts(desk.world.bridge, owner="w1")
    assert (desk.now(payout)["state"], desk.arrived(PAYER)) == ("unknown", [])


def test_a_question_asked_by_a_clock_ahead_is_due_in_the_usual_time(desk: Desk) -> None:
    invoice = desk.world.open()
    desk.world.clock_ahead = FAR
    desk.world.pay(invoice, 5_000)
    desk.world.advance(8 * 86_400)
    desk.world.look(invoice)
    desk.world.clock_ahead = timedelta(0)
    desk.world.work()
    (item,) = list_reviews(desk.world.bridge, match={"state": "open"}, limit=10)
    due = show_review(desk.world.bridge, item["id"])["due_at"]
    assert due <= (desk.world.bridge.clock() + timedelta(days=1, minutes=1)).isoformat()
