"""Who calls the API.

Owns the way from a Bearer key to its merchant; must not keep, log or compare a key itself, only its hash.
"""

import hashlib
import hmac

from flask import request

from bridge.core.errors import Refused
from bridge.flows.context import Merchant
from bridge.web.context import here

_LONGEST_KEY = 512


def require_merchant() -> Merchant:
    """The merchant whose key the request carries. Raises Refused("unauthorized"), the same for every reason."""
    merchant = _merchant_of(_bearer_key())
    if merchant is None:
        raise Refused("unauthorized", "Send a valid API key as 'Authorization: Bearer …'.")
    return merchant


def is_insider() -> bool:
    """Whether the request may see what operators see: everyone when metrics are open, else whoever holds an API key."""
    return here().metrics_open or _merchant_of(_bearer_key()) is not None


def _bearer_key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and len(key) <= _LONGEST_KEY else ""


def _merchant_of(key: str) -> Merchant | None:
    """Compares with every known hash, so that the time says nothing about which of them was close."""
    given = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    matches = [merchant for known, merchant in here().api_keys.items() if hmac.compare_digest(known, given)]
    return here().bridge.merchants.get(matches[0]) if key and matches else None
