"""The delivery console: looking at deliveries and putting them back into the queue.

Owns that; the sending is `flows.deliver`'s.
"""

from typing import Any

from bridge.core.errors import Refused
from bridge.flows.context import Bridge
from bridge.flows.permit import check_actor_in, require_words
from bridge.flows.present import time_text
from bridge.store import audit, deliveries


def list_deliveries(bridge: Bridge, *, match: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Newest first; `match` may name state, merchant, invoice_id and id."""
    with bridge.store.read() as tx:
        return [_shown(row) for row in deliveries.listing(tx, match=match, limit=limit)]


def show_delivery(bridge: Bridge, delivery_id: str) -> dict[str, Any]:
    """One delivery with every attempt. Raises Refused("unknown_delivery")."""
    with bridge.store.read() as tx:
        rows = deliveries.listing(tx, match={"id": delivery_id}, limit=1)
        if not rows:
            raise Refused("unknown_delivery", "There is no such delivery.")
        attempts = [
            {
                "at": time_text(row.at),
                "outcome": row.outcome,
                "status": row.status,
                "latency_ms": row.latency_ms,
                "body_sha256": row.body_sha256,
                "answer_excerpt": row.answer_excerpt,
                "error": row.error,
            }
            for row in deliveries.attempts_of(tx, delivery_id)
        ]
    return _shown(rows[0]) | {"attempts_log": attempts}


def choose(bridge: Bridge, *, state: str | None, merchant: str | None) -> list[str]:
    """Ids of the finished deliveries in a state; parked ones when none is named."""
    match = {"state": state or "parked"} | ({"merchant": merchant} if merchant else {})
    return [row["id"] for row in list_deliveries(bridge, match=match, limit=100_000)]


def redeliver(bridge: Bridge, delivery_id: str, *, actor: str, reason: str) -> bool:
    """Puts one finished delivery back, audited; False when it is under way anyway.

    Raises Refused (actor_and_reason_required, forbidden, unknown_delivery).
    """
    require_words(actor, reason)
    now = bridge.clock()
    with bridge.store.write() as tx:
        check_actor_in(tx, actor, "delivery.redeliver", now=now)
        rows = deliveries.listing(tx, match={"id": delivery_id}, limit=1)
        if not rows:
            raise Refused("unknown_delivery", "There is no such delivery.")
        done = deliveries.send_again(tx, delivery_id, now=now)
        if done:
            audit.write(
                tx,
                at=now,
                actor=actor,
                action="redelivered",
                invoice_id=rows[0].invoice_id,
                reason=reason,
                detail={"delivery": delivery_id},
            )
        return done


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "event_id": row.event_id,
        "type": row.type,
        "invoice_id": row.invoice_id,
        "merchant": row.merchant,
        "sequence": row.sequence,
        "state": row.state,
        "attempts": row.attempts,
        "created_at": time_text(row.created_at),
        "next_try_at": time_text(row.next_try_at),
    }
