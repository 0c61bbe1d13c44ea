"""Turns: what is done once per pause by whichever worker comes first.

Owns the one way to take them, and what a worker that stops gives back; must not know whose they are.
"""

from datetime import datetime

from bridge.context import Bridge
from bridge.store import invoices, leases

# The owner of a turn that a worker which stops in good order does not give back: a pause of hours or a day.
NOBODY = "nobody"


def take_turn(
    bridge: Bridge, name: str, *, owner: str, now: datetime, every_seconds: int, durable: bool = True
) -> bool:
    """Whether the caller has the turn. Its lease is not given back after the job: it is the pause until anybody's next turn.

    It is looked for before it is taken, so that who waits for it keeps no writer waiting.
    """
    with bridge.store.read() as tx:
        if not leases.is_free(tx, name, now=now, lease_seconds=every_seconds):
            return False
    with bridge.store.write(durable=durable) as tx:
        return leases.take_free(tx, name, owner=owner, now=now, lease_seconds=every_seconds)


def give_back_leases(bridge: Bridge, *, owner: str) -> None:
    """Ends all leases of `owner`, so that other workers need not wait until they run out."""
    with bridge.store.write() as tx:
        leases.give_back(tx, owner=owner)
        invoices.give_back(tx, owner=owner)
