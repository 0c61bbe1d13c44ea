"""The review desk: what waits for a person, by due time, and the rulings with their consequences.

Owns the pages; which rulings are legal and what follows is the flows' to say.
"""

from typing import Any

from flask import request

from bridge.core.kinds import review_of
from bridge.core.roles import may, permission_of_ruling
from bridge.desk.desk import open_review_counts, reviews_page
from bridge.desk.mark_settled import list_marks
from bridge.desk.resolve_review import show_review
from bridge.web.admin.door import bridge, page, render, role
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
