"""The scheduled reconciliation: begun when it is due, one page at a time, by whichever worker has a free hand.

Owns its lease and its pace; the run itself is `flows.reconcile`'s.
"""

from datetime import timedelta

from bridge.flows.context import Bridge
from bridge.flows.reconcile import start_scheduled, step
from bridge.store import leases, reconciliations

LEASE = "reconcile"
LEASE_SECONDS = 300
WORKER_PAGE = 50


def reconcile_due(bridge: Bridge, *, owner: str) -> int:
    """Does one page when a run is due or under way; 1 when there is more to do at once."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        unfinished = reconciliations.unfinished(tx)
        last_at = reconciliations.last_scheduled_at(tx, now=now)
        # In read_only mode people reconcile on demand, when they are ready to look at the result.
        is_writable = leases.mode_of(tx) != "read_only"
        is_free = is_writable and leases.is_free(tx, LEASE, now=now, lease_seconds=LEASE_SECONDS)
    every_seconds = bridge.books.reconcile_every_seconds
    is_due = every_seconds > 0 and last_at is not None and last_at + timedelta(seconds=every_seconds) <= now
    if not is_free or (unfinished is None and not is_due):
        return 0
    # A lease of this page alone: a worker that stops in the middle of it lets it run out.
    page_owner = f"{owner}:{bridge.new_id('page')}"
    with bridge.store.write() as tx:
        if not leases.take_free(tx, LEASE, owner=page_owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
    try:
        if unfinished is None:
            start_scheduled(bridge)
            return 1
        run = step(bridge, unfinished.id, limit=WORKER_PAGE)
        # A page that came no further waits for the gateway's calls of the next minute.
        return int(not run.is_over and (run.cursor, run.phase) != (unfinished.cursor, unfinished.phase))
    finally:
        with bridge.store.write() as tx:
            leases.give_back(tx, owner=page_owner)
