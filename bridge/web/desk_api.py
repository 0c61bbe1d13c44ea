"""What people do, for programs: payouts, reviews, manual marks, treasury, with an operator's token.

Owns the way from HTTP to flows; who may do what is decided there by the name that the token stands for.
"""

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel

from bridge.core.errors import Refused
from bridge.flows import decide_payout, mark_settled, redeliver, resolve_review, sweep
from bridge.flows.permit import MODULE
from bridge.flows.record_own_send import record_own_send
from bridge.flows.refund_address import change_address
from bridge.flows.request_refund import NewRefund, request_refund
from bridge.flows.treasury import treasury_view
from bridge.web.auth import merchant_or_operator, require_operator
from bridge.web.bodies import read_json, read_query
from bridge.web.context import here
from bridge.web.desk_bodies import (
    AddressBody,
    DeliveryQuery,
    MarkQuery,
    OwnSendBody,
    PayoutQuery,
    ReasonBody,
    RefundBody,
    ReviewQuery,
    RulingBody,
    WriteOffBody,
)
from bridge.web.keys import idempotency_key
from bridge.web.limits import read_body

routes = Blueprint("desk", __name__, url_prefix="/v1")


@routes.post("/invoices/<invoice_id>/refunds")
def post_refund(invoice_id: str) -> Response:
    """Ask for a refund, as the module or as an operator; other people approve it."""
    merchant, person = merchant_or_operator("payout.propose")
    body = read_json(RefundBody, read_body())
    asked = NewRefund(
        invoice_id=invoice_id,
        variant=body.variant,
        net_sat=body.net_sat,
        fiat_text=body.amount or "",
        destination=body.address,
    )
    requested = request_refund(
        here().bridge,
        merchant_id=merchant.id if merchant else None,
        request=asked,
        key=idempotency_key(),
        actor=person.name if person else f"{MODULE}{merchant.id if merchant else ''}",
        reason=body.reason,
    )
    response = jsonify(requested.payout | {"address_form_url": requested.form_url})
    response.status_code = 200 if requested.is_replay else 201
    if requested.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@routes.get("/payouts")
def get_payouts() -> Response:
    """Payouts, newest first; a module sees its own merchant's only."""
    merchant, _ = merchant_or_operator("read")
    query = read_query(PayoutQuery, request.args.to_dict())
    match = _match(query) | ({"merchant": merchant.id} if merchant else {})
    return jsonify(decide_payout.list_payouts(here().bridge, match=match, limit=query.limit, cursor=query.cursor))


@routes.get("/payouts/<payout_id>")
def get_payout(payout_id: str) -> Response:
    """One payout with all its approvals."""
    merchant, _ = merchant_or_operator("read")
    payout = decide_payout.show_payout(here().bridge, payout_id)
    if merchant is not None and payout["merchant"] != merchant.id:
        raise Refused("unknown_payout", "There is no such payout.")
    return jsonify(payout)


@routes.post("/payouts/<payout_id>/approve")
def approve(payout_id: str) -> Response:
    """Approve a payout that somebody else proposed."""
    actor = require_operator("payout.approve").name
    reason = read_json(ReasonBody, read_body()).reason
    return jsonify(decide_payout.approve_payout(here().bridge, payout_id, actor=actor, reason=reason))


@routes.post("/payouts/<payout_id>/reject")
def reject(payout_id: str) -> Response:
    """End a payout that was surely not sent."""
    actor = require_operator("payout.approve", "payout.propose").name
    reason = read_json(ReasonBody, read_body()).reason
    return jsonify(decide_payout.reject_payout(here().bridge, payout_id, actor=actor, reason=reason))


@routes.post("/payouts/<payout_id>/address")
def post_address(payout_id: str) -> Response:
    """Name or change where a refund goes; that voids its approvals."""
    actor = require_operator("payout.propose").name
    body = read_json(AddressBody, read_body())
    return jsonify(change_address(here().bridge, payout_id, address=body.address, actor=actor, reason=body.reason))


@routes.post("/payouts/<payout_id>/sent")
def post_own_send(payout_id: str) -> Response:
    """State by which transaction a refund left the shop's own wallet; the chain must show it."""
    actor, body = require_operator("payout.propose").name, read_json(OwnSendBody, read_body())
    return jsonify(record_own_send(here().bridge, payout_id, txid=body.txid, actor=actor, reason=body.reason))


@routes.get("/treasury")
def get_treasury() -> Response:
    """Wallets, what is owed, what a sweep would take."""
    require_operator("read")
    return jsonify(treasury_view(here().bridge))


@routes.post("/sweeps")
def post_sweep() -> tuple[Response, int]:
    """Propose a sweep of everything free to a cold address."""
    actor, body = require_operator("payout.propose").name, read_json(ReasonBody, read_body())
    key = idempotency_key()
    return jsonify(sweep.propose_sweep(here().bridge, actor=actor, reason=body.reason, key=key)), 201


@routes.post("/write-offs")
def post_write_off() -> tuple[Response, int]:
    """Propose to give up dust that is too little to be sent."""
    actor, body = require_operator("payout.propose").name, read_json(WriteOffBody, read_body())
    wanted = {"role": body.role, "gross_sat": body.gross_sat, "actor": actor, "reason": body.reason}
    return jsonify(sweep.propose_write_off(here().bridge, key=idempotency_key(), **wanted)), 201  # type: ignore[arg-type]


@routes.get("/reviews")
def get_reviews() -> Response:
    """Review items, most urgent first."""
    require_operator("read")
    query = read_query(ReviewQuery, request.args.to_dict())
    return jsonify(reviews=resolve_review.list_reviews(here().bridge, match=_match(query), limit=query.limit))


@routes.get("/reviews/<review_id>")
def get_review(review_id: str) -> Response:
    """One item with everything needed to rule on it."""
    require_operator("read")
    return jsonify(resolve_review.show_review(here().bridge, review_id))


@routes.post("/reviews/<review_id>/resolve")
def post_ruling(review_id: str) -> Response:
    """Rule on an item; the consequences follow at once, but for a manual mark: somebody else approves it."""
    actor, body = require_operator("review.resolve", "review.mark").name, read_json(RulingBody, read_body())
    invoice = resolve_review.resolve(
        here().bridge, review_id, decision=body.decision, actor=actor, reason=body.reason, txid=body.txid
    )
    return jsonify(review=resolve_review.show_review(here().bridge, review_id), invoice=invoice or None)


@routes.get("/marks")
def get_marks() -> Response:
    """Manual marks, newest first: what a person proposed to count as paid."""
    require_operator("read")
    query = read_query(MarkQuery, request.args.to_dict())
    return jsonify(marks=mark_settled.list_marks(here().bridge, match=_match(query), limit=query.limit))


@routes.get("/marks/<mark_id>")
def get_mark(mark_id: str) -> Response:
    """One manual mark with its approvals."""
    require_operator("read")
    return jsonify(mark_settled.show_mark(here().bridge, mark_id))


@routes.post("/marks/<mark_id>/approve")
def post_mark_approval(mark_id: str) -> Response:
    """Approve a manual mark that somebody else proposed; with the last approval the invoice counts as paid."""
    actor = require_operator(mark_settled.APPROVE).name
    reason = read_json(ReasonBody, read_body()).reason
    return jsonify(mark_settled.approve_mark(here().bridge, mark_id, actor=actor, reason=reason))


@routes.post("/marks/<mark_id>/reject")
def post_mark_rejection(mark_id: str) -> Response:
    """End a manual mark that waits; the review item stays open."""
    actor = require_operator(mark_settled.APPROVE, mark_settled.PROPOSE).name
    reason = read_json(ReasonBody, read_body()).reason
    return jsonify(mark_settled.reject_mark(here().bridge, mark_id, actor=actor, reason=reason))


@routes.get("/deliveries")
def get_deliveries() -> Response:
    """Deliveries, newest first."""
    require_operator("read")
    query = read_query(DeliveryQuery, request.args.to_dict())
    return jsonify(deliveries=redeliver.list_deliveries(here().bridge, match=_match(query), limit=query.limit))


@routes.get("/deliveries/<delivery_id>")
def get_delivery(delivery_id: str) -> Response:
    """One delivery with every attempt."""
    require_operator("read")
    return jsonify(redeliver.show_delivery(here().bridge, delivery_id))


def _match(query: BaseModel) -> dict[str, str]:
    return query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
