"""What a worker does about itself: giving its leases back when it stops in good order.

Owns that alone.
"""

from bridge.flows.context import Bridge
from bridge.store import invoices, leases


def give_back_leases(bridge: Bridge, *, owner: str) -> None:
    """Ends all leases of `owner`, so that other workers need not wait until they run out."""
    with bridge.store.write() as tx:
        leases.give_back(tx, owner=owner)
        invoices.give_back(tx, owner=owner)
