"""Which bridge accounts this BILLmanager uses: several payment methods may name several bridges and keys.

Owns finding settings through payments, the one place where BILLmanager shows them; must not store them.
"""

from __future__ import annotations

from typing import Iterator

from subtc import MODULE, log, mgrctl, payment, state
from subtc.settings import Settings


def known() -> dict[str, Settings]:
    """Bridge accounts by source id. Raises mgrctl.MgrctlDown only when trouble was all there was."""
    seen = state.samples()
    found: dict[str, Settings] = {}
    trouble: mgrctl.MgrctlDown | None = None
    for method in _methods(seen):
        try:
            account = _settings_of(method, seen.get(method, []))
        except mgrctl.MgrctlDown as err:
            log.warning("accounts.method_unreadable", method=method, error=err)
            trouble = err
            continue
        if account is not None:
            found[account.source] = account
    if trouble is not None and not found:
        raise trouble
    return found


def _methods(seen: dict[str, list[str]]) -> list[str]:
    """Methods of this module that exist now, and those that once had a payment: late money may still come."""
    ids = set(seen)
    try:
        for row in mgrctl.call("paymethod").findall("elem"):
            if row.findtext("module") == MODULE:
                ids.add((row.findtext("id") or "").strip())
    except mgrctl.Refused as err:
        log.warning("accounts.methods", error=err)
    return sorted(one for one in ids if payment.ELID.fullmatch(one))


def _settings_of(method: str, samples: list[str]) -> Settings | None:
    trouble: list[mgrctl.MgrctlDown] = []
    for elid in _candidates(method, samples):
        try:
            found = _shown_by(elid, method)
        except mgrctl.MgrctlDown as err:
            trouble.append(err)  # perhaps this one payment alone, so a few others are asked
            if len(trouble) > 2:
                break
            continue
        if found is not None:
            if elid not in samples:
                _remember(method, elid)
            return found
    if trouble:
        raise trouble[-1]
    return None


def _candidates(method: str, samples: list[str]) -> Iterator[str]:
    """Remembered payments; then, for a fresh state directory or when all of them were deleted, the listed ones."""
    yield from samples
    yield from _newest(method)


def _shown_by(elid: str, method: str) -> Settings | None:
    try:
        found = payment.load(elid)
    except (mgrctl.Refused, payment.Foreign, payment.Unreadable):
        return None  # deleted, moved to another method, or damaged: others of the method will do
    return found.settings if found.method_id == method else None


def _newest(method: str) -> list[str]:
    try:
        rows = mgrctl.call("payment", filter="on", paymethod=method, p_cnt="20", p_num="1").findall("elem")
    except mgrctl.Refused as err:
        log.warning("accounts.payments", method=method, error=err)
        return []
    return [elid for elid in ((row.findtext("id") or "").strip() for row in rows) if payment.ELID.fullmatch(elid)]


def _remember(method: str, elid: str) -> None:
    try:
        state.remember_sample(method, elid)
    except OSError as err:
        log.warning("state.not_writable", what="sample", error=err)
