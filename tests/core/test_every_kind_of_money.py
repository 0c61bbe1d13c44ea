"""Money that does not come as asked: attribution, tolerance, dust, doubt, returns and what a person ruled."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.credit import quote_at, remaining_minor
from bridge.core.ledger import Books
from bridge.core.policy import Rule
from tests.core.builders import DAY, DUE_SAT, a_payment, a_quote, an_invoice, at, decided

EXPIRY_S = DAY
SETTLED: dict[str, Any] = {"status": "settled", "settled_at": at(90), "received_sat": DUE_SAT}


# --- which quote a payment belongs to -------------------------------------------------------------------------------


def test_chain_sight_has_a_short_grace_and_the_provider_a_long_one() -> None:
    quotes, rule = (a_quote(),), Rule()
    assert quote_at(quotes, a_payment(seen_s=1_020), rule) is quotes[0]
    assert quote_at(quotes, a_payment(seen_s=1_021), rule) is None
    assert quote_at(quotes, a_payment(seen_s=8_100, confirmations=None), rule) is quotes[0]
    assert quote_at(quotes, a_payment(seen_s=8_101, confirmations=None), rule) is None


def test_the_grace_of_an_offer_reaches_over_the_expiry_even_under_a_strict_rule() -> None:
    strict, last_offer = Rule(late="review"), a_quote(2, from_s=EXPIRY_S - 900)
    quotes = (a_quote(), last_offer)
    in_grace = a_payment(confirmations=1, seen_s=EXPIRY_S + 120)
    decision = decided(in_grace, now_s=EXPIRY_S + 130, status="expired", quotes=quotes, rule=strict)
    assert (decision.status, decision.exception, decision.hold) == ("settled", "paid_late", None)
    after_it = a_payment(confirmations=1, seen_s=EXPIRY_S + 121)
    assert decided(after_it, now_s=EXPIRY_S + 130, status="expired", quotes=quotes, rule=strict).hold == "review"


def test_a_newer_offer_goes_before_the_grace_of_an_older_one() -> None:
    first, second = a_quote(), a_quote(2, from_s=930)
    assert quote_at((first, second), a_payment(seen_s=929), Rule()) is first
    assert quote_at((first, second), a_payment(seen_s=930), Rule()) is second


def test_a_late_quote_has_no_grace_and_never_takes_money_from_an_offer() -> None:
    late = a_quote(3, kind="late", from_s=2_000, ttl_s=2_000)
    offer = a_quote(2, from_s=2_500)
    assert quote_at((a_quote(), offer, late), a_payment(seen_s=2_600), Rule()) is offer
    assert quote_at((a_quote(), late), a_payment(seen_s=4_000), Rule()) is late
    assert quote_at((a_quote(), late), a_payment(seen_s=4_001), Rule()) is None


def test_waiting_for_the_price_to_fall_and_paying_the_old_amount_settles_only_what_it_is_worth() -> None:
    old_amount = a_payment(confirmations=1, seen_s=1_100)
    fallen = a_quote(2, kind="late", from_s=1_100, ttl_s=10, price_minor=5_850_000)
    decision = decided(old_amount, now_s=1_110, quotes=(a_quote(), fallen))
    assert (decision.status, decision.exception, decision.hold) == ("new", "paid_partial", None)
    assert decision.remaining_sat == fallen.due_sat - DUE_SAT > 546


def test_in_time_money_after_the_quote_asks_for_a_price_and_waits_for_it() -> None:
    decision = decided(a_payment(confirmations=1, seen_s=1_100), now_s=1_110, rule=Rule(underpaid="review"))
    assert (decision.status, decision.reason, decision.hold) == ("new", "late_checking", None)
    assert decision.wants_late_quote_from == at(1_100)


def test_an_early_payment_without_a_price_is_no_reason_to_ask_for_one_once_the_rest_covers() -> None:
    early = a_payment(5_000, key="aa:0", seen_s=1_100)
    enough = a_payment(DUE_SAT, key="bb:0", seen_s=2_100, confirmations=1)
    decision = decided(early, enough, now_s=2_110, quotes=(a_quote(), a_quote(2, from_s=2_000)))
    assert (decision.status, decision.wants_late_quote_from) == ("settled", None)


def test_what_a_new_quote_asks_for_leaves_out_vanished_money_and_dust() -> None:
    payments = [a_payment(7_962), a_payment(7_962, key="gone:0", replaced=True), a_payment(500, key="dust:0")]
    assert remaining_minor(payments, quotes=(a_quote(),), amount_minor=1_000, rule=Rule()) == 500


# --- too little, too much ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("short_sat", "status"), [(0, "settled"), (79, "settled"), (80, "new")])
def test_a_shortage_inside_the_band_is_absorbed_and_one_satoshi_outside_is_not(short_sat: int, status: str) -> None:
    decision = decided(a_payment(DUE_SAT - short_sat, confirmations=1), rule=Rule(tolerance_bps=50))
    assert decision.status == status
    assert decision.firm.absorbed_sat == (short_sat if status == "settled" else 0)


def test_the_band_is_that_of_the_whole_invoice_and_not_once_per_payment() -> None:
    rule = Rule(tolerance_bps=50)
    parts = [a_payment(2_000, key=f"p:{n}", confirmations=1, seen_s=60 + n) for n in range(7)]
    assert decided(*parts, a_payment(1_924 - 79, key="z:0", confirmations=1), rule=rule).status == "settled"
    assert decided(*parts, a_payment(1_924 - 80, key="z:0", confirmations=1), rule=rule).status == "new"


def test_nothing_at_all_is_never_inside_a_band() -> None:
    assert decided(rule=Rule(tolerance_sat=10**9)).status == "new"
    assert decided(a_payment(545, confirmations=9), rule=Rule(tolerance_sat=10**9)).status == "new"


def test_a_processing_invoice_inside_its_band_asks_for_nothing_more() -> None:
    decision = decided(a_payment(DUE_SAT - 79), rule=Rule(tolerance_bps=50))
    assert (decision.status, decision.remaining_sat) == ("processing", 0)


def test_a_strict_tier_sends_a_partial_payment_to_a_person_at_once() -> None:
    decision = decided(a_payment(10_000), rule=Rule(underpaid="review"))
    assert (decision.status, decision.hold, decision.reviews) == ("new", "review", ("partial",))


@pytest.mark.parametrize("first_sat", range(600, DUE_SAT - 546, 997))
def test_paying_the_shown_remainder_covers_with_nothing_over(first_sat: int) -> None:
    first = a_payment(first_sat, confirmations=1)
    rest = a_payment(decided(first).remaining_sat, key="bb:0", confirmations=1, seen_s=90)
    decision = decided(first, rest)
    assert (decision.status, decision.excess_sat) == ("settled", 0)


def test_a_remainder_too_small_to_be_sent_is_asked_for_as_the_smallest_sum_that_counts() -> None:
    first = a_payment(DUE_SAT - 1, confirmations=1)
    assert decided(first).remaining_sat == 546
    decision = decided(first, a_payment(546, key="bb:0", confirmations=1, seen_s=90))
    assert (decision.status, decision.excess_sat) == ("settled", 545)


def test_a_small_excess_is_kept_as_a_liability_without_asking_anybody() -> None:
    decision = decided(a_payment(DUE_SAT + 5_000, confirmations=1))
    assert (decision.exception, decision.excess_sat, decision.reviews) == ("paid_over", 5_000, ())


def test_more_money_after_a_person_let_an_excess_pass_is_news_again() -> None:
    more = a_payment(90_000, key="cc:0", confirmations=1, seen_s=200)
    before = {**SETTLED, "received_sat": DUE_SAT + 9_000, "released": frozenset({"over"})}
    paid = (a_payment(confirmations=9), a_payment(9_000, key="bb:0", confirmations=9, seen_s=100))
    assert decided(*paid, now_s=300, **before).reviews == ()
    assert decided(*paid, more, now_s=300, **before).reviews == ("over",)


def test_late_money_on_top_of_enough_changes_neither_status_nor_hold() -> None:
    rule = Rule(confirmations=Rule().confirmations, late_auto_seconds=0)
    extra = a_payment(7_000, key="bb:0", confirmations=0, seen_s=EXPIRY_S + 9_000)
    decision = decided(a_payment(), extra, now_s=EXPIRY_S + 9_000, status="processing", received_sat=DUE_SAT, rule=rule)
    assert (decision.status, decision.exception, decision.hold) == ("processing", "none", None)


def test_money_after_absorption_is_used_first_and_only_its_rest_is_over() -> None:
    rule = Rule(tolerance_bps=50)
    more = a_payment(1_000, key="bb:0", confirmations=1, seen_s=100)
    decision = decided(a_payment(DUE_SAT - 50, confirmations=1), more, rule=rule, **SETTLED)
    assert (decision.firm.used_sat, decision.firm.absorbed_sat, decision.excess_sat) == (DUE_SAT, 0, 950)


def test_amounts_beyond_any_integer_column_are_still_exact() -> None:
    quote = a_quote(base_minor=10**15 - 1, price_minor=1_000, fee_buffer_minor=0, risk_bps=0)
    invoice = an_invoice(amount_minor=10**15 - 1, provider_sat=quote.due_sat)
    rule = Rule(large_sat=10**30)
    paid = a_payment(quote.due_sat, confirmations=6)
    assert decided(paid, quotes=(quote,), invoice=invoice, rule=rule).status == "settled"
    short = replace(paid, amount_sat=quote.due_sat - 1)
    decision = decided(short, quotes=(quote,), invoice=replace(invoice, provider_sat=short.amount_sat), rule=rule)
    assert (decision.status, decision.firm.remaining_sat) == ("new", 1)


def test_money_is_used_in_the_order_it_was_seen_and_the_last_is_what_is_over() -> None:
    cheaper = a_quote(2, from_s=2_000, price_minor=8_000_000)
    second = a_payment(cheaper.due_sat, key="aa:0", confirmations=1, seen_s=2_010)
    first = a_payment(10_000, key="bb:0", confirmations=1)
    decision = decided(second, first, now_s=2_020, quotes=(a_quote(), cheaper))
    assert (decision.firm.used_sat, decision.excess_sat) == (14_814, 8_124)


# --- dust ------------------------------------------------------------------------------------------------------------------


def test_a_thousand_crumbs_are_kept_and_shown_but_pay_nothing() -> None:
    crumbs = [a_payment(300, key=f"d:{n}", confirmations=9) for n in range(1_000)]
    decision = decided(*crumbs)
    assert (decision.status, decision.received_sat, decision.remaining_sat) == ("new", 300_000, DUE_SAT)


@pytest.mark.parametrize("rule", [Rule(underpaid="review"), Rule(late="review")])
def test_dust_cannot_be_thrown_at_an_invoice_to_hold_it(rule: Rule) -> None:
    early, late = a_payment(300, key="d:0"), a_payment(300, key="d:1", seen_s=EXPIRY_S + 9_000)
    assert decided(early, late, now_s=EXPIRY_S + 9_001, status="expired", rule=rule).hold is None


def test_even_dust_is_shown_to_a_person_before_an_invoice_could_be_cancelled() -> None:
    decision = decided(a_payment(300, confirmations=9), now_s=8 * DAY, status="expired", received_sat=300)
    assert (decision.closed, decision.hold, decision.reviews) == (False, "review", ("partial",))


# --- unconfirmed and replaceable ---------------------------------------------------------------------------------------


def test_unconfirmed_money_settles_only_under_its_limit_and_when_it_announces_no_replacement() -> None:
    rule = Rule(zero_conf_max_sat=DUE_SAT)
    assert decided(a_payment(), rule=rule).status == "settled"
    assert decided(a_payment(replaceable=True), rule=rule).status == "processing"
    assert decided(a_payment(DUE_SAT + 1), rule=rule).status == "processing"
    assert decided(a_payment(), rule=Rule(zero_conf_max_sat=DUE_SAT - 1)).status == "processing"


def test_the_unconfirmed_limit_is_for_the_invoice_and_not_for_each_output() -> None:
    halves = (a_payment(7_962, key="a:0"), a_payment(7_962, key="b:0"))
    assert decided(*halves, rule=Rule(zero_conf_max_sat=8_000)).status == "processing"


def test_more_money_never_takes_back_what_unconfirmed_money_settled() -> None:
    rule = Rule(zero_conf_max_sat=20_000)
    more = a_payment(10_000, key="bb:0", seen_s=100)
    decision = decided(a_payment(), more, rule=rule, **SETTLED)
    assert (decision.status, decision.hold, decision.excess_sat) == ("settled", None, 0)


def test_depth_follows_the_whole_sum_so_that_splitting_gains_nothing() -> None:
    quote = a_quote(base_minor=60_000)
    parts = [a_payment(quote.due_sat // 2 + 1, key=f"p:{n}", confirmations=1) for n in range(2)]
    decision = decided(*parts, quotes=(quote,), amount_minor=60_000, provider_sat=quote.due_sat + 1)
    assert (decision.status, decision.confirmations_needed, decision.confirmations_seen) == ("processing", 2, 1)


def test_a_fee_replacement_with_the_same_amount_only_changes_the_outpoint() -> None:
    decision = decided(
        a_payment(replaced=True), a_payment(key="bb:0", seen_s=200), status="processing", received_sat=DUE_SAT
    )
    assert (decision.status, decision.events, decision.reviews) == ("processing", (), ())


def test_a_settled_payment_that_lost_one_of_its_blocks_but_is_still_in_one_stays_settled() -> None:
    rule = Rule(confirmations=(), confirmations_above=3)
    decision = decided(a_payment(confirmations=1), rule=rule, **SETTLED)
    assert (decision.status, decision.events, decision.reviews) == ("settled", (), ())


# --- who says so -----------------------------------------------------------------------------------------------------------


def test_without_a_chain_reader_only_small_invoices_settle() -> None:
    paid = a_payment(confirmations=None, key="total")
    assert decided(paid, rule=Rule(provider_only_max_sat=DUE_SAT), has_chain_evidence=False).status == "settled"
    held = decided(paid, rule=Rule(provider_only_max_sat=DUE_SAT - 1), has_chain_evidence=False)
    assert (held.status, held.hold, held.reviews) == ("processing", "review", ("provider_only_limit",))


@pytest.mark.parametrize("provider_sat", [None, 0, DUE_SAT - 1, DUE_SAT + 1])
def test_two_sources_that_differ_do_not_settle_and_become_a_review_after_a_while(provider_sat: int | None) -> None:
    doubted: dict[str, Any] = {"provider_sat": provider_sat, "disagrees_since": at(100)}
    at_first = decided(a_payment(confirmations=3), now_s=699, **doubted)
    assert (at_first.status, at_first.hold) == ("processing", None)
    later = decided(a_payment(confirmations=3), now_s=700, **doubted)
    assert (later.status, later.hold, later.reviews) == ("processing", "review", ("provider_disagrees",))


def test_a_person_who_lets_the_disagreement_pass_lets_the_invoice_settle() -> None:
    decision = decided(
        a_payment(confirmations=3),
        provider_sat=0,
        disagrees_since=at(-9_000),
        released=frozenset({"provider_disagrees"}),
    )
    assert (decision.status, decision.hold) == ("settled", None)


def test_money_that_only_the_provider_saw_is_never_cancelled_by_a_machine() -> None:
    doubted: dict[str, Any] = {"provider_sat": DUE_SAT, "disagrees_since": at(100), "status": "expired"}
    held = decided(now_s=8 * DAY, **doubted)
    assert (held.closed, held.hold, held.reviews) == (False, "review", ("provider_disagrees",))
    ruled = decided(now_s=8 * DAY, released=frozenset({"provider_disagrees"}), **doubted)
    assert (ruled.closed, ruled.hold) == (True, None)


def test_a_provider_that_stays_silent_to_the_end_is_a_review() -> None:
    decision = decided(
        a_payment(confirmations=99), now_s=8 * DAY, status="processing", received_sat=DUE_SAT, provider_sat=None
    )
    assert (decision.hold, decision.reviews) == ("review", ("provider_disagrees",))


# --- holds ------------------------------------------------------------------------------------------------------------------


def test_a_hold_stays_when_its_cause_went_away_until_a_person_rules() -> None:
    held = decided(
        a_payment(confirmations=1), status="processing", hold="review", received_sat=DUE_SAT,
        open_reviews=frozenset({"provider_disagrees"}),
    )  # fmt: skip
    assert (held.status, held.hold, held.events, held.reviews) == ("processing", "review", (), ())
    released = decided(
        a_payment(confirmations=1), status="processing", hold="review", received_sat=DUE_SAT,
        released=frozenset({"provider_disagrees"}),
    )  # fmt: skip
    assert (released.status, released.hold, released.events) == ("settled", None, ("invoice.settled",))


def test_the_end_of_a_hold_is_told_even_when_nothing_else_changed() -> None:
    decision = decided(
        a_payment(), status="processing", hold="review", received_sat=DUE_SAT, released=frozenset({"large_amount"})
    )
    assert (decision.status, decision.hold, decision.events) == ("processing", None, ("invoice.updated",))


def test_an_invoice_under_review_is_not_cancelled() -> None:
    decision = decided(now_s=8 * DAY, status="expired", hold="review", open_reviews=frozenset({"suspicious_address"}))
    assert (decision.closed, decision.hold, decision.events) == (False, "review", ())


def test_an_invoice_with_money_is_not_cancelled_even_when_a_person_let_the_part_pass() -> None:
    part: dict[str, Any] = {
        "status": "expired",
        "exception": "paid_partial",
        "received_sat": 10_000,
        "provider_sat": None,
        "has_chain_evidence": False,
        "released": frozenset({"partial", "provider_only_limit"}),
    }
    decision = decided(a_payment(10_000, confirmations=None), now_s=9 * DAY, **part)
    assert (decision.closed, decision.hold, decision.events) == (False, None, ())


def test_a_billing_payment_that_was_cancelled_before_any_money_holds_nothing() -> None:
    decision = decided(billing_change="cancelled")
    assert (decision.status, decision.hold, decision.reason) == ("new", None, "billing_cancelled")


# --- after the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen_s", [60, EXPIRY_S + 60, 8 * DAY + 60])
def test_money_found_on_a_closed_invoice_waits_for_a_person_whenever_it_came(seen_s: int) -> None:
    decision = decided(
        a_payment(confirmations=99, seen_s=seen_s),
        now_s=9 * DAY,
        status="expired",
        reason="closed",
        closed_at=at(8 * DAY),
    )
    assert decision.hold == "review"
    assert "late" in decision.reviews
    assert decision.wants_late_quote_from is None
    assert "invoice.settled" not in decision.events


def test_a_second_too_late_payment_does_not_slip_in_under_the_late_price_of_the_first() -> None:
    first = a_payment(8_000, key="aa:0", confirmations=1, seen_s=EXPIRY_S + 60)
    second = a_payment(8_000, key="bb:0", confirmations=1, seen_s=EXPIRY_S + 9_000)
    late = a_quote(2, kind="late", from_s=EXPIRY_S + 60, ttl_s=20_000)
    decision = decided(first, second, now_s=EXPIRY_S + 9_001, status="expired", quotes=(a_quote(), late))
    assert (decision.status, decision.hold, decision.reviews) == ("expired", "review", ("late",))


def test_money_that_returns_after_a_reorganisation_settles_again_without_a_second_settled_event() -> None:
    back = decided(
        a_payment(confirmations=1), status="invalid", settled_at=at(90), received_sat=DUE_SAT, hold="review",
        open_reviews=frozenset({"reorged"}),
    )  # fmt: skip
    assert (back.status, back.hold, back.events) == ("settled", "review", ("invoice.updated",))


def test_a_second_reorganisation_is_reviewed_though_the_first_was_let_pass() -> None:
    lost = decided(a_payment(replaced=True), released=frozenset({"reorged"}), **SETTLED)
    assert (lost.status, lost.hold) == ("invalid", "review")
    assert "reorged" in lost.reviews


def test_marking_a_settled_invoice_invalid_and_settled_again_says_settled_once() -> None:
    down = decided(a_payment(confirmations=1), verdict="mark_invalid", **SETTLED)
    assert (down.status, down.events) == ("invalid", ("invoice.invalid",))
    up = decided(
        a_payment(confirmations=1), verdict="mark_settled", status="invalid", settled_at=at(90), received_sat=DUE_SAT
    )
    assert (up.status, up.exception, up.events) == ("settled", "marked", ("invoice.updated",))


def test_unpriced_money_with_which_a_person_marked_the_invoice_settled_is_not_owed_back() -> None:
    late = a_payment(16_000, confirmations=1, seen_s=EXPIRY_S + 9_000)
    now_s = EXPIRY_S + 9_100
    marked = decided(late, now_s=now_s, verdict="mark_settled", status="expired", received_sat=16_000)
    books = Books.of_decision(marked, amount_minor=1_000, verdict="mark_settled")
    assert (marked.excess_sat, books.used_sat, books.over_sat, marked.reviews) == (0, 16_000, 0, ())
    more = a_payment(7_000, key="bb:0", confirmations=1, seen_s=now_s + 60)
    after = decided(
        late, more, now_s=now_s + 60, verdict="mark_settled", status="settled", exception="marked",
        settled_at=at(now_s), received_sat=16_000,
    )  # fmt: skip
    assert (after.excess_sat, after.reviews) == (7_000, ("over",))


@pytest.mark.parametrize("verdict", ["mark_invalid", "refund"])
def test_money_that_comes_after_a_person_ended_the_matter_is_shown_to_one(verdict: str) -> None:
    before: dict[str, Any] = {
        "verdict": verdict,
        "status": "invalid",
        "received_sat": 0,
        "released": frozenset({"late"}),
    }
    news = decided(a_payment(), **before)
    assert (news.status, news.hold, news.reviews) == ("invalid", None, ("late",))
    assert decided(a_payment(), **{**before, "received_sat": DUE_SAT}).reviews == ()


def test_money_that_vanishes_after_a_person_marked_the_invoice_settled_is_shown_to_one() -> None:
    gone = decided(a_payment(replaced=True), verdict="mark_settled", **SETTLED)
    assert (gone.status, gone.reviews) == ("settled", ("replaced",))


def test_a_part_that_comes_back_after_closing_is_one_question() -> None:
    """It vanished, the invoice closed, the same output is back: what was asked as late is not asked as a part too."""
    back, now_s = a_payment(amount_sat=5_000, confirmations=0, seen_s=60), 9 * DAY
    closed: dict[str, Any] = {"status": "expired", "reason": "closed", "provider_sat": 5_000}
    first = decided(back, now_s=now_s, closed_at=at(8 * DAY), **closed)
    assert first.reviews == ("late",)
    told = {"status": first.status, "exception": first.exception, "reason": first.reason, "hold": first.hold}
    again = decided(back, now_s=now_s, open_reviews=frozenset({"late"}), received_sat=5_000, **closed | told)
    assert (again.events, again.reviews) == ((), ())
