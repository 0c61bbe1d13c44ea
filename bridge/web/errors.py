"""Errors as answers: problem details for programs, a page with a next step for payers.

Owns the table from codes to HTTP statuses; must not show a traceback or a driver's text to anybody.
"""

import json
import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from bridge import tracing
from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.logs import log
from bridge.web.look import error_page

# What a Refused code means in HTTP; every other one is 422: understood, and not acceptable.
_REFUSED_AS = {
    400: "idempotency_key_missing idempotency_key_invalid invalid_json",
    401: "unauthorized bad_signature login_failed",
    403: "forbidden same_person unknown_operator bad_csrf_token bad_proof own_access",
    404: (
        "unknown_invoice unknown_payout unknown_policy unknown_review unknown_claim unknown_mark "
        "unknown_event unknown_reconciliation no_such_operator unknown_token_id unknown_delivery "
        "unknown_token no_receipt no_receipt_key"
    ),
    429: "too_many_requests",
}
STATUS_OF_REFUSAL = {code: status for status, codes in _REFUSED_AS.items() for code in codes.split()}
CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
DEFAULT_RETRY_SECONDS = 30


def register(app: Flask) -> None:
    """Every error of every route ends here; none becomes a 500."""
    app.register_error_handler(BridgeError, _bridge_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def status_of(error: BridgeError) -> int:
    """The HTTP status of an error by its kind, and for refusals by its code."""
    if isinstance(error, Refused):
        return STATUS_OF_REFUSAL.get(error.code, 422)
    return 409 if isinstance(error, Conflict) else 503


def _bridge_error(error: BridgeError) -> Response:
    status = status_of(error)
    if not isinstance(error, Refused | Conflict | Unavailable):
        return _defect(error)
    retry_after = error.retry_after_seconds
    if status == 503 and retry_after is None:
        retry_after = DEFAULT_RETRY_SECONDS
    return answer(status, error.code, error.detail, field=error.field, retry_after_seconds=retry_after)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 400
    if status < 400 and error.response is None:
        return Response(error.get_body(), status, error.get_headers())
    response = answer(status, CODE_OF_STATUS.get(status, f"http_{status}"), error.description or "")
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _defect(error: Exception) -> Response:
    """Nobody expected this. The caller may try again and gets an id to name; the rest is in the log."""
    log("web.defect", level=logging.ERROR, exc_info=True, method=request.method, endpoint=request.endpoint)
    detail = "Something went wrong here. Nothing is lost; the same request may be sent again."
    return answer(503, "internal", detail, trace=tracing.current(), retry_after_seconds=DEFAULT_RETRY_SECONDS)


def answer(
    status: int,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    trace: str | None = None,
    retry_after_seconds: int | None = None,
) -> Response:
    """Problem details (RFC 9457), or on the payer's paths a page."""
    if _is_payer():
        response = Response(error_page(status, code, trace), status, mimetype="text/html")
    else:
        problem: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase}
        problem |= {"status": status, "code": code, "detail": detail}
        problem |= {name: value for name, value in (("field", field), ("trace", trace)) if value}
        response = Response(json.dumps(problem, ensure_ascii=False), status, mimetype="application/problem+json")
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _is_payer() -> bool:
    is_page = request.path.startswith("/pay/") and not request.path.endswith(("/status", ".json"))
    return is_page and not asks_for_json()


def asks_for_json() -> bool:
    """Whether a page's script asks rather than a person's browser."""
    return request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"
