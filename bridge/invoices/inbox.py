"""What we were told: a callback is kept and rings, and may be taken in once more; a stored event may be sent again.

Owns the doorbell and the replay; must not believe a body, only an own look counts.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge import tracing
from bridge.context import Bridge
from bridge.core.errors import Refused, there
from bridge.invoices.observe import look
from bridge.invoices.present import time_text
from bridge.invoices.record import event_body
from bridge.logs import log
from bridge.permit import acting, check_actor, require_words
from bridge.store import audit, deliveries, events, inbox, invoices
from bridge.store.db import announce_work

SOURCE = "subtc"
# Who may ring, each at /callbacks/<name>/<token>, and what the interface's description calls it.
DOORBELLS = {SOURCE: "The gateway's doorbell", "lnbits": "LNbits' doorbell"}
HIDDEN = b"[token]"
SIGNATURES = ("unchecked", "valid", "invalid")
_KEPT_HEADERS = ("content-type", "user-agent", "content-length", "x-request-id")


def receive_callback(
    bridge: Bridge, *, token: str, headers: Mapping[str, str], body: bytes, signature: str, source: str = SOURCE
) -> None:
    """Keeps one callback durably before it is answered (SUBTC contract 6: an unauthenticated hint).

    `source` is who rings. `signature` is one of SIGNATURES: what the configured check said, if one is configured. Raises
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
    with bridge.store.write(joins=True) as tx:
        row = inbox.put(
            tx,
            token_sha256=token_sha256,
            source=source,
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


DIRECTIONS = ("in", "out")
# What can come of a replayed callback besides the invoice's new status.
UNCHANGED, NO_ANSWER, DEAD = "unchanged", "no source answered", "dead letter, not replayed"


def list_events(
    bridge: Bridge,
    *,
    direction: str,
    match: dict[str, str],
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first. "in" are callbacks (ids like in:17), "out" are events for merchants (ids like evt_…)."""
    with bridge.store.read() as tx:
        if direction == "in":
            rows = inbox.listing(tx, match=match, since=since, until=until, limit=limit)
            return [_shown_inbound(row) for row in rows]
        return [_shown_outbound(row) for row in events.listing(tx, match=match, since=since, until=until, limit=limit)]


def show_event(bridge: Bridge, event_id: str) -> dict[str, Any]:
    """One event with its body. Raises Refused("unknown_event")."""
    with bridge.store.read() as tx:
        if event_id.startswith("in:"):
            row = inbox.find(tx, _inbox_id(event_id))
            if row is not None:
                body = bytes(row.body)
                return _shown_inbound(row) | {"headers": json.loads(row.headers), "body": body.decode(errors="replace")}
        else:
            row = events.find(tx, event_id)
            if row is not None:
                return _shown_outbound(row) | {"body": json.loads(row.body)}
    raise Refused("unknown_event", "There is no such event.")


def replay(bridge: Bridge, event_id: str, *, actor: str, reason: str) -> str:
    """Replays one event and says in a word what came of it.

    Inbound: the stored bytes are received again (a duplicate) and answered with an own read: UNCHANGED, NO_ANSWER or the
    new status; DEAD is left alone. Outbound: its delivery goes back into the queue: "queued".
    Raises Refused (actor_and_reason_required, forbidden, unknown_event).
    """
    require_words(actor, reason)
    check_actor(bridge, actor, "delivery.redeliver")
    outcome = _replay_inbound(bridge, event_id) if event_id.startswith("in:") else _replay_outbound(bridge, event_id)
    now = bridge.clock()
    with bridge.store.write() as tx:
        detail = {"event": event_id, "outcome": outcome}
        audit.write(tx, at=now, actor=actor, action="replayed", reason=reason, detail=detail)
    return outcome


def send_test_event(bridge: Bridge, merchant: str, *, actor: str, reason: str) -> str:
    """Puts a test event into the merchant's queue and returns its id. It carries no invoice and changes nothing anywhere.

    Raises Refused (actor_and_reason_required, forbidden, unknown_merchant).
    """
    require_words(actor, reason)
    receiver = bridge.merchants.get(merchant)
    if receiver is None or not receiver.wants_push:
        raise Refused("unknown_merchant", "There is no such merchant with a notify URL.", field="merchant")
    event_id = bridge.new_id("evt")
    with acting(bridge, "delivery.redeliver", actor=actor, reason=reason) as act:
        events.append(
            act.tx,
            event_id=event_id,
            delivery_id=bridge.new_id("dlv"),
            invoice_id=None,
            merchant=merchant,
            type="test",
            sequence=0,
            body=event_body(event_id, "test", 0, act.now, None),
            now=act.now,
        )
        act.audit("test_event", detail={"event": event_id, "merchant": merchant})
    return event_id


def _replay_inbound(bridge: Bridge, event_id: str) -> str:
    with bridge.store.read() as tx:
        row = inbox.find(tx, _inbox_id(event_id))
        invoice = invoices.find(tx, id=row.invoice_id) if row is not None and row.invoice_id else None
    if row is None or invoice is None:
        raise Refused("unknown_event", "There is no such event, or it belongs to no invoice.")
    if row.state == "dead":
        return DEAD
    if invoice.closed_at is None:
        token = bridge.callback_token(invoice.id)
        again = {"headers": json.loads(row.headers), "body": bytes(row.body), "source": row.source}
        receive_callback(bridge, token=token, signature="unchecked", **again)
    seen = look(bridge, invoice.id, actor="replay")
    if seen is None:
        return NO_ANSWER
    after = (seen.invoice.status, seen.invoice.exception, seen.invoice.received_sat)
    return UNCHANGED if after == (invoice.status, invoice.exception, invoice.received_sat) else seen.invoice.status


def _replay_outbound(bridge: Bridge, event_id: str) -> str:
    now = bridge.clock()
    with bridge.store.write() as tx:
        there(events.find(tx, event_id), "unknown_event", "event")
        rows = deliveries.listing(tx, match={"event_id": event_id}, limit=10)
        if not rows:
            return "not pushed to anybody"
        again = [deliveries.send_again(tx, row.id, now=now) for row in rows]
    return "queued" if any(again) else "already in the queue"


def _inbox_id(event_id: str) -> int:
    number = event_id.removeprefix("in:")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise Refused("unknown_event", "An inbound event's id looks like in:17.")
    return int(number)


def _shown_inbound(row: Any) -> dict[str, Any]:
    return {
        "id": f"in:{row.id}",
        "at": time_text(row.received_at),
        "type": row.source,
        "invoice_id": row.invoice_id,
        "state": row.state,
        "note": row.note,
        "copies": row.copies,
        "bytes": len(row.body),
    }


def _shown_outbound(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": time_text(row.created_at),
        "type": row.type,
        "invoice_id": row.invoice_id,
        "merchant": row.merchant,
        "sequence": row.sequence,
    }
