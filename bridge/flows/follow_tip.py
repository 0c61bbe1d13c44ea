"""Following the chain's tip: a new block makes every confirming invoice due at once.

Owns the one cheap question that spares many polls; without a chain reader the schedule alone goes on.
"""

import logging

from bridge.core.errors import BridgeError
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import invoices, leases

# The lease is not given back after the job: it also is the pause until any worker asks again.
ASK_EVERY_SECONDS = 5


def follow_tip(bridge: Bridge, *, owner: str) -> int:
    """Asks for the height at most once per pause over all workers; returns how many invoices a new block woke."""
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not leases.is_free(tx, "follow_tip", now=now):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not leases.take_free(tx, "follow_tip", owner=owner, now=now, lease_seconds=ASK_EVERY_SECONDS):
            return 0
    try:
        height = bridge.chain.tip_height()
    except BridgeError as error:
        log("tip.unavailable", level=logging.WARNING, code=error.code)
        return 0
    with bridge.store.write() as tx:
        if height == leases.tip_height(tx, bridge.network):
            return 0
        leases.set_tip(tx, bridge.network, height=height, now=now)
        woken = invoices.wake_confirming(tx, now=now)
        bridge.crash_point("tip.committing")
        return woken
