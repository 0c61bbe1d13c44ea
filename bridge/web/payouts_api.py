"""Refunds and payouts for programs, where the billing system's module may call too, with its own key.

Owns the way from HTTP to flows; a module asks for its own merchant, and sees no other's.
"""

from flask import Blueprint, Response, jsonify

from bridge.actions.money import PROPOSE, PayoutQuery, RefundBody
from bridge.core.errors import Refused
from bridge.payouts import decide_payout
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.permit import MODULE
from bridge.web.actions_api import query_keywords
from bridge.web.auth import merchant_or_operator
from bridge.web.bodies import idempotency_key, read_body, read_json
from bridge.web.context import here

routes = Blueprint("payouts", __name__, url_prefix="/v1")


@routes.post("/invoices/<invoice_id>/refunds")
def post_refund(invoice_id: str) -> Response:
    """Ask for a refund, as the module or as an operator; other people approve it."""
    merchant, person = merchant_or_operator(PROPOSE)
    body = read_json(RefundBody, read_body())
    asked = NewRefund(
        invoice_id=invoice_id,
        variant=body.variant,
        net_sat=body.net_sat,
        fiat_text=body.fiat_text or "",
        destination=body.destination,
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
    asked = query_keywords(PayoutQuery)
    asked["match"] |= {"merchant": merchant.id} if merchant else {}
    return jsonify(decide_payout.list_payouts(here().bridge, **asked))


@routes.get("/payouts/<payout_id>")
def get_payout(payout_id: str) -> Response:
    """One payout with all its approvals."""
    merchant, _ = merchant_or_operator("read")
    payout = decide_payout.show_payout(here().bridge, payout_id)
    if merchant is not None and payout["merchant"] != merchant.id:
        raise Refused("unknown_payout", "There is no such payout.")
    return jsonify(payout)
