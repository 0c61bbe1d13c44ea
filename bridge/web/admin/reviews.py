"""The review desk: what waits for a person, by due time, and the rulings with their consequences.

Owns the pages; which rulings are legal and what follows is the flows' to say.
"""

from typing import Any

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.kinds import review_of
from bridge.core.roles import may, permission_of_ruling
from bridge.flows.desk import open_review_counts, reviews_page
from bridge.flows.mark_settled import APPROVE, PROPOSE, approve_mark, list_marks, reject_mark
from bridge.flows.resolve_review import resolve, show_review
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render, role
from bridge.web.admin.lists import chosen

FIRST = ("what", "payout", "findings", "money", "service_impact", "wallet_history", "quote", "session", "screening")


@page("/reviews")
def review_list() -> str:
    """Open items, most urgent first; resolved ones on request."""
    match = {"state": "open"} | chosen("state", "kind", "merchant")
    found = reviews_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    waiting = list_marks(bridge(), match={"state": "proposed"})
    return render("reviews.html", page=found, match=match, counts=open_review_counts(bridge()), marks=waiting)


@page("/reviews/<review_id>")
def review(review_id: str) -> str:
    """One item with what a person must see, and the rulings that this person may give."""
    item = show_review(bridge(), review_id)
    asked = review_of(item["kind"])
    rulings = asked.rulings if item["invoice_id"] or asked.is_about_payout else ("acknowledge",)
    allowed = [each for each in rulings if may(role(), permission_of_ruling(each))]
    waiting = next((each for each in item["marks"] if each["state"] == "proposed"), None)
    return render(
        "review.html",
        item=item,
        rulings=rulings,
        allowed=allowed,
        blocks=ordered(item["blocks"]),
        mark=waiting,
    )


def ordered(blocks: dict[str, Any]) -> list[tuple[str, Any]]:
    """The blocks that say something, the most telling first; a block of a later version comes last."""
    names = [*(name for name in FIRST if name in blocks), *(name for name in blocks if name not in FIRST)]
    return [(name, blocks[name]) for name in names if blocks[name] and name not in ("actions", "outcome")]


@form("/reviews/<review_id>/resolve", "review.resolve")
def resolve_review(review_id: str) -> AnyResponse:
    """Carries out a ruling, or keeps a manual mark for somebody else to approve."""
    decision, txid = request.form.get("decision", ""), request.form.get("txid", "").strip()
    resolve(bridge(), review_id, decision=decision, actor=actor(), reason=reason(), txid=txid)
    is_open = show_review(bridge(), review_id)["state"] == "open"
    return done("proposed" if is_open else "resolved", "review", review_id=review_id)


@form("/marks/<mark_id>/approve", APPROVE)
def approve_manual_mark(mark_id: str) -> AnyResponse:
    """This person's approval of a manual mark; the flow refuses it when the money changed since it was proposed."""
    mark = approve_mark(bridge(), mark_id, actor=actor(), reason=reason())
    return done("approved", "review", review_id=mark["review_id"])


@form("/marks/<mark_id>/reject", APPROVE, PROPOSE)
def reject_manual_mark(mark_id: str) -> AnyResponse:
    """Ends a manual mark that waits."""
    mark = reject_mark(bridge(), mark_id, actor=actor(), reason=reason())
    return done("rejected", "review", review_id=mark["review_id"])
