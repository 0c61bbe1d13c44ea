"""The outbox: one row per event and endpoint, leased, tried, delivered or parked.

Owns the claim with its order per invoice and its cap per endpoint; the schedule is `core.schedule`'s.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, select, update

from bridge.core.clock import latest_end
from bridge.store import ahead, archive
from bridge.store.rows import Rows
from bridge.store.tables import UtcTime, deliveries, delivery_attempts, events, invoices, modes
from bridge.store.together import ask, first_row

_DELIVERIES = Rows(table=deliveries, order=(deliveries.c.created_at.desc(), deliveries.c.sequence.desc()))
# A page ends at a moment and an id: a sequence is each invoice's own.
_PAGES = Rows(table=deliveries, order=(deliveries.c.created_at.desc(), deliveries.c.id.desc()))
_ATTEMPTS = Rows(table=delivery_attempts, told=(delivery_attempts.c.id,), under="delivery_id")
count = _DELIVERIES.count
_WITH_TYPE = select(deliveries, events.c.type).join(events, events.c.id == deliveries.c.event_id)
# Newest first, each with its event's type.
listing, pages = partial(_DELIVERIES.listing, query=_WITH_TYPE), partial(_PAGES.listing, query=_WITH_TYPE)


def claim(
    tx: Connection, *, now: datetime, owner: str, lease_seconds: int, limit: int, per_merchant: int
) -> Sequence[Row[Any]]:
    """Due deliveries leased to `owner`, with their event's body and type and their invoice's trace.

    An event is not sent before every earlier one of its invoice was delivered or parked. No merchant gets more than
    `per_merchant` leases at a time, so that one dead endpoint cannot hold all the hands.
    """
    lease = {"now": now, "until": now + timedelta(seconds=lease_seconds), "owner": owner}
    lease["latest"] = latest_end(now, lasts_seconds=lease_seconds)
    ids = ask(tx, _CLAIM, lease | {"most": limit, "per_merchant": per_merchant}).scalars().all()
    if not ids:
        return []
    return tx.execute(_CLAIMED, {"ids": ids}).all()


def _claim() -> Any:
    now = bindparam("now", type_=UtcTime)
    earlier = deliveries.alias("earlier")
    is_blocked = exists().where(
        earlier.c.invoice_id == deliveries.c.invoice_id,
        earlier.c.sequence < deliveries.c.sequence,
        earlier.c.state == "pending",
    )
    is_free = ahead.is_free(deliveries.c.lease_until)
    busy = (
        select(deliveries.c.merchant, func.count().label("leases"))
        .where(deliveries.c.state == "pending", ~is_free)
        .group_by(deliveries.c.merchant)
        .cte("busy")
    )
    # What waits behind a dead endpoint may be thousands of rows: they are not looked through for nothing.
    has_all = select(busy.c.merchant).where(busy.c.leases >= bindparam("per_merchant"))
    rank = func.row_number().over(partition_by=deliveries.c.merchant, order_by=deliveries.c.next_try_at)
    due = (
        select(deliveries.c.id, deliveries.c.merchant, rank.label("place"))
        .where(deliveries.c.state == "pending", deliveries.c.next_try_at <= now, is_free)
        .where(deliveries.c.merchant.not_in(has_all), ~is_blocked)
        .subquery()
    )
    chosen = (
        select(due.c.id)
        .outerjoin(busy, busy.c.merchant == due.c.merchant)
        .where(due.c.place + func.coalesce(busy.c.leases, 0) <= bindparam("per_merchant"))
        .limit(bindparam("most"))
    )
    # Two workers may choose the same rows: the condition is checked again when the row is taken.
    taken = update(deliveries).where(
        deliveries.c.id.in_(chosen.scalar_subquery()), is_free, deliveries.c.state == "pending"
    )
    lease = {"lease_until": bindparam("until", type_=UtcTime), "lease_owner": bindparam("owner")}
    return taken.values(**lease).returning(deliveries.c.id)


# Statements are built once: building one costs several times its execution.
_CLAIM = _claim()
_ANY_DUE = select(deliveries.c.id).where(deliveries.c.state == "pending", deliveries.c.next_try_at <= bindparam("now"))
_ANY_DUE = _ANY_DUE.limit(1)
_WAITS = exists().where(deliveries.c.invoice_id == bindparam("invoice_id"), deliveries.c.state == "pending")
_BEFORE_TELLING = select(_WAITS, select(modes.c.mode).where(modes.c.scope == "bridge").scalar_subquery())
_CLAIMED = select(deliveries, events.c.body, events.c.type, func.coalesce(invoices.c.trace_id, "").label("trace_id"))
_CLAIMED = _CLAIMED.join(events, events.c.id == deliveries.c.event_id)
_CLAIMED = _CLAIMED.outerjoin(invoices, invoices.c.id == deliveries.c.invoice_id)
_CLAIMED = _CLAIMED.where(deliveries.c.id.in_(bindparam("ids", expanding=True)))


def before_telling(tx: Connection, invoice_id: str) -> tuple[bool, str | None]:
    """Whether an event of the invoice waits to be told, and the bridge's mode, None where none is set."""
    found = first_row(tx, _BEFORE_TELLING, {"invoice_id": invoice_id}) or (True, None)
    return bool(found[0]), found[1]


def record_attempt(
    tx: Connection,
    row: Row[Any],
    *,
    owner: str,
    at: datetime,
    outcome: str,
    next_try_at: datetime | None,
    **answered: Any,
) -> bool:
    """Logs one try and moves the delivery on. False when the lease was lost: then only the try is logged.

    `answered`: status, latency_ms, body_sha256, answer_excerpt and error.
    """
    _ATTEMPTS.put(tx, {"delivery_id": row.id, "at": at, "outcome": outcome, **answered})
    values: dict[str, Any] = {"attempts": row.attempts + 1, "lease_until": None, "lease_owner": None}
    if outcome == "retry" and next_try_at is not None:
        values["next_try_at"] = next_try_at
    else:
        values |= {"state": "delivered" if outcome == "delivered" else "parked", "finished_at": at}
    return _DELIVERIES.change(tx, values, id=row.id, lease_owner=owner, state="pending") is not None


def newest_attempt(tx: Connection, merchant: str) -> Row[Any] | None:
    """How the last try to tell this merchant anything ended."""
    query = select(delivery_attempts).join(deliveries, deliveries.c.id == delivery_attempts.c.delivery_id)
    query = query.where(deliveries.c.merchant == merchant).order_by(delivery_attempts.c.id.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    if row is None and (last := _DELIVERIES.listing(tx, match={"merchant": merchant}, limit=1)):
        # All that it was ever told is so old that it was packed.
        return next(iter(reversed(attempts_of(tx, last[0].id))), None)
    return row


def attempts_of(tx: Connection, delivery_id: str) -> Sequence[Row[Any]]:
    """Every try, from the first."""
    row = _DELIVERIES.find(tx, delivery_id)
    packed = archive.attempts_of(tx, row.invoice_id) if row is not None and row.invoice_id is not None else []
    return [*(each for each in packed if each.delivery_id == delivery_id), *_ATTEMPTS.of(tx, delivery_id)]


def send_again(tx: Connection, delivery_id: str, *, now: datetime) -> bool:
    """Puts a delivered or parked delivery back into the queue with a fresh schedule; its invoice is packed no more."""
    row = _DELIVERIES.find(tx, delivery_id)
    if row is not None and row.invoice_id is not None:
        archive.thaw(tx, row.invoice_id)
    values = {"state": "pending", "attempts": 0, "next_try_at": now, "finished_at": None}
    return _DELIVERIES.change(tx, values, deliveries.c.state != "pending", id=delivery_id) is not None


def count_by_state(tx: Connection, states: Sequence[str]) -> dict[str, int]:
    query = select(deliveries.c.state, func.count()).where(deliveries.c.state.in_(states)).group_by(deliveries.c.state)
    return {state: int(count) for state, count in tx.execute(query)}


def any_due(tx: Connection, *, now: datetime) -> bool:
    return ask(tx, _ANY_DUE, {"now": now}).first() is not None
