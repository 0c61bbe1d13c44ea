"""The last balance that we read of each wallet, by role.

Owns that table; must not ask a gateway.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from bridge.store.db import insert_into
from bridge.store.tables import wallet_balances


def put(tx: Connection, role: str, values: dict[str, Any]) -> None:
    row = insert_into(tx, wallet_balances).values(role=role, **values)
    # An answer that was slow on its way never undoes a newer one.
    newer = wallet_balances.c.read_at <= values["read_at"]
    tx.execute(row.on_conflict_do_update(index_elements=["role"], set_=values, where=newer))


def of(tx: Connection, role: str) -> Row[Any] | None:
    return tx.execute(select(wallet_balances).where(wallet_balances.c.role == role)).one_or_none()


def listing(tx: Connection) -> Sequence[Row[Any]]:
    return tx.execute(select(wallet_balances).order_by(wallet_balances.c.role)).all()


def read_at(tx: Connection, role: str) -> datetime | None:
    at: datetime | None = tx.execute(select(wallet_balances.c.read_at).where(wallet_balances.c.role == role)).scalar()
    return at
