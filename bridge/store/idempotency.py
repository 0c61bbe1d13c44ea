"""Idempotency keys and the claims that keep parallel creates of one billing payment in line.

Owns both tables; what an answer looks like is the flow's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from bridge.core.clock import latest_end, still_holds
from bridge.core.errors import Conflict, Refused
from bridge.store.ahead import is_over
from bridge.store.db import insert_into
from bridge.store.rows import Rows
from bridge.store.tables import events, idempotency, openings
from bridge.store.together import Part, Together


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where a key lives: the same text under another merchant or operation is another key."""

    merchant: str
    operation: str
    key: str


_KEYS = Rows(table=idempotency)


# Statements are built once: building one costs several times its execution.
@cache
def _begin(dialect: str) -> Any:
    return insert_into(dialect, idempotency).on_conflict_do_nothing().returning(idempotency.c.key)


_KEEP = insert(idempotency)
_FINISH = update(idempotency).where(
    idempotency.c.merchant == bindparam("its_merchant"),
    idempotency.c.operation == bindparam("its_operation"),
    idempotency.c.key == bindparam("its_key"),
)


@cache
def _take(dialect: str) -> Any:
    claim = insert_into(dialect, openings)
    claim = claim.on_conflict_do_update(
        index_elements=["merchant", "billing_payment_id"],
        set_={"owner": claim.excluded.owner, "lease_until": claim.excluded.lease_until},
        where=is_over(openings.c.lease_until),
    )
    return claim.returning(openings.c.owner)


_END = (
    delete(openings)
    .where(
        openings.c.merchant == bindparam("its_merchant"),
        openings.c.billing_payment_id == bindparam("its_payment"),
        openings.c.owner == bindparam("its_owner"),
    )
    .returning(openings.c.owner)
)


def begin(together: Together, scope: Scope, *, body_sha256: str, now: datetime, lease_seconds: int) -> Part:
    """Claims a new key; without a value the key was there before, and `begun_before` says what that means."""
    lease_until = now + timedelta(seconds=lease_seconds)
    values = {"body_sha256": body_sha256, "state": "running", "created_at": now, "lease_until": lease_until}
    return together.execute(_begin, vars(scope) | values)


def begun_before(
    tx: Connection, scope: Scope, *, body_sha256: str, now: datetime, lease_seconds: int
) -> tuple[int, str] | None:
    """The stored (status, answer) of the key's first time; None means that the first holder died and this caller goes on.

    Raises Refused("idempotency_mismatch") for another body, Conflict("idempotency_in_progress") while the first still runs.
    """
    row = _KEYS.find(tx, lock=True, **vars(scope))
    if row is None:
        # It failed without an effect and freed its key between our claim and this look.
        raise _in_progress()
    if row.body_sha256 != body_sha256:
        raise Refused(
            "idempotency_mismatch", "This Idempotency-Key was used with another body.", field="Idempotency-Key"
        )
    if row.state == "done":
        return row.answer_status, row.answer or _told(tx, row.invoice_id)
    if still_holds(row.lease_until, now=now, lasts_seconds=lease_seconds):
        raise _in_progress()
    # The first holder died: its lease is over, so this request takes its place.
    _KEYS.change(tx, {"lease_until": now + timedelta(seconds=lease_seconds)}, **vars(scope))
    return None


# The invoice in an event's body begins behind this, and ends with the body.
OPENING = '"invoice":'


def _told(tx: Connection, invoice_id: str) -> str:
    """What an opening was answered, from the event of it: after some days that alone is kept."""
    event = Rows(table=events).find(tx, invoice_id=invoice_id, sequence=1)
    assert event is not None  # what is told again was compared with it
    body: str = event.body
    return body.partition(OPENING)[2].removesuffix("}")


def _in_progress() -> Conflict:
    return Conflict("idempotency_in_progress", "The first request with this key still runs.", retry_after_seconds=1)


def finish(tx: Connection | Together, scope: Scope, **kept: Any) -> None:
    """Keeps the answer and its status for ever with what it stood for: invoice, quote version, address, settlement status."""
    its_scope = {f"its_{name}": value for name, value in vars(scope).items()}
    tx.execute(_FINISH, {"state": "done"} | kept | its_scope)


def keep(together: Together, scope: Scope, *, body_sha256: str, now: datetime, **kept: Any) -> None:
    """The same for a key that nobody has to wait for: it begins and ends in one transaction, which a key that is known fails."""
    begun = {"body_sha256": body_sha256, "state": "done", "created_at": now, "lease_until": now}
    together.execute(_KEEP, vars(scope) | begun | kept)


def keys_of(tx: Connection, invoice_id: str) -> list[str]:
    """The keys whose requests led to this invoice."""
    query = select(idempotency.c.key).where(idempotency.c.invoice_id == invoice_id).order_by(idempotency.c.created_at)
    return list(tx.execute(query).scalars())


def forget(tx: Connection, scope: Scope) -> None:
    """Frees a key whose request failed without an effect, so that the caller may try it again."""
    _KEYS.remove(tx, **vars(scope), state="running")


_SET_SETTLEMENT = update(idempotency).where(idempotency.c.invoice_id == bindparam("its_invoice"))


def set_settlement(together: Together, invoice_id: str, *, settlement_status: str) -> None:
    together.execute(_SET_SETTLEMENT, {"settlement_status": settlement_status, "its_invoice": invoice_id})


def take_opening(
    together: Together,
    *,
    merchant: str,
    billing_payment_id: str,
    owner: str,
    now: datetime,
    lease_seconds: int,
) -> Part:
    """A value means that this request may open the invoice of that billing payment; of twelve at once, one may."""
    lease_until = now + timedelta(seconds=lease_seconds)
    claim = {"merchant": merchant, "billing_payment_id": billing_payment_id, "owner": owner, "lease_until": lease_until}
    return together.execute(_take, claim | {"now": now, "latest": latest_end(now, lasts_seconds=lease_seconds)})


def end_opening(tx: Connection | Together, *, merchant: str, billing_payment_id: str, owner: str) -> Any:
    """Ends the claim. Of several together the part has a value, unless the claim was not `owner`'s any more."""
    return tx.execute(_END, {"its_merchant": merchant, "its_payment": billing_payment_id, "its_owner": owner})
