"""What operators and their machines ask: is it alive, can it work, how much, and what does the interface look like.

Owns these four answers; must not show a secret or an invoice.
"""

import os

from flask import Blueprint, Response, jsonify

from bridge.books.keep_books import refresh_gauges
from bridge.core.errors import Refused
from bridge.metrics import METRICS_TYPE
from bridge.upkeep.check import readiness
from bridge.web.bodies import is_insider, require_merchant
from bridge.web.context import here
from bridge.web.openapi import document

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
