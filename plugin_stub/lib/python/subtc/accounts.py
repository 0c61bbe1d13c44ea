"""Which bridge accounts this BILLmanager uses: several payment methods may name several bridges and keys.

Owns finding settings through payments, the one place where BILLmanager shows them; must not store them.
"""

from __future__ import annotations

from subtc import MODULE, log, mgrctl, payment, state
from subtc.settings import Settings


def known() -> dict[str, Settings]:
    """Bridge accounts by source id. Raises mgrctl.MgrctlDown only when nothing at all can be learned."""
    seen = state.samples()
    found: dict[str, Settings] = {}
    for method in _methods(seen):
        account = _settings_of(method, seen.get(method, []))
        if account is not None:
            found[account.source] = account
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
    for elid in samples:
        found = _shown_by(elid, method)
        if found is not None:
            return found
    # No remembered payment serves: a fresh or emptied state directory, or all of them were deleted.
    for elid in _newest(method):
        found = _shown_by(elid, method)
        if found is not None:
            _remember(method, elid)
            return found
    return None


def _shown_by(elid: str, method: str) -> Settings | None:
    try:
        found = payment.load(elid)
    except (mgrctl.Refused, payment.Foreign):
        return None  # deleted, or moved to another method
    return found.settings if found.method_id == method else None


def _newest(method: str) -> list[str]:
    try:
        rows = mgrctl.call("payment", filter="on", paymethod=method, p_cnt="5", p_num="1").findall("elem")
    except mgrctl.Refused as err:
        log.warning("accounts.payments", method=method, error=err)
        return []
    return [elid for elid in ((row.findtext("id") or "").strip() for row in rows) if payment.ELID.fullmatch(elid)]


def _remember(method: str, elid: str) -> None:
    try:
        state.remember_sample(method, elid)
    except OSError as err:
        log.warning("state.not_writable", what="sample", error=err)
