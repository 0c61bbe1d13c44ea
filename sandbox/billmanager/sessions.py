"""Owns who a caller is: passwords, sessions, keys, cookies, whoami. It must not decide what a caller may do."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents
from sandbox.billmanager.core import Call, Core, Element, ok
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import money
from sandbox.billmanager.rows import Session, User

COOKIE, LANG_COOKIE = "billmgrses5", "billmgrlang5"
NOBODY = User(id=0, name="", password="", level=0, realname="", email="")


def cookie_session(value: str) -> str:
    """The session inside a cookie: URL-decoded and cut at the colon (BILLmanager contract 7)."""
    return unquote(value).partition(":")[0]


def cookie_lang(value: str) -> str:
    """The language inside `<theme>:<lang>`."""
    return unquote(value).rpartition(":")[2]


def identify(core: Core, params: Mapping[str, str], cookies: Mapping[str, str], peer: str) -> User:
    """The caller, by authinfo, then auth, then cookie. Raises `auth` for a wrong one; without any it is nobody."""
    if params.get("authinfo"):
        user = _by_authinfo(core, params["authinfo"], peer)
    elif params.get("auth"):
        user = by_session(core, params["auth"])
    elif cookies.get(COOKIE) and params.get("func") != "auth":
        user = by_session(core, cookie_session(cookies[COOKIE]))
    else:
        return NOBODY
    return _instead(core, user, params.get("su", ""))


def _instead(core: Core, user: User, other: str) -> User:
    if not other:
        return user
    found = core.world.user_named(other)
    if user.level < 30 or found is None:
        raise CoreError("access", "su")
    return found


def _by_authinfo(core: Core, text: str, peer: str) -> User:
    allowed = [part.strip() for part in core.knobs.authinfo_allow.split(",") if part.strip()]
    if allowed and not any(_inside(peer, network) for network in allowed):
        raise CoreError("auth", "badaddress", f"remote_addr: [{peer}]")
    name, _, password = text.partition(":")
    return check_password(core, name, password, peer)


def _inside(peer: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(peer) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def check_password(core: Core, name: str, password: str, peer: str) -> User:
    """The user with this name and password. Raises `auth` `badpassword`."""
    user = core.world.user_named(name)
    if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
        raise CoreError("auth", "badpassword", f"remote_addr: [{peer}]")
    return user


def by_session(core: Core, sid: str) -> User:
    """The user of a session that was used in the last hour. Raises `auth`."""
    with core.world.lock:
        session = core.world.sessions.get(sid)
        now = core.clock.seconds()
        if session is None or now - session.used_at > core.knobs.session_idle_s:
            core.world.sessions.pop(sid, None)
            raise CoreError("auth", "badsession")
        session.used_at = now
        return core.world.users[session.user]


def open_session(core: Core, user: User) -> str:
    """A fresh session of a user."""
    sid = secrets.token_hex(12)
    with core.world.lock:
        core.world.sessions[sid] = Session(id=sid, user=user.id, used_at=core.clock.seconds())
    return sid


def auth(core: Core, call: Call) -> Element:
    """`auth username= password=` or `auth username= key=`: a session (BILLmanager contract 8.4)."""
    name = call.need("username")
    if call.params.get("key"):
        user = _by_key(core, name, call.params["key"], call.peer)
    else:
        user = check_password(core, name, call.params.get("password", ""), call.peer)
    sid = open_session(core, user)
    document = ET.Element("doc")
    documents.child(document, "auth", sid, id=sid, level=str(user.level))
    return document


def _by_key(core: Core, name: str, key: str, peer: str) -> User:
    user = core.world.user_named(name)
    with core.world.lock:
        if user is None or core.world.login_keys.get(key) != user.id:
            raise CoreError("auth", "badkey", f"remote_addr: [{peer}]")
        if core.knobs.login_key_once:
            del core.world.login_keys[key]
    return user


def new_key(core: Core, call: Call) -> Element:
    """`session.newkey username= key=` (at least 16 characters): lets `auth` log in as that user."""
    user, key = core.world.user_named(call.need("username")), call.need("key")
    if user is None:
        raise CoreError("missed", "username", call.params["username"])
    if len(key) < 16:
        raise CoreError("value", "key")
    with core.world.lock:
        core.world.login_keys[key] = user.id
    return ok()


def log_out(core: Core, call: Call) -> Element:
    """`logout`: the session given in `auth` ends."""
    with core.world.lock:
        core.world.sessions.pop(call.params.get("auth", ""), None)
    return ok()


def whoami(core: Core, call: Call) -> Element:
    """`whoami`: the caller as attributes of `<user>`."""
    user = call.actor
    account = core.world.accounts.get(user.account)
    document = ET.Element("doc")
    attributes = {"id": str(user.id), "level": str(user.level), "name": user.name, "realname": user.realname}
    attributes |= {"email": user.email, "account": str(user.account or ""), "lang": user.lang}
    if account is not None:
        iso = core.world.currencies[account.currency].iso
        attributes |= {"balance": money(account.balance), "currency": iso, "currency_id": str(account.currency)}
    documents.child(document, "user", "", **attributes)
    documents.child(document, "path")
    version = "6.94.1" if core.knobs.version == 6 else "5.331.0"
    documents.child(document, "mgr", "", name="billmgr", version=version, dist="corporate")
    documents.child(document, "version", version)
    return document
