"""What the database itself refuses, whoever writes to it and with whatever program."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Table, Text, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from bridge.store import tables
from bridge.store.db import Store

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def invoice(number: int, **changes: Any) -> dict[str, Any]:
    """A complete row; two with different numbers do not collide."""
    own = {
        "id": f"inv_{number}",
        "public_id": f"pub_{number}",
        "merchant": "shop",
        "billing_payment_id": f"{number}",
        "address": f"tb1q{number}",
        "callback_token_sha256": f"{number:064}",
    }
    return any_values(tables.invoices) | own | changes


def put(store: Store, table: Table, **values: Any) -> Any:
    with store.write() as tx:
        return tx.execute(insert(table).values(**values)).inserted_primary_key


ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "journals": lambda: {"invoice_id": "inv_1", "merchant": "shop", "kind": "receipt", "family": "receipts", "at": NOW},
    "entries": lambda: {"journal_id": 1, "account": "wallet:hot", "asset": "BTC", "units": 5},
    "audit": lambda: {"invoice_id": "inv_1", "at": NOW, "actor": "worker", "action": "observed"},
    "audit_chain": lambda: {"position": 1, "audit_id": 1, "sha256": "0" * 64},
    "quotes": lambda: quote(),
    "events": lambda: {**event(), "id": "evt_1"},
    "event_positions": lambda: {"position": 1, "event_id": "evt_1", "merchant": "shop"},
    "deliveries": lambda: delivery(),
    "delivery_attempts": lambda: {
        "delivery_id": "dlv_1",
        "at": NOW,
        "outcome": "retry",
        "latency_ms": 1,
        "body_sha256": "0" * 64,
        "answer_excerpt": "",
    },
}


def quote(**changes: Any) -> dict[str, Any]:
    fields = {
        "invoice_id": "inv_1",
        "version": 1,
        "kind": "offer",
        "currency": "USD",
        "base_minor": 1_000,
        "price_minor": 6_500_000,
        "risk_bps": 100,
        "fee_buffer_minor": 0,
        "due_sat": 15_539,
        "policy_version": "1",
        "samples": "[]",
    }
    return fields | dict.fromkeys(("effective_from", "expires_at", "created_at"), NOW) | changes


def event() -> dict[str, Any]:
    told = {"invoice_id": "inv_1", "merchant": "shop", "sequence": 1}
    return told | {"type": "invoice.created", "created_at": NOW, "body": "{}"}


def delivery() -> dict[str, Any]:
    told = {"invoice_id": "inv_1", "merchant": "shop", "sequence": 1}
    return told | {"id": "dlv_1", "event_id": "evt_1", "state": "pending", "created_at": NOW, "next_try_at": NOW}


def any_values(table: Table) -> dict[str, Any]:
    """What a row must have: the first allowed word where a check lists them, else something of the type."""
    checks = " ".join(str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint))
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.nullable or column.server_default is not None or column.autoincrement is True:
            continue
        value: Any = NOW if isinstance(column.type, tables.UtcTime) else "x" if isinstance(column.type, Text) else 1
        allowed = re.search(rf"{column.name} IN \('([^']*)'", checks)
        row[column.name] = allowed[1] if allowed else value
    return row


# Where a check ties columns together, what satisfies it.
TIED = {
    "payouts": {"gross_sat": 2, "net_sat": 1, "fee_sat": 1},
    "archives": {"body": b"x", "sha256": b"x"},
    "mark_approvals": {"actor": "y"},
    "policy_approvals": {"actor": "y"},
}


def put_any(store: Store, table: Table) -> dict[str, Any]:
    """Puts a row that the table accepts, after its parents."""
    row = any_values(table) | TIED.get(table.name, {})
    for column in table.columns:
        for parent in column.foreign_keys if column.name in row else ():
            row[column.name] = _first_key(store, parent.column)
    put(store, table, **row)
    return row


def _first_key(store: Store, column: Column[Any]) -> Any:
    with store.read() as tx:
        key = tx.execute(select(column)).scalars().first()
    return put_any(store, column.table)[column.name] if key is None else key


@pytest.fixture
def filled(store: Store) -> Store:
    """One invoice with one row of every kind of history."""
    put(store, tables.invoices, **invoice(1))
    for name, row in ROWS.items():
        put(store, tables.metadata.tables[name], **row())
    return store


@pytest.mark.parametrize(
    "same",
    [
        {"billing_payment_id": "1"},
        {"address": "tb1q1"},
        {"public_id": "pub_1"},
        {"callback_token_sha256": f"{1:064}"},
        {"id": "inv_1"},
    ],
)
def test_a_second_invoice_may_not_share_what_is_unique(filled: Store, same: dict[str, str]) -> None:
    with pytest.raises(IntegrityError):
        put(filled, tables.invoices, **invoice(2, **same))
    put(filled, tables.invoices, **invoice(2))


def test_another_merchant_may_use_the_same_billing_payment_but_not_the_same_address(filled: Store) -> None:
    put(filled, tables.invoices, **invoice(2, merchant="other", billing_payment_id="1"))
    with pytest.raises(IntegrityError):
        put(filled, tables.invoices, **invoice(3, merchant="other", address="tb1q1"))


def test_an_inbox_key_is_taken_once_per_source(filled: Store) -> None:
    row = {"event_key": "k", "received_at": NOW, "headers": "{}", "body": b"x", "state": "new"}
    put(filled, tables.inbox, source="subtc", **row)
    put(filled, tables.inbox, source="elsewhere", **row)
    with pytest.raises(IntegrityError):
        put(filled, tables.inbox, source="subtc", **row)


@pytest.mark.parametrize(
    ("table", "again"),
    [
        ("quotes", lambda: quote()),
        ("events", lambda: {**event(), "id": "evt_2"}),
        ("event_positions", lambda: {"position": 2, "event_id": "evt_1", "merchant": "shop"}),
        ("audit_chain", lambda: {"position": 2, "audit_id": 1, "sha256": "1" * 64}),
    ],
)
def test_a_version_a_sequence_and_a_place_are_taken_once(filled: Store, table: str, again: Any) -> None:
    with pytest.raises(IntegrityError):
        put(filled, tables.metadata.tables[table], **again())


def test_an_output_is_one_payment_of_its_invoice(filled: Store) -> None:
    row = {
        "invoice_id": "inv_1",
        "key": "txid:0",
        "amount_sat": 1,
        "source": "x",
        "first_seen_at": NOW,
        "asked_at": NOW,
    }
    row |= {"replaceable": False, "replaced": False}
    put(filled, tables.payments, **row)
    with pytest.raises(IntegrityError):
        put(filled, tables.payments, **row)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("invoices", lambda: invoice(2, status="paid")),
        ("invoices", lambda: invoice(2, amount_minor=0)),
        ("invoices", lambda: invoice(2, amount_minor=-1)),
        ("quotes", lambda: quote(version=2, due_sat=0)),
        ("quotes", lambda: quote(version=2, price_minor=0)),
        ("quotes", lambda: quote(version=2, invoice_id="inv_of_nobody")),
        ("entries", lambda: ROWS["entries"]() | {"journal_id": 99}),
        ("deliveries", lambda: delivery() | {"id": "dlv_2", "state": "lost"}),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(filled: Store, table: str, row: Any) -> None:
    with pytest.raises(IntegrityError):
        put(filled, tables.metadata.tables[table], **row())


def test_nobody_approves_their_own_mark_whatever_program_writes_it(filled: Store) -> None:
    """Nor as somebody else's: who proposed stands in the mark, and the approval must name the same."""
    mark = put_any(filled, tables.marks)
    given = {"mark_id": mark["id"], "proposed_by": mark["proposed_by"], "actor": "ann", "reason": "x", "at": NOW}
    for changes in ({"actor": mark["proposed_by"]}, {"proposed_by": "eve", "actor": mark["proposed_by"]}):
        with pytest.raises(IntegrityError):
            put(filled, tables.mark_approvals, **given | changes)
    put(filled, tables.mark_approvals, **given)
    with pytest.raises(IntegrityError):
        put(filled, tables.mark_approvals, **given)
    with pytest.raises(IntegrityError), filled.write() as tx:
        tx.execute(update(tables.marks).values(proposed_by="bob"))


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_history_can_neither_be_changed_nor_removed(filled: Store, table: str) -> None:
    rows = tables.metadata.tables[table]
    if table not in ROWS:
        put_any(filled, rows)
    before = _all(filled, rows)
    assert before
    column = next(c for c in rows.columns if not c.foreign_keys)
    for statement in (update(rows).values({column: before[0]._mapping[column]}), delete(rows)):
        with pytest.raises(DBAPIError, match="append-only"), filled.write() as tx:
            tx.execute(statement)
    assert _all(filled, rows) == before


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_history_cannot_be_truncated(filled: Store, table: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), filled.write() as tx:
        tx.execute(text(f"TRUNCATE {table} CASCADE"))


def test_money_decisions_and_what_was_told_are_all_history() -> None:
    assert {"journals", "entries", "audit", "audit_chain", "quotes", "events"} <= set(tables.APPEND_ONLY)


def _all(store: Store, table: Table) -> list[Any]:
    with store.read() as tx:
        return list(tx.execute(select(table)))


@pytest.mark.parametrize("sat", [2**31, 2_100_000_000_000_000, 9 * 10**18])
def test_satoshi_beyond_thirty_two_bits_are_kept_exactly(filled: Store, sat: int) -> None:
    put(filled, tables.invoices, **invoice(2, remaining_sat=sat, amount_minor=10**15 - 1))
    with filled.read() as tx:
        row = tx.execute(select(tables.invoices).where(tables.invoices.c.id == "inv_2")).one()
    assert (row.remaining_sat, row.amount_minor) == (sat, 10**15 - 1)
