"""Statements that do not wait for each other's answers, sent at once.

Owns how they travel: one round trip on PostgreSQL, one after another on SQLite; must not know what they are for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Result
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from bridge.store.db import driver_of

# A statement, the names of its values, and which of them are the value of an earlier part, by that part's place.
_Shape = tuple[Any, tuple[str, ...], tuple[tuple[str, int], ...]]
# Its name among the values, what it is without one, and how the driver wants it, None as it is.
_Bind = tuple[str, Any, Callable[[Any], Any] | None]

NOTHING: Mapping[str, Any] = {}


@dataclass(kw_only=True)
class Part:
    """One statement, or a function from the dialect's name to it, and its values.

    After the run `value` is the first column of the first row that it returned, None without one.
    """

    statement: Any
    values: Mapping[str, Any]
    value: Any = None


class Together:
    """Collects statements as a Connection would take them, one row each, and sends them with `run`.

    No statement may need a row that another one writes: on PostgreSQL they are one statement and see the same snapshot. Only
    constraints are checked at its end. But a value may be an earlier Part: then it is what that one returns.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def execute(self, statement: Any, values: Mapping[str, Any]) -> Part:
        part = Part(statement=statement, values=values)
        self._parts.append(part)
        return part

    def run(self, tx: Connection) -> None:
        """Sends everything in the order it came. An error of the database is the whole transaction's, as always."""
        parts, self._parts = self._parts, []
        if not parts:
            return
        with driver_of(tx) as driver:
            (_run_at_once if tx.dialect.name == "postgresql" else _run_in_turn)(driver, parts)


def put(tx: "Connection | Together", statement: Any, values: Mapping[str, Any]) -> None:
    """Sends a statement at once, or with the others that are sent together."""
    if isinstance(tx, Together):
        tx.execute(statement, values)
    else:
        ask(tx, statement, values)


def ask(tx: Connection, statement: Any, values: Mapping[str, Any] = NOTHING) -> Result[Any]:
    """What `tx.execute` answers to a statement that was built once, for half of what that costs. For one row of values, and for no list."""
    if tx.engine._has_events:  # somebody listens to statements
        return tx.execute(statement(tx.dialect.name) if callable(statement) else statement, values)
    compiled, rows = _answer(tx, statement, values)
    return IteratorResult(compiled.told, compiled.read(rows))


def first_row(tx: Connection, statement: Any, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What one statement returns first, as the driver says it: for texts and whole numbers. None without a row."""
    return next(iter(_answer(tx, statement, values)[1]), None)


def _answer(tx: Connection, statement: Any, values: Mapping[str, Any]) -> "tuple[_Compiled, Sequence[Any]]":
    compiled = _compiled(tx.dialect.name, statement, tuple(values))
    given: Any = _given(compiled.binds, values)
    if tx.dialect.name == "postgresql":
        given = dict(zip(compiled.names, given, strict=True))
    with driver_of(tx) as driver:
        cursor = driver.execute(compiled.sql, given)
        rows = cursor.fetchall() if compiled.answers else ()
        cursor.close()
    return compiled, rows


def _run_at_once(driver: Any, parts: Sequence[Part]) -> None:
    sql, binds = _joined(_shapes(parts))
    given: dict[str, Any] = {}
    for part, (aliases, wanted) in zip(parts, binds, strict=True):
        given.update(zip(aliases, _given(wanted, part.values), strict=True))
    cursor = driver.execute(sql, given)
    for part, value in zip(parts, cursor.fetchone(), strict=True):
        part.value = value


def _run_in_turn(driver: Any, parts: Sequence[Part]) -> None:
    for part in parts:
        values = part.values
        if Part in map(type, values.values()):
            values = {name: value.value if type(value) is Part else value for name, value in values.items()}
        compiled = _compiled("sqlite", part.statement, tuple(values))
        cursor = driver.execute(compiled.sql, _given(compiled.binds, values))
        row = cursor.fetchone() if compiled.answers else None
        part.value = row[0] if row is not None else None
        cursor.close()


def _shapes(parts: Sequence[Part]) -> tuple[_Shape, ...]:
    places = {id(part): place for place, part in enumerate(parts)}
    return tuple(
        (
            part.statement,
            tuple(part.values),
            tuple((n, places[id(v)]) for n, v in part.values.items() if type(v) is Part),
        )
        for part in parts
    )


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    """A statement as the driver takes it, with the names of its binds and how each is read."""

    sql: str
    names: tuple[str, ...]
    binds: tuple[_Bind, ...]
    answers: bool
    told: SimpleResultMetaData
    readers: tuple[tuple[int, Callable[[Any], Any]], ...]

    def read(self, rows: Sequence[Any]) -> Iterator[Any]:
        """The rows as SQLAlchemy gives them, from what the driver says."""
        for row in rows:
            read = list(row)
            for place, reader in self.readers:
                read[place] = reader(read[place])
            yield read


@cache
def _dialect(name: str) -> Any:
    if name == "postgresql":
        from sqlalchemy.dialects.postgresql import psycopg

        return psycopg.dialect()  # type: ignore[no-untyped-call]
    from sqlalchemy.dialects import sqlite

    return sqlite.dialect(paramstyle="qmark")


@lru_cache(maxsize=512)
def _compiled(dialect_name: str, statement: Any, names: tuple[str, ...]) -> _Compiled:
    """Compiled once: building a statement costs several times its execution, and so does SQLAlchemy's way to a cached one."""
    dialect = _dialect(dialect_name)
    statement = statement(dialect_name) if callable(statement) else statement
    # Inline, because else an insert returns its key, asked or not.
    statement = statement.inline() if isinstance(statement, Insert) else statement
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order = compiled.positiontup if compiled.positional else list(compiled.binds)
    told = compiled._result_columns
    readers = (each.type.dialect_impl(dialect).result_processor(dialect, None) for each in told)
    return _Compiled(
        sql=compiled.string,
        names=tuple(order),
        binds=tuple(_bind(compiled.binds[name], dialect) for name in order),
        answers=bool(compiled.effective_returning) or statement.is_select,
        told=SimpleResultMetaData([each.keyname for each in told]),
        readers=tuple((place, reader) for place, reader in enumerate(readers) if reader is not None),
    )


def _bind(bind: Any, dialect: Any) -> _Bind:
    return bind.key, bind.effective_value, bind.type.dialect_impl(dialect).bind_processor(dialect)


def _given(binds: Sequence[_Bind], values: Mapping[str, Any]) -> list[Any]:
    """What the driver is given for the binds. In one go: an opening has more than a hundred of them."""
    return [
        values.get(name, fixed) if convert is None else convert(values.get(name, fixed))
        for name, fixed, convert in binds
    ]


@lru_cache(maxsize=128)
def _joined(shapes: tuple[_Shape, ...]) -> tuple[str, list[tuple[list[str], list[_Bind]]]]:
    """The statements as one with data-modifying CTEs, and the binds of each with the names that they have in it.

    Each has its column in the answer, wanted or not: PostgreSQL runs those that are read in the order of reading, and the others
    from the last to the first.
    """
    steps, binds = [], []
    for number, (statement, names, borrowed) in enumerate(shapes):
        compiled, values = _compiled("postgresql", statement, names), {}
        lenders, aliases, wanted = dict(borrowed), list[str](), list[_Bind]()
        for name, bind in zip(compiled.names, compiled.binds, strict=True):
            if name in lenders:
                values[name] = f"(SELECT x.* FROM s{lenders[name]} AS x LIMIT 1)"
            else:
                values[name] = f"%(s{number}_{name})s"
                aliases.append(f"s{number}_{name}")
                wanted.append(bind)
        binds.append((aliases, wanted))
        answer = "" if compiled.answers else " RETURNING NULL"
        steps.append(f"s{number} AS ({compiled.sql % values}{answer})")
    columns = ", ".join(f"(SELECT x.* FROM s{number} AS x LIMIT 1)" for number in range(len(shapes)))
    return f"WITH {', '.join(steps)} SELECT {columns}", binds
