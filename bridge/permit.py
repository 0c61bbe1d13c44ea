"""Who may act, and which switches are on.

Owns the check of every action by a person and the modes of bridge and wallets; what a mode stops, each job asks here.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import still_holds
from bridge.core.errors import Refused, Unavailable
from bridge.core.roles import TWO_PEOPLE, may, require
from bridge.logs import log
from bridge.store import audit, generation, leases, operators
from bridge.store.db import Tx

# A module's key acts under this prefix: it may propose, and is nobody's name.
MODULE = "module:"
# What is the second person's: it needs somebody with a role, however open the bridge is otherwise.
_APPROVALS = frozenset(approve for _, approve in TWO_PEOPLE)


@dataclass(frozen=True, kw_only=True)
class Act:
    """What a person changes in one transaction: who, why and when."""

    tx: Tx
    actor: str
    reason: str
    now: datetime

    def audit(self, action: str, **what: Any) -> None:
        """Writes down who did what and why, in the transaction of the change; `what` are the other words of `audit.write`."""
        audit.write(self.tx, at=self.now, action=action, actor=self.actor, reason=self.reason, **what)


@contextmanager
def acting(
    bridge: Bridge,
    permission: str,
    *,
    actor: str,
    reason: str,
    or_may: str = "",
    unless: str = "",
    now: datetime | None = None,
) -> Iterator[Act]:
    """The beginning of everything that a person does, in this order: the words, the transaction, the mode, the permission.

    `or_may`: another permission that will do, for whoever holds it. `unless`: the mode that stops this. `now`: for who has
    read the clock already. Raises Refused (actor_and_reason_required, unknown_operator, forbidden) and Unavailable("mode_…").
    """
    require_words(actor, reason)
    now = now or bridge.clock()
    with bridge.store.write() as tx:
        if unless:
            require_mode(tx, unless)
        person = operators.find(tx, actor) if or_may else None
        holds_other = person is not None and may(person.role, or_may)
        check_actor_in(tx, actor, or_may if holds_other else permission, now=now)
        yield Act(tx=tx, actor=actor, reason=reason, now=now)


def check_actor(bridge: Bridge, actor: str, permission: str) -> None:
    """Raises Refused unless `actor` is an active operator with the permission.

    While there are no operators yet any name may act, so that a bridge can be set up; approving is never possible then.
    """
    with bridge.store.read() as tx:
        check_actor_in(tx, actor, permission, now=bridge.clock())


def check_actor_in(tx: Tx, actor: str, permission: str, *, now: datetime) -> None:
    """The same inside a transaction."""
    if not actor.strip():
        raise Refused("actor_and_reason_required", "Say who acts.", field="actor")
    if permission in _APPROVALS or operators.any_exist(tx):
        row = operators.find(tx, actor)
        if row is None or not is_active(row, now):
            raise Refused("unknown_operator", "This is not the name of an active operator.", field="actor")
        require(row.role, permission)


def refuse_same_person(actor: str, *, involved: Iterable[str | None]) -> None:
    """Raises Refused("same_person") when `actor` is one of those who proposed, changed or approved this."""
    if actor in involved:
        raise Refused("same_person", "Somebody else must approve this: you had a hand in it already.", field="actor")


def is_active(row: Any, now: datetime) -> bool:
    return bool(row.is_active) and (row.expires_at is None or now < row.expires_at)


def is_locked(bridge: Bridge, row: Any, now: datetime) -> bool:
    """Whether guessing has locked the operator out."""
    return still_holds(row.locked_until, now=now, lasts_seconds=bridge.login.lock_seconds)


def require_words(actor: str, reason: str) -> None:
    """Every write says who and why. Raises Refused("actor_and_reason_required")."""
    if not actor.strip() or not reason.strip():
        raise Refused("actor_and_reason_required", "Say who decides and why.", field="reason")


MODES = ("normal", "read_only", "queued", "limited")
WALLET_MODES = ("normal", "paused")


def require_mode(tx: Tx, *refused_in: str) -> None:
    """Raises Unavailable("mode_<mode>") when the bridge is in one of these modes."""
    refuse_mode(leases.mode_of(tx), *refused_in)


def refuse_mode(mode: str | None, *refused_in: str) -> None:
    """The same for a mode that was read already; None is normal."""
    if mode in refused_in:
        raise Unavailable(f"mode_{mode}", "The operator has switched this off for now.", retry_after_seconds=60)


def refuse_paused(mode: str | None) -> None:
    """Raises Unavailable("wallet_paused") for a wallet in the mode "paused", which was read already."""
    if mode == "paused":
        raise Unavailable("wallet_paused", "The operator has paused this wallet.", retry_after_seconds=60)


def is_paused(tx: Tx, wallet_id: str) -> bool:
    return leases.mode_of(tx, f"wallet:{wallet_id}") == "paused"


# Nothing leaves for merchants and payers then: neither events nor letters.
SILENT = ("read_only", "queued")


def may_tell(tx: Tx) -> bool:
    """Whether anything may leave for merchants and payers now."""
    return leases.mode_of(tx) not in SILENT


def may_call_provider(tx: Tx, wallet_id: str) -> bool:
    """Whether the worker may call the gateway about this wallet now."""
    scope = f"wallet:{wallet_id}"
    modes = leases.modes_with(tx, scope)
    return modes.get("bridge") != "read_only" and modes.get(scope) != "paused"


def scopes(bridge: Bridge) -> list[str]:
    """What has a switch: the bridge, and every wallet that it works with."""
    return ["bridge", *(f"wallet:{rail.wallet_id}" for rail in bridge.rails)]


def set_mode(bridge: Bridge, *, scope: str, mode: str, actor: str, reason: str) -> None:
    """Turns a switch, audited. It takes effect within one loop of every worker and survives restarts.

    Raises Refused (unknown_scope, unknown_mode, actor_and_reason_required, forbidden).
    """
    if scope not in scopes(bridge):
        raise Refused("unknown_scope", f"There is a switch for each of {', '.join(scopes(bridge))}.", field="scope")
    allowed = MODES if scope == "bridge" else WALLET_MODES
    if mode not in allowed:
        raise Refused("unknown_mode", f"The mode must be one of {', '.join(allowed)}.", field="mode")
    with acting(bridge, "mode.set", actor=actor, reason=reason) as act:
        before = leases.mode_of(act.tx, scope)
        leases.set_mode(act.tx, scope, mode=mode, now=act.now, actor=actor, reason=reason)
        if (scope, mode) == ("bridge", "normal"):
            generation.end_recheck(act.tx)
        act.audit("mode_set", detail={"scope": scope, "before": before, "after": mode})
    log("mode.set", scope=scope, mode=mode, actor=actor)


def come_up_read_only(
    bridge: Bridge, *, actor: str, reason: str, action: str = "restored", detail: Mapping[str, Any] | None = None
) -> int:
    """The first transaction after a restore, or on a database that may lack something: read_only, a new generation, no address
    and no feed position given out twice.

    Returns how many spare addresses were retired. The mode stays until `subtc-bridge mode normal`. Any name may do it:
    the people of the copy may be others than today's, and a restored database must not stay open because of that.
    """
    require_words(actor, reason)
    now, fence = bridge.clock(), bridge.store.fence
    merchants = sorted(bridge.merchants)
    with bridge.store.write() as tx:
        begun = generation.begin(
            tx, fence, merchants=merchants, now=now, actor=actor, reason=reason, action=action, detail=detail
        )
    fence.learn(begun.known)
    log(f"database.{action}", **dict(detail or {}), actor=actor, spare_addresses_retired=begun.retired)
    return begun.retired
