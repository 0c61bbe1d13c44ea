"""Removing what its record class no longer needs, a little at a time, once a day by one worker.

Owns the pace; what may go at all is said by `store.purge`.
"""

from datetime import timedelta

from bridge.context import Bridge
from bridge.logs import log
from bridge.permit import acting
from bridge.store import ahead, leases
from bridge.store.purge import CLASSES, RecordClass, count_due, purge
from bridge.turns import NOBODY, take_turn

PAGE = 500
LEASE = "purge"
DAY_SECONDS = 86_400
MOST_A_DAY = 10_000


def purge_step(bridge: Bridge, *, dry_run: bool = False, limit: int = PAGE) -> dict[str, int]:
    """Purges up to `limit` records of each class and says how many of which; empty when nothing is due any more.

    With `dry_run` it only counts all that is due.
    """
    done: dict[str, int] = {}
    for each in CLASSES:
        before = bridge.clock() - timedelta(days=_days(bridge, each))
        if dry_run:
            with bridge.store.read() as tx:
                count = count_due(tx, each, before=before)
        else:
            with bridge.store.write() as tx:
                count = purge(tx, each, before=before, limit=limit)
        if count:
            done[each.name] = done.get(each.name, 0) + count
    if done and not dry_run:
        log("purge.done", removed=done)
    return done


def check_may_purge(bridge: Bridge, *, actor: str, reason: str) -> None:
    """A person purges now what the worker would purge at night, audited. Raises Refused."""
    with acting(bridge, "mode.set", actor=actor, reason=reason) as act:
        act.audit("purge_asked")


def purge_due(bridge: Bridge) -> int:
    """Purges what is due, at most once a day over all workers. Returns how many records.

    What was purged is gone: while a clock has just jumped nobody knows how old anything is.
    """
    now = bridge.clock()
    with bridge.store.read() as tx:
        if leases.mode_of(tx) == "read_only" or ahead.jumps(tx, now=now, within=timedelta(days=1)):
            return 0
    if not take_turn(bridge, LEASE, owner=NOBODY, now=now, every_seconds=DAY_SECONDS):
        return 0
    total = 0
    while done := purge_step(bridge):
        total += sum(done.values())
        if total >= MOST_A_DAY:
            break
    return total


def _days(bridge: Bridge, each: RecordClass) -> int:
    """The configured days. A class that no setting names is over when its own time says so: operators' sessions."""
    return getattr(bridge.retention_days, each.name, 0)
