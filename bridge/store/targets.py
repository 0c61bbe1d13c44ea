"""Where invoices are paid to, over which rail: rows in and out.

Owns their queries; a row never changes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from bridge.core.rail import TOTAL_AND_CHAIN, Target
from bridge.store.rows import Rows
from bridge.store.tables import invoices, payments, targets
from bridge.store.together import Together

LABELLED = tuple(column.label(f"target_{column.name}") for column in targets.columns)
_ADD = insert(targets)
_TARGETS = Rows(table=targets, told=(targets.c.id,))


def add(tx: Connection | Together, invoice_id: str, target: Target) -> None:
    """Raises Duplicate where the text was offered before, to whomever."""
    values = {name: value for name, value in vars(target).items() if name != "id"}
    tx.execute(_ADD, values | {"invoice_id": invoice_id})


def of_invoice(tx: Connection, invoice_id: str) -> tuple[Target, ...]:
    """In the order they were offered. None of an invoice that a node of an earlier release opened."""
    return tuple(target_of(row) for row in _TARGETS.of(tx, invoice_id))


def labelled(rows: Sequence[Any]) -> tuple[Target, ...]:
    """The targets in rows that have `LABELLED` columns beside others; a row may have none."""
    return tuple(target_of(_Labelled(row)) for row in rows if row.target_id is not None)


class _Labelled:
    """A row whose targets' columns are called by their labels."""

    def __init__(self, row: Any):
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"target_{name}")


def of_invoices(tx: Connection, ids: Sequence[str]) -> Mapping[str, Sequence[Target]]:
    """The same of several invoices, by their ids."""
    return {invoice_id: [target_of(row) for row in rows] for invoice_id, rows in _TARGETS.of_each(tx, ids).items()}


def is_offered(tx: Connection, key: str) -> bool:
    """Whether a rail knows something that was offered here by this key."""
    return tx.execute(select(targets.c.id).where(targets.c.key == key).limit(1)).first() is not None


def open_by_wallet(tx: Connection) -> Mapping[tuple[str, str], int]:
    """How many invoices are not over, by the wallets they may be paid to and who says what came there."""
    wallet_id = func.coalesce(targets.c.wallet_id, invoices.c.wallet_id)
    witness = func.coalesce(targets.c.witness, TOTAL_AND_CHAIN)
    is_open = invoices.c.closed_at.is_(None) & invoices.c.status.in_(("new", "processing", "expired"))
    joined = invoices.outerjoin(targets, targets.c.invoice_id == invoices.c.id)
    query = select(wallet_id, witness, func.count(invoices.c.id.distinct())).select_from(joined).where(is_open)
    found = tx.execute(query.group_by(wallet_id, witness))
    return {(each, told): int(count) for each, told, count in found}


def waiting_of(tx: Connection, wallet_id: str, *, now: datetime, limit: int) -> Sequence[Any]:
    """What was offered beside the first over a wallet and may be paid any moment, newest first: invoice_id, text, created_at. What was
    paid once is not among them.
    """
    query = (
        select(targets.c.invoice_id, targets.c.text, targets.c.created_at)
        .join(invoices, invoices.c.id == targets.c.invoice_id)
        .where(targets.c.wallet_id == wallet_id, targets.c.expires_at > now, invoices.c.status == "new")
        .where(~select(payments.c.id).where(payments.c.target_id == targets.c.id).exists())
    )
    return tx.execute(query.order_by(targets.c.id.desc()).limit(limit)).all()


def awaited_units(tx: Connection, wallet_id: str, *, since: datetime) -> int:
    """The sum of what was offered beside the first over a wallet, was still good after `since` and is not known to be paid."""
    query = (
        select(func.coalesce(func.sum(targets.c.due_units), 0))
        .where(targets.c.wallet_id == wallet_id, targets.c.expires_at > since)
        .where(~select(payments.c.id).where(payments.c.target_id == targets.c.id).exists())
    )
    return int(tx.execute(query).scalar_one())


def count_waiting(tx: Connection, wallet_ids: Sequence[str], *, now: datetime) -> Mapping[str, int]:
    """How many of those there are, by wallet."""
    query = (
        select(targets.c.wallet_id, func.count())
        .join(invoices, invoices.c.id == targets.c.invoice_id)
        .where(targets.c.wallet_id.in_(wallet_ids), targets.c.expires_at > now, invoices.c.status == "new")
    )
    return {wallet_id: int(count) for wallet_id, count in tx.execute(query.group_by(targets.c.wallet_id))}


def target_of(row: Any) -> Target:
    """The value of a row."""
    return Target(
        id=row.id,
        rail=row.rail,
        asset=row.asset,
        wallet_id=row.wallet_id,
        text=row.text,
        account=row.account,
        witness=row.witness,
        due_units=row.due_units,
        created_at=row.created_at,
        expires_at=row.expires_at,
        key=row.key,
    )
