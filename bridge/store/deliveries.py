"""The outbox: one row per event and endpoint, leased, tried, delivered or parked.

Owns the claim with its order per invoice and its cap per endpoint; the schedule is `core.retry`'s.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, insert, or_, select, update

from bridge.store.tables import deliveries, delivery_attempts, events


def claim(
    tx: Connection, *, now: datetime, owner: str, lease_seconds: int, limit: int, per_merchant: int
) -> Sequence[Row[Any]]:
    """Due deliveries leased to `owner`, with their event's body and type.

    An event is not sent before every earlier one of its invoice was delivered or parked. No merchant gets more than
    `per_merchant` leases at a time, so that one dead endpoint cannot hold all the hands.
    """
    earlier = deliveries.alias("earlier")
    is_blocked = exists().where(
        earlier.c.invoice_id == deliveries.c.invoice_id,
        earlier.c.sequence < deliveries.c.sequence,
        earlier.c.state == "pending",
    )
    is_free = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now)
    rank = func.row_number().over(partition_by=deliveries.c.merchant, order_by=deliveries.c.next_try_at)
    due = (
        select(deliveries.c.id, deliveries.c.merchant, rank.label("place"))
        .where(deliveries.c.state == "pending", deliveries.c.next_try_at <= now, is_free, ~is_blocked)
        .subquery()
    )
    busy = (
        select(deliveries.c.merchant, func.count().label("leases"))
        .where(deliveries.c.state == "pending", deliveries.c.lease_until >= now)
        .group_by(deliveries.c.merchant)
        .subquery()
    )
    chosen = (
        select(due.c.id)
        .outerjoin(busy, busy.c.merchant == due.c.merchant)
        .where(due.c.place + func.coalesce(busy.c.leases, 0) <= per_merchant)
        .limit(limit)
    )
    # Two workers may choose the same rows: the condition is checked again when the row is taken.
    lease = {"lease_until": now + timedelta(seconds=lease_seconds), "lease_owner": owner}
    taken = update(deliveries).where(
        deliveries.c.id.in_(chosen.scalar_subquery()), is_free, deliveries.c.state == "pending"
    )
    ids = tx.execute(taken.values(**lease).returning(deliveries.c.id)).scalars().all()
    if not ids:
        return []
    query = select(deliveries, events.c.body, events.c.type).join(events, events.c.id == deliveries.c.event_id)
    return tx.execute(query.where(deliveries.c.id.in_(ids))).all()


def record_attempt(
    tx: Connection,
    row: Row[Any],
    *,
    owner: str,
    at: datetime,
    outcome: str,
    status: int | None,
    latency_ms: int,
    body_sha256: str,
    answer_excerpt: str,
    error: str,
    next_try_at: datetime | None,
) -> bool:
    """Logs one try and moves the delivery on. False when the lease was lost: then only the try is logged."""
    tx.execute(
        insert(delivery_attempts).values(
            delivery_id=row.id,
            at=at,
            outcome=outcome,
            status=status,
            latency_ms=latency_ms,
            body_sha256=body_sha256,
            answer_excerpt=answer_excerpt,
            error=error,
        )
    )
    values: dict[str, Any] = {"attempts": row.attempts + 1, "lease_until": None, "lease_owner": None}
    if outcome == "retry" and next_try_at is not None:
        values["next_try_at"] = next_try_at
    else:
        values |= {"state": "delivered" if outcome == "delivered" else "parked", "finished_at": at}
    mine = and_(deliveries.c.id == row.id, deliveries.c.lease_owner == owner, deliveries.c.state == "pending")
    return tx.execute(update(deliveries).where(mine).values(**values)).rowcount == 1


def listing(tx: Connection, *, match: dict[str, str], limit: int) -> Sequence[Row[Any]]:
    query = select(deliveries, events.c.type).join(events, events.c.id == deliveries.c.event_id)
    query = query.where(*(deliveries.c[name] == value for name, value in match.items()))
    return tx.execute(query.order_by(deliveries.c.created_at.desc(), deliveries.c.sequence.desc()).limit(limit)).all()


def attempts_of(tx: Connection, delivery_id: str) -> Sequence[Row[Any]]:
    query = select(delivery_attempts).where(delivery_attempts.c.delivery_id == delivery_id)
    return tx.execute(query.order_by(delivery_attempts.c.id)).all()


def attempts_of_invoice(tx: Connection, invoice_id: str) -> Sequence[Row[Any]]:
    query = select(delivery_attempts).join(deliveries, deliveries.c.id == delivery_attempts.c.delivery_id)
    return tx.execute(query.where(deliveries.c.invoice_id == invoice_id).order_by(delivery_attempts.c.id)).all()


def send_again(tx: Connection, delivery_id: str, *, now: datetime) -> bool:
    """Puts a delivered or parked delivery back into the queue with a fresh schedule."""
    again = update(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.state != "pending")
    values = {"state": "pending", "attempts": 0, "next_try_at": now, "finished_at": None}
    return tx.execute(again.values(**values)).rowcount == 1


def depth(tx: Connection) -> dict[str, int]:
    """How many deliveries are in each state."""
    query = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
    return {state: int(count) for state, count in tx.execute(query)}


def any_due(tx: Connection, *, now: datetime) -> bool:
    query = select(deliveries.c.id).where(deliveries.c.state == "pending", deliveries.c.next_try_at <= now)
    return tx.execute(query.limit(1)).first() is not None
