"""An invoice counts as paid by a person's word only when somebody else says so too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bridge.core.errors import BridgeError
from bridge.core.payout import Approvals, ApprovalStep
from bridge.desk.resolve_review import approve_mark, list_marks, reject_mark, show_mark, show_review
from bridge.people.operators import change_operator
from tests.flows.world import World
from tests.payouts.desk import Desk, PartPaid, part_paid
from tests.payouts.test_people import refused


@pytest.fixture
def part(desk: Desk) -> PartPaid:
    """An invoice over USD 100.00 of which a part came and stayed alone, and the question about it."""
    return part_paid(desk)


def why(call: Callable[[], Any]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


def test_one_persons_word_changes_nothing(part: PartPaid) -> None:
    assert part.rule("mark_settled", "fay")["status"] == "expired"
    mark = part.mark()
    assert (mark["state"], mark["proposed_by"], mark["approvals"], mark["approvals_needed"]) == (
        "proposed", "fay", [], 1,
    )  # fmt: skip
    assert mark["received_sat"] == part.sat and mark["remaining_sat"] > 0 and mark["amount"] == "100.00"
    assert "the billing system is told" in mark["consequence"]
    assert part.item()["state"] == "open"
    assert why(lambda: part.rule("mark_settled", "fay")) == "mark_proposed"


def test_with_somebody_elses_the_invoice_counts_as_paid(part: PartPaid) -> None:
    part.rule("mark_settled", "fay")
    assert part.approve("ann")["state"] == "approved"
    invoice = part.desk.world.invoice(part.invoice)
    assert (invoice["status"], invoice["exception"]) == ("settled", "marked")
    item = part.item()
    assert (item["state"], item["decision"], item["blocks"]["outcome"]["people"]) == (
        "resolved", "mark_settled", ["fay", "ann"],
    )  # fmt: skip
    assert why(lambda: part.approve("bob")) == "not_waiting"
    kept = part.desk.world.rows("SELECT action, actor, reason FROM audit WHERE action LIKE 'mark%' ORDER BY id")
    assert [tuple(row) for row in kept] == [("mark_proposed", "fay", "looked"), ("mark_approved", "ann", "checked")]


def test_who_proposed_never_approves_not_even_after_a_change_of_role(part: PartPaid) -> None:
    part.rule("mark_settled", "fay")
    assert refused(lambda: part.approve("fay")) == "forbidden"
    change_operator(part.desk.world.bridge, "fay", role="approver", actor="root", reason="promoted")
    assert refused(lambda: part.approve("fay")) == "same_person"
    assert part.item()["state"] == "open"


@pytest.mark.parametrize("actor", ["sam", "root", "vic", "fay"])
def test_only_approvers_approve_a_mark(part: PartPaid, actor: str) -> None:
    part.rule("mark_settled", "fay")
    assert refused(lambda: part.approve(actor)) == "forbidden"
    assert refused(lambda: part.approve("eve")) == "unknown_operator"


def test_large_marks_need_more_people(desks: Callable[..., Desk]) -> None:
    desk = desks(marks={"approvals": [{"up_to_sat": 60_000, "people": 1}], "approvals_above": 2})
    assert desk.world.bridge.marks == Approvals(
        approvals=(ApprovalStep(up_to_sat=60_000, people=1),), approvals_above=2
    )
    part = part_paid(desk)
    part.rule("mark_settled", "fay")
    assert part.approve("ann")["state"] == "proposed"
    assert refused(lambda: part.approve("ann")) == "same_person"
    assert part.approve("bob")["state"] == "approved"
    assert [given["actor"] for given in part.mark()["approvals"]] == ["ann", "bob"]


def test_everybody_at_once_is_one_proposal_one_approval_and_one_settlement(part: PartPaid) -> None:
    def attempt(act: Callable[[], Any]) -> str:
        try:
            return str(act()["status" if act in proposals else "state"])
        except BridgeError as error:
            return error.code

    proposals = [lambda: part.rule("mark_settled", "fay")] * 4
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, proposals)) == ["expired", *["mark_proposed"] * 3]
        both = [lambda: part.approve("ann"), lambda: part.approve("bob")] * 2
        assert sorted(pool.map(attempt, both)) == ["approved", *["not_waiting"] * 3]
    assert [event["type"] for event in part.desk.world.feed()].count("invoice.settled") == 1


def test_what_changed_since_is_not_approved(part: PartPaid) -> None:
    part.rule("mark_settled", "fay")
    part.desk.world.pay(part.invoice, 1_000)
    part.desk.world.look(part.invoice)
    assert why(lambda: part.approve("ann")) == "mark_changed"
    assert part.reject("ann")["state"] == "rejected"
    part.rule("mark_settled", "fay")
    assert part.approve("bob")["state"] == "approved"


@pytest.mark.parametrize("actor", ["ann", "fay"])
def test_a_mark_is_stopped_by_either_side_and_the_question_stays(part: PartPaid, actor: str) -> None:
    part.rule("mark_settled", "fay")
    assert refused(lambda: part.reject("sam")) == "forbidden"
    assert part.reject(actor)["state"] == "rejected"
    assert part.item()["state"] == "open"
    assert part.rule("refund", "sam")["status"] == "invalid"


def test_another_ruling_makes_the_mark_void(part: PartPaid) -> None:
    part.rule("mark_settled", "fay")
    part.rule("refund", "sam")
    assert part.mark()["state"] == "lapsed"
    assert why(lambda: part.approve("ann")) == "not_waiting"
    assert list_marks(part.desk.world.bridge, match={"state": "proposed"}) == []


def test_a_mark_without_who_or_why_is_refused(part: PartPaid) -> None:
    part.rule("mark_settled", "fay")
    mark = part.mark()["id"]
    for call in (approve_mark, reject_mark):
        for actor, reason in (("", "why"), ("ann", " ")):
            given = {"actor": actor, "reason": reason}
            asking = lambda call=call, given=given: call(part.desk.world.bridge, mark, **given)  # noqa: E731
            assert refused(asking) == "actor_and_reason_required"
    assert refused(lambda: show_mark(part.desk.world.bridge, "mrk_none")) == "unknown_mark"


def test_before_there_are_operators_one_person_marks_but_nobody_approves(worlds: Callable[..., World]) -> None:
    part = part_paid(Desk(world=worlds()))
    assert part.rule("mark_settled", "anybody")["status"] == "settled"
    assert show_review(part.desk.world.bridge, part.review_id)["marks"] == []
