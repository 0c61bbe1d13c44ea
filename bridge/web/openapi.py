"""The OpenAPI document of the interface, made from the same models that read the bodies.

Owns the description; must not describe what no route serves: a test compares both.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from bridge.web.bodies import BillingChangeBody, BillingStatusesBody, CheckBody, FeedQuery, ListQuery, NewInvoiceBody

VERSION = "1"
_REF = "#/components/schemas/{model}"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuoteShape(_Shape):
    """One locked price."""

    version: int
    due_sat: int
    rate: str
    sources: list[str]
    expires_at: str


class InvoiceShape(_Shape):
    """The absolute invoice. Fiat is decimal text, bitcoin is whole satoshi, times are RFC 3339 in UTC."""

    id: str
    billing_payment_id: str
    status: str
    exception: str
    hold: str | None
    reason: str
    amount: str
    currency: str
    address: str
    network: str
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    quote: QuoteShape
    expires_at: str
    monitor_until: str
    payment_url: str
    bip21: str
    sequence: int
    created_at: str
    updated_at: str


class InvoicePageShape(_Shape):
    """Invoices, newest first; ask again with `next_cursor` for the next page."""

    invoices: list[InvoiceShape]
    next_cursor: str | None


class EventShape(_Shape):
    """Something that happened to an invoice, with the whole invoice as it was then."""

    id: str
    type: str
    sequence: int
    created_at: str
    position: int
    invoice: InvoiceShape | None = None


class FeedShape(_Shape):
    """Events in the order of their positions; ask again after `next_after`."""

    events: list[EventShape]
    next_after: int
    has_more: bool


class CheckedShape(_Shape):
    """Signed with the merchant's notify secret in the headers of Standard Webhooks."""

    merchant: str
    network: str
    currencies: list[str]
    time: str
    nonce: str


class TakenShape(_Shape):
    """A page of a billing report was kept."""

    report_id: str
    taken: int
    finished: bool


class ReceiptKeyShape(_Shape):
    """The public key (PEM) that checks receipts."""

    algorithm: str
    key_id: str
    public_key: str


class ReceiptShape(BaseModel):
    """The payment receipt as a document; "signature" covers everything else in canonical JSON."""

    model_config = ConfigDict(extra="allow")

    kind: str
    is_tax_document: bool
    invoice_id: str
    amount: str
    currency: str
    received_sat: int


class PayStatusShape(_Shape):
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
    quote_expires_at: str
    expires_at: str


class HeardShape(_Shape):
    """Taken note of."""

    ok: bool


class CheckShape(_Shape):
    """One thing that must work; `detail` only for those who may see it."""

    name: str
    ok: bool
    detail: str | None = None


class ReadyShape(_Shape):
    """Whether the bridge can do its work now."""

    ready: bool
    checks: list[CheckShape]


class ProblemShape(_Shape):
    """Problem details (RFC 9457). `code` is stable; `field` names the input at fault; `trace` finds the log line."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    trace: str | None = None


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


def document(public_url: str) -> dict[str, Any]:
    """The whole document for a bridge that is reached at `public_url`."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in (*_BODIES, *_ANSWERS)], ref_template=_REF, title="Schemas"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "SUBTC bridge for BILLmanager", "version": VERSION},
        "servers": [{"url": public_url}],
        "paths": _api_paths() | _public_paths(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"api_key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _api_paths() -> dict[str, Any]:
    """What the billing system calls with its API key."""
    invoice, invoice_id = _json(InvoiceShape), _path("invoice_id")
    opened = invoice | {"headers": {"Idempotent-Replayed": {"schema": {"type": "string", "enum": ["true"]}}}}
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": _KEY_SCHEMA}
    return {
        "/v1/invoices": {
            "post": _operation(
                "Open or find an invoice",
                {"200": opened, "201": opened},
                body=NewInvoiceBody,
                parameters=[key],
                secured=True,
            ),
            "get": _operation(
                "List invoices", {"200": _json(InvoicePageShape)}, parameters=_query(ListQuery), secured=True
            ),
        },
        "/v1/invoices/{invoice_id}": {
            "get": _operation("One invoice", {"200": invoice}, parameters=[invoice_id], secured=True)
        },
        "/v1/invoices/{invoice_id}/billing-changes": {
            "post": _operation(
                "The billing payment changed",
                {"200": invoice},
                body=BillingChangeBody,
                parameters=[invoice_id],
                secured=True,
            )
        },
        "/v1/events": {
            "get": _operation("The ordered feed", {"200": _json(FeedShape)}, parameters=_query(FeedQuery), secured=True)
        },
        "/v1/billing-statuses": {
            "post": _operation(
                "What the billing system says", {"200": _json(TakenShape)}, body=BillingStatusesBody, secured=True
            )
        },
        "/v1/check": {
            "post": _operation("Prove the secret", {"200": _json(CheckedShape)}, body=CheckBody, secured=True)
        },
    }


def _public_paths() -> dict[str, Any]:
    """What gateways, payers and operators open without a key."""
    page, public = _text("text/html"), _path("public_id")
    back = {"303": {"description": "Back to the page", "headers": {"Location": {"schema": {"type": "string"}}}}}
    status = {"200": _json(PayStatusShape), "304": {"description": "Not changed"}}
    ready = {"200": _json(ReadyShape), "503": _json(ReadyShape)}
    return {
        "/callbacks/subtc/{token}": {
            "post": _operation("The gateway's doorbell", {"200": _json(HeardShape)}, parameters=[_path("token")])
        },
        "/pay/{public_id}": {"get": _operation("The pay page", {"200": page}, parameters=[public], problem=page)},
        "/pay/{public_id}/status": {"get": _operation("Live status", status, parameters=[public])},
        "/pay/{public_id}/quote": {
            "post": _operation("A new price", back, parameters=[public], problem=page),
            "get": _operation("Back to the page", back, parameters=[public], problem=page),
        },
        "/pay/{public_id}/receipt": {
            "get": _operation("The payment receipt", {"200": page} | back, parameters=[public], problem=page)
        },
        "/pay/{public_id}/receipt.json": {
            "get": _operation("The receipt as a signed document", {"200": _json(ReceiptShape)}, parameters=[public])
        },
        "/.well-known/subtc-bridge-receipt-key": {
            "get": _operation("The key of receipts", {"200": _json(ReceiptKeyShape)})
        },
        "/healthz": {"get": _operation("Alive", {"200": _json(HeardShape)})},
        "/readyz": {"get": _operation("Ready", ready)},
        "/metrics": {"get": _operation("Prometheus metrics", {"200": _text("text/plain")})},
        "/openapi.json": {"get": _operation("This document", {"200": _text("application/json")})},
    }


_KEY_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}


def _operation(
    summary: str,
    answers: dict[str, Any],
    *,
    body: type[BaseModel] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    secured: bool = False,
    problem: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": answers | {"default": problem or _problem()}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"application/json": {"schema": {"$ref": _REF.format(model=body.__name__)}}}
        operation["requestBody"] = {"required": True, "content": content}
    if secured:
        operation["security"] = [{"api_key": []}]
    return operation


def _json(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"description": (model.__doc__ or "").split("\n")[0], "content": {"application/json": {"schema": schema}}}


def _problem() -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=ProblemShape.__name__)}
    return {"description": "An error", "content": {"application/problem+json": {"schema": schema}}}


def _text(mimetype: str) -> dict[str, Any]:
    return {"description": "A document", "content": {mimetype: {}}}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
