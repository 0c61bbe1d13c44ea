"""The OpenAPI document of the interface, made from the same models that read the bodies.

Owns the description; must not describe what no route serves: a test compares both.
"""

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from bridge.actions.fields import Shape
from bridge.invoices.present import InvoiceShape
from bridge.web.bodies import BillingChangeBody, BillingStatusesBody, CheckBody, FeedQuery, ListQuery, NewInvoiceBody
from bridge.web.openapi_actions import action_models, action_paths
from bridge.web.openapi_parts import (
    KEY_SCHEMA,
    REF,
    ProblemShape,
    json_of,
    operation_of,
    path_of,
    query_of,
    text_of,
)

VERSION = "1"


class InvoicePageShape(Shape):
    """Invoices, newest first; ask again with `next_cursor` for the next page."""

    invoices: list[InvoiceShape]
    next_cursor: str | None


class EventShape(Shape):
    """Something that happened to an invoice, with the whole invoice as it was then."""

    id: str
    type: str
    sequence: int
    created_at: str
    position: int
    invoice: InvoiceShape | None = None


class FeedShape(Shape):
    """Events in the order of their positions; ask again after `next_after`."""

    events: list[EventShape]
    next_after: int
    has_more: bool


class CheckedShape(Shape):
    """Signed with the merchant's notify secret in the headers of Standard Webhooks."""

    merchant: str
    network: str
    currencies: list[str]
    time: str
    nonce: str


class TakenShape(Shape):
    """A page of a billing report was kept."""

    report_id: str
    taken: int
    finished: bool


class FormerKeyShape(Shape):
    """A key that signed before; `key_id` is what those receipts name."""

    key_id: str
    public_key: str


class ReceiptKeyShape(Shape):
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


class PayWayShape(Shape):
    """One way to pay, for the payer: offered (pay to `text`), possible (made when asked for) or refused (`code` says why)."""

    way: str
    state: str
    code: str
    text: str
    uri: str
    due_sat: int
    expires_at: str | None


class PayStatusShape(Shape):
    """Where an invoice stands, for its payer. `poll_seconds` 0 means that nothing more will happen."""

    state: str
    status: str
    exception: str
    hold: str | None
    reason: str
    trouble: str
    title: str
    happened: str
    service: str
    next: str
    you: str
    retrying: bool
    is_final: bool
    poll_seconds: int
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    shown_sat: int
    confirmations_seen: int
    confirmations_needed: int
    is_blind: bool
    looked_at: str | None
    quote_expires_at: str
    expires_at: str
    ways: list[PayWayShape]


class HeardShape(Shape):
    """Taken note of."""

    ok: bool


class CheckShape(Shape):
    """One thing that must work; `detail` only for those who may see it."""

    name: str
    ok: bool
    detail: str | None = None


class ReadyShape(Shape):
    """Whether the bridge can do its work now."""

    ready: bool
    checks: list[CheckShape]


_BODIES: tuple[type[BaseModel], ...] = (NewInvoiceBody, BillingChangeBody, BillingStatusesBody, CheckBody)
_ANSWERS: tuple[type[BaseModel], ...] = (
    InvoiceShape,
    InvoicePageShape,
    FeedShape,
    CheckedShape,
    TakenShape,
    ReceiptKeyShape,
    ReceiptShape,
    PayStatusShape,
    HeardShape,
    ReadyShape,
    ProblemShape,
)


@cache
def document(public_url: str) -> dict[str, Any]:
    """The whole document for a bridge that is reached at `public_url`; made once, for that takes a tenth of a second."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in (*_BODIES, *_ANSWERS, *action_models())],
        ref_template=REF,
        title="Schemas",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "SUBTC bridge for BILLmanager", "version": VERSION},
        "servers": [{"url": public_url}],
        "paths": _api_paths() | action_paths() | _public_paths(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"api_key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _api_paths() -> dict[str, Any]:
    """What the billing system calls with its API key."""
    invoice, invoice_id = json_of(InvoiceShape), path_of("invoice_id")
    opened = invoice | {"headers": {"Idempotent-Replayed": {"schema": {"type": "string", "enum": ["true"]}}}}
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": KEY_SCHEMA}
    return {
        "/v1/invoices": {
            "post": operation_of(
                "Open or find an invoice",
                {"200": opened, "201": opened},
                body=NewInvoiceBody,
                parameters=[key],
                secured=True,
            ),
            "get": operation_of(
                "List invoices", {"200": json_of(InvoicePageShape)}, parameters=query_of(ListQuery), secured=True
            ),
        },
        "/v1/invoices/{invoice_id}": {
            "get": operation_of("One invoice", {"200": invoice}, parameters=[invoice_id], secured=True)
        },
        "/v1/invoices/{invoice_id}/billing-changes": {
            "post": operation_of(
                "The billing payment changed",
                {"200": invoice},
                body=BillingChangeBody,
                parameters=[invoice_id],
                secured=True,
            )
        },
        "/v1/events": {
            "get": operation_of(
                "The ordered feed", {"200": json_of(FeedShape)}, parameters=query_of(FeedQuery), secured=True
            )
        },
        "/v1/billing-statuses": {
            "post": operation_of(
                "What the billing system says", {"200": json_of(TakenShape)}, body=BillingStatusesBody, secured=True
            )
        },
        "/v1/check": {
            "post": operation_of("Prove the secret", {"200": json_of(CheckedShape)}, body=CheckBody, secured=True)
        },
    }


def _public_paths() -> dict[str, Any]:
    """What gateways, payers and operators open without a key."""
    page, public = text_of("text/html"), path_of("public_id")
    back = {"303": {"description": "Back to the page", "headers": {"Location": {"schema": {"type": "string"}}}}}
    status = {"200": json_of(PayStatusShape), "304": {"description": "Not changed"}}
    ready = {"200": json_of(ReadyShape), "503": json_of(ReadyShape)}
    return {
        "/callbacks/subtc/{token}": {
            "post": operation_of("The gateway's doorbell", {"200": json_of(HeardShape)}, parameters=[path_of("token")])
        },
        "/callbacks/lnbits/{token}": {
            "post": operation_of("LNbits' doorbell", {"200": json_of(HeardShape)}, parameters=[path_of("token")])
        },
        "/pay/{public_id}": {"get": operation_of("The pay page", {"200": page}, parameters=[public], problem=page)},
        "/pay/{public_id}/status": {"get": operation_of("Live status", status, parameters=[public])},
        "/pay/{public_id}/quote": {
            "post": operation_of("A new price", back, parameters=[public], problem=page),
            "get": operation_of("Back to the page", back, parameters=[public], problem=page),
        },
        "/pay/{public_id}/way": {
            "post": operation_of(
                "Another way to pay", {"200": json_of(PayWayShape)} | back, parameters=[public], problem=page
            ),
            "get": operation_of("Back to the page", back, parameters=[public], problem=page),
        },
        "/pay/{public_id}/refund": {
            "get": operation_of("Form for a refund's address", {"200": page}, parameters=[public], problem=page),
            "post": operation_of("Name a refund's address", {"422": page} | back, parameters=[public], problem=page),
        },
        "/pay/{public_id}/receipt": {
            "get": operation_of("The payment receipt", {"200": page} | back, parameters=[public], problem=page)
        },
        "/pay/{public_id}/receipt.json": {
            "get": operation_of("The receipt as a signed document", {"200": json_of(ReceiptShape)}, parameters=[public])
        },
        "/.well-known/subtc-bridge-receipt-key": {
            "get": operation_of("The key of receipts", {"200": json_of(ReceiptKeyShape)})
        },
        "/healthz": {"get": operation_of("Alive", {"200": json_of(HeardShape)})},
        "/readyz": {"get": operation_of("Ready", ready)},
        "/metrics": {"get": operation_of("Prometheus metrics", {"200": text_of("text/plain")})},
        "/openapi.json": {"get": operation_of("This document", {"200": text_of("application/json")})},
    }
