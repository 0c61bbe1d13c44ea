"""Idempotency keys and the claims that keep parallel creates of one billing payment in line.

Owns both tables; what an answer looks like is the flow's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.core.errors import Conflict, Refused
from bridge.store.tables import idempotency, openings


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where a key lives: the same text under another merchant or operation is another key."""

    merchant: str
    operation: str
    key: str


def _is(scope: Scope) -> Any:
    return (
        (idempotency.c.merchant == scope.merchant)
        & (idempotency.c.operation == scope.operation)
        & (idempotency.c.key == scope.key)
    )


def _insert(tx: Connection, table: Any) -> Any:
    return (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(table)


def begin(
    tx: Connection, scope: Scope, *, body_sha256: str, now: datetime, lease_seconds: int
) -> tuple[int, str] | None:
    """Claims the key: None means go on, else the stored (status, answer) of the first time.

    Raises Refused("idempotency_mismatch") for another body, Conflict("idempotency_in_progress") while the first still runs.
    """
    lease_until = now + timedelta(seconds=lease_seconds)
    values = {"body_sha256": body_sha256, "state": "running", "created_at": now, "lease_until": lease_until}
    claim = _insert(tx, idempotency).values(merchant=scope.merchant, operation=scope.operation, key=scope.key, **values)
    if tx.execute(claim.on_conflict_do_nothing().returning(idempotency.c.key)).one_or_none() is not None:
        return None
    row = tx.execute(select(idempotency).where(_is(scope)).with_for_update()).one()
    if row.body_sha256 != body_sha256:
        raise Refused(
            "idempotency_mismatch", "This Idempotency-Key was used with another body.", field="Idempotency-Key"
        )
    if row.state == "done":
        return row.answer_status, row.answer
    if row.lease_until >= now:
        raise Conflict("idempotency_in_progress", "The first request with this key still runs.", retry_after_seconds=1)
    # The first holder died: its lease is over, so this request takes its place.
    tx.execute(update(idempotency).where(_is(scope)).values(lease_until=lease_until))
    return None


def finish(
    tx: Connection,
    scope: Scope,
    *,
    answer_status: int,
    answer: str,
    invoice_id: str,
    quote_version: int,
    address: str,
    settlement_status: str,
) -> None:
    """Keeps the answer for ever with what it stood for: quote version, address and settlement status."""
    values = {
        "state": "done",
        "answer_status": answer_status,
        "answer": answer,
        "invoice_id": invoice_id,
        "quote_version": quote_version,
        "address": address,
        "settlement_status": settlement_status,
    }
    tx.execute(update(idempotency).where(_is(scope)).values(**values))


def forget(tx: Connection, scope: Scope) -> None:
    """Frees a key whose request failed without an effect, so that the caller may try it again."""
    tx.execute(delete(idempotency).where(_is(scope), idempotency.c.state == "running"))


def set_settlement(tx: Connection, invoice_id: str, *, settlement_status: str) -> None:
    changed = update(idempotency).where(idempotency.c.invoice_id == invoice_id)
    tx.execute(changed.values(settlement_status=settlement_status))


def take_opening(
    tx: Connection, *, merchant: str, billing_payment_id: str, owner: str, now: datetime, lease_seconds: int
) -> bool:
    """Whether this request may open the invoice of that billing payment; of twelve at once, one may."""
    lease_until = now + timedelta(seconds=lease_seconds)
    claim = _insert(tx, openings).values(
        merchant=merchant, billing_payment_id=billing_payment_id, owner=owner, lease_until=lease_until
    )
    claim = claim.on_conflict_do_update(
        index_elements=["merchant", "billing_payment_id"],
        set_={"owner": owner, "lease_until": lease_until},
        where=openings.c.lease_until < now,
    )
    return tx.execute(claim.returning(openings.c.owner)).one_or_none() is not None


def end_opening(tx: Connection, *, merchant: str, billing_payment_id: str, owner: str) -> bool:
    """Ends the claim; False when it was not `owner`'s any more."""
    mine = (
        openings.c.merchant == merchant,
        openings.c.billing_payment_id == billing_payment_id,
        openings.c.owner == owner,
    )
    return tx.execute(delete(openings).where(*mine)).rowcount == 1
