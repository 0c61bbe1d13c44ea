"""Payouts whose outcome nobody knows: what the chain shows of their destination is read while the blocks are still there.

Owns how far that is known; must not rule on a payout, a person does in `flows.settle_unknown`.
"""

import logging
from datetime import datetime
from typing import Any

from bridge.core.clock import believed
from bridge.core.coverage import gap_of
from bridge.core.errors import BridgeError
from bridge.core.evidence import ChainOutput, ChainReading
from bridge.core.rail import Chain
from bridge.core.reconciliation import BLOCK_TIME_SLACK
from bridge.flows.context import Bridge
from bridge.flows.follow_tip import horizon
from bridge.logs import log
from bridge.store import leases, payouts

# The lease is not given back after the job: it also is the pause until any worker reads again.
READ_EVERY_SECONDS = 60


def watch_unknown(bridge: Bridge, *, owner: str) -> int:
    """Reads the destinations of unknown payouts at most once per pause over all workers; how many were read.

    A person may rule days later, and a node that prunes has thrown away by then what would have to be searched.
    """
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        rows = payouts.unknown(tx)
        if not rows or not leases.is_free(tx, "watch_unknown", now=now, lease_seconds=READ_EVERY_SECONDS):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not leases.take_free(tx, "watch_unknown", owner=owner, now=now, lease_seconds=READ_EVERY_SECONDS):
            return 0
    for row in rows:
        _watch(bridge, bridge.chain, row, now=now)
    return len(rows)


def _watch(bridge: Bridge, chain: Chain, row: Any, *, now: datetime) -> None:
    """Keeps up to when nothing was sent for certain. Money that may be this payout is not left behind: whoever rules sees it."""
    try:
        reading = read_destination(chain, row, now=now)
    except BridgeError as error:
        log("payout.not_read", level=logging.WARNING, payout_id=row.id, code=error.code)
        return
    gap = gap_since(bridge, row, reading, now=now)
    if gap or likely_outputs(bridge, row, reading):
        log("payout.not_covered", payout_id=row.id, gap=gap)
        return
    with bridge.store.write() as tx:
        # No later than the newest block that was searched: our own clock may be ahead.
        payouts.cover(tx, row.id, until=min(now, reading.tip.time))


def read_destination(chain: Chain, row: Any, *, now: datetime) -> ChainReading:
    """What pays the destination since the last time when nothing was sent for certain. Raises what the port raises."""
    return chain.read(row.destination, born_at=_open_since(row, now=now), asked_at=now)


def gap_since(bridge: Bridge, row: Any, reading: ChainReading, *, now: datetime) -> str:
    """Why the silence of this reading does not say that nothing was sent, "" when it does."""
    with bridge.store.read() as tx:
        return gap_of(reading, born_at=_open_since(row, now=now), horizon=horizon(tx, bridge, now=now))


def likely_outputs(bridge: Bridge, row: Any, reading: ChainReading) -> list[ChainOutput]:
    """Outputs to the destination that could be this payout: none of another payout of ours."""
    with bridge.store.read() as tx:
        known = payouts.txids_to(tx, row.destination)
    # Under an unknown fee any part of it could have arrived.
    least_sat = row.net_sat - 1 if row.fee_bps is not None else 1
    since = row.approved_at - BLOCK_TIME_SLACK
    fresh = [
        output
        for output in reading.outputs
        if output.outpoint.partition(":")[0] not in known
        # What lay there before anybody approved this is something else.
        and (output.block_time is None or output.block_time >= since)
    ]
    return [output for output in fresh if least_sat <= output.amount_sat <= row.gross_sat]


def _open_since(row: Any, *, now: datetime) -> datetime:
    covered_until: datetime = believed(row.covered_until, now=now) or row.requested_at
    return covered_until
