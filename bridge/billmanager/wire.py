"""Standard Webhooks: the headers that prove who sent a notification.

Owns signing and, for tests and for `/v1/check`, verifying; must not send anything or log a secret.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from bridge.core.errors import Refused
from bridge.core.notify_secret import decode_secret

TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def sign(*, event_id: str, body: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """The three headers, one signature per secret while a secret rotates. Raises Refused `bad_secret`."""
    if not secrets:
        raise Refused("bad_secret", "A notification needs at least one secret.")
    timestamp = str(int(now.timestamp()))
    signatures = [f"v1,{_signature(secret, event_id, timestamp, body)}" for secret in secrets]
    return {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def verify(*, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str:
    """The event id of a genuine notification that is at most five minutes old or early.

    Raises Refused `bad_signature` or `stale_signature`; a stranger's bytes raise nothing else.
    """
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not event_id or not _TIMESTAMP.fullmatch(timestamp):
        raise Refused("bad_signature", "The signature headers are missing or malformed.")
    signatures = [each.removeprefix("v1,") for each in given.get("webhook-signature", "").split() if each[:3] == "v1,"]
    wanted = [_signature(secret, event_id, timestamp, body).encode() for secret in secrets]
    matches = [hmac.compare_digest(want, have.encode("utf-8", "replace")) for want in wanted for have in signatures]
    if not any(matches):
        raise Refused("bad_signature", "No signature matches.")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused("stale_signature", "The notification is too old or from the future.")
    return event_id


def _signature(secret: str, event_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{event_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(decode_secret(secret), signed, "sha256")).decode()
