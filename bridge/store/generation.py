"""Generations of the database: written down once, begun anew whenever something that was told may be missing from it.

Owns the one row and what a new generation changes; which databases are refused is said by `store.fence`.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from bridge.store import audit, backup, leases
from bridge.store.db import Store, driver_of, insert_into, put_row, queue_up
from bridge.store.fence import Fence, Found, Known
from bridge.store.rows import Rows
from bridge.store.tables import generation

_ROWS = Rows(table=generation)
OWED = "owed"
_SYNCHRONOUS = "SELECT current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') NOT IN ('off', 'local')"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A new generation: to be learnt once it is committed. `retired`: how many spare addresses are given out no more."""

    known: Known
    retired: int
    is_lossy: bool


def find(tx: Connection) -> Any:
    """The row, or None before a worker has run."""
    return _ROWS.find(tx, 1)


def keep(store: Store) -> None:
    """Writes down what the row lacks, and learns how far the database has come. For a worker, every few seconds."""
    with store.read() as tx:
        found, is_synchronous = _look(tx, store.fence), _is_synchronous(tx)
    if found.is_standby:
        return
    if found.number == 0:
        with store.write() as tx:
            first = {
                "id": 1,
                "number": 1,
                "mark": secrets.token_hex(8),
                "is_synchronous": is_synchronous,
                "recheck": "",
            }
            tx.execute(insert_into(tx, generation).values(**first, **found.server).on_conflict_do_nothing())
            found = _look(tx, store.fence)
    elif found.is_synchronous != is_synchronous or (found.timeline is None and found.timeline_now is not None):
        with store.write() as tx:
            unknown = generation.c.timeline.is_(None)
            tx.execute(update(generation).values(is_synchronous=is_synchronous))
            tx.execute(update(generation).where(unknown).values(**found.server))
            found = _look(tx, store.fence)
    store.fence.learn(Known(number=found.number, mark=found.mark, seen=found.seen, is_synchronous=is_synchronous))


def begin(
    tx: Connection,
    fence: Fence,
    *,
    merchants: Sequence[str],
    now: datetime,
    actor: str,
    reason: str,
    action: str,
    detail: Mapping[str, Any] | None = None,
    is_lossy: bool = True,
) -> Begun:
    """A generation above all that are known. Where something may be missing (`is_lossy`) the bridge is read_only, and neither an
    address nor a position of the feed is given out twice.

    What it returns is learnt after the commit.
    """
    found, known = _look(tx, fence), fence.known
    retired = 0
    if is_lossy:
        leases.set_mode(tx, "bridge", mode="read_only", now=now, actor=actor, reason=reason)
        retired = backup.leave_the_past(tx, merchants=merchants, now=now)
    number, mark = max(found.number, known.number) + 1, secrets.token_hex(8)
    told = {"generation": number, "had_seen": known.seen, "ends_at": found.seen, "timeline": found.timeline_now}
    told |= {"spare_addresses_retired": retired, "is_lossy": is_lossy} | dict(detail or {})
    audit.write(tx, at=now, actor=actor, action=action, reason=reason, detail=told)
    owed = {"is_synchronous": _is_synchronous(tx), "recheck": OWED if is_lossy else ""}
    put_row(tx, generation, {"id": 1}, {"number": number, "mark": mark} | found.server | owed)
    return Begun(known=Known(number=number, mark=mark, seen=found.seen), retired=retired, is_lossy=is_lossy)


def go_over(tx: Connection, fence: Fence, *, merchants: Sequence[str], now: datetime) -> Begun | None:
    """The first transaction on a standby that has taken over; None where another program was there before.

    Nothing is missing where each commit waited for that standby, as both the row and this machine remember.
    """
    queue_up(tx, "generation")
    found, known = _look(tx, fence), fence.known
    if not found.has_failed_over:
        return None
    is_lossy = not (found.is_synchronous and known.is_synchronous and found.seen >= known.seen)
    reason = f"A standby has taken over: timeline {found.timeline_now} after {found.timeline}."
    return begin(
        tx,
        fence,
        merchants=merchants,
        now=now,
        actor="worker",
        reason=reason,
        action="failed_over",
        is_lossy=is_lossy,
    )


def note_recheck(tx: Connection, run_id: str) -> None:
    """What is OWED after a loss is this reconciliation; nothing is noted where a person was content meanwhile."""
    tx.execute(update(generation).where(generation.c.recheck == OWED).values(recheck=run_id))


def end_recheck(tx: Connection) -> None:
    """A person is content: nothing is owed any more."""
    tx.execute(update(generation).values(recheck=""))


def _look(tx: Connection, fence: Fence) -> Found:
    with driver_of(tx) as driver:
        found = fence.look(driver, is_inside=True)
    assert found is not None  # the schema is there: migrations come first
    return found


def _is_synchronous(tx: Connection) -> bool:
    return tx.dialect.name == "postgresql" and bool(tx.exec_driver_sql(_SYNCHRONOUS).scalar_one())
