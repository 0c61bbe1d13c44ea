"""Hearing a callback: the raw bytes are kept, the doorbell rings, nothing is believed.

Owns the way from a callback to its inbox row; interpretation is the worker's own read.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime

from bridge import tracing
from bridge.core.errors import Refused
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import inbox, invoices
from bridge.store.db import Tx, announce_work

SOURCE = "subtc"
HIDDEN = b"[token]"
SIGNATURES = ("unchecked", "valid", "invalid")
_KEPT_HEADERS = ("content-type", "user-agent", "content-length", "x-request-id")


def receive_callback(bridge: Bridge, *, token: str, headers: Mapping[str, str], body: bytes, signature: str) -> None:
    """Keeps one callback durably before it is answered (SUBTC contract 6: an unauthenticated hint).

    `signature` is one of SIGNATURES: what the configured check said, if one is configured. Raises
    Refused("unknown_token") for a token of no open invoice and Refused("bad_signature"), after keeping the bytes as a
    dead letter.
    """
    now = bridge.clock()
    token_sha256 = hashlib.sha256(token.encode()).hexdigest()
    # A gateway may repeat the whole callback address in what it sends; the token in it is nobody's to read here.
    body = body.replace(token.encode(), HIDDEN)
    event_key = hashlib.sha256(token_sha256.encode() + body).hexdigest()
    kept = json.dumps({name: headers[name][:200] for name in _KEPT_HEADERS if name in headers})
    with bridge.store.write() as tx:
        row = invoices.behind_token(tx, token_sha256)
        if row is None or row.closed_at is not None:
            bridge.metrics.callbacks.labels(outcome="unknown_token").inc()
            raise Refused("unknown_token", "There is no such callback address.")
        tracing.follow(row.trace_id)
        if signature != "invalid":
            _ring(tx, bridge, row.id, event_key=event_key, headers=kept, body=body, now=now)
            announce_work(tx)
            bridge.crash_point("callback.committing")
        else:
            _bury(tx, row.id, event_key=event_key, headers=kept, body=body, now=now)
    if signature != "invalid":
        bridge.crash_point("callback.committed")
        return
    bridge.metrics.callbacks.labels(outcome="bad_signature").inc()
    log("callback.bad_signature", level=logging.WARNING, invoice_id=row.id)
    raise Refused("bad_signature", "The signature of this callback is wrong.")


def _bury(tx: Tx, invoice_id: str, *, event_key: str, headers: str, body: bytes, now: datetime) -> None:
    """Keeps a callback with a wrong signature as a dead letter that rings nothing."""
    inbox.put(
        tx,
        source=SOURCE,
        event_key=f"dead:{event_key}",
        invoice_id=invoice_id,
        headers=headers,
        body=body,
        state="dead",
        now=now,
        note="bad signature",
    )


def _ring(tx: Tx, bridge: Bridge, invoice_id: str, *, event_key: str, headers: str, body: bytes, now: datetime) -> None:
    is_new = inbox.put(
        tx,
        source=SOURCE,
        event_key=event_key,
        invoice_id=invoice_id,
        headers=headers,
        body=body,
        state="new",
        now=now,
    )
    bridge.metrics.callbacks.labels(outcome="new" if is_new else "duplicate").inc()
