"""Grace grants: time to pay that a person gave, one per invoice for ever.

Owns these rows; when a grant ends is `core.grace`'s to say.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from bridge.store.tables import grace_grants


def add(tx: Connection, values: Mapping[str, Any]) -> None:
    tx.execute(insert(grace_grants).values(**values))


def find(tx: Connection, invoice_id: str) -> Row[Any] | None:
    return tx.execute(select(grace_grants).where(grace_grants.c.invoice_id == invoice_id)).one_or_none()


def listing(tx: Connection, *, match: Mapping[str, str], limit: int) -> Sequence[Row[Any]]:
    """Newest first; `match` may name state, merchant and invoice_id."""
    query = select(grace_grants).where(*(grace_grants.c[name] == value for name, value in match.items()))
    return tx.execute(query.order_by(grace_grants.c.granted_at.desc(), grace_grants.c.invoice_id).limit(limit)).all()


def end(tx: Connection, invoice_id: str, *, state: str, now: datetime) -> None:
    still_open = (grace_grants.c.invoice_id == invoice_id, grace_grants.c.state == "open")
    tx.execute(update(grace_grants).where(*still_open).values(state=state, ended_at=now))
