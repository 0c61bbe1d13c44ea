"""What programs call: a route for every row of a table, whoever calls; the billing system's module with its key, the gateway's doorbell,
whoever checks a receipt.

Owns the way from HTTP to a row, the module's rows and the routes that no row makes; must not decide anything (who may do what is
decided by the flow too, by the name that a token stands for), believe a callback, nor answer before the flow has committed.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict

from bridge.actions import ROWS
from bridge.actions.money import PROPOSE, PayoutQuery, RefundBody, asked_refund
from bridge.actions.row import Action, Api, Body, Read, Row, answer, given_of, matched
from bridge.books.reconcile import take_billing_report
from bridge.context import Bridge, Merchant
from bridge.core.currencies import check_taken
from bridge.core.errors import Refused
from bridge.core.money import minor_text
from bridge.desk.evidence import public_key, receipt
from bridge.invoices.billing_change import note_billing_change
from bridge.invoices.inbox import DOORBELLS, SOURCE, receive_callback
from bridge.invoices.open_invoice import NewInvoice, open_invoice
from bridge.invoices.present import InvoiceShape, View, time_text
from bridge.invoices.read_invoices import invoice_by_id, list_invoices, read_feed
from bridge.invoices.statement import RefundShape, StatementShape
from bridge.payouts import decide_payout
from bridge.permit import MODULE as BY_MODULE
from bridge.web.bodies import (
    BillingChangeBody,
    BillingPaymentBody,
    BillingStatusesBody,
    CheckBody,
    FeedQuery,
    ListQuery,
    NewInvoiceBody,
    idempotency_key,
    merchant_or_operator,
    read_body,
    read_json,
    read_query,
    require_merchant,
    require_operator,
)
from bridge.web.context import here

operator_routes = Blueprint("actions", __name__)
# Who calls: what stands before the values of the path, and what is asked besides. Raises Refused for who may not.
Caller = Callable[[Row], tuple[tuple[str, ...], dict[str, Any]]]


def serve(routes: Blueprint, rows: Iterable[Row], caller: Caller) -> None:
    """Adds a route for every row that has one and is not answered by hand."""
    for row in rows:
        if row.api and not row.api.by_hand:
            endpoint = f"{row.method} {row.api.path}".replace(".", "_")
            routes.add_url_rule(row.api.path, endpoint, _view(row, row.api, caller), methods=[row.method])


def _view(row: Row, api: Api, caller: Caller) -> Callable[..., tuple[Response, int]]:
    def view(**place: Any) -> tuple[Response, int]:
        first, asked = caller(row)
        if row.method == "POST":
            asked |= given_of(read_json(row.asks, read_body()))
        elif row.asks.model_fields:
            asked |= query_keywords(row.asks)
        if isinstance(row, Action) and row.keyed:
            asked["key"] = idempotency_key()
        return jsonify(api.json_of(row.do(here().bridge, *first, *place.values(), **asked))), api.statuses[-1]

    return view


def query_keywords(query: type[Body]) -> dict[str, Any]:
    """What the request's query asks of the flow."""
    return matched(query, given_of(read_query(query, request.args.to_dict())))


def _operator(row: Row) -> tuple[tuple[str, ...], dict[str, Any]]:
    person = require_operator(*row.needs)
    return (), {"actor": person.name} if isinstance(row, Action) else {}


serve(operator_routes, ROWS, _operator)


@operator_routes.post("/v1/invoices/<invoice_id>/refunds")
def post_refund(invoice_id: str) -> Response:
    """Ask for a refund, as the module or as an operator; other people approve it."""
    merchant, person = merchant_or_operator(PROPOSE)
    merchant_id, asked = merchant.id if merchant else None, given_of(read_json(RefundBody, read_body()))
    payout, is_replay = asked_refund(
        here().bridge,
        invoice_id,
        merchant_id=merchant_id,
        key=idempotency_key(),
        actor=person.name if person else f"{BY_MODULE}{merchant_id or ''}",
        **asked,
    )
    response = jsonify(payout)
    response.status_code = 200 if is_replay else 201
    if is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@operator_routes.get("/v1/payouts")
def get_payouts() -> Response:
    """Payouts, newest first; a module sees its own merchant's only."""
    merchant, _ = merchant_or_operator("read")
    asked = query_keywords(PayoutQuery)
    asked["match"] |= {"merchant": merchant.id} if merchant else {}
    return jsonify(decide_payout.list_payouts(here().bridge, **asked))


@operator_routes.get("/v1/payouts/<payout_id>")
def get_payout(payout_id: str) -> Response:
    """One payout with all its approvals."""
    merchant, _ = merchant_or_operator("read")
    payout = decide_payout.show_payout(here().bridge, payout_id)
    if merchant is not None and payout["merchant"] != merchant.id:
        raise Refused("unknown_payout", "There is no such payout.")
    return jsonify(payout)


routes = Blueprint("api", __name__)

InvoicePageShape = answer(
    "InvoicePageShape",
    "Invoices, newest first; ask again with `next_cursor` for the next page.",
    invoices=list[InvoiceShape],
    next_cursor=str | None,
)


class EventShape(View):
    """Something that happened to an invoice, with the whole invoice as it was then."""

    id: str
    type: str
    sequence: int
    created_at: str
    position: int
    invoice: InvoiceShape | None = None


FeedShape = answer(
    "FeedShape",
    "Events in the order of their positions; ask again after `next_after`.",
    events=list[EventShape],
    next_after=int,
    has_more=bool,
)


class SurchargeShape(View):
    """What a client of this tier pays besides, whatever the price: hundredths of a percent, and an amount for the network."""

    tier: str
    currency: str
    risk_bps: int
    fee: str


class CheckedShape(View):
    """Signed with the merchant's notify secret in the headers of Standard Webhooks."""

    merchant: str
    network: str
    currencies: list[str]
    surcharges: list[SurchargeShape]
    time: str
    nonce: str


class TakenShape(View):
    """A page of a billing report was kept. `reads`: the members of a payment that may be sent beside those of the first release."""

    report_id: str
    taken: int
    finished: bool
    reads: list[str]


class FormerKeyShape(View):
    """A key that signed before; `key_id` is what those receipts name."""

    key_id: str
    public_key: str


class ReceiptKeyShape(View):
    """The public key (PEM) that checks receipts, and the former ones that check receipts of their time."""

    algorithm: str
    key_id: str
    public_key: str
    former: list[FormerKeyShape]


class ReceiptShape(BaseModel):
    """The payment receipt as a document; "signature" covers everything else in canonical JSON."""

    model_config = ConfigDict(extra="allow")

    kind: str
    is_tax_document: bool
    invoice_id: str
    amount: str
    currency: str
    received_sat: int
    statement: StatementShape
    refunds: list[RefundShape]


class Call(Row):
    """What a program posts: a body, and nobody's reason."""

    method: ClassVar[str] = "POST"


def _note(bridge: Bridge, merchant: str, invoice_id: str, *, billing_status: int | None, **told: Any) -> dict[str, Any]:
    return note_billing_change(bridge, merchant, invoice_id, **told)


def _take(bridge: Bridge, merchant: str, *, payments: tuple[BillingPaymentBody, ...], **told: Any) -> dict[str, Any]:
    return take_billing_report(bridge, merchant, payments=[given_of(each) for each in payments], **told)


# The module's: the flow gets its merchant before what the path names.
MODULE: tuple[Row, ...] = (
    Read(list_invoices, asks=ListQuery, api=Api("/v1/invoices", "List invoices", InvoicePageShape)),
    Read(invoice_by_id, api=Api("/v1/invoices/<invoice_id>", "One invoice", InvoiceShape)),
    Call(
        _note,
        asks=BillingChangeBody,
        api=Api("/v1/invoices/<invoice_id>/billing-changes", "The billing payment changed", InvoiceShape),
    ),
    Read(read_feed, asks=FeedQuery, api=Api("/v1/events", "The ordered feed", FeedShape)),
    Call(_take, asks=BillingStatusesBody, api=Api("/v1/billing-statuses", "What the billing system says", TakenShape)),
    Call(
        check_taken,
        asks=CheckBody,
        api=Api("/v1/check", "Prove the secret", CheckedShape, by_hand="the proof is in the answer's headers"),
    ),
)
# Anybody's.
PUBLIC: tuple[Row, ...] = (
    Read(receipt, api=Api("/pay/<public_id>/receipt.json", "The receipt as a signed document", ReceiptShape)),
    Read(public_key, api=Api("/.well-known/subtc-bridge-receipt-key", "The key of receipts", ReceiptKeyShape)),
)
serve(routes, MODULE, lambda _: ((require_merchant().id,), {}))
serve(routes, PUBLIC, lambda _: ((), {}))


@routes.post("/v1/invoices")
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


def _new_invoice(body: NewInvoiceBody) -> NewInvoice:
    """A field of the body is called as the invoice's column, one of the customer as that without `customer_`."""
    asked = body.model_dump(exclude={"amount", "customer"})
    customer = {f"customer_{name}": text for name, text in body.customer.model_dump(exclude={"tier"}).items()}
    return NewInvoice.of(amount_text=body.amount, tier=body.customer.tier, **asked, **customer)


@routes.post("/v1/check")
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
        surcharges=_surcharges(merchant),
        time=time_text(now),
        nonce=asked.nonce,
    )
    message_id = f"chk_{secrets.token_hex(12)}"
    response.headers.update(here().sign(merchant.id, message_id, response.get_data(), now))
    return response


def _surcharges(merchant: Merchant) -> list[dict[str, Any]]:
    return [
        SurchargeShape.of(
            rule,
            tier=rule.name,
            currency=currency,
            fee=minor_text(rule.fee_buffer_minor.get(currency, 0), currency),
        )
        for rule in (merchant.policy.default, *merchant.policy.tiers.values())
        for currency in merchant.currencies
    ]


def ring(token: str, *, source: str) -> Response:
    """Keep the bytes, answer 200 once they are durable (SUBTC contract 6); the worker then reads for itself.

    Only the gateway may sign.
    """
    body = read_body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    signature = _signature(headers, body) if source == SOURCE else "unchecked"
    receive_callback(here().bridge, token=token, headers=headers, body=body, signature=signature, source=source)
    return Response('{"ok":true}\n', mimetype="application/json")


for _name in DOORBELLS:
    routes.add_url_rule(f"/callbacks/{_name}/<token>", f"ring_{_name}", partial(ring, source=_name), methods=["POST"])


def _signature(headers: Mapping[str, str], body: bytes) -> str:
    check = here().callback_check
    if check is None:
        return "unchecked"
    return "valid" if check(headers, body) else "invalid"
