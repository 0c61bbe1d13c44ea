"""Who calls the API.

Owns the way from a Bearer key to its merchant; must not keep, log or compare a key itself, only its hash.
"""

import hashlib
import hmac

from flask import request

from bridge.context import Merchant
from bridge.core.errors import Refused
from bridge.core.roles import may
from bridge.people.login import Identity, identity_of_token
from bridge.web.context import here

_LONGEST_KEY = 512


def require_merchant() -> Merchant:
    """The merchant whose key the request carries. Raises Refused("unauthorized"), the same for every reason."""
    merchant = _merchant_of(_bearer_key())
    if merchant is None:
        raise Refused("unauthorized", "Send a valid API key as 'Authorization: Bearer …'.")
    return merchant


def require_operator(*permissions: str) -> Identity:
    """The person whose API token the request carries, holding at least one of the permissions.

    Raises Refused("unauthorized") or ("forbidden").
    """
    person = identity_of_token(here().bridge, _bearer_key())
    if person is None:
        raise Refused("unauthorized", "Send a valid operator token as 'Authorization: Bearer …'.")
    if not any(may(person.role, permission) for permission in permissions):
        raise Refused("forbidden", f"The role {person.role} may not do this: it needs {' or '.join(permissions)}.")
    return person


def merchant_or_operator(permission: str) -> tuple[Merchant | None, Identity | None]:
    """Who calls what both may call: exactly one of the two. Raises Refused like `require_operator`."""
    merchant = _merchant_of(_bearer_key())
    return (merchant, None) if merchant is not None else (None, require_operator(permission))


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
