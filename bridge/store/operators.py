"""Operators, their sessions and their API tokens.

Owns these rows; must not see a password, a session token or an API token: only hashes come here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from bridge.store.tables import operator_sessions, operator_tokens, operators


def any_exist(tx: Connection) -> bool:
    return tx.execute(select(operators.c.name).limit(1)).first() is not None


def find(tx: Connection, name: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(operators).where(operators.c.name == name)
    return tx.execute(query.with_for_update() if lock else query).one_or_none()


def listing(tx: Connection) -> Sequence[Row[Any]]:
    return tx.execute(select(operators).order_by(operators.c.name)).all()


def count_active(tx: Connection, *, role: str, besides: str = "", now: datetime | None = None) -> int:
    """How many hold a role and are enabled; with `now` only those whose access has not ended."""
    query = select(func.count()).select_from(operators)
    query = query.where(operators.c.role == role, operators.c.is_active.is_(True), operators.c.name != besides)
    if now is not None:
        query = query.where(or_(operators.c.expires_at.is_(None), operators.c.expires_at > now))
    return int(tx.execute(query).scalar_one())


def add(tx: Connection, values: Mapping[str, Any]) -> None:
    tx.execute(insert(operators).values(**values))


def change(tx: Connection, name: str, values: Mapping[str, Any]) -> None:
    tx.execute(update(operators).where(operators.c.name == name).values(**values))


def use_totp_step(tx: Connection, name: str, *, step: int) -> bool:
    """Takes a one-time code's step; False when it or a later one was used before: a code works once."""
    unused = update(operators).where(operators.c.name == name, operators.c.last_totp_step < step)
    return tx.execute(unused.values(last_totp_step=step)).rowcount == 1


def add_session(tx: Connection, values: Mapping[str, Any]) -> None:
    tx.execute(insert(operator_sessions).values(**values))


def session(tx: Connection, token_sha256: str) -> Row[Any] | None:
    """The session with its operator's role, activity and end."""
    query = select(operator_sessions, operators.c.role, operators.c.is_active, operators.c.expires_at.label("ends_at"))
    query = query.join(operators, operators.c.name == operator_sessions.c.operator)
    return tx.execute(query.where(operator_sessions.c.token_sha256 == token_sha256)).one_or_none()


def touch_session(tx: Connection, token_sha256: str, *, now: datetime) -> None:
    mine = operator_sessions.c.token_sha256 == token_sha256
    tx.execute(update(operator_sessions).where(mine).values(seen_at=now))


def end_session(tx: Connection, token_sha256: str) -> None:
    tx.execute(delete(operator_sessions).where(operator_sessions.c.token_sha256 == token_sha256))


def end_sessions_of(tx: Connection, name: str) -> None:
    tx.execute(delete(operator_sessions).where(operator_sessions.c.operator == name))


def end_old_sessions(tx: Connection, *, now: datetime) -> None:
    tx.execute(delete(operator_sessions).where(operator_sessions.c.expires_at < now))


def add_token(tx: Connection, values: Mapping[str, Any]) -> None:
    tx.execute(insert(operator_tokens).values(**values))


def token(tx: Connection, token_sha256: str) -> Row[Any] | None:
    """The API token with its operator's role, activity and end."""
    owner = (operators.c.role.label("owner_role"), operators.c.is_active, operators.c.expires_at)
    query = select(operator_tokens, *owner).join(operators, operators.c.name == operator_tokens.c.operator)
    return tx.execute(query.where(operator_tokens.c.token_sha256 == token_sha256)).one_or_none()


def tokens_of(tx: Connection, name: str | None) -> Sequence[Row[Any]]:
    query = select(operator_tokens).order_by(operator_tokens.c.operator, operator_tokens.c.created_at)
    return tx.execute(query.where(operator_tokens.c.operator == name) if name else query).all()


def revoke_token(tx: Connection, token_id: str, *, now: datetime) -> bool:
    mine = (operator_tokens.c.id == token_id, operator_tokens.c.revoked_at.is_(None))
    return tx.execute(update(operator_tokens).where(*mine).values(revoked_at=now)).rowcount == 1
