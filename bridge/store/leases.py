"""Leases for jobs that must run once at a time, call budgets, and the switches that operators turn.

Owns these three small tables; must not know which jobs exist.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.store.tables import budgets, chain_tips, leases, modes

_MODE = select(modes.c.mode).where(modes.c.scope == bindparam("scope"))


def _insert(tx: Connection, table: Any) -> Any:
    return (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(table)


def take(tx: Connection, name: str, *, owner: str, now: datetime, lease_seconds: int) -> bool:
    """Takes or renews the lease `name`; False while another owner holds it."""
    lease_until = now + timedelta(seconds=lease_seconds)
    claim = _insert(tx, leases).values(name=name, owner=owner, lease_until=lease_until)
    claim = claim.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": owner, "lease_until": lease_until},
        where=or_(leases.c.owner == owner, leases.c.lease_until < now),
    )
    return tx.execute(claim.returning(leases.c.owner)).one_or_none() is not None


def give_back(tx: Connection, *, owner: str) -> None:
    """Ends every lease of a worker that stops in good order, so that others need not wait for the time-out."""
    tx.execute(delete(leases).where(leases.c.owner == owner))


def spend(tx: Connection, name: str, *, now: datetime, limit: int, window_seconds: int = 60) -> bool:
    """Takes one call from a budget of `limit` per fixed window shared by all nodes; False when it is used up."""
    window_start = now - timedelta(seconds=window_seconds)
    tx.execute(_insert(tx, budgets).values(name=name, window_start=now, spent=0).on_conflict_do_nothing())
    fresh = update(budgets).where(budgets.c.name == name, budgets.c.window_start <= window_start)
    tx.execute(fresh.values(window_start=now, spent=0))
    spent = update(budgets).where(budgets.c.name == name, budgets.c.spent < limit)
    return tx.execute(spent.values(spent=budgets.c.spent + 1)).rowcount == 1


def refund(tx: Connection, name: str, *, calls: int) -> None:
    """Returns calls that were taken and not made."""
    if calls > 0:
        tx.execute(update(budgets).where(budgets.c.name == name).values(spent=budgets.c.spent - calls))


def tip_height(tx: Connection, network: str) -> int | None:
    """The highest block that any worker has seen."""
    height: int | None = tx.execute(select(chain_tips.c.height).where(chain_tips.c.network == network)).scalar()
    return height


def set_tip(tx: Connection, network: str, *, height: int, now: datetime) -> None:
    values = {"height": height, "seen_at": now}
    row = _insert(tx, chain_tips).values(network=network, **values)
    tx.execute(row.on_conflict_do_update(index_elements=["network"], set_=values))


def mode_of(tx: Connection, scope: str = "bridge") -> str:
    """The mode set for a scope, "normal" when none is."""
    return tx.execute(_MODE, {"scope": scope}).scalar() or "normal"


def set_mode(tx: Connection, scope: str, *, mode: str, now: datetime, actor: str, reason: str) -> None:
    values = {"mode": mode, "since": now, "actor": actor, "reason": reason}
    row = _insert(tx, modes).values(scope=scope, **values)
    tx.execute(row.on_conflict_do_update(index_elements=["scope"], set_=values))


def all_modes(tx: Connection) -> Sequence[Row[Any]]:
    return tx.execute(select(modes).order_by(modes.c.scope)).all()


def is_free(tx: Connection, name: str, *, now: datetime) -> bool:
    """Whether nobody holds the lease, this caller included."""
    held = select(leases.c.name).where(leases.c.name == name, leases.c.lease_until >= now)
    return tx.execute(held).first() is None


def take_free(tx: Connection, name: str, *, owner: str, now: datetime, lease_seconds: int) -> bool:
    """Takes a lease that serves as a pause: its holder cannot renew it before it ends either."""
    lease_until = now + timedelta(seconds=lease_seconds)
    claim = _insert(tx, leases).values(name=name, owner=owner, lease_until=lease_until)
    claim = claim.on_conflict_do_update(
        index_elements=["name"], set_={"owner": owner, "lease_until": lease_until}, where=leases.c.lease_until < now
    )
    return tx.execute(claim.returning(leases.c.owner)).one_or_none() is not None
