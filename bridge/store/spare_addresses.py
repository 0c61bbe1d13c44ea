"""The pool of fresh addresses that nobody was shown yet.

Owns its rows; an address that was taken never returns.
"""

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, union_all, update

from bridge.store.tables import derived_addresses, invoices, spare_addresses

_IS_USED = union_all(
    select(invoices.c.address).where(invoices.c.address == bindparam("address")),
    select(spare_addresses.c.address).where(spare_addresses.c.address == bindparam("address")),
    select(derived_addresses.c.address).where(derived_addresses.c.address == bindparam("address")),
)


def add(tx: Connection, *, address: str, wallet_id: str, network: str, now: datetime) -> None:
    tx.execute(insert(spare_addresses).values(address=address, wallet_id=wallet_id, network=network, created_at=now))


def take(tx: Connection, *, wallet_id: str, network: str, invoice_id: str) -> str | None:
    """Gives one free address to the invoice for ever, or None when the pool is empty."""
    free = (
        select(spare_addresses.c.address)
        .where(spare_addresses.c.wallet_id == wallet_id, spare_addresses.c.network == network)
        .where(spare_addresses.c.invoice_id.is_(None))
        .order_by(spare_addresses.c.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = update(spare_addresses).where(spare_addresses.c.address == free.scalar_subquery())
    address: str | None = tx.execute(taken.values(invoice_id=invoice_id).returning(spare_addresses.c.address)).scalar()
    return address


def is_used(tx: Connection, address: str) -> bool:
    """Whether the address is ours already, in the pool, of an invoice or of our own wallets: never given out twice."""
    return tx.execute(_IS_USED, {"address": address}).first() is not None


def count_free(tx: Connection, *, wallet_id: str, network: str) -> int:
    query = select(func.count()).where(
        spare_addresses.c.wallet_id == wallet_id,
        spare_addresses.c.network == network,
        spare_addresses.c.invoice_id.is_(None),
    )
    return int(tx.execute(query).scalar_one())
