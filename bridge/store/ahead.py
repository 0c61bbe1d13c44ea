"""What a wrong clock leaves: times further ahead than any pause lasts, found and brought back, and the jumps noticed so far.

Owns which columns these are, how far ahead of now each may lie, and the mark that nodes leave so that the next one can find a
wrong clock; must not judge whose it is, `upkeep.watch` does. Leases need no bringing back: whoever wants one knows how
long it lasts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, func, insert, literal, or_, select, update

from bridge.core.clock import CLOCK_TOLERANCE, is_ahead
from bridge.core.schedule import (
    AWAITING_OLD_SECONDS,
    CLOSED_SECONDS,
    CONFIRMING_SECONDS,
    LONGEST_RETRY_SECONDS,
    LOOK_CLASSES,
    OLD,
    SETTLED_FINAL_SECONDS,
    longest_awaiting,
)
from bridge.store.db import put_row
from bridge.store.rows import moment
from bridge.store.tables import UtcTime, clock_jumps, deliveries, delivery_attempts, invoices, leases, payouts, reviews

_NOW: Any = bindparam("now")
_LATEST: Any = bindparam("latest")
# A lease of nobody: its end is when a worker last wrote, so that it outlives the worker and the node.
_MARK = {"name": "clock"}


def is_over(until: Any, now: Any = _NOW, latest: Any = _LATEST) -> Any:
    """Whether a lease has ended, or ends later than any of its kind can."""
    return or_(until < now, until > latest)


def is_free(until: Any, now: Any = _NOW, latest: Any = _LATEST) -> Any:
    """The same where no lease is an empty column."""
    return or_(until.is_(None), is_over(until, now, latest))


@dataclass(frozen=True, kw_only=True)
class Lasts:
    """Now, and the pause that the settings say of an approved payout."""

    now: datetime
    cooling_seconds: int

    def after(self, seconds: int) -> Any:
        """The time after such a pause, for a statement."""
        return literal(self.now + timedelta(seconds=seconds), type_=UtcTime)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """One column that somebody waits for, in the rows that `where` finds with an index.

    `longest` is the end of the longest pause that a right clock can have stored by now; none where the settings say how long,
    which may have said something else. `written` are other times of the row: one that is ahead gives its clock away. `back` is
    what the row gets then.
    `seldom_below_seconds`: how near an end is only looked at now and then, because there are so many of them.
    """

    name: str
    at: Any
    where: Any
    longest: Callable[[Lasts], Any] | None = None
    written: tuple[Any, ...]
    back: Callable[[Lasts], dict[str, Any]]
    seldom_below_seconds: int = 0


def _look(lasts: Lasts) -> Any:
    """What `core.schedule` says, for the age that the invoice has now."""
    columns = invoices.c
    is_confirming = and_(columns.status != "invalid", columns.received_sat > columns.confirmed_sat)
    return case(
        (columns.monitor_until <= lasts.now, lasts.after(CLOSED_SECONDS)),
        (columns.status == "settled", lasts.after(SETTLED_FINAL_SECONDS)),
        (or_(columns.status == "processing", is_confirming), lasts.after(CONFIRMING_SECONDS)),
        *((columns.created_at > lasts.after(-age), lasts.after(pause)) for age, pause in longest_awaiting()),
        else_=lasts.after(AWAITING_OLD_SECONDS),
    )


def _of_looks(classes: Sequence[int], *, seldom_below_seconds: int) -> Wait:
    columns = invoices.c
    return Wait(
        name="looks",
        at=columns.next_look_at,
        where=columns.look_class.in_(classes),
        longest=_look,
        written=(columns.updated_at, columns.chain_asked_at, columns.provider_asked_at),
        back=lambda lasts: {"next_look_at": lasts.now},
        seldom_below_seconds=seldom_below_seconds,
    )


_HURRIED = [each for each in LOOK_CLASSES if each != OLD]
# The newest try alone: what is logged of earlier ones never changes.
_TRIED_AT = select(delivery_attempts.c.at).where(delivery_attempts.c.delivery_id == deliveries.c.id)
_TRIED_AT = _TRIED_AT.order_by(delivery_attempts.c.id.desc()).limit(1).correlate(deliveries)
WAITS = (
    _of_looks(_HURRIED, seldom_below_seconds=0),
    # Closed invoices, as many as there ever were, wait a day.
    _of_looks([OLD], seldom_below_seconds=CLOSED_SECONDS),
    Wait(
        name="deliveries",
        at=deliveries.c.next_try_at,
        where=deliveries.c.state == "pending",
        longest=lambda lasts: case(
            (deliveries.c.attempts == 0, lasts.after(0)), else_=lasts.after(LONGEST_RETRY_SECONDS)
        ),
        written=(_TRIED_AT.scalar_subquery(),),
        back=lambda lasts: {"next_try_at": lasts.now},
    ),
    Wait(
        name="payouts",
        at=payouts.c.next_try_at,
        where=payouts.c.state.in_(("approved", "submitting", "sent")),
        written=(payouts.c.updated_at,),
        # The time in which people may still stop it starts anew: it is there for their sake.
        back=lambda lasts: {
            "next_try_at": case(
                (payouts.c.state == "approved", lasts.after(lasts.cooling_seconds)), else_=lasts.after(0)
            ),
            "updated_at": lasts.now,
        },
    ),
    Wait(
        name="reviews",
        at=reviews.c.due_at,
        where=reviews.c.state == "open",
        written=(reviews.c.opened_at,),
        back=lambda lasts: {
            "due_at": lasts.after(0) + (reviews.c.due_at - reviews.c.opened_at),
            "opened_at": lasts.now,
        },
    ),
)


def furthest(tx: Connection, lasts: Lasts, *, also_seldom: bool) -> timedelta:
    """How far ahead the clock was that wrote what lies furthest ahead; nothing when no time lies ahead."""
    opened_at = tx.execute(select(func.max(invoices.c.created_at, type_=UtcTime))).scalar()
    found = [opened_at - lasts.now] if opened_at is not None else []
    for wait in WAITS:
        query = _ahead(wait, lasts, from_seconds=0 if also_seldom else wait.seldom_below_seconds)
        found += (_by(row, lasts) for row in tx.execute(query.order_by(wait.at.desc()).limit(1)))
    most = max(found, default=timedelta(0))
    return most if most > CLOCK_TOLERANCE else timedelta(0)


def bring_back(tx: Connection, wait: Wait, lasts: Lasts, *, limit: int) -> int:
    """Lets up to `limit` rows that lie ahead wait no longer than they would by a right clock. Returns how many did."""
    table = wait.at.table
    ids = [row.id for row in tx.execute(_ahead(wait, lasts, from_seconds=0).limit(limit))]
    moved = update(table).where(table.c.id.in_(ids), wait.at > lasts.after(0))
    return tx.execute(moved.values(**wait.back(lasts))).rowcount if ids else 0


def _ahead(wait: Wait, lasts: Lasts, *, from_seconds: int) -> Select[Any]:
    """The rows that a right clock cannot have written: their id, their end, the latest that it may be, when they were written."""
    tolerated = replace(lasts, now=lasts.now + CLOCK_TOLERANCE)
    longest = wait.longest(tolerated) if wait.longest is not None else wait.at
    written = [each.label(f"written_{number}") for number, each in enumerate(wait.written)]
    reached = (wait.at > longest, *(each > tolerated.now for each in wait.written))
    query = select(wait.at.table.c.id, wait.at.label("at"), longest.label("longest"), *written)
    return query.where(wait.where, wait.at > tolerated.after(from_seconds), or_(*reached))


def _by(row: Row[Any], lasts: Lasts) -> timedelta:
    """How far ahead the clock was that wrote this row; by its end alone only where nothing else tells: the pause is a guess."""
    times: Sequence[Any] = row[3:]
    written = [at - lasts.now for at in times if at is not None and is_ahead(at, now=lasts.now)]
    beyond: timedelta = row.at - row.longest + CLOCK_TOLERANCE
    return max(written, default=beyond)


def add_jump(tx: Connection, *, noticed_by: str, seconds: int, now: datetime) -> None:
    tx.execute(insert(clock_jumps).values(noticed_at=now, noticed_by=noticed_by, seconds=seconds))


def jumps(tx: Connection, *, now: datetime, within: timedelta) -> Sequence[Row[Any]]:
    """The jumps noticed of late, newest first; what was noticed ahead of now was noticed by a clock that was wrong."""
    query = select(clock_jumps).where(clock_jumps.c.noticed_at > now - within)
    query = query.where(clock_jumps.c.noticed_at <= now + CLOCK_TOLERANCE)
    return tx.execute(query.order_by(clock_jumps.c.id.desc())).all()


def mark_clock(tx: Connection, *, now: datetime) -> None:
    """Says when a worker last wrote, by its own clock."""
    put_row(tx, leases, _MARK, {"owner": "nobody", "lease_until": now})


def clock_marked_at(tx: Connection) -> datetime | None:
    return moment(tx, select(leases.c.lease_until).where(leases.c.name == _MARK["name"]))
