"""The last balance that we read of each wallet, by role.

Owns that table; must not ask a gateway.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.store.db import put_row
from bridge.store.tables import wallet_balances


def put(tx: Connection, role: str, values: dict[str, Any]) -> None:
    # An answer that was slow on its way never undoes a newer one; what was read ahead of now is none.
    before, asked_at = wallet_balances.c.read_at, values["read_at"]
    is_old = or_(before <= asked_at, before > asked_at + CLOCK_TOLERANCE)
    put_row(tx, wallet_balances, {"role": role}, values, where=is_old)


def of(tx: Connection, role: str) -> Row[Any] | None:
    return tx.execute(select(wallet_balances).where(wallet_balances.c.role == role)).one_or_none()


def listing(tx: Connection) -> Sequence[Row[Any]]:
    return tx.execute(select(wallet_balances).order_by(wallet_balances.c.role)).all()


def read_at(tx: Connection, role: str) -> datetime | None:
    at: datetime | None = tx.execute(select(wallet_balances.c.read_at).where(wallet_balances.c.role == role)).scalar()
    return at
