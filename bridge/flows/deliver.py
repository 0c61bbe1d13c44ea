"""Telling merchants: due deliveries are sent, answered, and moved on.

Owns the way of one delivery; the order and the claim are `store.deliveries`', the schedule `core.retry`'s.
"""

import logging
import secrets
from typing import Any

from bridge import tracing
from bridge.core.evidence import Answer
from bridge.core.retry import next_try_at
from bridge.flows.context import Bridge
from bridge.flows.poll import Submit
from bridge.flows.record import open_review
from bridge.logs import log
from bridge.store import audit, deliveries, invoices, leases

LEASE_SECONDS = 60
# Half of a worker's usual hands: a dead endpoint must leave some free for the others.
PER_MERCHANT = 4


def deliver_due(bridge: Bridge, *, owner: str, limit: int, submit: Submit) -> int:
    """Claims and submits due deliveries; none in read_only and queued mode. Returns how many."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not deliveries.any_due(tx, now=now):
            return 0
    with bridge.store.write(durable=False) as tx:
        if leases.mode_of(tx) in ("read_only", "queued"):
            return 0
        rows = deliveries.claim(
            tx, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=limit, per_merchant=PER_MERCHANT
        )
    for row in sorted(rows, key=lambda row: row.next_try_at):
        submit(lambda row=row: deliver_one(bridge, row, owner=owner))  # type: ignore[misc]
    return len(rows)


def deliver_one(bridge: Bridge, row: Any, *, owner: str) -> None:
    """One try. The receiver may have acted although its answer was lost: it sees the same event id again and says so."""
    tracing.follow(row.trace_id)
    _deliver(bridge, row, owner=owner)


@tracing.traced("flow.deliver")
def _deliver(bridge: Bridge, row: Any, *, owner: str) -> None:
    bridge.crash_point("deliver.claimed")
    started_at = bridge.clock()
    answer = bridge.billing.notify(row.merchant, event_id=row.event_id, body=row.body.encode(), now=started_at)
    bridge.crash_point("deliver.sent")
    now = bridge.clock()
    retry_at = next_try_at(
        attempts=row.attempts + 1,
        now=now,
        jitter_bps=secrets.randbelow(10_001),
        retry_after_seconds=answer.retry_after_seconds,
    )
    outcome = "parked" if answer.outcome == "retry" and retry_at is None else answer.outcome
    with bridge.store.write() as tx:
        is_ours = deliveries.record_attempt(
            tx,
            row,
            owner=owner,
            at=started_at,
            outcome=outcome,
            status=answer.status,
            latency_ms=answer.latency_ms,
            body_sha256=answer.body_sha256,
            answer_excerpt=answer.body_excerpt,
            error=answer.error or "",
            next_try_at=retry_at,
        )
        invoice = invoices.find(tx, id=row.invoice_id) if row.invoice_id else None
        if is_ours and outcome == "parked" and invoice is not None:
            open_review(tx, bridge, invoice, kind="delivery_dead", now=now)
        if is_ours and outcome == "delivered":
            detail = {"event": row.event_id, "type": row.type, "status": answer.status, "trace_id": row.trace_id}
            audit.write(tx, at=now, actor="worker", action="delivered", invoice_id=row.invoice_id, detail=detail)
        bridge.crash_point("deliver.committing")
    bridge.crash_point("deliver.committed")
    _note(bridge, row, answer, outcome)


def _note(bridge: Bridge, row: Any, answer: Answer, outcome: str) -> None:
    bridge.metrics.deliveries.labels(outcome=outcome).inc()
    bridge.metrics.delivery_seconds.observe(answer.latency_ms / 1_000)
    level = logging.INFO if outcome == "delivered" else logging.WARNING
    log(
        f"delivery.{outcome}",
        level=level,
        delivery_id=row.id,
        event_id=row.event_id,
        invoice_id=row.invoice_id,
        type=row.type,
        status=answer.status,
        error=answer.error,
    )
