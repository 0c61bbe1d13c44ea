"""The one door through which adapters speak HTTP: no redirects, a size cap, a total deadline, public addresses only.

Owns transport safety and whether anything was sent; must not know what an answer means, each adapter does.
"""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from bridge import tracing
from bridge.outbound.connection import Exchange, GuardedAdapter, Limits, current
from bridge.outbound.guard import Guard, is_loopback

__all__ = ["CallFailed", "Guard", "Limits", "Outbound", "Reply", "is_loopback", "redacted"]

USER_AGENT = "subtc-billmanager-bridge"
# Debian's own store: it is what `update-ca-certificates` fills and what security updates reach. Elsewhere certifi's.
MACHINE_STORE = Path("/etc/ssl/certs/ca-certificates.crt")
_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*", "Connection": "keep-alive"}
_LONGEST_RETRY_AFTER_SECONDS = 86_400
_SECRETS = re.compile(r"(SUBTC-KEY-|whsec_|[Bb]earer\s+|\bv1,)[^\s\"',;&<>]+")


class CallFailed(Exception):
    """No whole answer came. `maybe_sent` is False only when it is certain that no byte of the request left."""

    def __init__(self, reason: str, *, maybe_sent: bool):
        super().__init__(reason)
        self.reason = reason
        self.maybe_sent = maybe_sent


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer, whatever its status. `cut` says that the body was longer than the cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    cut: bool = False

    def text(self) -> str:
        """The body as UTF-8; raises ValueError."""
        return self.body.decode("utf-8")

    def json(self) -> object:
        """The body as JSON with fractions as Decimal, never float; raises ValueError and nothing else.

        A byte order mark before it says nothing and is passed over, as RFC 8259 lets a reader do.
        """
        try:
            parsed: object = json.loads(
                self.text().removeprefix("\ufeff"), parse_float=Decimal, parse_constant=_no_constant
            )
        except (RecursionError, ArithmeticError):
            # Nested too deep, or an exponent no Decimal can hold.
            raise ValueError("not JSON of sane size") from None
        return parsed

    def date(self) -> datetime | None:
        """The peer's clock by its Date header."""
        return _http_date(self.headers.get("Date"))

    def retry_after_seconds(self) -> int | None:
        """Seconds or a date in Retry-After; a date counts from the peer's own Date header, never from our clock."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return min(int(text), _LONGEST_RETRY_AFTER_SECONDS)
        until, since = _http_date(text), self.date()
        if until is None or since is None:
            return None
        return max(0, min(int((until - since).total_seconds()), _LONGEST_RETRY_AFTER_SECONDS))


class Outbound:
    """Kept-alive connections that threads may share. No redirects, no cookies, no proxy settings.

    Without a Session of requests: what that adds is just what must not happen here (redirects, cookies, proxies from the
    environment, logins from .netrc), and it costs more than the rest of the call.
    """

    def __init__(self, *, limits: Limits | None = None, guard: Guard | None = None, ca_file: str | None = None):
        self.limits = limits or Limits()
        self.guard = guard or Guard()
        self._verify = ca_file or (str(MACHINE_STORE) if MACHINE_STORE.is_file() else True)
        self._adapter = GuardedAdapter(pool_connections=8, pool_maxsize=16)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        allow_cut: bool = False,
        max_bytes: int | None = None,
    ) -> Reply:
        """One request, one whole answer, of at most `max_bytes` instead of what the limits say.

        Raises CallFailed, or Refused `blocked_url` with nothing sent.
        """
        self.guard.check_url(url)
        exchange = Exchange(self.guard, replace(self.limits, max_bytes=max_bytes) if max_bytes else self.limits)
        with tracing.span("http.call", method=method, host=urlsplit(url).hostname or ""):
            return self._call(method, url, headers, body, allow_cut, exchange)

    def _call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        allow_cut: bool,
        exchange: Exchange,
    ) -> Reply:
        token = current.set(exchange)
        timeout = (self.limits.connect_seconds, self.limits.read_seconds)
        try:
            request = _prepared(method, url, _HEADERS | dict(headers or {}), body)
            with self._adapter.send(request, stream=True, timeout=timeout, verify=self._verify) as response:
                content, cut = _read(response, exchange, allow_cut=allow_cut)
                answered = CaseInsensitiveDict(response.headers)
                return Reply(
                    status=response.status_code, headers=answered, body=content, seconds=exchange.spent(), cut=cut
                )
        except (requests.RequestException, OSError, http.client.HTTPException, UnicodeError) as error:
            # `from None`: the chained exception holds the request with its key.
            raise _failure(error, exchange) from None
        finally:
            current.reset(token)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._adapter.close()


def redacted(text: str, *secrets: str) -> str:
    """`text` without the given secrets and without anything that looks like one of ours."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]") if secret else text
    return _SECRETS.sub(r"\1[redacted]", text)


def _prepared(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> requests.PreparedRequest:
    """The request without what takes requests longest, taking the URL apart: the guard let only a plain one through."""
    request = requests.PreparedRequest()
    request.method, request.url = method, url
    request.prepare_headers(headers)
    request.prepare_body(body, None)
    return request


def _failure(error: Exception, exchange: Exchange) -> CallFailed:
    timed_out = isinstance(error, requests.Timeout | TimeoutError) or "timed out" in str(error)
    if exchange.connecting and not exchange.written:
        tls = isinstance(error, requests.exceptions.SSLError)
        return CallFailed("tls" if tls else "connect_timeout" if timed_out else "unreachable", maybe_sent=False)
    return CallFailed("timeout" if timed_out or exchange.is_over() else "cut", maybe_sent=True)


def _read(response: requests.Response, exchange: Exchange, *, allow_cut: bool) -> tuple[bytes, bool]:
    content = bytearray()
    for chunk in response.iter_content(16 * 1024):
        content += chunk
        if len(content) > exchange.limits.max_bytes:
            if not allow_cut:
                raise CallFailed("too_large", maybe_sent=True)
            return bytes(content[: exchange.limits.max_bytes]), True
    return bytes(content), False


def _http_date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        # A number in it may be larger than any calendar's.
        return None
    return parsed if parsed is not None and parsed.tzinfo is not None else None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
