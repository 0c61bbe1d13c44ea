"""Databases that take over, and what may be missing in them.

Owns what is done by itself and on a person's word; which database is refused is `store.fence`'s to say.
"""

from bridge.books.reconcile import start_scheduled
from bridge.context import Bridge
from bridge.permit import come_up_read_only, require_words
from bridge.store import generation, reconciliations


def keep_generation(bridge: Bridge) -> int:
    """What a worker does so that a former primary and an older copy are known as such, here and by every other program; and the
    reconciliation that is owed since something may be missing, which needs no mode.
    """
    generation.keep(bridge.store)
    with bridge.store.read() as tx:
        row = generation.find(tx)
        is_owed = row is not None and row.recheck == generation.OWED and reconciliations.unfinished(tx) is None
    if not is_owed:
        return 0
    note_recheck(bridge, start_scheduled(bridge))
    return 1


def write_back(bridge: Bridge) -> int:
    """Keeps the file of SQLite close to its log: whoever copies the file alone, or loses the log, loses seconds."""
    return int(bridge.store.write_back())


def after_failover(bridge: Bridge, *, this_one: bool, actor: str, reason: str) -> int:
    """A person says that a database has taken over which may lack something: a new generation, read_only, nothing given out twice,
    unless all of that was done by itself. Returns the generation.

    `this_one`: also where the database is refused. Raises Refused("actor_and_reason_required") and Unavailable("database_fenced").
    """
    require_words(actor, reason)
    bridge.store.fence.is_open = this_one
    with bridge.store.read() as tx:
        row = generation.find(tx)
    if this_one or row is None or not row.recheck:
        come_up_read_only(bridge, actor=actor, reason=reason, action="failed_over")
    bridge.store.fence.is_open = False
    with bridge.store.read() as tx:
        return int(generation.find(tx).number)


def note_recheck(bridge: Bridge, run_id: str) -> None:
    """The reconciliation that is owed is this one."""
    with bridge.store.write() as tx:
        generation.note_recheck(tx, run_id)
