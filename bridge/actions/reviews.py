"""What waits for a person: review items, manual marks, time that a person gives a payer, and claims of clients.

Owns these rows; which rulings are legal and what follows is the flows' to say.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from bridge.actions.row import (
    Action,
    Api,
    Argument,
    Body,
    ByHand,
    Command,
    Form,
    Id,
    Input,
    Limit,
    Matching,
    Option,
    PageSize,
    Read,
    Reason,
    Row,
    Sat,
    Text,
    Txid,
    UtcTime,
    answer,
)
from bridge.context import Bridge
from bridge.core.claims import OUTCOMES, Later, Outcome, Stage
from bridge.core.plain import one_line
from bridge.desk import claims, grant_grace, resolve_review
from bridge.desk.claims import ClaimView
from bridge.desk.grant_grace import GrantShape
from bridge.desk.resolve_review import MarkShape, ReviewView


class RulingBody(Body):
    """A ruling on a review item; `txid` belongs to payout_sent."""

    decision: Annotated[Text, Field(max_length=32), Argument(choices=resolve_review.DECISIONS)]
    reason: Reason
    txid: Annotated[Txid, Option(help="The transaction, for payout_sent.")] = ""


class GraceBody(Body):
    """Time for a payer: until `ends_at`, or as much as the tier allows."""

    ends_at: Annotated[
        UtcTime | None, Option(flag="--until", help="UTC (default: the tier's)."), Input(name="until")
    ] = None
    reason: Reason


class ReviewQuery(Matching):
    """Which review items."""

    state: Literal["open", "resolved"] | None = None
    kind: Id | None = None
    merchant: Id | None = None
    limit: PageSize = 50


class MarkQuery(Matching):
    """Which manual marks."""

    state: Annotated[
        Literal["proposed", "approved", "rejected", "lapsed"] | None, Option(help="Only in this state.")
    ] = None
    review_id: Id | None = None
    invoice_id: Id | None = None
    merchant: Id | None = None
    limit: Limit = 50


class GrantQuery(Matching):
    """Which grants of time."""

    state: Annotated[Literal["open", "settled", "lapsed"] | None, Option(help="Only in this state.")] = None
    merchant: Id | None = None
    invoice_id: Id | None = None
    limit: Limit = 50


MarksShape = answer("MarksShape", "Manual marks, newest first.", marks=list[MarkShape])


class ReviewShape(ReviewView):
    """Something that waits for a person, or a person's answer to it."""

    blocks: dict[str, Any] | None = None
    decision: str | None = None
    note: str | None = None
    marks: list[MarkShape] | None = None


ReviewsShape = answer("ReviewsShape", "Review items, most urgent first.", reviews=list[ReviewShape])
RuledShape = answer(
    "RuledShape",
    "The item as it is now, and the invoice it belongs to; an item that waits for a mark's approval is still open.",
    review=ReviewShape,
    invoice=dict[str, Any] | None,
)
GrantsShape = answer("GrantsShape", "Grants of time, newest first.", grants=list[GrantShape])


def rule(bridge: Bridge, review_id: str, **asked: Any) -> dict[str, Any]:
    invoice = resolve_review.resolve(bridge, review_id, **asked)
    return {"review": resolve_review.show_review(bridge, review_id), "invoice": invoice or None}


def ruled(made: dict[str, Any]) -> Iterable[str]:
    item, invoice = made["review"], made["invoice"]
    if item["state"] == "open":
        yield f"Proposed as {item['marks'][0]['id']}; somebody else must approve it: subtc-bridge marks approve"
        return
    yield "Resolved." + (f" The invoice is now {invoice['status']}/{invoice['exception']}." if invoice else "")


def mark_lines(found: list[dict[str, Any]]) -> Iterable[str]:
    for mark in found:
        said = f"by {mark['proposed_by']}  {len(mark['approvals'])}/{mark['approvals_needed']} approvals"
        money = f"{mark['amount']} {mark['currency']}, {mark['remaining_sat']} sat missing"
        yield f"{mark['id']}  {mark['state']:8}  {mark['invoice_id']}  {money}  {said}"
    yield f"{len(found)} marks"


def grant_lines(found: list[dict[str, Any]]) -> Iterable[str]:
    for row in found:
        money = f"{row['amount']} {row['currency']}"
        yield f"{row['invoice_id']}  {row['state']:7}  {money}  until {row['ends_at']}  by {row['approver']}"


class ClaimBody(Body):
    """What a client says about an invoice, the transaction he names, and the sum."""

    said: Annotated[Text, Field(min_length=1, max_length=2_000), Option(help="What the client says.")]
    txid: Annotated[Txid, Option(help="The transaction that the client names.")] = ""
    claimed_sat: Annotated[Sat | None, Option(help="The sum that the client names, in satoshi.")] = None
    reason: Reason


class AdvanceBody(Body):
    """The stage that follows."""

    stage: Annotated[Later, Argument(choices=get_args(Later))]
    reason: Reason


class CloseBody(Body):
    """How it ends; the reason is the answer to the client."""

    outcome: Annotated[Outcome, Argument(choices=OUTCOMES)]
    reason: Reason


class ClaimQuery(Matching):
    """Which claims."""

    stage: Annotated[Stage | None, Option(help="Only in this stage.")] = None
    merchant: Id | None = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice", help="Only about this invoice.")] = None
    customer_id: Id | None = None
    limit: Limit = 50


ClaimsShape = answer("ClaimsShape", "Claims, newest first.", claims=list[ClaimView])


def claim_lines(found: list[dict[str, Any]]) -> Iterable[str]:
    for row in found:
        until = f"OVERDUE since {row['due_at']}" if row["is_overdue"] else f"until {row['due_at']}"
        stands = f"{row['outcome']} by {row['closed_by']}" if row["closed_at"] else until
        yield f"{row['id']}  {row['stage']:8}  {row['invoice_id']}  {stands}  {one_line(row['said'], longest=60)}"
    yield f"{len(found)} claims"


def _may_be_opened(page: Any) -> bool:
    return all(each["closed_at"] for each in page["claims"])


def _is_open(page: Any) -> bool:
    return page["claim"]["closed_at"] is None


ROWS: tuple[Row, ...] = (
    Read(
        resolve_review.list_reviews,
        asks=ReviewQuery,
        api=Api("/v1/reviews", "List review items", ReviewsShape),
        command=ByHand("review list", "shows what is open, unless --all is wanted"),
    ),
    Read(
        resolve_review.show_review,
        api=Api("/v1/reviews/<review_id>", "One review item", ReviewShape),
        command=Command("review show", "Show an item with everything needed to rule on it."),
    ),
    Action(
        rule,
        asks=RulingBody,
        needs=("review.resolve", "review.mark"),
        api=Api("/v1/reviews/<review_id>/resolve", "Rule on an item", RuledShape),
        command=Command(
            "review resolve",
            "Rule on an item; the consequences follow at once and are audited. A mark_settled waits for somebody else.",
            ruled,
        ),
        form=Form(
            "resolve_review",
            done=lambda made: "proposed" if made["review"]["state"] == "open" else "resolved",
            page="review",
        ),
    ),
    Read(
        resolve_review.list_marks,
        asks=MarkQuery,
        api=Api("/v1/marks", "List manual marks", MarksShape),
        command=Command("marks list", "List manual marks, newest first.", mark_lines),
    ),
    Read(
        resolve_review.show_mark,
        api=Api("/v1/marks/<mark_id>", "One manual mark", MarkShape),
        command=Command("marks show", "Show a mark with its consequence and every approval."),
    ),
    Action(
        resolve_review.approve_mark,
        needs=(resolve_review.APPROVE,),
        api=Api("/v1/marks/<mark_id>/approve", "Approve the mark", MarkShape),
        command=Command(
            "marks approve", "Approve what somebody else proposed; with the last approval the invoice counts as paid."
        ),
        form=Form("approve_manual_mark", done="approved", page="review", values={"review_id": "review_id"}),
    ),
    Action(
        resolve_review.reject_mark,
        needs=(resolve_review.APPROVE, resolve_review.PROPOSE),
        api=Api("/v1/marks/<mark_id>/reject", "Reject the mark", MarkShape),
        command=Command("marks reject", "End a mark that waits; the review item stays open."),
        form=Form("reject_manual_mark", done="rejected", page="review", values={"review_id": "review_id"}),
    ),
    Action(
        grant_grace.grant_grace,
        asks=GraceBody,
        needs=(grant_grace.NEEDS,),
        api=Api("/v1/invoices/<invoice_id>/grace", "Give time", GrantShape, statuses=(201,)),
        command=Command(
            "grace grant", "Give the payer of INVOICE_ID time; once per billing payment, for tiers that have grace."
        ),
        form=Form(
            "give_time", done="grace_granted", page="invoice", shown=lambda page: page["may_have_grace"], look="quiet"
        ),
    ),
    Read(
        grant_grace.list_grants,
        asks=GrantQuery,
        api=Api("/v1/grace-grants", "List grants", GrantsShape),
        command=Command("grace list", "List grants, newest first.", grant_lines),
    ),
    Action(
        claims.open_claim,
        asks=ClaimBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/invoices/<invoice_id>/claims", "Enter a claim", ClaimView, statuses=(201,)),
        command=Command("claims open", "Enter what a client claims about INVOICE_ID."),
        form=Form("open_claim", done="claim_opened", page="invoice", shown=_may_be_opened),
    ),
    Read(
        claims.list_claims,
        asks=ClaimQuery,
        api=Api("/v1/claims", "List claims", ClaimsShape),
        command=Command("claims list", "List claims, newest first.", claim_lines),
    ),
    Read(
        claims.show_claim,
        api=Api("/v1/claims/<claim_id>", "One claim", ClaimView),
        command=Command("claims show", "Show a claim with its stage and deadline."),
    ),
    Action(
        claims.advance_claim,
        asks=AdvanceBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/claims/<claim_id>/advance", "Take a claim to its next stage", ClaimView),
        command=Command("claims advance", "Take a claim to a later stage; its deadline begins now."),
        form=Form("advance_claim", done="claim_advanced", page="claim", shown=lambda page: page["can_advance"]),
    ),
    Action(
        claims.close_claim,
        asks=CloseBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/claims/<claim_id>/close", "End a claim", ClaimView),
        command=Command("claims close", "End a claim; the reason is the answer to the client."),
        form=Form("close_claim", done="claim_closed", page="claim", shown=_is_open),
    ),
)
