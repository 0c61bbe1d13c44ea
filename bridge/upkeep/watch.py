"""What may be wrong without anybody having done anything: a clock, so that nothing waits for the times that it wrote; and a database
that takes over, with what may be missing in it.

Owns when that is looked for and what is done about it, by itself and on a person's word; the columns that wait are `store.ahead`'s, which
database is refused is `store.fence`'s to say. Must not set a clock, nor touch what an invoice's own times say: its next look puts
those right.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.books.reconcile import start_scheduled
from bridge.context import Bridge
from bridge.core.clock import CLOCK_TOLERANCE, is_ahead
from bridge.logs import log
from bridge.permit import come_up_read_only, require_words
from bridge.store import ahead, audit, generation, leases, reconciliations
from bridge.store.ahead import Lasts
from bridge.store.db import Tx

LOOK_EVERY_SECONDS = 60
# Looking through everything that waits is left to the first minute of a worker and to one in an hour.
ALL_EVERY = 60
PAGE = 500
# Two nodes whose clocks differ find each other's marks each minute; that is said once.
SAID_AGAIN_AFTER = timedelta(hours=1)


@dataclass(kw_only=True)
class WatchedClock:
    """What one process remembers of both its clocks. Not for several threads."""

    wall: datetime | None = None
    ticks: float = 0.0
    look_at: float = 0.0
    looks: int = 0

    def jumped(self, now: datetime, ticks: float) -> timedelta:
        """How much further back the wall clock stands than time has passed since the last call, less than nothing when it went
        forward. Nothing while it runs well.
        """
        if self.wall is None:
            return timedelta(0)
        back = self.wall + timedelta(seconds=ticks - self.ticks) - now
        return back if abs(back) > CLOCK_TOLERANCE else timedelta(0)

    def remember(self, now: datetime, ticks: float) -> None:
        self.wall, self.ticks = now, ticks


def watch_clock(bridge: Bridge, watched: WatchedClock, *, owner: str) -> int:
    """Compares the wall clock with the one that only runs on, and once a minute with what was stored. Returns how many rows wait
    no longer for a time that a wrong clock wrote.
    """
    now, ticks = bridge.clock(), bridge.monotonic()
    jumped = watched.jumped(now, ticks)
    if not jumped and ticks < watched.look_at:
        watched.remember(now, ticks)
        return 0
    back = jumped or _found_ahead(bridge, now=now, also_seldom=watched.looks % ALL_EVERY == 0)
    is_behind = back > timedelta(0) and _is_behind(bridge, now=now)
    brought = _bring_back(bridge, now=now) if back > timedelta(0) and not is_behind else {}
    with bridge.store.write(durable=bool(back)) as tx:
        if back:
            _say(tx, back, brought, owner=owner, now=now, is_seen=bool(jumped), is_behind=is_behind)
        # What a clock that is right has left stays there to tell this one of it.
        if not is_behind:
            ahead.mark_clock(tx, now=now)
    # Only now: what fails on the way is found again on the next round.
    watched.remember(now, ticks)
    watched.look_at, watched.looks = ticks + LOOK_EVERY_SECONDS, watched.looks + 1
    return sum(brought.values())


def _found_ahead(bridge: Bridge, *, now: datetime, also_seldom: bool) -> timedelta:
    """How far ahead the stored times lie: by the mark that a worker left, of whatever node and run, or by what waits."""
    with bridge.store.read() as tx:
        marked_at = ahead.clock_marked_at(tx)
        marked = marked_at - now if marked_at is not None else timedelta(0)
        found = max(marked, ahead.furthest(tx, _lasts(bridge, now), also_seldom=also_seldom))
    return found if found > CLOCK_TOLERANCE else timedelta(0)


def _is_behind(bridge: Bridge, *, now: datetime) -> bool:
    """Whether it is our own clock that is wrong: the newest block is ahead of it as well."""
    with bridge.store.read() as tx:
        best = leases.best_tip(tx, bridge.network)
    return best is not None and best.block_time is not None and is_ahead(best.block_time, now=now)


def _bring_back(bridge: Bridge, *, now: datetime) -> dict[str, int]:
    """Everything that waits for a time that lies ahead, a page at a time, so that no writer waits long for this one."""
    brought: dict[str, int] = {}
    for wait in ahead.WAITS:
        is_more = True
        while is_more:
            with bridge.store.write() as tx:
                moved = ahead.bring_back(tx, wait, _lasts(bridge, now), limit=PAGE)
            is_more = moved == PAGE
            if moved:
                brought[wait.name] = brought.get(wait.name, 0) + moved
    return brought


def _say(
    tx: Tx, back: timedelta, brought: dict[str, int], *, owner: str, now: datetime, is_seen: bool, is_behind: bool
) -> None:
    """The jump, with what it was about; what is only found may be the leftovers of one that was said, and is not said again."""
    seconds = round(back.total_seconds())
    detail: dict[str, Any] = {"seconds": seconds, "brought_back": brought}
    log("clock.behind" if is_behind else "clock.jumped", level=logging.ERROR, owner=owner, **detail)
    said = [row.seconds for row in ahead.jumps(tx, now=now, within=SAID_AGAIN_AFTER)]
    if not is_seen and seconds <= max(said, default=0) + CLOCK_TOLERANCE.total_seconds():
        return
    ahead.add_jump(tx, noticed_by=owner, seconds=seconds, now=now)
    audit.write(tx, at=now, actor=owner, action="clock_jumped", detail=detail)


def _lasts(bridge: Bridge, now: datetime) -> Lasts:
    return Lasts(now=now, cooling_seconds=bridge.payouts.cooling_seconds)


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
