"""Verification of Standard Webhooks signatures: bytes in, one error out, the clock is given.

Owns the signing rule of the bridge's notifications; must not read requests, settings or clocks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Mapping, Sequence

TOLERANCE_SECONDS = 300
_ID = re.compile(r"[\x21-\x7e]{1,256}")


class BadSignature(Exception):
    """The message is not from the bridge, or not from now."""


def verify(*, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: int) -> None:
    """Accept `body` as signed by one of `secrets` within 5 minutes of `now` (epoch seconds), or raise BadSignature."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    check_freshness(headers, now)
    signed = message_id.encode() + b"." + stamp.encode() + b"." + body
    offered = [part[3:] for part in headers.get("webhook-signature", "").split(" ")[:16] if part.startswith("v1,")]
    genuine = False
    for secret in secrets:
        expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
        for candidate in offered:
            # No early exit: the time taken does not depend on which secret or signature fits.
            genuine |= hmac.compare_digest(expected, candidate.encode("utf-8", "replace"))
    if not genuine:
        raise BadSignature("no signature fits")


def check_freshness(headers: Mapping[str, str], now: int) -> None:
    """Refuse what is malformed or old before anything else is done for it. Raises BadSignature."""
    stamp = headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(headers.get("webhook-id", "")) or not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise BadSignature("headers are missing or malformed")
    if abs(now - int(stamp)) > TOLERANCE_SECONDS:
        raise BadSignature("the timestamp is more than five minutes away")
    if "v1," not in headers.get("webhook-signature", ""):
        raise BadSignature("there is no v1 signature")
