"""Leases for jobs that must run once at a time, call budgets, and the switches that operators turn.

Owns these three small tables; must not know which jobs exist.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Text, bindparam, case, delete, func, or_, select, update

from bridge.core.clock import latest_end
from bridge.store.ahead import is_over
from bridge.store.db import insert_into, put_row
from bridge.store.rows import Rows
from bridge.store.tables import UtcTime, budget_calls, budgets, chain_tips, leases, modes
from bridge.store.together import Together, ask, first_row

_MODES = Rows(table=modes, order=(modes.c.scope,))
all_modes = _MODES.listing
# The highest block that any source has shown: height, block_time (None before release 0.3.0), seen_at.
best_tip = Rows(table=chain_tips).find


def take(tx: Connection, name: str, *, owner: str, now: datetime, lease_seconds: int) -> bool:
    """Takes or renews the lease `name`; False while another owner holds it."""
    return _claim(tx, name, owner=owner, now=now, lease_seconds=lease_seconds, is_renewed=True)


def give_back(tx: Connection, *, owner: str) -> None:
    """Ends every lease of a worker that stops in good order, so that others need not wait for the time-out."""
    tx.execute(delete(leases).where(leases.c.owner == owner))


def spend(tx: Connection, name: str, *, now: datetime, limit: int, window_seconds: int = 60, calls: int = 1) -> int:
    """Takes up to `calls` calls from a budget shared by all nodes and returns how many were granted.

    No stretch of `window_seconds` ever holds more than `limit`: every grant is kept until it is that old. They are kept by the
    second, rounded up, so that a busy minute is sixty rows and none is forgotten early.
    """
    # Touched first: on PostgreSQL two nodes may not count the same window at once.
    ask(tx, _touch(tx.dialect.name), {"name": name, "window_start": now, "spent": 0})
    window, together = timedelta(seconds=window_seconds), Together()
    counted = {"its_name": name, "oldest": now - window, "newest": now + window, "limit": limit, "calls": calls}
    granted = together.execute(_GRANTED, counted)
    together.execute(_grant, counted | {"second": now + timedelta(microseconds=-now.microsecond % 1_000_000)})
    together.execute(_FORGET, {name: counted[name] for name in ("its_name", "oldest", "newest")})
    together.run(tx)
    return max(int(granted.value), 0)


def refund(tx: Connection, name: str, *, calls: int) -> None:
    """Returns calls of the newest grant that were not made."""
    if calls > 0:
        ask(tx, _REFUND, {"its_name": name, "calls": calls})


# Statements are built once: building one costs several times its execution.
_IS_OLD = budget_calls.c.at <= bindparam("oldest")
# A grant from the future is a clock that was set back: it must not bar the way for longer than a window.
_IS_AHEAD = budget_calls.c.at > bindparam("newest")
_ITS = budget_calls.c.name == bindparam("its_name", type_=Text)
_FORGET = delete(budget_calls).where(_ITS, or_(_IS_OLD, _IS_AHEAD))
_SPENT = select(func.coalesce(func.sum(budget_calls.c.spent), 0)).where(_ITS, ~_IS_OLD, ~_IS_AHEAD)
_MODES_WITH = select(modes.c.scope, modes.c.mode).where(
    or_(modes.c.scope == "bridge", modes.c.scope == bindparam("other"))
)
_MODE = select(modes.c.mode).where(modes.c.scope == bindparam("its_scope"))
_HELD = select(leases.c.name).where(leases.c.name == bindparam("its_name"), ~is_over(leases.c.lease_until))
_ROOM = bindparam("limit", type_=BigInteger) - _SPENT.scalar_subquery()
_CALLS = bindparam("calls", type_=BigInteger)
_TAKEN = case((_ROOM < _CALLS, _ROOM), else_=_CALLS)
_GRANTED = select(_TAKEN)
_NEWEST = select(func.max(budget_calls.c.at)).where(_ITS).scalar_subquery()
_REFUND = update(budget_calls).where(_ITS, budget_calls.c.at == _NEWEST).values(spent=budget_calls.c.spent - _CALLS)


@cache
def _take(dialect: str, *, is_renewed: bool) -> Any:
    claim = insert_into(dialect, leases)
    is_free = is_over(leases.c.lease_until)
    return claim.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": claim.excluded.owner, "lease_until": claim.excluded.lease_until},
        where=or_(leases.c.owner == claim.excluded.owner, is_free) if is_renewed else is_free,
    ).returning(leases.c.owner)


@cache
def _touch(dialect: str) -> Any:
    head = insert_into(dialect, budgets)
    return head.on_conflict_do_update(index_elements=["name"], set_={"window_start": head.excluded.window_start})


@cache
def _grant(dialect: str) -> Any:
    at = bindparam("second", type_=UtcTime)
    row = select(bindparam("its_name", type_=Text), at, _TAKEN).where(_TAKEN > 0)
    kept = insert_into(dialect, budget_calls).from_select(["name", "at", "spent"], row)
    more = {"spent": budget_calls.c.spent + kept.excluded.spent}
    return kept.on_conflict_do_update(index_elements=["name", "at"], set_=more)


def set_tip(tx: Connection, network: str, *, height: int, block_time: datetime, now: datetime) -> None:
    put_row(tx, chain_tips, {"network": network}, {"height": height, "block_time": block_time, "seen_at": now})


def calls_in_window(tx: Connection, name: str, *, since: datetime) -> int:
    """Calls that a budget granted after `since`, over all nodes."""
    return Rows(table=budget_calls).sum(tx, budget_calls.c.spent, budget_calls.c.at > since, name=name)


def mode_of(tx: Connection, scope: str = "bridge") -> str:
    """The mode set for a scope, "normal" when none is."""
    row = first_row(tx, _MODE, {"its_scope": scope})
    return str(row[0]) if row is not None else "normal"


def modes_with(tx: Connection, scope: str) -> Mapping[str, str]:
    """The modes set for the bridge and for another scope; what is "normal" may be missing."""
    return {row.scope: row.mode for row in ask(tx, _MODES_WITH, {"other": scope})}


def set_mode(tx: Connection, scope: str, *, mode: str, now: datetime, actor: str, reason: str) -> None:
    put_row(tx, modes, {"scope": scope}, {"mode": mode, "since": now, "actor": actor, "reason": reason})


def is_free(tx: Connection, name: str, *, now: datetime, lease_seconds: int) -> bool:
    """Whether nobody holds the lease, which lasts so long, this caller included."""
    asked = {"its_name": name, "now": now, "latest": latest_end(now, lasts_seconds=lease_seconds)}
    return ask(tx, _HELD, asked).first() is None


def take_free(tx: Connection, name: str, *, owner: str, now: datetime, lease_seconds: int) -> bool:
    """Takes a lease that serves as a pause: its holder cannot renew it before it ends either."""
    return _claim(tx, name, owner=owner, now=now, lease_seconds=lease_seconds, is_renewed=False)


def _claim(tx: Connection, name: str, *, owner: str, now: datetime, lease_seconds: int, is_renewed: bool) -> bool:
    values = {"name": name, "owner": owner, "lease_until": now + timedelta(seconds=lease_seconds)}
    values |= {"now": now, "latest": latest_end(now, lasts_seconds=lease_seconds)}
    return ask(tx, _take(tx.dialect.name, is_renewed=is_renewed), values).one_or_none() is not None
