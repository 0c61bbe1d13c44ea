"""Whether the chain reader can tell what came: asked of a real address, because a tip alone proves no history.

Owns that one question for readiness, doctor and alerts; nothing is learned from its answer.
"""

from datetime import datetime

from bridge.core.coverage import gap_of
from bridge.core.errors import Unavailable
from bridge.core.rail import Chain
from bridge.flows.context import Bridge
from bridge.flows.follow_tip import horizon
from bridge.store import invoices


def chain_sight(bridge: Bridge, chain: Chain, *, now: datetime) -> str:
    """What the reader sees, in words. Raises Unavailable, with the gap as its code when silence would say nothing."""
    with bridge.store.read() as tx:
        newest, held_to = invoices.newest(tx), horizon(tx, bridge, now=now)
    if newest is None:
        return f"height {chain.tip().height}; no invoice yet whose history could be asked"
    reading = chain.read(newest.address, born_at=newest.created_at, asked_at=now)
    if gap := gap_of(reading, born_at=newest.created_at, horizon=held_to):
        seen = f"{reading.source} shows height {reading.tip.height} of {reading.tip.time:%Y-%m-%d %H:%M} UTC"
        raise Unavailable(gap, f"{seen}; the highest known is {max(held_to.height, reading.tip.height)}.")
    return f"height {reading.tip.height}"
