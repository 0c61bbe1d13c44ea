"""cgi/subtcpayment: a signed-in client pressed Pay; check him, open or reuse the invoice, send him to the pay page.

Owns the order of these steps; must not mark anything paid, and must not open an invoice for a payment of somebody else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any
from urllib.parse import urlsplit

from subtc import bridge, log, mgrctl, payment, settings, settle, state, texts, webio
from subtc.invoice import Invoice, Malformed, read_invoice
from subtc.payment import BillingPayment
from subtc.webio import Request

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# Refusals of a sum, which another payment method may well take, by what the client reads of them.
_SUMS = {"below_minimum": "too_small", "above_maximum": "too_large"}
_ELSEWHERE = {*_SUMS.values(), "refused"}
_PAYMENTS = "/billmgr?func=payment"
_KEY_PART = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Stop(Exception):
    """The client gets the page `text` with `status`; `reason` is for the log."""

    def __init__(self, status: int, text: str, reason: str):
        super().__init__(reason)
        self.status = status
        self.text = text
        self.reason = reason


def main() -> None:
    """Answer one request; whatever happens the client reads what to do, never a traceback."""
    log.begin("subtcpayment")
    log.follow(os.urandom(16).hex())
    language, elid = "en", ""
    try:
        request = webio.read_request()
        language, elid = request.language(), request.fields.get("elid", "")
        _redirect(answer(request, elid), language)
    except webio.BadRequest as err:
        _page(err.status, "bad_request", language, "", str(err))
    except Stop as stop:
        _page(stop.status, stop.text, language, elid, stop.reason)
    except (mgrctl.MgrctlDown, bridge.BridgeDown, state.Busy, OSError) as err:
        _page(503, "try_later", language, elid, f"{type(err).__name__}: {err}")
    except (mgrctl.Refused, bridge.BridgeRefused, Malformed) as err:
        _page(502, "refused", language, elid, f"{type(err).__name__}: {err}")
    except Exception as err:
        log.error("pay.defect", elid=elid, error=repr(err))
        _page(503, "try_later", language, "", "defect")


def answer(request: Request, elid: str) -> str:
    """The address to send the client to. Raises Stop and what mgrctl and bridge raise."""
    if not payment.ELID.fullmatch(elid):
        raise Stop(400, "bad_request", "elid is not a number")
    _check_owner(elid, request.session())
    with state.payment_lock(elid):  # two tabs at once: the second sees what the first did
        try:
            found = payment.load(elid)
        except payment.Foreign as err:
            raise Stop(403, "not_yours", "payment of another module") from err
        if found.status == payment.PAID:
            return found.page("payment.success")
        if found.status in (payment.FRAUD, payment.CANCELLED):
            return found.page("payment.fail")
        if found.status not in payment.PAYABLE:
            raise Stop(409, "not_payable", f"status {found.status}")
        return _invoice_page(found, request.language())


def _check_owner(elid: str, session: str) -> None:
    """The session must be alive, not root's, and see this payment in its own list (BILLmanager contract 7)."""
    if not session:
        raise Stop(403, "sign_in", "no session")
    try:
        user = mgrctl.call("whoami", session=session).find("user")
        # If mgrctl did not apply the session we would be root, who sees every payment: then nobody may pass.
        if user is None or user.get("name") in (None, "", "root"):
            raise Stop(403, "sign_in", "the session has no user")
        rows = mgrctl.call("payment", session=session, filter="on", id=elid).findall("elem")
    except mgrctl.Refused as err:
        raise Stop(403, "sign_in", f"session refused: {err.kind}") from err
    if not any((row.findtext("id") or "").strip() == elid for row in rows):
        raise Stop(403, "not_yours", "not in the list of this session")


def _invoice_page(found: BillingPayment, language: str) -> str:
    invoice = _existing(found) or _open(found, language, "")
    log.follow(invoice.trace or log.trace())  # an invoice keeps the trace of the request that opened it
    difference = "payment" if invoice.elid != found.elid else settle.compare(invoice, found)
    if difference and not (difference == "invoice_id" and _left_by_another_module(found)):
        # An external id is kept for the life of a payment; a second invoice would orphan the first (contract 14.8).
        raise Stop(502, "refused", f"the bridge answers with another {difference}")
    if not _good_page(invoice.payment_url, found.settings):
        raise Stop(502, "refused", "payment_url is not an https address")
    _remember(invoice, found)
    if (found.status, found.externalid) != (payment.IN_PAY, invoice.id):
        _set_in_pay(found, invoice)
    log.info("pay.redirect", elid=found.elid, invoice=invoice.id, status=invoice.status)
    return invoice.payment_url


def _existing(found: BillingPayment) -> Invoice | None:
    """The invoice opened before, if it still stands; an expired one or another amount is opened under a new key."""
    record = state.load_record(found.elid)
    known = found.externalid or (record.invoice if record is not None else "")
    if not known:
        return None
    try:
        invoice = read_invoice(bridge.get_invoice(found.settings, known))
    except bridge.BridgeRefused as err:
        if err.status != 404:
            raise
        return None
    if invoice.status != "expired" and not settle.compare(invoice, found):
        return invoice
    # The sequence moves with every change at the bridge: a new key per change, the same key for a lost answer.
    return _open(found, "", f"-s{invoice.sequence}")


def _left_by_another_module(found: BillingPayment) -> bool:
    """True when the external id is not of this bridge: the client chose another method first, then this one."""
    record = state.load_record(found.elid)
    return record is None or record.invoice != found.externalid


def _open(found: BillingPayment, language: str, suffix: str) -> Invoice:
    key = _key(found) + suffix
    order = _order(found, language)
    try:
        return read_invoice(bridge.open_invoice(found.settings, key=key, order=order))
    except bridge.BridgeRefused as err:
        if err.code == "idempotency_mismatch":
            # Same payment, other words (language, e-mail, amount) before an answer was stored.
            digest = hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()[:12]
            return read_invoice(bridge.open_invoice(found.settings, key=f"{_key(found)}-{digest}", order=order))
        if err.status == 409:
            raise Stop(409, "changed", str(err)) from err
        if err.code in _SUMS:
            raise Stop(422, _SUMS[err.code], str(err)) from err
        raise


def _key(found: BillingPayment) -> str:
    """bm-<elid>-<randomnumber>: the same for every reload of one payment, in the bridge's alphabet."""
    token = found.randomnumber
    if not _KEY_PART.fullmatch(token):
        token = hashlib.sha256(token.encode()).hexdigest()[:12]
    return f"bm-{found.elid}-{token}"


def _order(found: BillingPayment, language: str) -> dict[str, Any]:
    order: dict[str, Any] = {
        "billing_payment_id": found.elid,
        "amount": str(found.charge),
        "currency": found.currency,
        "description": found.description[:200],
        "customer": _customer(found),
        "service_ref": found.billorder,
        "return_url": found.page("payment.pending") if found.panel_url.startswith("http") else "",
        "locale": language,
    }
    return {name: _plain(value) for name, value in order.items() if value}


def _customer(found: BillingPayment) -> dict[str, str]:
    told = {"id": found.user_id, "email": found.useremail, "tier": found.tier, "country": found.country}
    return {name: value for name, value in told.items() if value}


def _plain(value: Any) -> Any:
    """Texts of the panel without control characters, which the bridge refuses."""
    return _CONTROL.sub(" ", value) if isinstance(value, str) else value


def _good_page(url: str, account: settings.Settings) -> bool:
    """https; plain http only when the bridge itself is on this machine."""
    if not re.fullmatch(r"https?://[\x21-\x7e]{3,1000}", url):
        return False
    return url.startswith("https://") or settings.is_loopback(urlsplit(account.bridge_url))


def _remember(invoice: Invoice, found: BillingPayment) -> None:
    """Keep what checkpay compares with. Without it checkpay asks BILLmanager, so a full disk stops nobody."""
    try:
        known = state.load_record(found.elid)
        if known is None or known.invoice != invoice.id:
            state.save_record(settle.new_record(invoice, found))
        elif (known.source, known.address) != (found.settings.source, invoice.address):
            # The key was replaced. What was told and done stays: checkpay tells the bridge "restored" by it.
            state.save_record(known._replace(source=found.settings.source, address=invoice.address))
        state.remember_sample(found.method_id, found.elid)
    except OSError as err:
        log.warning("state.not_writable", elid=found.elid, error=err)


def _set_in_pay(found: BillingPayment, invoice: Invoice) -> None:
    try:
        settle.set_in_pay(found, invoice.id)
    except mgrctl.MgrctlDown as err:
        log.warning("mgrctl.no_answer", func="payment.setinpay", elid=found.elid, error=err)
        after = payment.load(found.elid)  # the answer may be lost after the effect
        if (after.status, after.externalid) != (payment.IN_PAY, invoice.id):
            raise


def _redirect(url: str, language: str) -> None:
    webio.redirect(url, texts.say("to_pay_page", language)[0])


def _page(status: int, name: str, language: str, elid: str, reason: str) -> None:
    log.warning("pay.refused", elid=elid[:20], status=status, text=name, reason=reason)
    title, advice = texts.say(name, language)
    number = f" №{elid}" if payment.ELID.fullmatch(elid) else ""
    # Where the advice is another payment method, the way leads to where it is chosen.
    link, words = (_PAYMENTS, "to_payments") if name in _ELSEWHERE else ("/billmgr", "to_panel")
    body = webio.page(title + number, advice, link=link, link_text=texts.say(words, language)[0])
    webio.respond(status, body, headers={"Retry-After": "60"} if status == 503 else None)
