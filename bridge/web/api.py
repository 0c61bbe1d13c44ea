"""The API of the billing system's module.

Owns the way from HTTP to flows; must not decide anything, nor answer before the flow has committed.
"""

import hashlib
import secrets

from flask import Blueprint, Response, jsonify, request

from bridge.books.reconcile import take_billing_report
from bridge.core.currencies import check_taken
from bridge.invoices.billing_change import note_billing_change
from bridge.invoices.open_invoice import NewInvoice, open_invoice
from bridge.invoices.present import time_text
from bridge.invoices.read_invoices import invoice_by_id, list_invoices, read_feed
from bridge.web.auth import require_merchant
from bridge.web.bodies import (
    BillingChangeBody,
    BillingStatusesBody,
    CheckBody,
    FeedQuery,
    ListQuery,
    NewInvoiceBody,
    idempotency_key,
    read_body,
    read_json,
    read_query,
)
from bridge.web.context import here

routes = Blueprint("api", __name__, url_prefix="/v1")


@routes.post("/invoices")
def create_invoice() -> Response:
    """Open, re-open or find the invoice of a billing payment."""
    merchant = require_merchant()
    key, body = idempotency_key(), read_body()
    answered = open_invoice(
        here().bridge,
        merchant=merchant,
        request=_new_invoice(read_json(NewInvoiceBody, body)),
        key=key,
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
    response = Response(answered.body, answered.status, mimetype="application/json")
    if answered.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@routes.get("/invoices/<invoice_id>")
def get_invoice(invoice_id: str) -> Response:
    """One invoice of the calling merchant."""
    return jsonify(invoice_by_id(here().bridge, require_merchant().id, invoice_id))


@routes.get("/invoices")
def get_invoices() -> Response:
    """The calling merchant's invoices, newest first, a page at a time."""
    merchant = require_merchant()
    query = read_query(ListQuery, request.args.to_dict())
    match = {"billing_payment_id": query.billing_payment_id, "status": query.status}
    wanted = {name: value for name, value in match.items() if value is not None}
    return jsonify(list_invoices(here().bridge, merchant.id, match=wanted, limit=query.limit, cursor=query.cursor))


@routes.get("/events")
def get_events() -> Response:
    """The ordered feed: everything that happened behind a position."""
    merchant = require_merchant()
    query = read_query(FeedQuery, request.args.to_dict())
    return jsonify(read_feed(here().bridge, merchant.id, after=query.after, limit=query.limit))


@routes.post("/invoices/<invoice_id>/billing-changes")
def post_billing_change(invoice_id: str) -> Response:
    """Hear that the billing payment was cancelled, deleted, changed or restored."""
    merchant = require_merchant()
    told = read_json(BillingChangeBody, read_body())
    return jsonify(
        note_billing_change(
            here().bridge, merchant.id, invoice_id, change=told.change, amount_text=told.amount, currency=told.currency
        )
    )


@routes.post("/billing-statuses")
def post_billing_statuses() -> Response:
    """Take one page of what the billing system says of its payments, for reconciliation."""
    merchant = require_merchant()
    told = read_json(BillingStatusesBody, read_body())
    payments = [
        {
            "billing_payment_id": p.billing_payment_id,
            "status": p.status,
            "amount_text": p.amount,
            "currency": p.currency,
            "external_id": p.externalid,
        }
        for p in told.payments
    ]
    taken = take_billing_report(
        here().bridge,
        merchant.id,
        report_id=told.report_id,
        covers_from=told.covers_from,
        payments=payments,
        is_last=told.last,
    )
    return jsonify(taken)


@routes.post("/check")
def post_check() -> Response:
    """Say who we are, signed with the secret that notifications carry, so that the module can prove it has the same."""
    merchant, bridge = require_merchant(), here().bridge
    asked = read_json(CheckBody, read_body())
    if asked.currency:
        check_taken(asked.currency, merchant.currencies)
    now = bridge.clock()
    response = jsonify(
        merchant=merchant.id,
        network=bridge.network,
        currencies=list(merchant.currencies),
        time=time_text(now),
        nonce=asked.nonce,
    )
    message_id = f"chk_{secrets.token_hex(12)}"
    response.headers.update(here().sign(merchant.id, message_id, response.get_data(), now))
    return response


def _new_invoice(body: NewInvoiceBody) -> NewInvoice:
    """A field of the body is called as the invoice's column, one of the customer as that without `customer_`."""
    asked = body.model_dump(exclude={"amount", "customer"})
    customer = {f"customer_{name}": text for name, text in body.customer.model_dump(exclude={"tier"}).items()}
    return NewInvoice.of(amount_text=body.amount, tier=body.customer.tier, **asked, **customer)
