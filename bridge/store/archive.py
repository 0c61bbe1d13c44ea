"""Archives: what the rows of an old invoice say, moved into one compressed row, and read from there as if it had never left.

Owns the form of an archive, what goes into it and comes back, and which invoices are so old and so quiet that they may be packed.
A row that lost its text keeps its place, its keys and its times, so that everything is found, counted and ordered as before. What
leaves is read back and compared before it goes; who changes a packed invoice thaws it first, in the same transaction.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, insert, select, text, type_coerce, update
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.types import TypeDecorator

from bridge.core.errors import Unavailable
from bridge.store.tables import (
    UNPACKED,
    archives,
    audit,
    audit_chain,
    claims,
    deliveries,
    delivery_attempts,
    events,
    idempotency,
    inbox,
    invoices,
    journals,
    payments,
    payouts,
    quotes,
    receipt_mails,
    reviews,
    unnumbered_events,
    unsummed_journals,
)

# What leaves each table's rows, and what is left there instead. A row whose first is empty was packed: no other row has it empty.
EMPTIED: Mapping[Table, dict[str, Any]] = {
    events: {"body": ""},
    audit: dict.fromkeys(("detail", "from_status", "to_status", "reason", "rule", "policy_version"), ""),
    quotes: {"samples": ""},
    payments: {"source": "", "block_hash": None, "spends": None},
    journals: {"memo": ""},
    invoices: {"rule_terms": ""},
}
# What stays as it is, but what a purge took out of it left a hole in the file's page.
_HOLED = (idempotency, inbox)
# What leaves as whole rows.
_TRIED = ("id", "delivery_id", "at", "outcome", "status", "latency_ms", "body_sha256", "answer_excerpt", "error")
_NEWEST_TRY = select(func.max(delivery_attempts.c.id)).scalar_subquery()
# Which text is known and what stands where. Whoever changes either makes another form, and goes on reading this one.
FORM = 1
# What most archives say, by their form, so that none has to say it: no byte of it may ever change.
_CODERS: Mapping[int, bytes] = {FORM: Path(__file__).with_name(f"archive_form_{FORM}.txt").read_bytes()}


def due(tx: Connection, *, before: datetime, now: datetime, limit: int) -> list[str]:
    """Ids of up to `limit` invoices that may be packed, the oldest first, which nobody else writes until `tx` ends.

    That nothing began meanwhile is asked again once they are held.
    """
    found = select(invoices.c.id).where(*_may_go(before, now)).order_by(invoices.c.created_at).limit(limit)
    held = tx.execute(found.with_for_update(skip_locked=True)).scalars().all()
    again = select(invoices.c.id).where(invoices.c.id.in_(held), *_may_go(before, now))
    return list(tx.execute(again.order_by(invoices.c.created_at)).scalars()) if held else []


def _may_go(before: datetime, now: datetime) -> list[Any]:
    """Old, over, looked at no more, and nothing waits: not for a person, a payout, a claim, a merchant, a letter or the chain."""
    its = invoices.c.id
    waiting = (
        select(reviews.c.id).where(reviews.c.invoice_id == its, reviews.c.state == "open"),
        select(claims.c.id).where(claims.c.invoice_id == its, claims.c.stage != "closed"),
        select(payouts.c.id).where(
            payouts.c.invoice_id == its, payouts.c.state.not_in(("confirmed", "rejected", "failed"))
        ),
        # Nor was it told again lately: the tries of the last days are counted.
        select(deliveries.c.id).where(
            deliveries.c.invoice_id == its, (deliveries.c.state != "delivered") | (deliveries.c.finished_at >= before)
        ),
        select(inbox.c.id).where(inbox.c.invoice_id == its, inbox.c.state == "new"),
        select(receipt_mails.c.invoice_id).where(receipt_mails.c.invoice_id == its, receipt_mails.c.state == "waiting"),
        select(unnumbered_events.c.event_id).where(
            unnumbered_events.c.event_id == events.c.id, events.c.invoice_id == its
        ),
        select(unsummed_journals.c.journal_id).where(
            unsummed_journals.c.journal_id == journals.c.id, journals.c.invoice_id == its
        ),
    )
    return [
        text(UNPACKED),
        invoices.c.created_at < before,
        invoices.c.updated_at < before,
        invoices.c.status.in_(("settled", "expired")),
        invoices.c.hold.is_(None),
        invoices.c.lease_until.is_(None) | (invoices.c.lease_until < now),
        *(~each.exists() for each in waiting),
    ]


def pack(tx: Connection, invoice_id: str, *, now: datetime) -> None:
    """Moves what `due` let go. Only what was read is emptied: a row that comes meanwhile stays as it is."""
    taken = {table.name: _rows(tx, table, invoice_id) for table in (*EMPTIED, delivery_attempts)}
    said = json.dumps(taken, ensure_ascii=False, separators=(",", ":")).encode()
    kept = {"invoice_id": invoice_id, "form": FORM, "sha256": hashlib.sha256(said).digest(), "is_open": True}
    row = tx.execute(insert(archives).returning(archives), kept | {"body": _compressed(said)}).one()
    if _opened(row) != taken:
        raise _damaged(invoice_id)
    for table in EMPTIED:
        _empty(tx, table, [each[0] for each in taken[table.name]])
    if tx.dialect.name == "sqlite":
        for table in _HOLED:
            _put(tx, table, _taken_out(tx, table, "invoice_id", [invoice_id]))
    tries = [each[0] for each in taken[delivery_attempts.name]]
    tx.execute(delete(delivery_attempts).where(delivery_attempts.c.id.in_(tries)))
    tx.execute(update(archives).where(archives.c.invoice_id == invoice_id).values(is_open=False))
    # No other version: nobody can see a difference, and what is added to a packed invoice is read beside what is packed.
    tx.execute(update(invoices).where(invoices.c.id == invoice_id).values(packed_at=now))


def thaw(tx: Connection, invoice_id: str) -> bool:
    """Puts everything back where it was, if the invoice is packed, but into no row that was written since."""
    tx.execute(
        select(invoices.c.id).where(invoices.c.id == invoice_id).with_for_update()
    )  # who packs it now is done then
    its = archives.c.invoice_id == invoice_id
    row = tx.execute(select(archives).where(its)).one_or_none()
    if row is None:
        return False
    taken = _opened(row)
    tx.execute(update(archives).where(its).values(is_open=True))
    for table, left in EMPTIED.items():
        told = ", ".join(f"{name} = :{name}" for name in left)
        rows = [dict(zip(_names(table), each, strict=True)) for each in taken[table.name]]
        if rows:
            tx.execute(text(f"UPDATE {table.name} SET {told} WHERE id = :id AND {next(iter(left))} = ''"), rows)
    names = _names(delivery_attempts)
    tries = [dict(zip(names, each, strict=True)) for each in taken[delivery_attempts.name]]
    _put(tx, delivery_attempts, tries)
    tx.execute(delete(archives).where(its))
    tx.execute(update(invoices).where(invoices.c.id == invoice_id).values(packed_at=None))
    return True


def thaw_row(tx: Connection, row: Any) -> None:
    """The same for a row of an invoice, without asking where it is not packed."""
    if row.packed_at is not None:
        thaw(tx, row.id)


def packed(tx: Connection, *, after: str, limit: int) -> list[str]:
    """Ids of up to `limit` invoices that are packed, in their order from behind that one."""
    its = archives.c.invoice_id
    return list(tx.execute(select(its).where(its > after).order_by(its).limit(limit)).scalars())


def filled(tx: Connection, table: Table, rows: Sequence[Any]) -> Sequence[Any]:
    """Rows of a table, with what was packed of them. They have its key, its invoice_id and what is EMPTIED of it, and may have more;
    what is not asked for is not filled.
    """
    first, owner = next(iter(EMPTIED[table])), "id" if table is invoices else "invoice_id"
    # Empty as it is stored, and as it is read of an object.
    emptied = {row.id: getattr(row, owner) for row in rows if getattr(row, first) in ("", {})}
    ids = {each for each in emptied.values() if each is not None}
    if not ids:
        return rows
    kinds = [(name, table.c[name].type) for name in _names(table)]
    said = {
        each[0]: {name: _read(kind, value) for (name, kind), value in zip(kinds, each, strict=True)}
        for taken in _of(tx, ids).values()
        for each in taken[table.name]
    }
    # Who thawed them since the rows were read has put it back there.
    if missing := [key for key, its in emptied.items() if its in ids and key not in said]:
        again = select(*(table.c[name] for name in _names(table))).where(table.c.id.in_(missing))
        said |= {row.id: dict(row._mapping) for row in tx.execute(again)}
    names = rows[0]._fields
    whole = [
        tuple(its.get(name, value) for name, value in zip(names, row, strict=True))
        if row.id in emptied and (its := said.get(row.id))
        else tuple(row)
        for row in rows
    ]
    return _made(names, whole) if isinstance(rows[0], Row) else [type(rows[0])(*values) for values in whole]


def attempts_of(tx: Connection, invoice_id: str) -> list[Row[Any]]:
    """The tries of its deliveries that were packed, in their order."""
    columns = [delivery_attempts.c[name] for name in _TRIED]
    told = [each for taken in _of(tx, [invoice_id]).values() for each in taken[delivery_attempts.name]]
    rows = [tuple(_read(column.type, value) for column, value in zip(columns, each, strict=True)) for each in told]
    return _made(_TRIED, rows)


def _of(tx: Connection, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    rows = tx.execute(select(archives).where(archives.c.invoice_id.in_(sorted(ids))).order_by(archives.c.invoice_id))
    return {row.invoice_id: _opened(row) for row in rows}


def _made(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Row[Any]]:
    """Rows as a query would give them."""
    found: Any = IteratorResult(SimpleResultMetaData(names), iter(rows))
    return list(found.all())


def _names(table: Table) -> tuple[str, ...]:
    """What an archive says of each row of a table, the key first."""
    return ("id", *EMPTIED[table]) if table in EMPTIED else _TRIED


def _rows(tx: Connection, table: Table, invoice_id: str) -> list[list[Any]]:
    """As they are stored, in the order of their keys."""
    columns = [_raw(table.c[name]) for name in _names(table)]
    query = select(*columns).order_by(table.c.id)
    if table is delivery_attempts:
        # The newest of all stays, so that its number and those below it are given to no other.
        query = query.join(deliveries, deliveries.c.id == table.c.delivery_id).where(table.c.id < _NEWEST_TRY)
        return [list(row) for row in tx.execute(query.where(deliveries.c.invoice_id == invoice_id))]
    if table is audit:
        # What is not in the chain yet is sealed as it stands.
        query = query.join(audit_chain, audit_chain.c.audit_id == audit.c.id)
    its = table.c.id if table is invoices else table.c.invoice_id
    return [list(row) for row in tx.execute(query.where(its == invoice_id, columns[1] != ""))]


def _raw(column: Any) -> Any:
    return type_coerce(column, column.type.impl_instance) if isinstance(column.type, TypeDecorator) else column


def _empty(tx: Connection, table: Table, keys: Sequence[Any]) -> None:
    """Leaves of these rows what is not EMPTIED of them."""
    if not keys:
        return
    if tx.dialect.name == "sqlite" and table is not journals:
        # A page of the file whose rows became short is not filled again, one whose rows are gone is. Who points at them is asked at the
        # end. The ledger's rows stay where they are: one that is added again would be summed again.
        tx.execute(text("PRAGMA defer_foreign_keys=ON"))
        _put(tx, table, [row | EMPTIED[table] for row in _taken_out(tx, table, "id", keys)])
        return
    left = ", ".join(f"{name} = :{name}" for name in EMPTIED[table])
    tx.execute(text(f"UPDATE {table.name} SET {left} WHERE id = :id"), [{"id": key} | EMPTIED[table] for key in keys])


def _taken_out(tx: Connection, table: Table, by: str, keys: Sequence[Any]) -> list[dict[str, Any]]:
    its = {f"key_{number}": key for number, key in enumerate(keys)}
    listed = ", ".join(f":{name}" for name in its)
    rows = tx.execute(text(f"DELETE FROM {table.name} WHERE {by} IN ({listed}) RETURNING *"), its)
    return sorted((dict(row) for row in rows.mappings()), key=lambda row: str(row.get("id")))


def _put(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows as they were stored."""
    if rows:
        names = tuple(rows[0])
        values = ", ".join(f":{name}" for name in names)
        tx.execute(text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values})"), list(rows))


def _compressed(said: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zdict=_CODERS[FORM])
    return coder.compress(said) + coder.flush()


def _opened(row: Any) -> Mapping[str, Any]:
    """What an archive says, by table. Raises Unavailable("archive_damaged")."""
    try:
        return _said(row.form, bytes(row.sha256), bytes(row.body))
    except (zlib.error, KeyError, ValueError) as error:
        raise _damaged(row.invoice_id) from error


@lru_cache(maxsize=1_000)
def _said(form: int, sha256: bytes, body: bytes) -> Mapping[str, Any]:
    """A walk over the books asks for each table of a page by itself."""
    said = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_CODERS[form]).decompress(body)
    if hashlib.sha256(said).digest() != sha256:
        raise ValueError("not what was packed")
    taken: Mapping[str, Any] = json.loads(said)
    return taken


def _damaged(invoice_id: str) -> Unavailable:
    return Unavailable(
        "archive_damaged", f"The archive of the invoice {invoice_id} is damaged; restore it from a backup."
    )


def _read(kind: Any, value: Any) -> Any:
    """A stored value as a query would give it; no kind of ours asks for the dialect."""
    dialect: Any = None
    return kind.process_result_value(value, dialect) if isinstance(kind, TypeDecorator) else value
