"""Which address comes next: of the shop's own descriptor, or of the pool that was fetched ahead.

Owns that an address is given to one thing for ever; deriving is `core.descriptors`', asking the gateway
`flows.open_invoice`'s.
"""

from datetime import datetime

from bridge.core.rail import AddressSource
from bridge.flows.context import Bridge
from bridge.store import derived_addresses, spare_addresses
from bridge.store.db import Tx


def address_for_invoice(tx: Tx, bridge: Bridge, *, invoice_id: str, now: datetime) -> str | None:
    """The new invoice's address, or None when the gateway has to be asked for one."""
    source = bridge.receiving.derives
    if source is not None:
        return next_address(tx, bridge, source, purpose="invoice", used_by=invoice_id, now=now)
    if asks_always(bridge):
        return None
    return spare_addresses.take(tx, wallet_id=bridge.wallet_id, network=bridge.network, invoice_id=invoice_id)


def asks_always(bridge: Bridge) -> bool:
    """Whether each address is a call."""
    return bridge.receiving.derives is None and bridge.receiving.spares == 0


def next_address(tx: Tx, bridge: Bridge, source: AddressSource, *, purpose: str, used_by: str, now: datetime) -> str:
    """The next address of a descriptor, given out in the caller's transaction: with it, or not at all.

    Nodes take turns at the counter's row, so that no index is ever given out twice. Raises Refused("addresses_used_up").
    """
    index = derived_addresses.take_index(tx, source.wallet_id)
    address = source.address(index)
    derived_addresses.add(
        tx,
        address=address,
        wallet_id=source.wallet_id,
        network=bridge.network,
        address_index=index,
        purpose=purpose,
        used_by=used_by,
        now=now,
    )
    return address


def is_pinned(tx: Tx, bridge: Bridge, destination: str | None) -> bool:
    """Whether a sweep may go there: a cold address of the settings, or one that follows from the cold descriptor.

    What the database says of an address is not believed: it is derived again.
    """
    cold = bridge.treasury.cold_descriptor
    if destination is None or cold is None:
        return destination in bridge.treasury.cold_addresses
    row = derived_addresses.find(tx, destination)
    return row is not None and row.purpose == "sweep" and cold.address(row.address_index) == destination
