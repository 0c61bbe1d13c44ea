"""The sums of the ledger: kept by account and by hour, and read so that what was posted a moment ago is in them too.

Owns the kept sums and the queue of journals that are in none yet; which journals there are is `store.ledger`'s. Nobody who posts
writes a sum: a row that every payment changes would let them through one at a time. A trigger queues each journal in its own
transaction, one worker adds what is queued, and whoever reads a sum adds the rest of the queue in the same statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    case,
    delete,
    func,
    literal_column,
    select,
    type_coerce,
    union_all,
)

from bridge.store.db import insert_into
from bridge.store.rows import Rows
from bridge.store.tables import (
    UtcTime,
    account_balances,
    entries,
    journals,
    microseconds,
    turnovers,
    unsummed_journals,
)

HOUR = 3_600_000_000
_BOOKED = entries.join(journals, journals.c.id == entries.c.journal_id)
_QUEUED = unsummed_journals.join(journals, journals.c.id == unsummed_journals.c.journal_id).join(
    entries, entries.c.journal_id == journals.c.id
)
# Times are compared as the microseconds that they are stored as: an hour's end may be behind the calendar's.
_posted_at, _hour_at = type_coerce(journals.c.at, BigInteger), type_coerce(turnovers.c.hour_at, BigInteger)
_BEGUN = type_coerce(_posted_at - _posted_at % literal_column(str(HOUR), BigInteger), UtcTime).label("hour_at")
_DEBIT = func.sum(case((entries.c.units > 0, entries.c.units), else_=0)).label("debit")
_CREDIT = func.sum(case((entries.c.units < 0, -entries.c.units), else_=0)).label("credit")
# What a sum can be taken by. A balance is not kept by kind.
_BY: dict[Any, dict[str, Any]] = {
    turnovers: {name: turnovers.c[name] for name in ("merchant", "kind", "account", "asset")},
    account_balances: {name: account_balances.c[name] for name in ("merchant", "account", "asset")},
    _BOOKED: {
        "merchant": journals.c.merchant,
        "kind": journals.c.kind,
        "account": entries.c.account,
        "asset": entries.c.asset,
    },
}
_BY[_QUEUED] = _BY[_BOOKED]
_HOURLY = ("hour_at", "merchant", "kind", "account", "asset")
_HELD = ("merchant", "account", "asset")


def any_unsummed(tx: Connection) -> bool:
    return Rows(table=unsummed_journals).any(tx)


def add_up(tx: Connection, *, limit: int) -> int:
    """Adds queued journals to the kept sums, oldest first, and returns how many.

    Each leaves the queue once, whoever takes it, and rows are changed in the order of their keys: two at a time lose and block nothing.
    """
    queue = unsummed_journals.c.journal_id
    oldest = select(queue).order_by(queue).limit(limit)
    taken = tx.execute(delete(unsummed_journals).where(queue.in_(oldest)).returning(queue)).scalars().all()
    if not taken:
        return 0
    by = list(_BY[_BOOKED].values())
    query = select(_BEGUN, *by, _DEBIT, _CREDIT).select_from(_BOOKED).where(journals.c.id.in_(taken))
    moved = [dict(row._mapping) for row in tx.execute(query.group_by(_BEGUN, *by))]
    moved = [each | {"debit": int(each["debit"]), "credit": int(each["credit"])} for each in moved]
    _add(tx, turnovers, _sorted(moved, _HOURLY), amounts=("debit", "credit"))
    held = [
        dict(zip(_HELD, key, strict=True)) | {"units": sum(each["debit"] - each["credit"] for each in its)}
        for key, its in groupby(_sorted(moved, _HELD), key=lambda each: _key(each, _HELD))
    ]
    _add(tx, account_balances, held, amounts=("units",))
    return len(taken)


def _key(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _sorted(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda each: _key(each, names))


def _add(tx: Connection, table: Any, rows: Sequence[Mapping[str, Any]], *, amounts: Sequence[str]) -> None:
    if not rows:
        return
    put = insert_into(tx, table)
    more = {name: table.c[name] + put.excluded[name] for name in amounts}
    tx.execute(put.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=more), list(rows))


def held(tx: Connection, *by: str, **match: Any) -> dict[Any, int]:
    """Signed units by account, asset or merchant, or by several as a tuple, over all journals there are."""
    parts = [
        _part(account_balances, account_balances.c.units, by, match),
        _part(_QUEUED, entries.c.units, by, match),
    ]
    return _totals(tx, parts, by)


def held_at(tx: Connection, *by: str, at: datetime, **match: Any) -> dict[Any, int]:
    """The same of everything booked before `at`, but for zeros: what is held now without what moved since, so that a young moment
    is read soonest.
    """
    moment = microseconds(at)
    hour = -(-moment // HOUR) * HOUR
    parts = [
        _part(account_balances, account_balances.c.units, by, match),
        _part(turnovers, turnovers.c.credit - turnovers.c.debit, by, match, _hour_at >= hour),
        _part(_QUEUED, entries.c.units, by, match, _posted_at < hour),
        _part(_BOOKED, -entries.c.units, by, match, _posted_at >= moment, _posted_at < hour),
    ]
    return {key: units for key, units in _totals(tx, parts, by).items() if units}


def moved(tx: Connection, *by: str, from_at: datetime, to_at: datetime, **match: Any) -> dict[Any, int]:
    """Signed units by kind of journal too, of a period [from_at, to_at)."""
    units = (turnovers.c.debit - turnovers.c.credit, entries.c.units)
    return _totals(tx, _moving(units, by, match, from_at, to_at), by)


def debits(tx: Connection, *by: str, from_at: datetime, to_at: datetime, **match: Any) -> dict[Any, int]:
    """What came onto accounts in a period, without what left them again."""
    units = (turnovers.c.debit, case((entries.c.units > 0, entries.c.units), else_=0))
    return _totals(tx, _moving(units, by, match, from_at, to_at), by)


def first_and_last(tx: Connection) -> tuple[int, int] | None:
    """The microseconds between which everything was booked or kept; None without anything."""
    ends = [tx.execute(select(func.min(at), func.max(at))).one() for at in (_posted_at, _hour_at)]
    known = [each for pair in ends for each in pair if each is not None]
    return (min(known), max(known)) if known else None


def differing(tx: Connection, *, since: int, until: int) -> list[tuple[tuple[Any, ...], int, int]]:
    """What is kept of the whole hours between these microseconds and what the journals say, by the sums' keys, where they differ."""
    by, within = ("merchant", "kind", "account", "asset"), (_posted_at >= since, _posted_at < until)
    kept = [
        _part(turnovers, turnovers.c.debit - turnovers.c.credit, by, {}, _hour_at >= since, _hour_at < until),
        _part(_QUEUED, entries.c.units, by, {}, *within),
    ]
    booked = _part(_BOOKED, entries.c.units, by, {}, *within)
    return _apart(tx, kept, [booked], by)


def differing_balances(tx: Connection) -> list[tuple[tuple[Any, ...], int, int]]:
    """The same of what is held on each account and of all that moved on it in the hours, which are both kept."""
    by = ("merchant", "account", "asset")
    held_now = _part(account_balances, account_balances.c.units, by, {})
    return _apart(tx, [held_now], [_part(turnovers, turnovers.c.debit - turnovers.c.credit, by, {})], by)


def _apart(
    tx: Connection, kept: Sequence[Select[Any]], other: Sequence[Select[Any]], by: Sequence[str]
) -> list[tuple[tuple[Any, ...], int, int]]:
    sides = [(part, 1, 0) for part in kept] + [(part, 0, 1) for part in other]
    rows = union_all(
        *(
            select(
                *(part.c[name] for name in by),
                (part.c.units * left).label("kept"),
                (part.c.units * right).label("other"),
            )
            for part, left, right in ((each.subquery(), left, right) for each, left, right in sides)
        )
    ).subquery()
    first, second = func.sum(rows.c.kept), func.sum(rows.c.other)
    keys = [rows.c[name] for name in by]
    query = select(*keys, first, second).group_by(*keys).having(first != second).order_by(*keys)
    return [(tuple(key), int(mine), int(theirs)) for *key, mine, theirs in tx.execute(query)]


def _moving(
    units: tuple[Any, Any], by: Sequence[str], match: Mapping[str, Any], from_at: datetime, to_at: datetime
) -> list[Select[Any]]:
    """Whole hours are kept; what the period has of others is read from the journals."""
    kept, booked = units
    begin, end = microseconds(from_at), microseconds(to_at)
    first, last = -(-begin // HOUR) * HOUR, end // HOUR * HOUR
    if first >= last:
        return [_part(_BOOKED, booked, by, match, _posted_at >= begin, _posted_at < end)]
    return [
        _part(turnovers, kept, by, match, _hour_at >= first, _hour_at < last),
        _part(_QUEUED, booked, by, match, _posted_at >= first, _posted_at < last),
        *([_part(_BOOKED, booked, by, match, _posted_at >= begin, _posted_at < first)] if begin < first else []),
        *([_part(_BOOKED, booked, by, match, _posted_at >= last, _posted_at < end)] if last < end else []),
    ]


def _part(source: Any, units: Any, by: Sequence[str], match: Mapping[str, Any], *where: Any) -> Select[Any]:
    columns = _BY[source]
    is_it = [
        columns[name].in_(value) if isinstance(value, tuple) else columns[name] == value
        for name, value in match.items()
        if value is not None
    ]
    chosen = [columns[name].label(name) for name in by]
    summed = select(*chosen, func.sum(units).label("units")).select_from(source).where(*where, *is_it)
    return summed.group_by(*(columns[name] for name in by))


def _totals(tx: Connection, parts: Sequence[Select[Any]], by: Sequence[str]) -> dict[Any, int]:
    """One statement, so that all of it is of one moment: a journal that leaves the queue meanwhile is counted once."""
    rows = union_all(*parts).subquery()
    query = select(*(rows.c[name] for name in by), func.sum(rows.c.units)).group_by(*(rows.c[name] for name in by))
    return {tuple(key) if len(by) > 1 else key[0]: int(units) for *key, units in tx.execute(query)}
