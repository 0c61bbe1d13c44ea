"""The wallets: their last balances, what in them is not ours, and the addresses that are given out, each to one thing for ever.

Owns these rows; must not ask a gateway nor derive an address, `core.descriptors` does.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal_column, or_, select, union_all, update

from bridge.core.clock import CLOCK_TOLERANCE, believed
from bridge.store.db import insert_into, put_row
from bridge.store.rows import Rows
from bridge.store.tables import (
    address_counters,
    balance_marks,
    derived_addresses,
    invoices,
    spare_addresses,
    wallet_balances,
    wallet_baselines,
)
from bridge.store.together import ask, first_row

_BALANCES = Rows(table=wallet_balances, order=(wallet_balances.c.role,))
_BASELINES, _SPARE, _DERIVED = (Rows(table=each) for each in (wallet_baselines, spare_addresses, derived_addresses))
balance_of, balances = _BALANCES.find, _BALANCES.listing
find_derived = _DERIVED.find
balance_mark = Rows(table=balance_marks).find
# A copy may be this much older than what was given out since it was made.
GAP_AFTER_RESTORE = 10_000
_IS_USED = union_all(
    select(invoices.c.address).where(invoices.c.address == bindparam("address")),
    select(spare_addresses.c.address).where(spare_addresses.c.address == bindparam("address")),
    select(derived_addresses.c.address).where(derived_addresses.c.address == bindparam("address")),
)
# Any of them: what order it were would be looked for among all that are free.
_FREE = (
    select(spare_addresses.c.address)
    .where(
        spare_addresses.c.wallet_id == bindparam("of_wallet"),
        spare_addresses.c.network == bindparam("of_network"),
        spare_addresses.c.invoice_id.is_(None),
    )
    .limit(literal_column("1"))
    .with_for_update(skip_locked=True)
)
_TAKE = update(spare_addresses).where(spare_addresses.c.address == _FREE.scalar_subquery())
_TAKE = _TAKE.returning(spare_addresses.c.address)


@dataclass(frozen=True, kw_only=True)
class Use:
    """How far a descriptor is used. `unpaid_run` is how many addresses in a row at most never got money."""

    next_index: int
    unpaid_run: int


def put_balance(tx: Connection, role: str, values: dict[str, Any]) -> None:
    # An answer that was slow on its way never undoes a newer one; what was read ahead of now is none.
    before, asked_at = wallet_balances.c.read_at, values["read_at"]
    is_old = or_(before <= asked_at, before > asked_at + CLOCK_TOLERANCE)
    put_row(tx, wallet_balances, {"role": role}, values, where=is_old)


def mark_balance(tx: Connection, wallet_id: str, *, balance_sat: int, asked_at: datetime) -> int:
    """Notes what the whole wallet holds and returns by how many satoshi it changed since the last note, 0 the first time."""
    before = balance_mark(tx, wallet_id)
    known_at = believed(before.changed_at, now=asked_at) if before is not None else None
    changed_at = asked_at if before is None or before.balance_sat != balance_sat else known_at or asked_at
    values = {"balance_sat": balance_sat, "asked_at": asked_at, "changed_at": changed_at}
    put_row(tx, balance_marks, {"wallet_id": wallet_id}, values)
    return balance_sat - before.balance_sat if before is not None else 0


def set_baseline(tx: Connection, *, wallet_id: str, baseline_sat: int, now: datetime, actor: str, reason: str) -> None:
    values = {"wallet_id": wallet_id, "baseline_sat": baseline_sat, "at": now, "actor": actor, "reason": reason}
    _BASELINES.add(tx, values)


def baseline_sat(tx: Connection, wallet_id: str) -> int:
    query = select(wallet_baselines.c.baseline_sat).where(wallet_baselines.c.wallet_id == wallet_id)
    return int(tx.execute(query.order_by(wallet_baselines.c.id.desc()).limit(1)).scalar() or 0)


def add_spare(tx: Connection, *, address: str, wallet_id: str, network: str, now: datetime) -> None:
    _SPARE.add(tx, {"address": address, "wallet_id": wallet_id, "network": network, "created_at": now})


def take_spare(tx: Connection, *, wallet_id: str, network: str, invoice_id: str) -> str | None:
    """Gives one free address to the invoice for ever, or None when the pool is empty."""
    taken = first_row(tx, _TAKE, {"of_wallet": wallet_id, "of_network": network, "invoice_id": invoice_id})
    return None if taken is None else str(taken[0])


def is_used(tx: Connection, address: str) -> bool:
    """Whether the address is ours already, in the pool, of an invoice or of our own wallets: never given out twice."""
    return ask(tx, _IS_USED, {"address": address}).first() is not None


def count_spare(tx: Connection, *, wallet_id: str, network: str) -> int:
    return _SPARE.count(tx, wallet_id=wallet_id, network=network, invoice_id=None)


def take_index(tx: Connection, wallet_id: str) -> int:
    """The next index, this transaction's alone: others wait for its end, and after a rollback it is free again."""
    first = insert_into(tx, address_counters).values(wallet_id=wallet_id, next_index=1)
    following = {"next_index": address_counters.c.next_index + 1}
    counted = first.on_conflict_do_update(index_elements=["wallet_id"], set_=following)
    return int(tx.execute(counted.returning(address_counters.c.next_index)).scalar_one()) - 1


def add_derived(tx: Connection, *, now: datetime, **given: Any) -> None:
    """Raises Duplicate when the address or the index was ever given out: then nothing may be committed."""
    _DERIVED.add(tx, {**given, "created_at": now})


def use_of(tx: Connection, wallet_id: str) -> Use:
    """What was given out so far, and the longest row of addresses without money: a wallet must look further than that."""
    counter = select(address_counters.c.next_index).where(address_counters.c.wallet_id == wallet_id)
    next_index = int(tx.execute(counter).scalar() or 0)
    # A window may not stand inside an aggregate, so the steps between paid addresses are a query of their own.
    index = derived_addresses.c.address_index
    paid = (
        select((index - func.coalesce(func.lag(index).over(order_by=index), -1) - 1).label("run"), index.label("at"))
        .join(invoices, invoices.c.address == derived_addresses.c.address)
        .where(derived_addresses.c.wallet_id == wallet_id, invoices.c.received_sat > 0)
        .subquery()
    )
    longest, last = tx.execute(select(func.max(paid.c.run), func.max(paid.c.at))).one()
    since_last = next_index - 1 - (-1 if last is None else int(last))
    return Use(next_index=next_index, unpaid_run=max(int(longest or 0), since_last))


def skip_after_restore(tx: Connection) -> None:
    """What was given out after the copy was made is not given out again."""
    tx.execute(update(address_counters).values(next_index=address_counters.c.next_index + GAP_AFTER_RESTORE))
