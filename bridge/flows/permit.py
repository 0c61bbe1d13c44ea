"""Whether the person who acts may do so: the one check behind pages, CLI and API.

Owns it; must not know how the person proved who they are, `flows.login` does.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bridge.core.clock import still_holds
from bridge.core.errors import Refused
from bridge.core.roles import may, require
from bridge.flows.context import Bridge
from bridge.store import operators
from bridge.store.db import Tx

# A module's key acts under this prefix: it may propose, and is nobody's name.
MODULE = "module:"


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
    if operators.any_exist(tx):
        require_operator(tx, actor, permission, now=now)


def require_operator(tx: Tx, actor: str, permission: str, *, now: datetime) -> Any:
    """The row of an active operator who holds the permission. Raises Refused("unknown_operator") or ("forbidden")."""
    row = operators.find(tx, actor)
    if row is None or not is_active(row, now):
        raise Refused("unknown_operator", "This is not the name of an active operator.", field="actor")
    require(row.role, permission)
    return row


def check_may_stop(tx: Tx, actor: str, *, approve: str, propose: str, now: datetime) -> None:
    """What waits for a second person is ended by who may approve it, or by who may propose it (a withdrawal)."""
    person = operators.find(tx, actor)
    is_approver = person is not None and may(person.role, approve)
    check_actor_in(tx, actor, approve if is_approver else propose, now=now)


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
