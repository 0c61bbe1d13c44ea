"""Who is it: from a password and a one-time code to a session, from a session or an API token to a person.

Owns log-in, lock-out and sessions; must not say what the person may do, `core.roles` does.
"""

import hmac
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed, still_holds
from bridge.core.credentials import NOBODY, is_password, matching_step, token_sha256
from bridge.core.errors import Refused
from bridge.logs import log
from bridge.people.operators import totp_secret, tries_key
from bridge.permit import is_active
from bridge.store import audit, operators

# A session is marked as used at most this often, so that looking at pages does not write on every click.
TOUCH_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A person who proved who they are, and the role they act in now. `via` is session or token:<id>."""

    name: str
    role: str
    via: str


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open session. `token` is for the cookie and empty when read back; `csrf_token` goes into every form."""

    identity: Identity
    csrf_token: str = field(repr=False)
    expires_at: datetime
    token: str = field(default="", repr=False)

    def check_csrf(self, given: str) -> None:
        """Raises Refused("bad_csrf_token") unless a form carries this session's token."""
        if not hmac.compare_digest(self.csrf_token.encode(), given.encode("utf-8", "replace")):
            raise Refused("bad_csrf_token", "This form is too old; open the page again.", field="csrf_token")


class LoginFailed(Refused):
    """Says no reason: how many tries are `left`, or how long none is taken (`retry_after_seconds`, None while there are some)."""

    def __init__(self, *, left: int = 0, wait_seconds: int | None = None):
        detail = "Wrong name, password or code." if wait_seconds is None else "Too many wrong tries."
        super().__init__("login_failed", detail, retry_after_seconds=wait_seconds)
        self.left = left


def log_in(bridge: Bridge, *, name: str, password: str, code: str) -> Session:
    """Opens a session. Raises LoginFailed, the same for every reason and in the same time, also for a name that nobody has."""
    now = bridge.clock()
    name, name_key = name[:64], tries_key(bridge, name)
    with bridge.store.read() as tx:
        row, before = operators.find(tx, name), operators.tries(tx, name_key)
    # The slow hash is computed outside of any transaction.
    knows_password = is_password(password[:1_024], row.password_hash if row is not None else NOBODY)
    ends = [_end_of_lock(bridge, before), row.locked_until if row is not None else None]
    held = [end - now for end in ends if end and still_holds(end, now=now, lasts_seconds=bridge.login.lock_seconds)]
    if held:
        raise _failed(name, wait_seconds=-(-max(held) // timedelta(seconds=1)))
    step = None
    if row is not None and is_active(row, now):
        step = matching_step(totp_secret(bridge, row.name, row.totp_nonce), code.strip(), now=now)
    with bridge.store.write() as tx:
        is_new_code = step is not None and knows_password and operators.use_totp_step(tx, name, step=step)
        if is_new_code:
            operators.forget_tries(tx, name_key)
            return _open_session(tx, bridge, row, now=now)
        pause = timedelta(seconds=bridge.login.lock_seconds)
        failures = operators.count_failure(tx, name_key, now=now, kept=pause)
        left = bridge.login.failures_before_lock - failures
        if left <= 0 and row is not None:
            operators.change(tx, name, {"locked_until": now + pause})
            audit.write(tx, at=now, actor=name, action="operator_locked", detail={"operator": name})
    raise _failed(name, left=left) if left > 0 else _failed(name, wait_seconds=bridge.login.lock_seconds)


def _end_of_lock(bridge: Bridge, tries: Any) -> datetime | None:
    if tries is None or tries.failures < bridge.login.failures_before_lock:
        return None
    end: datetime = tries.failed_at + timedelta(seconds=bridge.login.lock_seconds)
    return end


def session_of(bridge: Bridge, token: str) -> Session:
    """The open session behind a cookie. Raises Refused("unauthorized") when it ended in any way."""
    now, digest = bridge.clock(), token_sha256(token)
    with bridge.store.read() as tx:
        row = operators.session(tx, digest) if token else None
    idle = timedelta(seconds=bridge.login.idle_seconds)
    # A clock that was ahead would keep it open for as long.
    seen_at = believed(row.seen_at, now=now) if row is not None else None
    if row is None or seen_at is None:
        raise Refused("unauthorized", "Log in first.")
    is_open = row.is_active and now < row.expires_at and now < seen_at + idle
    if not is_open or (row.ends_at is not None and now >= row.ends_at):
        raise Refused("unauthorized", "Log in first.")
    if now - row.seen_at >= timedelta(seconds=TOUCH_SECONDS):
        with bridge.store.write() as tx:
            operators.touch_session(tx, digest, now=now)
    identity = Identity(name=row.operator, role=row.role, via="session")
    return Session(identity=identity, csrf_token=row.csrf_token, expires_at=row.expires_at)


def log_out(bridge: Bridge, token: str) -> None:
    """Ends the session, if it is one."""
    with bridge.store.write() as tx:
        operators.end_session(tx, token_sha256(token))


def identity_of_token(bridge: Bridge, token: str) -> Identity | None:
    """The person behind an API token, or None when it is unknown, not yet or no longer good.

    A token whose person changed role since does only what both roles may: it then is good for nothing but viewing.
    """
    now = bridge.clock()
    if not token.startswith("sbo_"):
        return None
    with bridge.store.read() as tx:
        row = operators.token(tx, token_sha256(token))
    if row is None or row.revoked_at is not None or not row.starts_at <= now < row.ends_at or not is_active(row, now):
        return None
    role = row.role if row.role == row.owner_role else "viewer"
    return Identity(name=row.operator, role=role, via=f"token:{row.id}")


def _open_session(tx: Any, bridge: Bridge, row: Any, *, now: datetime) -> Session:
    token, csrf_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    expires_at = now + timedelta(seconds=bridge.login.session_seconds)
    values = {"token_sha256": token_sha256(token), "operator": row.name, "csrf_token": csrf_token}
    operators.end_old_sessions(tx, now=now)
    operators.add_session(tx, values | {"created_at": now, "seen_at": now, "expires_at": expires_at})
    operators.change(tx, row.name, {"failures": 0, "locked_until": None})
    audit.write(tx, at=now, actor=row.name, action="operator_logged_in", detail={"operator": row.name})
    identity = Identity(name=row.name, role=row.role, via="session")
    return Session(identity=identity, csrf_token=csrf_token, expires_at=expires_at, token=token)


def _failed(name: str, *, left: int = 0, wait_seconds: int | None = None) -> LoginFailed:
    log("operator.login_failed", level=logging.WARNING, operator=name[:32])
    return LoginFailed(left=left, wait_seconds=wait_seconds)
