"""Hearing a callback: the raw bytes are kept, the doorbell rings, nothing is believed.

Owns the way from a callback to its inbox row; interpretation is the worker's own read.
"""

import hashlib
import json
import logging
from collections.abc import Mapping

from bridge import tracing
from bridge.core.errors import Refused
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import inbox
from bridge.store.db import announce_work

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
    is_bad = signature == "invalid"
    with bridge.store.write() as tx:
        row = inbox.put(
            tx,
            token_sha256=token_sha256,
            source=SOURCE,
            # A callback with a wrong signature is kept as a dead letter that rings nothing.
            event_key=f"dead:{event_key}" if is_bad else event_key,
            headers=kept,
            body=body,
            state="dead" if is_bad else "new",
            note="bad signature" if is_bad else "",
            now=now,
        )
        if row is None:
            bridge.metrics.callbacks.labels(outcome="unknown_token").inc()
            raise Refused("unknown_token", "There is no such callback address.")
        tracing.follow(row.trace_id)
        if not is_bad:
            announce_work(tx)
            bridge.crash_point("callback.committing")
    if not is_bad:
        bridge.metrics.callbacks.labels(outcome="duplicate" if row.copies else "new").inc()
        bridge.crash_point("callback.committed")
        return
    bridge.metrics.callbacks.labels(outcome="bad_signature").inc()
    log("callback.bad_signature", level=logging.WARNING, invoice_id=row.invoice_id)
    raise Refused("bad_signature", "The signature of this callback is wrong.")
