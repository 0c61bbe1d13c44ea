"""cgi/subtcresult: the bridge's signed notification comes in; 200 goes out only when BILLmanager shows the status.

Owns authentication of the raw bytes and the HTTP answer; must not change a payment itself, settle does.
"""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from functools import partial

from subtc import accounts, log, mgrctl, settle, signature, webio
from subtc.invoice import Event, Malformed, read_event
from subtc.settings import Settings

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_STATUSES = {
    settle.DONE: 200,
    settle.UNVERIFIED: 401,
    settle.MISMATCH: 422,
    settle.CONFLICT: 409,
    settle.LATER: 503,
}


def main() -> None:
    """Answer one notification. An error of ours is 503: the bridge tries again, nothing is cancelled or lost."""
    log.begin("subtcresult")
    log.follow(webio.header("traceparent")[3:35])
    try:
        status, reason = answer()
    except webio.BadRequest as err:
        status, reason = err.status, str(err)
    except (Malformed, signature.BadSignature) as err:
        status, reason = 401, str(err)
    except mgrctl.MgrctlDown as err:
        status, reason = 503, f"mgrctl_down: {err}"
    except Exception as err:
        log.error("result.defect", error=repr(err))
        status, reason = 503, "defect"
    if status == 401:
        log.warning("result.refused", reason=reason)
        reason = "unauthorized"  # a stranger learns nothing more
    body = json.dumps({"result": "done" if status == 200 else "error", "reason": reason.split(":")[0]}) + "\n"
    webio.respond(status, body, kind="application/json", headers={"Retry-After": "60"} if status == 503 else None)


def answer() -> tuple[int, str]:
    """HTTP status and reason. Raises BadRequest, Malformed or BadSignature."""
    if os.environ.get("REQUEST_METHOD", "").upper() != "POST":
        raise webio.BadRequest(405)
    body = webio.read_body()
    now = int(time.time())
    headers = {name: webio.header(name) for name in _HEADERS}
    signature.check_freshness(headers, now)
    event = _event(body)
    vouch = partial(_genuine, headers, body, now)
    if event.invoice is None:
        return _about_nothing(event, vouch)
    outcome = settle.settle(event, event.invoice, vouch=vouch)
    if outcome == settle.Outcome(settle.CONFLICT, "payment_deleted") and not _known_sender(vouch):
        return 401, "unknown payment and unknown sender"
    return _STATUSES[outcome.verdict], outcome.reason


def _event(body: bytes) -> Event:
    try:
        return read_event(json.loads(body.decode("utf-8"), parse_float=Decimal))
    except (ValueError, RecursionError, ArithmeticError) as err:  # the last: an exponent that no Decimal can hold
        raise Malformed("the body is not JSON") from err


def _genuine(headers: dict[str, str], body: bytes, now: int, account: Settings) -> bool:
    try:
        signature.verify(secrets=account.secrets(), headers=headers, body=body, now=now)
    except signature.BadSignature:
        return False
    return True


def _about_nothing(event: Event, vouch: partial[bool]) -> tuple[int, str]:
    """A test event names no payment, so any of this module's bridge accounts may have sent it."""
    known = _known_sender(vouch)
    log.info("result.test", event=event.id, genuine=known)
    return (200, "nothing_to_do") if known else (401, "no account vouches for it")


def _known_sender(vouch: partial[bool]) -> bool:
    return any(vouch(account) for account in accounts.known().values())
