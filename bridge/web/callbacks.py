"""The doorbell of the gateway.

Owns the way from a callback to its inbox row; must not believe or even parse what it says.
"""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request

from bridge.invoices.inbox import receive_callback
from bridge.web.bodies import read_body
from bridge.web.context import here

routes = Blueprint("callbacks", __name__, url_prefix="/callbacks")


@routes.post("/subtc/<token>")
def ring(token: str) -> Response:
    """Keep the bytes, answer 200 once they are durable (SUBTC contract 6); the worker then reads for itself."""
    body = read_body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    receive_callback(here().bridge, token=token, headers=headers, body=body, signature=_signature(headers, body))
    return jsonify(ok=True)


def _signature(headers: Mapping[str, str], body: bytes) -> str:
    check = here().callback_check
    if check is None:
        return "unchecked"
    return "valid" if check(headers, body) else "invalid"
