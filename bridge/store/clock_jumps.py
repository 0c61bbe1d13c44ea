"""When a clock was found to have been wrong, and the mark that nodes leave so that the next one can find it.

Owns both; must not judge whose clock is wrong, `upkeep.watch_clock` does.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.store.db import put_row
from bridge.store.tables import clock_jumps, leases

# A lease of nobody: its end is when a worker last wrote, so that it outlives the worker and the node.
_MARK = {"name": "clock"}


def add(tx: Connection, *, noticed_by: str, seconds: int, now: datetime) -> None:
    tx.execute(insert(clock_jumps).values(noticed_at=now, noticed_by=noticed_by, seconds=seconds))


def noticed(tx: Connection, *, now: datetime, within: timedelta) -> Sequence[Row[Any]]:
    """The jumps noticed of late, newest first; what was noticed ahead of now was noticed by a clock that was wrong."""
    query = select(clock_jumps).where(clock_jumps.c.noticed_at > now - within)
    query = query.where(clock_jumps.c.noticed_at <= now + CLOCK_TOLERANCE)
    return tx.execute(query.order_by(clock_jumps.c.id.desc())).all()


def mark(tx: Connection, *, now: datetime) -> None:
    """Says when a worker last wrote, by its own clock."""
    put_row(tx, leases, _MARK, {"owner": "nobody", "lease_until": now})


def marked_at(tx: Connection) -> datetime | None:
    at: datetime | None = tx.execute(select(leases.c.lease_until).where(leases.c.name == _MARK["name"])).scalar()
    return at
