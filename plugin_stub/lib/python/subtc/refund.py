"""rfset: hand a refund request to the bridge, where another person approves it. Off unless etc/subtc.conf says so.

Owns reading the refund form; must not send money: on-chain refunds cannot go back "to the source".
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET

from subtc import bridge, log, mgrctl, payment
from subtc.form import FormError


def rfset(form: ET.Element) -> None:
    """Raises FormError; then BILLmanager does not book the refund (contract 5.7)."""
    elid = (form.findtext("source_payment") or "").strip()
    # The sign differs between versions of the panel; a refund is always a positive amount here.
    charge = payment.decimal((form.findtext("payment_paymethodamount") or "").strip().lstrip("-"))
    if not payment.ELID.fullmatch(elid) or not charge:
        raise FormError("value", "payment_paymethodamount")
    try:
        found = payment.load(elid)
        if not found.externalid or charge > found.charge:
            raise FormError("value", "payment_paymethodamount")
        key = f"bmr-{elid}-{hashlib.sha256(ET.tostring(form)).hexdigest()[:16]}"
        reason = f"refund of billing payment {elid}"
        order = {"variant": "fiat_at_quote", "amount": str(charge), "reason": reason}
        bridge.request_refund(found.settings, found.externalid, key=key, order=order)
    except (mgrctl.MgrctlDown, mgrctl.Refused, payment.Foreign, bridge.BridgeDown) as err:
        raise FormError("subtc_refund_failed", "payment_paymethodamount", value=str(err)) from err
    except bridge.BridgeRefused as err:
        raise FormError("subtc_refund_failed", "payment_paymethodamount", value=err.detail or err.code) from err
    log.info("refund.requested", elid=elid, invoice=found.externalid)
