"""Tells a merchant's billing system about one event, once, signed as Standard Webhooks wants it, and says how it answered.

Owns signing, the sending and the table of answers, and, for tests and for `/v1/check`, verifying; must not repeat or schedule
anything, the database does, mark anything paid, nor log a secret.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from bridge.core.credentials import decode_secret
from bridge.core.errors import Refused
from bridge.core.evidence import Answer
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply, redacted

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


EXCERPT_BYTES = 1024

# The module answers 408 and 429 for what passes by itself; every other 4xx and every redirect needs a person.
_PASSING = frozenset({408, 429})


class Notifier:
    """Threads may share it. Targets must be https and public, except written-out loopback and `allow_private` hosts."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        allow_private: frozenset[str] = frozenset(),
        allow_loopback: bool = True,
        ca_file: str | None = None,
    ):
        guard = Guard(allow_loopback=allow_loopback, allow_hosts=allow_private)
        limits = limits or Limits(max_bytes=64 * 1024, deadline_seconds=25)
        self._outbound = Outbound(limits=limits, guard=guard, ca_file=ca_file)

    def notify(
        self, url: str, *, event_id: str, body: bytes, secrets: Sequence[str], now: datetime, traceparent: str = ""
    ) -> Answer:
        """One signed POST. Never raises for anything the receiver or the network does; a target or a secret that can
        never work is parked like a refusal. `traceparent` (W3C) names the trace to a receiver that logs it.
        """
        started = time.monotonic()
        try:
            headers = {
                "Content-Type": "application/json",
                **({"traceparent": traceparent} if traceparent else {}),
                **sign(event_id=event_id, body=body, secrets=secrets, now=now),
            }
            reply = self._outbound.call("POST", url, headers=headers, body=body, allow_cut=True)
        except Refused as refusal:
            return _unanswered("parked", refusal.code, started)
        except CallFailed as failure:
            return _unanswered("retry", failure.reason, started)
        return _answer(reply, secrets)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()


def outcome_of(status: int) -> str:
    """delivered, retry or parked, by status alone (the interface's rules for answers)."""
    if 200 <= status < 300:
        return "delivered"
    return "retry" if status >= 500 or status in _PASSING else "parked"


def _answer(reply: Reply, secrets: Sequence[str]) -> Answer:
    outcome = outcome_of(reply.status)
    return Answer(
        outcome=outcome,
        status=reply.status,
        latency_ms=round(reply.seconds * 1000),
        retry_after_seconds=reply.retry_after_seconds() if outcome == "retry" else None,
        body_excerpt=_excerpt(reply.body, secrets),
        body_sha256=hashlib.sha256(reply.body).hexdigest(),
        error=None if outcome == "delivered" else "redirected" if 300 <= reply.status < 400 else f"http_{reply.status}",
    )


def _excerpt(body: bytes, secrets: Sequence[str]) -> str:
    # Redact before cutting: half a secret at the edge would no longer be recognised.
    text = redacted(body[: 4 * EXCERPT_BYTES].decode("utf-8", "replace"), *secrets)
    printable = "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
    return printable.encode()[:EXCERPT_BYTES].decode("utf-8", "ignore")


def _unanswered(outcome: str, error: str, started: float) -> Answer:
    return Answer(
        outcome=outcome,
        status=None,
        latency_ms=round((time.monotonic() - started) * 1000),
        retry_after_seconds=None,
        body_excerpt="",
        body_sha256=hashlib.sha256(b"").hexdigest(),
        error=error,
    )
