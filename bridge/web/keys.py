"""The Idempotency-Key header.

Owns its shape; what a repeated key means is the flows'.
"""

import re

from flask import request

from bridge.core.errors import Refused

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def idempotency_key() -> str:
    """The request's key. Raises Refused("idempotency_key_missing") or ("idempotency_key_invalid")."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise Refused("idempotency_key_missing", "Send an Idempotency-Key header.", field="Idempotency-Key")
    if not _KEY.fullmatch(key):
        detail = "An Idempotency-Key is 1 to 64 letters, digits, '-' or '_'."
        raise Refused("idempotency_key_invalid", detail, field="Idempotency-Key")
    return key
