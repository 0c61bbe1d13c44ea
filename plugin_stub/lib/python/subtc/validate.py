"""pmvalidate: prove URL, key, currency, clock and notification secret against the bridge before they are saved.

Owns the checks and which field each error is shown at; must not store or log what was typed.
"""

from __future__ import annotations

import os
import time
import xml.etree.ElementTree as ET
from email.utils import parsedate_to_datetime
from typing import Any

from subtc import bridge, log, mgrctl, place, settings, signature
from subtc.form import FormError

_SKEW_SECONDS = 120  # well inside the five minutes a notification may be old


def pmvalidate(form: ET.Element) -> None:
    """Raises FormError bound to the field that must be corrected. `form` is the <doc> from stdin (contract 5.2)."""
    typed = settings.read({child.tag: child.text or "" for child in form})
    check_shape(typed)
    if form.findtext("allowrefund") == "on" and not place.switches().refund:
        raise FormError("subtc_refund_off", "allowrefund")
    ids = [(form.findtext(path) or "").strip() for path in ("paymethod/currency", "paymethod/id")]
    check_bridge(typed, _currency(*ids))


def check_shape(typed: settings.Settings) -> None:
    """What can be refused without asking anybody. Raises FormError."""
    if not settings.url_is_good(typed.bridge_url):
        raise FormError("subtc_url_bad", settings.URL_FIELD, value=typed.bridge_url)
    if not settings.key_is_good(typed.api_key):
        raise FormError("subtc_key_bad", settings.KEY_FIELD)
    if not settings.decode_secret(typed.notify_secret):
        raise FormError("subtc_secret_bad", settings.SECRET_FIELD)
    if typed.notify_secret_old and not settings.decode_secret(typed.notify_secret_old):
        raise FormError("subtc_secret_bad", settings.OLD_SECRET_FIELD)
    if not settings.tier_is_good(typed.tier):
        raise FormError("subtc_tier_bad", settings.TIER_FIELD, value=typed.tier)


def check_bridge(typed: settings.Settings, currency: str) -> dict[str, Any]:
    """Ask the bridge and judge its signed answer, which is returned. Raises FormError."""
    nonce = os.urandom(16).hex()
    answer = _ask(typed, nonce, currency)
    now = int(time.time())
    skew = _skew(answer, now)
    if abs(skew) > _SKEW_SECONDS:
        raise FormError("subtc_clock_skew", settings.URL_FIELD, value=str(abs(skew)))
    try:
        signature.verify(
            secrets=[settings.decode_secret(typed.notify_secret)], headers=answer.headers, body=answer.raw, now=now
        )
    except signature.BadSignature as err:
        raise FormError("subtc_secret_mismatch", settings.SECRET_FIELD) from err
    if answer.body.get("nonce") != nonce:
        raise FormError("subtc_bridge_wrong", settings.URL_FIELD, value="nonce")
    offered = _names(answer.body.get("currencies"))
    if currency and currency not in offered:
        raise FormError("subtc_currency_unsupported", "currency", value=currency, currencies=", ".join(offered))
    log.info("pmvalidate.good", merchant=answer.body.get("merchant"), network=answer.body.get("network"))
    return answer.body


def _ask(typed: settings.Settings, nonce: str, currency: str) -> bridge.Answer:
    kinds = {"down": "subtc_bridge_down", "tls": "subtc_bridge_tls", "wrong": "subtc_bridge_wrong"}
    try:
        return bridge.check(typed, nonce=nonce, currency=currency)
    except bridge.BridgeDown as err:
        raise FormError(kinds[err.kind], settings.URL_FIELD, value=str(err)) from err
    except bridge.BridgeRefused as err:
        if err.status in (401, 403):
            raise FormError("subtc_key_refused", settings.KEY_FIELD) from err
        if err.about == "currency" or err.code == "unsupported_currency":
            shown = currency or "?"
            raise FormError("subtc_currency_unsupported", "currency", value=shown, currencies=err.detail) from err
        raise FormError("subtc_bridge_wrong", settings.URL_FIELD, value=str(err)) from err


def _names(found: Any) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else []


def _skew(answer: bridge.Answer, now: int) -> int:
    """Seconds between the bridge's clock (Date header) and ours; an unreadable date is as good as no date."""
    try:
        return int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp()) - now
    except (TypeError, ValueError, IndexError):
        return 0


def _currency(currency_id: str, method_id: str) -> str:
    """ISO code of BILLmanager's currency id; empty when BILLmanager does not tell, then the bridge decides later."""
    for func, key, wanted, column in (
        ("currency", "id", currency_id, "iso"),
        ("paymethod", "id", method_id, "currency_name"),
    ):
        if not wanted:
            continue
        try:
            rows = mgrctl.call(func).findall("elem")
        except (mgrctl.Refused, mgrctl.MgrctlDown) as err:
            log.warning("pmvalidate.currency_unknown", func=func, error=err)
            continue
        for row in rows:
            iso = (row.findtext(column) or "").strip()
            if (row.findtext(key) or "").strip() == wanted and len(iso) == 3 and iso.isalpha():
                return iso.upper()
    return ""
