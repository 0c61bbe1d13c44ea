"""People: adding operators, changing what they may do, and their API tokens.

Owns their administration, audited with who and why; must not keep or show a password or a token after it was made.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from bridge import permit
from bridge.context import Bridge
from bridge.core.credentials import check_name, check_password, enrolment_url, hash_password, token_sha256
from bridge.core.errors import Conflict, Refused, there
from bridge.core.roles import ROLES
from bridge.invoices.present import View, time_text
from bridge.logs import log
from bridge.permit import Act, acting, check_actor_in, require_words
from bridge.store import operators
from bridge.store.db import queue_up

MANAGE = "operator.manage"


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """An API token, shown once."""

    id: str
    token: str = field(repr=False)


class TokenShape(View):
    """An API token of an operator, without the token."""

    id: str
    operator: str
    role: str
    note: str
    starts_at: str
    ends_at: str
    revoked_at: str | None


class OperatorView(View):
    """A person who may act, or might once; no hash of anything."""

    name: str
    role: str
    is_active: bool
    is_locked: bool
    expires_at: str | None
    created_at: str
    created_by: str


def add_operator(
    bridge: Bridge, *, name: str, role: str, password: str, expires_at: datetime | None, actor: str, reason: str
) -> str:
    """Adds an operator and returns the URL for their authenticator app, shown once.

    The first operator must be an admin. Raises Refused (bad_name, unknown_role, weak_password, forbidden) and
    Conflict("operator_exists").
    """
    require_words(actor, reason)
    check_name(name)
    check_password(password)
    if role not in ROLES:
        raise Refused("unknown_role", f"The role must be one of {', '.join(ROLES)}.", field="role")
    password_hash, nonce = hash_password(password, salt=secrets.token_bytes(16)), secrets.token_hex(16)
    with acting(bridge, MANAGE, actor=actor, reason=reason) as act:
        if operators.find(act.tx, name) is not None:
            raise Conflict("operator_exists", "There is an operator of this name, maybe a disabled one.")
        if role != "admin" and not operators.any_exist(act.tx):
            raise Refused("first_is_admin", "The first operator must be an admin.", field="role")
        values = {"name": name, "role": role, "is_active": True, "password_hash": password_hash, "totp_nonce": nonce}
        operators.add(act.tx, values | {"expires_at": expires_at, "created_at": act.now, "created_by": actor})
        _note(act, "operator_added", name, after={"role": role})
    return enrolment_url(name, totp_secret(bridge, name, nonce), issuer=_issuer(bridge))


def list_operators(bridge: Bridge) -> list[dict[str, Any]]:
    """Everybody, the disabled too."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        return [_shown(bridge, row, now) for row in operators.listing(tx)]


def show_operator(bridge: Bridge, name: str) -> dict[str, Any]:
    """One person with their tokens. Raises Refused("no_such_operator")."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        person = _shown(bridge, _found(operators.find(tx, name)), now)
    return person | {"tokens": list_tokens(bridge, name)}


def change_operator(
    bridge: Bridge,
    name: str,
    *,
    actor: str,
    reason: str,
    role: str | None = None,
    is_active: str | None = None,
    expires_at: datetime | None = None,
    is_endless: bool = False,
) -> None:
    """Changes a role, the end of an access, or enables and disables ("enabled", "disabled"); sessions end at once.

    Enabling unlocks too. `is_endless`: the access has no end any more. Nobody changes their own access.
    Raises Refused (no_such_operator, unknown_role, last_admin, own_access, forbidden).
    """
    require_words(actor, reason)
    if role is not None and role not in ROLES:
        raise Refused("unknown_role", f"The role must be one of {', '.join(ROLES)}.", field="role")
    values: dict[str, Any] = {"role": role} if role else {}
    values |= {"is_active": is_active == "enabled"} if is_active else {}
    values |= {"expires_at": None if is_endless else expires_at} if expires_at or is_endless else {}
    with acting(bridge, MANAGE, actor=actor, reason=reason) as act:
        # One after the other: two admins who end each other's access at once would each find the other one left.
        queue_up(act.tx, "operators")
        row = _found(operators.find(act.tx, name, lock=True))
        if row.role == "admin" and not operators.count_active(act.tx, role="admin", besides=name, now=act.now):
            raise Refused("last_admin", "The last admin cannot be changed; add another one first.", field="name")
        if actor == name:
            raise Refused("own_access", "Nobody changes their own access; another admin does.", field="name")
        before = {column: str(getattr(row, column)) for column in values}
        operators.change(act.tx, name, values | {"failures": 0, "locked_until": None})
        operators.forget_tries(act.tx, tries_key(bridge, name))
        operators.end_sessions_of(act.tx, name)
        after = {column: str(value) for column, value in values.items()}
        _note(act, "operator_changed", name, before=before, after=after)


def set_password(bridge: Bridge, name: str, *, password: str, actor: str, reason: str) -> None:
    """A new password, by an admin or by the operator; every session of the operator ends."""
    require_words(actor, reason)
    check_password(password)
    password_hash = hash_password(password, salt=secrets.token_bytes(16))
    with acting(bridge, _self_or_admin(actor, name), actor=actor, reason=reason) as act:
        _found(operators.find(act.tx, name, lock=True))
        operators.change(act.tx, name, {"password_hash": password_hash, "failures": 0, "locked_until": None})
        operators.forget_tries(act.tx, tries_key(bridge, name))
        operators.end_sessions_of(act.tx, name)
        _note(act, "operator_password_set", name)


def renew_totp(bridge: Bridge, name: str, *, actor: str, reason: str) -> str:
    """A new one-time secret, for a lost telephone; returns the URL for the authenticator app, shown once."""
    nonce = secrets.token_hex(16)
    with acting(bridge, MANAGE, actor=actor, reason=reason) as act:
        _found(operators.find(act.tx, name, lock=True))
        operators.change(act.tx, name, {"totp_nonce": nonce, "last_totp_step": 0})
        operators.end_sessions_of(act.tx, name)
        _note(act, "operator_totp_renewed", name)
    return enrolment_url(name, totp_secret(bridge, name, nonce), issuer=_issuer(bridge))


def issue_token(
    bridge: Bridge,
    *,
    operator: str,
    role: str,
    starts_at: datetime | None,
    ends_at: datetime,
    note: str,
    actor: str,
    reason: str,
) -> NewToken:
    """An API token of an operator, with their role or viewer: a token never does what its person may not.

    Raises Refused (no_such_operator, role_not_theirs, bad_period, forbidden).
    """
    require_words(actor, reason)
    now = bridge.clock()
    starts_at = starts_at or now
    if ends_at <= max(starts_at, now):
        raise Refused("bad_period", "A token must end after it starts, and not in the past.", field="ends_at")
    made = NewToken(id=bridge.new_id("tok"), token=f"sbo_{secrets.token_urlsafe(32)}")
    with acting(bridge, _self_or_admin(actor, operator), actor=actor, reason=reason, now=now) as act:
        row = _found(operators.find(act.tx, operator))
        if role not in (row.role, "viewer"):
            raise Refused("role_not_theirs", "A token has the role of its operator, or viewer.", field="role")
        values = {"id": made.id, "operator": operator, "role": role, "token_sha256": token_sha256(made.token)}
        values |= {"note": note, "created_by": actor}
        operators.add_token(act.tx, values | {"starts_at": starts_at, "ends_at": ends_at, "created_at": now})
        after = {"token": made.id, "role": role, "ends_at": time_text(ends_at)}
        _note(act, "operator_token_issued", operator, after=after)
    return made


def list_tokens(bridge: Bridge, operator: str | None = None) -> list[dict[str, Any]]:
    """Ids, roles and periods; the tokens themselves nobody has."""
    with bridge.store.read() as tx:
        return [TokenShape.of(row) for row in operators.tokens_of(tx, operator)]


def revoke_token(bridge: Bridge, token_id: str, *, actor: str, reason: str) -> None:
    """Ends a token at once. Raises Refused("unknown_token_id"), also when it was revoked before."""
    with acting(bridge, "read", actor=actor, reason=reason) as act:
        named = (row.operator for row in operators.tokens_of(act.tx, None) if row.id == token_id)
        owner = there(next(named, None), "unknown_token_id", "token")
        check_actor_in(act.tx, actor, _self_or_admin(actor, owner), now=act.now)
        if not operators.revoke_token(act.tx, token_id, now=act.now):
            raise Refused("unknown_token_id", "This token was revoked before.")
        _note(act, "operator_token_revoked", owner, after={"token": token_id})


def totp_secret(bridge: Bridge, name: str, nonce: str) -> bytes:
    """The operator's one-time secret, made from the bridge's own: the database alone gives nobody a code."""
    return hashlib.sha256(bridge.callback_token(f"totp:{name}:{nonce}").encode()).digest()[:20]


def tries_key(bridge: Bridge, name: str) -> str:
    """Under what wrong log-ins of a name are counted: somebody may have typed a password there."""
    return bridge.callback_token(f"login:{name[:64]}")


def _self_or_admin(actor: str, name: str) -> str:
    return "read" if actor == name else MANAGE


def _found(row: Any) -> Any:
    return there(row, "no_such_operator", "operator", field="name")


def _shown(bridge: Bridge, row: Any, now: datetime) -> dict[str, Any]:
    return OperatorView.of(row, is_active=permit.is_active(row, now), is_locked=permit.is_locked(bridge, row, now))


def _issuer(bridge: Bridge) -> str:
    """What the app calls the account: the shop's name, which the settings have, with the host where several have the usual one."""
    host = urlsplit(bridge.public_url).hostname or "bridge"
    name = " ".join(bridge.shop_name.replace(":", " ").split())
    return name if name not in ("", "Hosting") else host


def _note(
    act: Act, action: str, name: str, *, before: dict[str, str] | None = None, after: dict[str, str] | None = None
) -> None:
    act.audit(action, detail={"operator": name, "before": before or {}, "after": after or {}})
    log(action.replace("_", ".", 1), operator=name, actor=act.actor)
