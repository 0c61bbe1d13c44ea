"""Telling merchants: each event until it has been answered, and again when a person says so.

Owns the tries and what their answers mean for the queue; what is told was written with its change.
"""

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from bridge import tracing
from bridge.context import Bridge
from bridge.core.errors import there
from bridge.core.evidence import Answer
from bridge.core.schedule import next_try_at
from bridge.invoices.poll import Submit
from bridge.invoices.present import View, columns
from bridge.invoices.record import open_review
from bridge.logs import log
from bridge.permit import acting, may_tell
from bridge.store import audit, deliveries, invoices
from bridge.store.db import Tx

LEASE_SECONDS = 60
# Half of a worker's usual hands: a dead endpoint must leave some free for the others.
PER_MERCHANT = 4
# What is shown of a try.
_ATTEMPT = ("at", "outcome", "status", "latency_ms", "body_sha256", "answer_excerpt", "error")


class DeliveryView(View):
    """One event on its way to a merchant, as a list has it."""

    id: str
    event_id: str
    type: str
    invoice_id: str | None
    merchant: str
    sequence: int
    state: str
    attempts: int
    created_at: str
    next_try_at: str


class Hands(Protocol):
    """Hands of a worker: how many of them are free, and one of them at work."""

    @property
    def free(self) -> int: ...

    def submit(self, work: Callable[[], None]) -> None: ...


class Courier:
    """Has a delivery in hand from its birth on, so that it need not be found and claimed first. A dead endpoint gets no more hands for
    that, those that have what was claimed counted in.
    """

    def __init__(self, *, owner: str, hands: Hands):
        self._owner, self._hands = owner, hands
        self._guard, self._under_way = threading.Lock(), Counter[str]()

    def lease(self, merchant: str, *, now: datetime) -> Mapping[str, Any]:
        if self._hands.free <= 0 or self._under_way[merchant] >= PER_MERCHANT:
            return {}
        return {"lease_until": now + timedelta(seconds=LEASE_SECONDS), "lease_owner": self._owner}

    def carry(self, bridge: Bridge, leased: Sequence[Any]) -> None:
        # Looks that end together may have seen the same free hand: what they tell then waits for one, well within its lease.
        for delivery in leased:
            with self._guard:
                self._under_way[delivery.merchant] += 1
            self._hands.submit(partial(self._carry, bridge, delivery))

    def _carry(self, bridge: Bridge, delivery: Any) -> None:
        try:
            deliver_one(bridge, delivery, owner=self._owner)
        finally:
            with self._guard:
                self._under_way[delivery.merchant] -= 1


def deliver_due(bridge: Bridge, *, owner: str, limit: int, submit: Submit, courier: Courier | None = None) -> int:
    """Claims and submits due deliveries, or has the courier carry them; none in read_only and queued mode. Returns how many."""
    now = bridge.clock()
    with bridge.store.write(durable=False) as tx:
        if not may_tell(tx):
            return 0
        rows = deliveries.claim(
            tx, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=limit, per_merchant=PER_MERCHANT
        )
    due = sorted(rows, key=lambda row: row.next_try_at)
    if courier is not None:
        courier.carry(bridge, due)
        return len(due)
    for row in due:
        submit(partial(deliver_one, bridge, row, owner=owner))
    return len(due)


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
    with bridge.store.write(joins=True) as tx:
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
        if is_ours and outcome == "parked" and row.invoice_id:
            open_review(tx, bridge, invoices.find(tx, id=row.invoice_id), kind="delivery_dead", now=now)
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


def list_deliveries(bridge: Bridge, *, match: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Newest first; `match` may name state, merchant, invoice_id and id."""
    with bridge.store.read() as tx:
        return [DeliveryView.of(row) for row in deliveries.listing(tx, match=match, limit=limit)]


def show_delivery(bridge: Bridge, delivery_id: str) -> dict[str, Any]:
    """One delivery with every attempt. Raises Refused("unknown_delivery")."""
    with bridge.store.read() as tx:
        row = _found(tx, delivery_id)
        attempts = [columns(each, *_ATTEMPT) for each in deliveries.attempts_of(tx, delivery_id)]
    return DeliveryView.of(row) | {"attempts_log": attempts}


def _found(tx: Tx, delivery_id: str) -> Any:
    return there(
        next(iter(deliveries.listing(tx, match={"id": delivery_id}, limit=1)), None), "unknown_delivery", "delivery"
    )


def choose(bridge: Bridge, *, state: str | None, merchant: str | None) -> list[str]:
    """Ids of the finished deliveries in a state; parked ones when none is named."""
    match = {"state": state or "parked"} | ({"merchant": merchant} if merchant else {})
    return [row["id"] for row in list_deliveries(bridge, match=match, limit=100_000)]


def redeliver(bridge: Bridge, delivery_id: str, *, actor: str, reason: str) -> bool:
    """Puts one finished delivery back, audited; False when it is under way anyway.

    Raises Refused (actor_and_reason_required, forbidden, unknown_delivery).
    """
    with acting(bridge, "delivery.redeliver", actor=actor, reason=reason) as act:
        row = _found(act.tx, delivery_id)
        done = deliveries.send_again(act.tx, delivery_id, now=act.now)
        if done:
            act.audit("redelivered", invoice_id=row.invoice_id, detail={"delivery": delivery_id})
        return done
