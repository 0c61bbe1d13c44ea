"""What operators and their machines ask: is it alive, can it work, how much, and what does the interface look like: its OpenAPI document,
made from the same models and rows that read the bodies.

Owns these four answers; must not show a secret or an invoice, nor describe what no route serves: a test compares both.
"""

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.actions import ROWS
from bridge.actions.row import Action, Api, Row, answer
from bridge.books.keep_books import refresh_gauges
from bridge.core.errors import Refused
from bridge.invoices.inbox import DOORBELLS
from bridge.invoices.present import InvoiceShape, View
from bridge.metrics import METRICS_TYPE
from bridge.upkeep.check import readiness
from bridge.web.api import MODULE, PUBLIC
from bridge.web.bodies import NewInvoiceBody, is_insider, require_merchant
from bridge.web.context import here
from bridge.web.pay import PayStatusShape, PayWayShape

REF = "#/components/schemas/{model}"


class ProblemShape(View):
    """Problem details (RFC 9457). `code` is stable; `field` names the input at fault; `trace` finds the log line."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    trace: str | None = None


KEY_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
KEY = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": KEY_SCHEMA}


def operation_of(
    summary: str,
    answers: dict[str, Any],
    *,
    body: type[BaseModel] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    secured: bool = False,
    problem: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation; every error it does not name is a problem."""
    operation: dict[str, Any] = {"summary": summary, "responses": answers | {"default": problem or problem_of()}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"application/json": {"schema": {"$ref": REF.format(model=body.__name__)}}}
        operation["requestBody"] = {"required": True, "content": content}
    if secured:
        operation["security"] = [{"api_key": []}]
    return operation


def json_of(model: type[BaseModel]) -> dict[str, Any]:
    """An answer of this shape."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"description": (model.__doc__ or "").split("\n")[0], "content": {"application/json": {"schema": schema}}}


def problem_of() -> dict[str, Any]:
    """The answer to everything that went wrong."""
    schema = {"$ref": REF.format(model=ProblemShape.__name__)}
    return {"description": "An error", "content": {"application/problem+json": {"schema": schema}}}


def text_of(mimetype: str) -> dict[str, Any]:
    """An answer that is no JSON."""
    return {"description": "A document", "content": {mimetype: {}}}


def path_of(name: str) -> dict[str, Any]:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def query_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The members of a query's model, none of them required."""
    properties = model.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


VERSION = "1"

HeardShape = answer("HeardShape", "Taken note of.", ok=bool)


class CheckShape(View):
    """One thing that must work; `detail` only for those who may see it."""

    name: str
    ok: bool
    detail: str | None = None


ReadyShape = answer("ReadyShape", "Whether the bridge can do its work now.", ready=bool, checks=list[CheckShape])


# The tables of rows, and whether their callers show a key.
_TABLES = ((ROWS, True), (MODULE, True), (PUBLIC, False))
_BY_HAND: tuple[type[BaseModel], ...] = (NewInvoiceBody, PayStatusShape, HeardShape, ReadyShape, ProblemShape)


@cache
def document(public_url: str) -> dict[str, Any]:
    """The whole document for a bridge that is reached at `public_url`; made once, for that takes a tenth of a second."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in (*_BY_HAND, *_models())],
        ref_template=REF,
        title="Schemas",
    )
    paths = _public_paths()
    for rows, is_secured in _TABLES:
        for row in rows:
            if row.api:
                path = row.api.path.replace("<int:", "<").translate(str.maketrans("<>", "{}"))
                paths.setdefault(path, {})[row.method.lower()] = _operation(row, row.api, is_secured=is_secured)
    paths["/v1/invoices"]["post"] = _opening()
    return {
        "openapi": "3.1.0",
        "info": {"title": "SUBTC bridge for BILLmanager", "version": VERSION},
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"api_key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models() -> Iterator[type[BaseModel]]:
    """Bodies and answers of every row."""
    for row in (row for rows, _ in _TABLES for row in rows):
        if row.api:
            yield from (row.api.answer, row.asks) if row.method == "POST" else (row.api.answer,)


def _operation(row: Row, api: Api, *, is_secured: bool) -> dict[str, Any]:
    answers = {str(status): json_of(api.answer) for status in api.statuses}
    parameters, body = [path_of(name) for name in api.places], None
    if row.method == "POST":
        body = row.asks
        parameters += [KEY] if isinstance(row, Action) and row.keyed else []
    elif row.asks.model_fields:
        parameters += query_of(row.asks)
    return operation_of(api.summary, answers, body=body, parameters=parameters, secured=is_secured)


def _opening() -> dict[str, Any]:
    """The one route of the module whose answer has a header of its own."""
    replayed = {"headers": {"Idempotent-Replayed": {"schema": {"type": "string", "enum": ["true"]}}}}
    opened = json_of(InvoiceShape) | replayed
    answers = {"200": opened, "201": opened}
    return operation_of("Open or find an invoice", answers, body=NewInvoiceBody, parameters=[KEY], secured=True)


def _public_paths() -> dict[str, Any]:
    """What gateways, payers and operators open without a key."""
    page, public = text_of("text/html"), [path_of("public_id")]
    back = {"303": {"description": "Back to the page", "headers": {"Location": {"schema": {"type": "string"}}}}}
    status = {"200": json_of(PayStatusShape), "304": {"description": "Not changed"}}
    ready = {"200": json_of(ReadyShape), "503": json_of(ReadyShape)}
    heard = {"200": json_of(HeardShape)}

    def rung(summary: str) -> dict[str, Any]:
        return {"post": operation_of(summary, heard, parameters=[path_of("token")])}

    def shown(summary: str, answers: dict[str, Any]) -> dict[str, Any]:
        return operation_of(summary, answers, parameters=public, problem=page)

    return {
        **{f"/callbacks/{name}/{{token}}": rung(summary) for name, summary in DOORBELLS.items()},
        "/pay/{public_id}": {"get": shown("The pay page", {"200": page})},
        "/pay/{public_id}/status": {"get": operation_of("Live status", status, parameters=public)},
        "/pay/{public_id}/quote": {"post": shown("A new price", back), "get": shown("Back to the page", back)},
        "/pay/{public_id}/way": {
            "post": shown("Another way to pay", {"200": json_of(PayWayShape)} | back),
            "get": shown("Back to the page", back),
        },
        "/pay/{public_id}/refund": {
            "get": shown("Form for a refund's address", {"200": page}),
            "post": shown("Name a refund's address", {"422": page} | back),
        },
        "/pay/{public_id}/receipt": {"get": shown("The payment receipt", {"200": page} | back)},
        "/healthz": {"get": operation_of("Alive", heard)},
        "/readyz": {"get": operation_of("Ready", ready)},
        "/metrics": {"get": operation_of("Prometheus metrics", {"200": text_of("text/plain")})},
        "/openapi.json": {"get": operation_of("This document", {"200": text_of("application/json")})},
    }


routes = Blueprint("ops", __name__)


@routes.get("/healthz")
def healthz() -> Response:
    """Whether the process answers; it asks nobody else."""
    return jsonify(ok=True)


@routes.get("/readyz")
def readyz() -> Response:
    """Whether everything the bridge needs works now: 200 or 503, and which part does not. Another way to pay is only named."""
    checks = readiness(here().bridge)
    is_ready = all(check.ok or not check.is_needed for check in checks)
    shown = [
        {"name": check.name, "ok": check.ok} | ({"detail": check.detail} if is_insider() else {}) for check in checks
    ]
    response = jsonify(ready=is_ready, checks=shown)
    response.status_code = 200 if is_ready else 503
    return response


@routes.get("/metrics")
def metrics() -> Response:
    """The Prometheus metrics of this process; what rows say is counted now, whichever process wrote them.

    Where an API key is needed, its merchant reads no figure of another one.
    """
    if not is_insider():
        raise Refused("unauthorized", "Send a valid API key as 'Authorization: Bearer …'.")
    refresh_gauges(here().bridge)
    merchant = "" if here().metrics_open else require_merchant().id
    text = here().bridge.metrics.text(program=str(os.getpid()), merchant=merchant)
    return Response(text, content_type=METRICS_TYPE)


@routes.get("/openapi.json")
def openapi() -> Response:
    """The description of this interface."""
    return jsonify(document(here().bridge.public_url))
