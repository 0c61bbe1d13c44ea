"""The doorbells of the gateway and of LNbits.

Owns the way from a callback to its inbox row; must not believe or even parse what it says.
"""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request

from bridge.invoices.inbox import LIGHTNING_SOURCE, SOURCE, receive_callback
from bridge.web.context import here
from bridge.web.limits import read_body

routes = Blueprint("callbacks", __name__, url_prefix="/callbacks")


@routes.post("/subtc/<token>")
def ring(token: str) -> Response:
    """Keep the bytes, answer 200 once they are durable (SUBTC contract 6); the worker then reads for itself."""
    return _rung(token, SOURCE)


@routes.post("/lnbits/<token>")
def ring_for_lightning(token: str) -> Response:
    """The same for LNbits, which signs nothing."""
    return _rung(token, LIGHTNING_SOURCE)


def _rung(token: str, source: str) -> Response:
    body = read_body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    signature = _signature(headers, body) if source == SOURCE else "unchecked"
    receive_callback(here().bridge, token=token, headers=headers, body=body, signature=signature, source=source)
    return jsonify(ok=True)


def _signature(headers: Mapping[str, str], body: bytes) -> str:
    check = here().callback_check
    if check is None:
        return "unchecked"
    return "valid" if check(headers, body) else "invalid"
