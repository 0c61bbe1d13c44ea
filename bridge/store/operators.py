"""Operators, their sessions and their API tokens.

Owns these rows; must not see a password, a session token or an API token: only hashes come here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from bridge.store.db import insert_into
from bridge.store.rows import Rows
from bridge.store.tables import login_tries, operator_sessions, operator_tokens, operators

_OPERATORS = Rows(table=operators, order=(operators.c.name,))
_SESSIONS = Rows(table=operator_sessions)
_TRIES = Rows(table=login_tries)
_TOKENS = Rows(table=operator_tokens, order=(operator_tokens.c.operator, operator_tokens.c.created_at))
add, find, listing = _OPERATORS.add, _OPERATORS.find, _OPERATORS.listing
add_session, add_token = _SESSIONS.add, _TOKENS.add


def any_exist(tx: Connection) -> bool:
    return _OPERATORS.any(tx)


def count_active(tx: Connection, *, role: str, besides: str = "", now: datetime | None = None) -> int:
    """How many hold a role and are enabled; with `now` only those whose access has not ended."""
    has_access = [or_(operators.c.expires_at.is_(None), operators.c.expires_at > now)] if now is not None else []
    return _OPERATORS.count(tx, operators.c.name != besides, *has_access, role=role, is_active=True)


def change(tx: Connection, name: str, values: Mapping[str, Any]) -> Row[Any] | None:
    return _OPERATORS.change(tx, values, name=name)


def use_totp_step(tx: Connection, name: str, *, step: int) -> bool:
    """Takes a one-time code's step; False when it or a later one was used before: a code works once."""
    unused = operators.c.last_totp_step < step
    return _OPERATORS.change(tx, {"last_totp_step": step}, unused, name=name) is not None


def tries(tx: Connection, name_key: str) -> Row[Any] | None:
    """How often somebody failed to log in under this name, and when last."""
    return _TRIES.find(tx, name_key)


def count_failure(tx: Connection, name_key: str, *, now: datetime, kept: timedelta) -> int:
    """One more; those of longer ago, or of a clock that was ahead, are no longer known. Returns how many there are."""
    _TRIES.remove(tx, or_(login_tries.c.failed_at < now - kept, login_tries.c.failed_at > now + kept))
    one = insert_into(tx, login_tries).values(name_key=name_key, failures=1, failed_at=now)
    more = {"failures": login_tries.c.failures + 1, "failed_at": now}
    counted = one.on_conflict_do_update(index_elements=["name_key"], set_=more).returning(login_tries.c.failures)
    return int(tx.execute(counted).scalar_one())


def forget_tries(tx: Connection, name_key: str) -> None:
    _TRIES.remove(tx, name_key=name_key)


def session(tx: Connection, token_sha256: str) -> Row[Any] | None:
    """The session with its operator's role, activity and end."""
    query = select(operator_sessions, operators.c.role, operators.c.is_active, operators.c.expires_at.label("ends_at"))
    query = query.join(operators, operators.c.name == operator_sessions.c.operator)
    return tx.execute(query.where(operator_sessions.c.token_sha256 == token_sha256)).one_or_none()


def touch_session(tx: Connection, token_sha256: str, *, now: datetime) -> None:
    _SESSIONS.change(tx, {"seen_at": now}, token_sha256=token_sha256)


def end_session(tx: Connection, token_sha256: str) -> None:
    _SESSIONS.remove(tx, token_sha256=token_sha256)


def end_sessions_of(tx: Connection, name: str) -> None:
    _SESSIONS.remove(tx, operator=name)


def end_old_sessions(tx: Connection, *, now: datetime) -> None:
    _SESSIONS.remove(tx, operator_sessions.c.expires_at < now)


def token(tx: Connection, token_sha256: str) -> Row[Any] | None:
    """The API token with its operator's role, activity and end."""
    owner = (operators.c.role.label("owner_role"), operators.c.is_active, operators.c.expires_at)
    query = select(operator_tokens, *owner).join(operators, operators.c.name == operator_tokens.c.operator)
    return tx.execute(query.where(operator_tokens.c.token_sha256 == token_sha256)).one_or_none()


def tokens_of(tx: Connection, name: str | None) -> Sequence[Row[Any]]:
    return _TOKENS.listing(tx, match={"operator": name} if name else {})


def revoke_token(tx: Connection, token_id: str, *, now: datetime) -> bool:
    return _TOKENS.change(tx, {"revoked_at": now}, id=token_id, revoked_at=None) is not None
