"""Addresses of the shop's own wallets: the counter of each descriptor, and what every index was given to.

Owns their queries; must not derive an address, `core.descriptors` does.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from bridge.store.db import insert_into
from bridge.store.rows import Rows
from bridge.store.tables import address_counters, derived_addresses, invoices

# A copy may be this much older than what was given out since it was made.
GAP_AFTER_RESTORE = 10_000

_ADDRESSES = Rows(table=derived_addresses)
find = _ADDRESSES.find


@dataclass(frozen=True, kw_only=True)
class Use:
    """How far a descriptor is used. `unpaid_run` is how many addresses in a row at most never got money."""

    next_index: int
    unpaid_run: int


def take_index(tx: Connection, wallet_id: str) -> int:
    """The next index, this transaction's alone: others wait for its end, and after a rollback it is free again."""
    first = insert_into(tx, address_counters).values(wallet_id=wallet_id, next_index=1)
    following = {"next_index": address_counters.c.next_index + 1}
    counted = first.on_conflict_do_update(index_elements=["wallet_id"], set_=following)
    return int(tx.execute(counted.returning(address_counters.c.next_index)).scalar_one()) - 1


def add(
    tx: Connection,
    *,
    address: str,
    wallet_id: str,
    network: str,
    address_index: int,
    purpose: str,
    used_by: str,
    now: datetime,
) -> None:
    """Raises IntegrityError when the address or the index was ever given out: then nothing may be committed."""
    values = {"address": address, "wallet_id": wallet_id, "network": network, "address_index": address_index}
    tx.execute(insert(derived_addresses).values(**values, purpose=purpose, used_by=used_by, created_at=now))


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
