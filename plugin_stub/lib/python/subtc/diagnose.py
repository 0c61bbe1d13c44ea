"""What an administrator asks when something does not work: files, mgrctl, description, bridge, clock, queue.

Owns the checks and their advice; must not change a payment, and must not print a secret.
"""

from __future__ import annotations

import os
import sys
import time
import xml.etree.ElementTree as ET
from decimal import Decimal
from typing import Any, Callable, Iterator, Tuple

from subtc import accounts, bridge, identity, mgrctl, place, settings, state
from subtc.form import FormError
from subtc.validate import check_bridge, check_shape

Finding = Tuple[bool, str]

_SCRIPTS = ("paymethods/pmsubtc", "cgi/subtcpayment", "cgi/subtcresult")
_DESCRIPTION = "etc/xml/billmgr_mod_pmsubtc.xml"


def findings() -> Iterator[Finding]:
    """Each check as (good, sentence); a bad one says what to do."""
    for check in (_interpreter, _scripts, _description, _state, _mgrctl, _bridges, _queue):
        yield from check()


def _interpreter() -> Iterator[Finding]:
    version = "{}.{}".format(*sys.version_info)
    good = sys.version_info >= (3, 8)
    yield good, f"python {version}" if good else f"python {version} is too old: install Python 3.8 or newer"


def _scripts() -> Iterator[Finding]:
    for name in _SCRIPTS:
        where = place.base() / name
        if not where.is_file():
            yield False, f"{name} is missing: run make install again"
            continue
        mode = where.stat().st_mode & 0o777
        if not mode & 0o100:
            yield False, f"{name} is not executable: chmod 744 {where}"
        elif mode & 0o022:
            yield False, f"{name} can be changed by others: chmod 744 {where}"
        else:
            yield True, f"{name} mode {mode:o}"


def _description() -> Iterator[Finding]:
    where = place.base() / _DESCRIPTION
    try:
        root = mgrctl.parse(where.read_bytes())
    except OSError as err:
        yield False, f"{_DESCRIPTION} cannot be read ({err.strerror}): run make install again"
    except ET.ParseError as err:
        yield False, f"{_DESCRIPTION} is damaged ({err}): run make install again"
    else:
        found = root.find("plugin[@name='pmsubtc']") is not None
        yield found, f"{_DESCRIPTION} is whole" if found else f"{_DESCRIPTION} describes another plugin"


def _state() -> Iterator[Finding]:
    where = place.state_dir()
    if not where.is_dir():
        yield False, f"{where} is missing: run make install again"
    elif not os.access(where, os.W_OK | os.X_OK):
        yield False, f"{where} cannot be written: it must belong to root, mode 750"
    elif where.stat().st_mode & 0o007:
        yield False, f"{where} is open to everybody: chmod 750 {where}"
    else:
        free = os.statvfs(str(where)).f_bavail
        yield free > 0, f"{where} is writable" if free else f"the disk of {where} is full: make room"


def _mgrctl() -> Iterator[Finding]:
    try:
        mgrctl.call("whoami")
    except (mgrctl.MgrctlDown, mgrctl.Refused) as err:
        yield False, f"mgrctl does not answer ({err}): is BILLmanager running?"
    else:
        yield True, "mgrctl answers"


def _bridges() -> Iterator[Finding]:
    try:
        known = accounts.known()
    except mgrctl.MgrctlDown:
        return
    if not known:
        yield True, "no payment uses the module yet: settings are checked when the payment method is saved"
    for account in known.values():
        yield from _bridge(account)


def _bridge(account: settings.Settings) -> Iterator[Finding]:
    try:
        check_shape(account)
        told = check_bridge(account, "")
    except FormError as problem:
        words = problem.params["value"]
        yield False, f"bridge {account.bridge_url}: {_sentence(problem.kind, words)}"
        return
    yield True, f"bridge {account.bridge_url}: address, key, clock and secret are good"
    extra = _surcharge(told.get("surcharges"), account.tier)
    if extra:
        # The list of methods shows a description and nothing that a module could add to it (contract 3).
        yield True, f"clients pay {extra} on top: say so in the payment method's description, which they read before"


def _surcharge(told: Any, tier: str) -> str:
    """What clients of this method pay besides; a bridge of before does not say."""
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    mine = [row for row in rows if row.get("tier") == tier] or [row for row in rows if row.get("tier") == "default"]
    parts = {f"{Decimal(str(row.get('risk_bps') or 0)) / 100:f} %": None for row in mine if row.get("risk_bps")}
    fees = [f"{row.get('fee')} {row.get('currency')}" for row in mine if str(row.get("fee") or "").strip("0.")]
    return " and ".join([*parts, *([" or ".join(fees) + " for the network"] if fees else [])])


def _sentence(kind: str, value: str) -> str:
    """The sentence of the settings form, so that the advice is the same everywhere."""
    try:
        root = mgrctl.parse((place.base() / _DESCRIPTION).read_bytes())
    except (OSError, ET.ParseError):
        return f"{kind} {value}"
    text = root.findtext(f"lang[@name='en']/messages[@name='msgerror']/msg[@name='msg_error_{kind}']") or kind
    return text.replace("__value__", value).replace("__currencies__", "")


def _queue() -> Iterator[Finding]:
    try:
        named = {identity.of(source) for source in accounts.known()}
    except mgrctl.MgrctlDown:
        return  # said already
    for account in state.feed_names():
        feed = state.load_feed(account)
        age = int(time.time()) - int(feed.get("pulled_at") or 0)
        if account not in named:
            yield True, f"no payment method leads to account {account} any more, so it is not read"
        elif age > 900:
            yield False, f"checkpay has not read the bridge for {age // 60} min: look into var/pmsubtc.log"
        else:
            yield True, f"checkpay read the bridge {age} s ago, position {feed['position']}"
        if feed["retry"] and account in named:
            yield False, f"{len(feed['retry'])} events wait for another try: look into var/pmsubtc.log"
        if feed["parked"]:
            yield False, _cases(feed["parked"])


def _cases(parked: list[Any]) -> str:
    last = parked[-1]
    where = f"billing payment {last.get('elid')}, {last.get('reason')}"
    program = f"{place.base() / _SCRIPTS[0]} --command solved"
    program += f" --payment {last['elid']}" if last.get("elid") else ""
    return f"{len(parked)} events need a person, the last one: {where}; when that is done and this stays: {program}"


def reachable(url: str) -> Finding:
    """Whether something answers at `url`, before any payment method is configured."""
    if not settings.url_is_good(url):
        return False, f"{url} cannot be a bridge address: it must begin with https://"
    nobody = settings.read({settings.URL_FIELD: url, settings.KEY_FIELD: "not-a-real-key"})
    try:
        bridge.check(nobody, nonce="check", currency="")
    except bridge.BridgeDown as err:
        return False, f"bridge {url}: {err}: check address, firewall and certificate"
    except bridge.BridgeRefused as err:
        return err.status in (401, 403), f"bridge {url} answers ({err.status} without a key)"
    return True, f"bridge {url} answers"


def main(url: str = "", say: Callable[[str], None] = print) -> int:
    """Print every finding; 0 when all are good."""
    bad = 0
    for good, sentence in [*findings(), *([reachable(url)] if url else [])]:
        bad += not good
        say(("ok    " if good else "FAIL  ") + sentence)
    say("all good" if not bad else f"{bad} to repair")
    return 1 if bad else 0
