"""Rows of a table: one found, many listed by the page, counted, added, changed, removed. Said once for every table.

Owns the keyset pager and the guard of a change; must not know what a row means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Insert,
    Row,
    Select,
    Table,
    UnaryExpression,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.operators import desc_op

from bridge.store import archive
from bridge.store.together import ask

Cursor = Sequence[Any]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The rows of one table. People page through them in `order`; `told` is how the story of what they stand `under` is told."""

    table: Table
    order: tuple[Any, ...] = ()
    told: tuple[Any, ...] = ()
    under: str = "invoice_id"

    def find(self, tx: Connection, key: Any = None, /, *, lock: bool = False, **match: Any) -> Row[Any] | None:
        """The one row with this key, or with these unique columns; `lock` keeps other writers of it waiting until `tx` ends."""
        match = match or {self._key.name: key}
        found = ask(tx, _find(self.table, tuple(match), lock=lock), match).one_or_none()
        return found if found is None else self._whole(tx, [found])[0]

    def listing(
        self,
        tx: Connection,
        *where: Any,
        match: Mapping[str, Any] | None = None,
        limit: int | None = None,
        cursor: Cursor | None = None,
        query: Select[Any] | None = None,
    ) -> Sequence[Row[Any]]:
        """Rows with these columns, in `order`, behind the cursor; `query` selects them with something of another table."""
        query = (select(self.table) if query is None else query).where(*self._is(match or {}), *where)
        return self._whole(tx, page(tx, query, order=self.order, cursor=cursor, limit=limit))

    def of(self, tx: Connection, parent: Any, /) -> Sequence[Row[Any]]:
        """All rows under one invoice, or whatever they stand under, from the first."""
        rows = ask(tx, _find(self.table, (self.under,), order=self.told), {self.under: parent}).all()
        return self._whole(tx, rows)

    def of_each(self, tx: Connection, parents: Sequence[Any], /) -> dict[Any, list[Row[Any]]]:
        """The same of several, by their keys: one question for all."""
        found: dict[Any, list[Row[Any]]] = {parent: [] for parent in parents}
        query = select(self.table).where(among(self.table.c[self.under], parents)).order_by(*self.told)
        for row in self._whole(tx, tx.execute(query).all()):
            found[getattr(row, self.under)].append(row)
        return found

    def add(self, tx: Connection, values: Mapping[str, Any]) -> Row[Any]:
        return ask(tx, _add(self.table, is_told=True), values).one()

    def put(self, tx: Connection, values: Mapping[str, Any]) -> None:
        """The same for who does not want to know what was stored."""
        ask(tx, _add(self.table), values)

    def change(self, tx: Connection, values: Mapping[str, Any], *where: Any, **match: Any) -> Row[Any] | None:
        """Writes `values` into the row that still is as `match` says: the row as it is then, None where it no longer was."""
        if where or None in match.values() or any(isinstance(value, ClauseElement) for value in values.values()):
            changed = update(self.table).where(*self._is(match), *where).values(**values)
            return tx.execute(changed.returning(self.table)).one_or_none()
        its = {f"its_{name}": value for name, value in match.items()}
        return ask(tx, _change(self.table, tuple(match)), dict(values) | its).one_or_none()

    def any(self, tx: Connection, *where: Any, **match: Any) -> bool:
        query = select(1).select_from(self.table).where(*self._is(match), *where)
        return tx.execute(query.limit(1)).first() is not None

    def count(self, tx: Connection, *where: Any, **match: Any) -> int:
        return self._number(tx, func.count(), where, match)

    def sum(self, tx: Connection, what: Any, *where: Any, **match: Any) -> int:
        """The sum of a column or of what is made of columns, 0 without rows."""
        return self._number(tx, func.coalesce(func.sum(what), 0), where, match)

    def _number(self, tx: Connection, what: Any, where: Sequence[Any], match: Mapping[str, Any]) -> int:
        query = select(what).select_from(self.table).where(*self._is(match), *where)
        return int(tx.execute(query).scalar_one())

    def remove(self, tx: Connection, *where: Any, **match: Any) -> None:
        tx.execute(delete(self.table).where(*self._is(match), *where))

    def _whole(self, tx: Connection, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        """With what an archive has of them."""
        return archive.filled(tx, self.table, rows) if self.table in archive.EMPTIED else rows

    @property
    def _key(self) -> Any:
        [key] = self.table.primary_key.columns
        return key

    def _is(self, match: Mapping[str, Any]) -> list[Any]:
        return [self.table.c[name] == value for name, value in match.items()]


class Run(tuple[Any, ...]):
    """Keys in the order of their table, all that there are from the first to the last."""


def among(column: Any, keys: Sequence[Any]) -> ColumnElement[bool]:
    """That a column has one of these keys. Of a run that is a range of an index, and a statement that never changes."""
    between: ColumnElement[bool] = column.between(keys[0], keys[-1]) if isinstance(keys, Run) else column.in_(keys)
    return between


def page(
    tx: Connection, query: Select[Any], *, order: Sequence[Any], cursor: Cursor | None, limit: int | None
) -> Sequence[Row[Any]]:
    """Up to `limit` rows in this order, behind the row whose columns of it the cursor has."""
    query = query if cursor is None else query.where(_behind(order, cursor))
    return tx.execute(query.order_by(*order).limit(limit)).all()


def made(kind: Callable[..., Made], row: Any, **other: Any) -> Made:
    """The value whose fields are columns of the row, but for what `other` says."""
    return kind(**{name: getattr(row, name) for name in _names(kind) if name not in other}, **other)


def moment(tx: Connection, query: Select[Any]) -> datetime | None:
    """The one time that a query finds."""
    at: datetime | None = tx.execute(query).scalar()
    return at


def between(column: Any, since: Any | None, until: Any | None) -> list[Any]:
    """Both ends belong to it; one that is not given is open."""
    return [*([column >= since] if since else []), *([column <= until] if until else [])]


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@cache
def _add(table: Table, *, is_told: bool = False) -> Insert:
    return insert(table).returning(table) if is_told else insert(table).inline()


@cache
def _change(table: Table, names: tuple[str, ...]) -> Any:
    its = (table.c[name] == bindparam(f"its_{name}") for name in names)
    return update(table).where(*its).returning(table)


@cache
def _find(table: Table, names: tuple[str, ...], *, order: tuple[Any, ...] = (), lock: bool = False) -> Select[Any]:
    """Statements are built once: building one costs several times its execution."""
    query = select(table).where(*(table.c[name] == bindparam(name) for name in names)).order_by(*order)
    return query.with_for_update() if lock else query


def _behind(order: Sequence[Any], cursor: Cursor) -> ColumnElement[bool]:
    """Further on in the order: a row comparison, which is a range of an index but which mixed directions do not have.

    Those are equal in the first columns and further on in the next.
    """
    falls = [isinstance(each, UnaryExpression) and each.modifier is desc_op for each in order]
    columns = [each.element if is_falling else each for each, is_falling in zip(order, falls, strict=True)]
    if len(set(falls)) == 1:
        return tuple_(*columns) < tuple(cursor) if falls[0] else tuple_(*columns) > tuple(cursor)
    steps, same = [], list[ColumnElement[bool]]()
    for column, value, is_falling in zip(columns, cursor, falls, strict=True):
        steps.append(and_(*same, column < value if is_falling else column > value))
        same.append(column == value)
    return or_(*steps)
