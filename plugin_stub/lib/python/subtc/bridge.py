"""HTTP client of the bridge, and the only place of the module that opens a network connection.

Owns the time limit, size caps, TLS and error classes; must not follow redirects, nor decide what an answer means.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from decimal import Decimal
from typing import Any, Mapping, NamedTuple, Tuple
from urllib.parse import SplitResult, quote, urlsplit

from subtc import __version__, log, place
from subtc.settings import Settings

_SIZE_CAP = 4 * 1024 * 1024
# Who let us wait for the whole limit is not asked again by this run: others wait behind it.
_late: set[Settings] = set()


class BridgeDown(Exception):
    """No usable answer now; the same request may succeed later. `kind` is down, tls or wrong (not a bridge at all)."""

    def __init__(self, text: str, *, kind: str = "down", retry_after_seconds: int = 60):
        super().__init__(text)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


class BridgeRefused(Exception):
    """The bridge understood and refused; repeating the same request does not help."""

    def __init__(self, status: int, code: str, detail: str, about: str):
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.about = about


class Answer(NamedTuple):
    """A 2xx answer: raw bytes for signatures, headers in lower case, the parsed object."""

    raw: bytes
    headers: Mapping[str, str]
    body: dict[str, Any]


def check(account: Settings, *, nonce: str, currency: str) -> Answer:
    """Ask the bridge who it is, whether it takes `currency`, and for a signed answer that echoes `nonce`."""
    question = {"nonce": nonce, **({"currency": currency} if currency else {})}
    return _call(account, "POST", "/v1/check", question)


def open_invoice(account: Settings, *, key: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Create or find the invoice of a billing payment; safe to repeat with the same `key` and order."""
    return _call(account, "POST", "/v1/invoices", order, {"Idempotency-Key": key}).body


def get_invoice(account: Settings, invoice_id: str) -> dict[str, Any]:
    return _call(account, "GET", f"/v1/invoices/{quote(invoice_id, safe='')}").body


def events(account: Settings, *, after: int, limit: int = 100) -> dict[str, Any]:
    """One page of the ordered feed behind position `after`."""
    return _call(account, "GET", f"/v1/events?after={after}&limit={limit}").body


def billing_change(account: Settings, invoice_id: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the bridge that a person changed the billing payment."""
    return _call(account, "POST", f"/v1/invoices/{quote(invoice_id, safe='')}/billing-changes", change).body


def billing_statuses(account: Settings, page: Mapping[str, Any]) -> dict[str, Any]:
    """Hand in one page of what BILLmanager says of its payments, for the bridge's reconciliation."""
    return _call(account, "POST", "/v1/billing-statuses", page).body


def request_refund(account: Settings, invoice_id: str, *, key: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a refund; a person at the bridge approves it."""
    path = f"/v1/invoices/{quote(invoice_id, safe='')}/refunds"
    return _call(account, "POST", path, order, {"Idempotency-Key": key}).body


def _call(
    account: Settings,
    method: str,
    path: str,
    order: Mapping[str, Any] | None = None,
    extra: Mapping[str, str] | None = None,
) -> Answer:
    headers = {
        "Authorization": f"Bearer {account.api_key}",
        "Accept": "application/json",
        "User-Agent": f"pmsubtc/{__version__}",
        **({"traceparent": f"00-{log.trace()}-{os.urandom(8).hex()}-01"} if log.trace() else {}),
        **(extra or {}),
    }
    payload = None
    if order is not None:
        payload = json.dumps(order, ensure_ascii=False, sort_keys=True).encode()
        headers["Content-Type"] = "application/json"
    return _judge(*_exchange(account, method, path, payload, headers))


_Received = Tuple[int, Mapping[str, str], bytes]


def _exchange(
    account: Settings, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]
) -> _Received:
    """One call within one time limit over everything: looking the name up, connecting, TLS, sending, header, body.

    Timeouts of sockets are of each single wait, and a byte now and then is never late for them.
    """
    seconds = place.switches().bridge_timeout_seconds
    if account in _late:
        raise BridgeDown("it did not answer in time before")
    parts = urlsplit(account.bridge_url)
    connection = _connection(parts, seconds)
    outcome: list[_Received | Exception] = []

    def talk() -> None:
        try:
            connection.request(method, parts.path + path, body=payload, headers=dict(headers))
            response = connection.getresponse()
            raw = _read(response, deadline)
            outcome.append((response.status, {name.lower(): value for name, value in response.getheaders()}, raw))
        except Exception as err:
            outcome.append(err)  # raised again by whoever waits
        finally:
            connection.close()

    deadline = time.monotonic() + seconds
    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    talking.join(seconds)
    if not outcome:
        _late.add(account)
        _hang_up(connection)
        raise BridgeDown(f"no whole answer within {seconds} s")
    return _received(outcome[0])


def _connection(parts: SplitResult, seconds: int) -> http.client.HTTPConnection:
    if parts.scheme == "https":
        # The default context checks the certificate and the name; there is no switch to turn that off.
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=seconds, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, refused when it is huge; nobody waits for it any more once the time is up."""
    pieces: list[bytes] = []
    size = 0
    while True:
        piece = response.read1(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > _SIZE_CAP or time.monotonic() > deadline:
            raise BridgeDown("the answer is too large or too slow", kind="wrong")


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End the waiting of the thread that talks; it may have ended by itself, or not be connected yet."""
    link = connection.sock
    try:
        if link is not None:
            link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _received(outcome: _Received | Exception) -> _Received:
    try:
        if isinstance(outcome, Exception):
            raise outcome
    except ssl.SSLCertVerificationError as err:
        raise BridgeDown(f"certificate: {err.verify_message}", kind="tls") from err
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise BridgeDown(f"{type(err).__name__}: {err}") from err
    return outcome


def _judge(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    try:
        body = json.loads(raw.decode("utf-8"), parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):  # the last: an exponent that no Decimal can hold
        body = None
    retry_text = headers.get("retry-after", "")
    # A superscript is a digit too, and no number.
    retry = int(retry_text) if retry_text.isdecimal() and len(retry_text) < 10 else 0
    if status >= 500 or status in (408, 429) or (status == 409 and retry):
        raise BridgeDown(f"the bridge answers {status}", retry_after_seconds=min(retry or 60, 3600))
    if not isinstance(body, dict) or 300 <= status < 400 or status < 200:
        raise BridgeDown(f"this is not a bridge: status {status}", kind="wrong")
    if status >= 400:
        code, detail, about = (str(body.get(name) or "") for name in ("code", "detail", "field"))
        raise BridgeRefused(status, code or str(status), detail, about)
    return Answer(raw=raw, headers=headers, body=body)
