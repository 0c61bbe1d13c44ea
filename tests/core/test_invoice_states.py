"""The state table, row by row, and every legal move."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from bridge.core.errors import IllegalMove
from bridge.core.invoice import LEGAL_MOVES, STATUSES, Decision
from bridge.core.kinds import VERDICTS
from bridge.core.policy import Rule
from tests.core.builders import DAY, DUE_SAT, a_payment, a_quote, an_invoice, at, decided

LATE_RULE = Rule(late_auto_seconds=3_600)
EXPIRY_S = DAY
MONITOR_S = 8 * DAY


def stand(decision: Decision) -> tuple[str, str, str | None, str]:
    return decision.status, decision.exception, decision.hold, decision.reason


def test_a_new_invoice_awaits_its_whole_amount() -> None:
    decision = decided()
    assert stand(decision) == ("new", "none", None, "awaiting_payment")
    assert (decision.remaining_sat, decision.events, decision.reviews) == (DUE_SAT, (), ())


def test_new_and_covered_in_time_is_processing() -> None:
    decision = decided(a_payment())
    assert stand(decision) == ("processing", "none", None, "seen")
    assert (decision.remaining_sat, decision.events) == (0, ("invoice.processing",))


def test_new_and_covered_and_deep_enough_is_settled() -> None:
    decision = decided(a_payment(confirmations=1))
    assert stand(decision) == ("settled", "none", None, "settled")
    assert decision.events == ("invoice.settled",)


def test_new_with_a_part_of_the_value_shows_the_remainder() -> None:
    decision = decided(a_payment(10_000, confirmations=1))
    assert stand(decision) == ("new", "paid_partial", None, "partial")
    assert (decision.remaining_sat, decision.events) == (5_924, ("invoice.updated",))


def test_a_lapsed_quote_values_only_what_came_under_it_and_the_remainder_follows_the_new_quote() -> None:
    dearer = a_quote(2, from_s=2_000, base_minor=373, price_minor=5_850_000)
    decision = decided(a_payment(10_000, confirmations=1), now_s=2_010, quotes=(a_quote(), dearer))
    assert stand(decision) == ("new", "paid_partial", None, "partial")
    assert 5_924 < decision.remaining_sat <= dearer.due_sat
    rest = a_payment(decision.remaining_sat, key="bb:0", confirmations=1, seen_s=2_100)
    settled = decided(a_payment(10_000, confirmations=1), rest, now_s=2_110, quotes=(a_quote(), dearer))
    assert (settled.status, settled.exception, settled.excess_sat) == ("settled", "none", 0)


def test_a_new_invoice_expires_and_keeps_watching() -> None:
    decision = decided(now_s=EXPIRY_S)
    assert stand(decision) == ("expired", "none", None, "expired")
    assert (decision.closed, decision.events) == (False, ("invoice.expired",))
    assert decided(now_s=EXPIRY_S - 1).status == "new"


def test_processing_and_confirmed_is_settled() -> None:
    decision = decided(a_payment(confirmations=1), status="processing")
    assert (stand(decision), decision.events) == (("settled", "none", None, "settled"), ("invoice.settled",))


def test_processing_and_confirmed_with_more_than_asked_is_settled_and_over() -> None:
    decision = decided(a_payment(DUE_SAT + 6_000, confirmations=1), status="processing")
    assert stand(decision) == ("settled", "paid_over", None, "overpaid")
    assert (decision.excess_sat, decision.reviews) == (6_000, ("over",))


@pytest.mark.parametrize(("now_s", "status"), [(600, "new"), (EXPIRY_S, "expired")])
def test_processing_falls_back_when_its_value_vanished_and_says_so(now_s: int, status: str) -> None:
    decision = decided(a_payment(replaced=True), now_s=now_s, status="processing", received_sat=DUE_SAT)
    assert stand(decision) == (status, "none", None, "replaced")
    assert decision.reviews == ("replaced",)


def test_processing_that_never_confirmed_while_monitored_is_invalid_under_review() -> None:
    decision = decided(a_payment(), now_s=MONITOR_S, status="processing", received_sat=DUE_SAT)
    assert stand(decision) == ("invalid", "none", "review", "failed_to_confirm")
    assert (decision.reviews, set(decision.events)) == (("failed_to_confirm",), {"invoice.invalid", "invoice.review"})
    assert decided(a_payment(), now_s=MONITOR_S - 1, status="processing").status == "processing"


def test_money_after_expiry_asks_for_the_current_rate_and_settles_as_late_when_that_covers() -> None:
    late = a_payment(confirmations=1, seen_s=EXPIRY_S + 60)
    first = decided(late, now_s=EXPIRY_S + 70, status="expired")
    assert stand(first) == ("expired", "paid_late", None, "late_checking")
    assert first.wants_late_quote_from == at(EXPIRY_S + 60)
    quotes = (a_quote(), a_quote(2, kind="late", from_s=EXPIRY_S + 60, ttl_s=10))
    settled = decided(late, now_s=EXPIRY_S + 70, status="expired", exception="paid_late", quotes=quotes)
    assert stand(settled) == ("settled", "paid_late", None, "paid_late")
    assert settled.wants_late_quote_from is None


def test_money_after_expiry_that_the_current_rate_does_not_cover_is_reviewed() -> None:
    late = a_payment(confirmations=1, seen_s=EXPIRY_S + 60)
    fallen = a_quote(2, kind="late", from_s=EXPIRY_S + 60, ttl_s=10, price_minor=5_850_000)
    decision = decided(late, now_s=EXPIRY_S + 70, status="expired", quotes=(a_quote(), fallen))
    assert stand(decision) == ("expired", "paid_late", "review", "late")
    assert decision.remaining_sat > 0


@pytest.mark.parametrize("rule", [LATE_RULE, Rule(late="review")])
def test_money_that_is_too_late_or_late_under_a_strict_rule_waits_for_a_person(rule: Rule) -> None:
    late = a_payment(confirmations=1, seen_s=EXPIRY_S + 3_601)
    decision = decided(late, now_s=EXPIRY_S + 3_700, status="expired", rule=rule)
    assert stand(decision) == ("expired", "paid_late", "review", "late")
    assert decision.wants_late_quote_from is None
    released = decided(
        late, now_s=EXPIRY_S + 3_700, status="expired", rule=rule, released=frozenset({"late"}), reason="late"
    )
    assert (released.hold, released.wants_late_quote_from) == (None, at(EXPIRY_S + 3_601))


def test_a_partial_invoice_expires_as_partial_and_is_reviewed_when_the_monitoring_ends() -> None:
    part = a_payment(10_000, confirmations=9)
    assert stand(decided(part, now_s=EXPIRY_S)) == ("expired", "paid_partial", None, "partial")
    at_the_end = decided(part, now_s=MONITOR_S, status="expired", exception="paid_partial", received_sat=10_000)
    assert (at_the_end.status, at_the_end.hold, at_the_end.reviews) == ("expired", "review", ("partial",))


def test_only_an_invoice_that_nothing_ever_reached_is_closed_and_cancelled() -> None:
    decision = decided(now_s=MONITOR_S, status="expired")
    assert stand(decision) == ("expired", "none", None, "closed")
    assert (decision.closed, decision.events) == (True, ("invoice.cancelled",))
    assert not decided(now_s=MONITOR_S - 1, status="expired").closed


def test_an_expired_invoice_that_the_client_opens_again_is_new() -> None:
    decision = decided(now_s=EXPIRY_S + 60, status="expired", expires_at=at(2 * DAY))
    assert (stand(decision), decision.events) == (("new", "none", None, "awaiting_payment"), ("invoice.updated",))


@pytest.mark.parametrize("vanished", [{"replaced": True}, {"confirmations": 0}])
def test_settled_that_loses_its_confirmed_value_is_invalid_under_review(vanished: dict[str, Any]) -> None:
    decision = decided(a_payment(**vanished), status="settled", settled_at=at(90), received_sat=DUE_SAT)
    assert stand(decision) == ("invalid", "none", "review", "reorged")
    assert "reorged" in decision.reviews
    assert set(decision.events) == {"invoice.invalid", "invoice.review"}


def test_settled_that_receives_more_owes_the_excess_to_the_client() -> None:
    more = a_payment(9_000, key="bb:0", confirmations=1, seen_s=5 * DAY)
    decision = decided(
        a_payment(confirmations=9), more, now_s=5 * DAY, status="settled", settled_at=at(90), received_sat=DUE_SAT
    )
    assert stand(decision) == ("settled", "paid_over", None, "overpaid")
    assert (decision.excess_sat, decision.reviews, decision.events) == (9_000, ("over",), ("invoice.updated",))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("wrong_network", {"open_reviews": frozenset({"wrong_network"})}),
        ("suspicious_address", {"open_reviews": frozenset({"suspicious_address"})}),
        ("address_crowded", {"open_reviews": frozenset({"address_crowded"})}),
        ("wallet_unread", {"open_reviews": frozenset({"wallet_unread"})}),
        ("screening", {"open_reviews": frozenset({"screening"})}),
        ("provider_disagrees", {"provider_sat": 1, "disagrees_since": at(-600)}),
        ("large_amount", {"rule": Rule(large_sat=15_000)}),
        ("billing_conflict", {"billing_change": "amount"}),
        ("billing_conflict", {"billing_change": "deleted"}),
    ],
)
def test_doubt_holds_the_invoice_where_it_is(kind: str, changes: dict[str, Any]) -> None:
    decision = decided(a_payment(confirmations=1), status="processing", received_sat=DUE_SAT, **changes)
    assert stand(decision) == ("processing", "none", "review", kind)
    assert "invoice.settled" not in decision.events
    assert decision.reviews == (() if "open_reviews" in changes else (kind,))


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_persons_verdict_ends_the_hold_whatever_the_invoice_was(verdict: str, status: str) -> None:
    decision = decided(
        a_payment(10_000, confirmations=1),
        status=status,
        settled_at=at(90) if status == "settled" else None,
        verdict=verdict,
        open_reviews=frozenset({"late"}),
        received_sat=10_000,
    )
    assert stand(decision) == (VERDICTS[verdict][0], VERDICTS[verdict][1], None, VERDICTS[verdict][2])
    assert decision.reviews == ()


ARRIVALS: dict[str, dict[str, Any]] = {
    "new": {"payments": (), "now_s": 120},
    "processing": {"payments": (a_payment(),), "now_s": 120},
    "settled": {"payments": (a_payment(confirmations=1),), "now_s": 120},
    "expired": {"payments": (), "now_s": EXPIRY_S},
    "invalid": {"payments": (a_payment(),), "now_s": MONITOR_S},
}


def moved(before: str, after: str) -> str:
    """Puts an invoice in `before` and shows it the facts that lead a consistent history to `after`."""
    facts: dict[str, Any] = dict(ARRIVALS[after])
    changes: dict[str, Any] = {"status": before, "received_sat": DUE_SAT if before != "new" else 0}
    if before == "settled":
        changes["settled_at"] = at(90)
    if (before, after) == ("settled", "invalid"):
        facts = {"payments": (a_payment(replaced=True),), "now_s": 120}
    return decided(*facts.pop("payments"), **facts, **changes).status


@pytest.mark.parametrize(("before", "after"), sorted(LEGAL_MOVES))
def test_every_legal_move_is_made(before: str, after: str) -> None:
    assert moved(before, after) == after


@pytest.mark.parametrize(("before", "after"), sorted(set(product(STATUSES, STATUSES)) - LEGAL_MOVES))
def test_every_other_move_stays_or_raises(before: str, after: str) -> None:
    """Nothing leads a settled invoice back but "invalid"; asked by impossible facts, the decision raises."""
    if before == after:
        if before != "settled":
            assert moved(before, after) == after
        return
    facts = ARRIVALS[after]
    impossible = replace(an_invoice(provider_sat=DUE_SAT, covered_until=at(facts["now_s"])), status=before)
    with pytest.raises(IllegalMove, match=f"{before} -> {after}"):
        decided(*facts["payments"], now_s=facts["now_s"], invoice=impossible)


def test_settled_stays_settled_on_the_same_facts() -> None:
    decision = decided(a_payment(confirmations=1), status="settled", settled_at=at(90), received_sat=DUE_SAT)
    assert (decision.status, decision.events, decision.reviews) == ("settled", (), ())


def test_the_first_expiry_second_belongs_to_the_payer_and_the_next_does_not() -> None:
    quotes = (a_quote(ttl_s=EXPIRY_S),)
    in_time = decided(a_payment(seen_s=EXPIRY_S), now_s=EXPIRY_S, quotes=quotes)
    assert stand(in_time) == ("processing", "none", None, "seen")
    late = decided(a_payment(seen_s=EXPIRY_S + 1), now_s=EXPIRY_S + 1, quotes=quotes, status="expired")
    assert stand(late) == ("expired", "paid_late", None, "late_checking")
