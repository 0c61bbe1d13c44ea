"""The table of kinds is whole: what a row names exists."""

import pytest

from bridge.core.invoice import EXCEPTIONS, STATUSES
from bridge.core.kinds import KINDS, REASONS, REVIEWS, ROWS, RULINGS, review_of
from bridge.core.roles import PERMISSIONS


def test_a_code_has_one_row_and_is_a_reason_or_a_question():
    assert len(ROWS) == len(KINDS)
    assert all(kind.scene or kind.review for kind in KINDS.values())
    assert all(kind.scene for kind in KINDS.values() if kind.variants)


@pytest.mark.parametrize("code", REVIEWS)
def test_what_may_be_ruled_is_known_and_about_what_was_asked(code):
    review = REVIEWS[code]
    asked = {RULINGS[ruling].is_about_payout for ruling in review.rulings}
    assert asked == {review.is_about_payout}
    assert review.needs_cover in {None, *review.rulings}


@pytest.mark.parametrize("code", sorted(code for code, review in REVIEWS.items() if review.holds))
def test_what_holds_an_invoice_says_why_to_its_payer_and_can_be_ended(code):
    assert code in REASONS
    assert KINDS[code].client == "checked" and KINDS[code].next == "held"
    assert "mark_invalid" in REVIEWS[code].rulings


@pytest.mark.parametrize("ruling", RULINGS.values(), ids=RULINGS)
def test_a_ruling_needs_a_known_permission_and_ends_where_an_invoice_can(ruling):
    assert ruling.permission in PERMISSIONS
    if ruling.verdict is not None:
        status, exception, reason = ruling.verdict
        assert status in STATUSES and exception in EXCEPTIONS and reason in REASONS


def test_a_question_of_a_later_version_is_only_taken_note_of():
    assert review_of("of_a_later_version").rulings == ("acknowledge",)
    assert not review_of("of_a_later_version").is_urgent
