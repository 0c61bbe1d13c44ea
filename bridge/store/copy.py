"""Copying a whole database to another engine, verified row for row.

Owns the copy; must only ever write into an empty, migrated database.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Insert, Row, Table, Text, bindparam, func, insert, select, text, type_coerce

from bridge.core.errors import Conflict
from bridge.store.db import Store
from bridge.store.tables import Json, metadata

BATCH = 1_000


@dataclass(frozen=True, kw_only=True)
class CopiedTable:
    """One table after the copy: both sides have `rows` rows with this hash over all of them in key order."""

    name: str
    rows: int
    sha256: str


def copy_all(source: Store, target: Store, *, progress: Callable[[str, int], None]) -> list[CopiedTable]:
    """Copies every table in one transaction per side and compares both sides.

    The source's write lock is held, so that nothing is written behind the copy's back. Raises Conflict("not_empty") and
    Conflict("copy_differs"); then the target holds nothing new.
    """
    copied = []
    with source.write() as reading, target.write() as writing:
        for table in metadata.sorted_tables:
            if writing.execute(select(func.count()).select_from(table)).scalar_one():
                raise Conflict("not_empty", f"The target already has rows in {table.name}.")
        for table in metadata.sorted_tables:
            for batch in _batches(reading, table):
                writing.execute(_as_stored(table), [dict(row._mapping) for row in batch])
                progress(table.name, len(batch))
            _raise_serials(writing, table)
        for table in metadata.sorted_tables:
            before, after = _digest(reading, table), _digest(writing, table)
            if before != after:
                raise Conflict("copy_differs", f"The copy of {table.name} differs from its source.")
            copied.append(CopiedTable(name=table.name, rows=before[0], sha256=before[1]))
    return copied


def count_rows(store: Store) -> int:
    """All rows of all tables, for a progress bar."""
    with store.read() as tx:
        return sum(tx.execute(select(func.count()).select_from(t)).scalar_one() for t in metadata.sorted_tables)


def _batches(tx: Connection, table: Table) -> Iterator[list[Row[Any]]]:
    # JSON as its text: what is read and written anew might be spelled otherwise.
    columns = [type_coerce(c, Text).label(c.name) if isinstance(c.type, Json) else c for c in table.columns]
    result = tx.execution_options(yield_per=BATCH).execute(select(*columns).order_by(*table.primary_key.columns))
    for partition in result.partitions():
        yield list(partition)


def _as_stored(table: Table) -> Insert:
    return insert(table).values({c: bindparam(c.name, type_=Text) for c in table.columns if isinstance(c.type, Json)})


def _digest(tx: Connection, table: Table) -> tuple[int, str]:
    """Row count and an order-free sum of row hashes: the engines may sort text differently."""
    count, total = 0, 0
    for batch in _batches(tx, table):
        for row in batch:
            count += 1
            line = "\x1f".join(_text(value) for value in row)
            total += int.from_bytes(hashlib.sha256(line.encode()).digest())
    return count, f"{total % (1 << 256):064x}"


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return f"{type(value).__name__}:{value}"


def _raise_serials(tx: Connection, table: Table) -> None:
    """PostgreSQL counts serial keys by itself: it must go on above what was copied."""
    key = table.primary_key.columns[0] if len(table.primary_key.columns) == 1 else None
    if tx.dialect.name != "postgresql" or key is None or key.type.python_type is not int:
        return
    newest = tx.execute(select(func.max(key))).scalar()
    if newest is not None:
        sequence = tx.execute(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": key.name}).scalar()
        tx.execute(text("SELECT setval(:s, :n)"), {"s": sequence, "n": newest})
