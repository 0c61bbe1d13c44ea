"""Fetching addresses ahead, so that opening an invoice needs no call to the gateway.

Owns the filling of the pool; taking from it is `flows.open_invoice`'s.
"""

import logging

from bridge.core.errors import BridgeError
from bridge.flows.call_budget import take_calls
from bridge.flows.context import Bridge
from bridge.flows.modes import may_call_provider
from bridge.logs import log
from bridge.store import leases, spare_addresses

# The gateway only echoes what is expected of an inbox (SUBTC contract 5.7); the invoice's own amount is not known yet.
EXPECTED_SAT = 1
LEASE_SECONDS = 60


def fill_spare_addresses(bridge: Bridge, *, owner: str) -> int:
    """Adds one address to a pool that is not full. Returns how many were added."""
    rail = bridge.receiving
    if rail.asks is None or rail.spares == 0:
        return 0
    now, pool = bridge.clock(), {"wallet_id": bridge.wallet_id, "network": bridge.network}
    with bridge.store.read() as tx:
        if spare_addresses.count_free(tx, **pool) >= rail.spares:
            return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        if not leases.take(tx, "spare_addresses", owner=owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
        if not take_calls(tx, bridge, now=now):
            return 0
    try:
        address = rail.asks(EXPECTED_SAT)
    except BridgeError as error:
        log("spare_address.not_added", level=logging.WARNING, code=error.code)
        return 0
    bridge.crash_point("spare.address_taken")
    with bridge.store.write() as tx:
        if spare_addresses.is_used(tx, address):
            log("spare_address.repeated", level=logging.ERROR)
            return 0
        spare_addresses.add(tx, address=address, now=now, **pool)
    return 1
