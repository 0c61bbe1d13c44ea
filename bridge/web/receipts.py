"""Receipts for programs: the signed document, and the public key that checks it.

Owns these two answers; must not sign anything itself, the flow does.
"""

from flask import Blueprint, Response, jsonify

from bridge.desk.receipt import public_key, receipt
from bridge.web.context import here

routes = Blueprint("receipts", __name__)


@routes.get("/pay/<public_id>/receipt.json")
def receipt_document(public_id: str) -> Response:
    """The receipt of a settled invoice; 404 before."""
    return jsonify(receipt(here().bridge, public_id))


@routes.get("/.well-known/subtc-bridge-receipt-key")
def receipt_key() -> Response:
    """The public key of receipts and evidence; 404 when none are signed."""
    return jsonify(public_key(here().bridge))
