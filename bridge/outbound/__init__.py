"""The one door through which adapters speak HTTP: no redirects, a size cap, a total deadline, public addresses only.

Owns transport safety and whether anything was sent; must not know what an answer means, each adapter does.
"""

import http.client
import json
import re
import ssl
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlsplit

from bridge import tracing
from bridge.outbound.connection import Connection, Exchange, Idle, Limits, Place, TooMuch
from bridge.outbound.guard import Guard, is_loopback

__all__ = ["CallFailed", "Guard", "Limits", "Outbound", "Reply", "is_loopback", "redacted"]

USER_AGENT = "subtc-billmanager-bridge"
# Debian's own store: it is what `update-ca-certificates` fills and what security updates reach. Elsewhere OpenSSL's own.
MACHINE_STORE = Path("/etc/ssl/certs/ca-certificates.crt")
_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*", "Connection": "keep-alive"}
_HEADER_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What may stand in a path and its query as it is; anything else is written in percents.
_PLAIN = "!#$%&'()*+,/:;=?@[]~"
# Some send it packed although they were asked not to.
_PACKED = ("gzip", "x-gzip", "deflate")
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
    """One answer, whatever its status, its headers by their names in lower case. `cut` says that the body was longer than the cap."""

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
        return _http_date(self.headers.get("date"))

    def retry_after_seconds(self) -> int | None:
        """Seconds or a date in Retry-After; a date counts from the peer's own Date header, never from our clock."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return min(int(text), _LONGEST_RETRY_AFTER_SECONDS)
        until, since = _http_date(text), self.date()
        if until is None or since is None:
            return None
        return max(0, min(int((until - since).total_seconds()), _LONGEST_RETRY_AFTER_SECONDS))


class Outbound:
    """Kept-alive connections that threads may share. No redirects, no cookies, no proxy settings.

    Over the standard library's own reader of answers: what a library for browsing adds is just what must not happen here
    (redirects, cookies, proxies from the environment, logins from .netrc), and it costs more than the rest of the call.
    """

    def __init__(self, *, limits: Limits | None = None, guard: Guard | None = None, ca_file: str | None = None):
        self.limits = limits or Limits()
        self.guard = guard or Guard()
        self._ca_file = ca_file or (str(MACHINE_STORE) if MACHINE_STORE.is_file() else None)
        self._idle = Idle()
        # Whoever merely drops this, as a reload does, leaves no connection open.
        weakref.finalize(self, self._idle.close)

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
        with tracing.span("http.call", method=method, host=_called(url)[0].host):
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
        place, request = _written(method, url, _HEADERS | dict(headers or {}), body)
        try:
            return self._answered(place, request, method, exchange, allow_cut=allow_cut)
        except (OSError, http.client.HTTPException, ValueError, OverflowError, zlib.error) as error:
            # `from None`: what was raised may hold the request with its key.
            raise _failure(error, exchange) from None

    def _answered(self, place: Place, request: bytes, method: str, exchange: Exchange, *, allow_cut: bool) -> Reply:
        connection = self._idle.take(place, exchange) or Connection(place, exchange, ca_file=self._ca_file)
        is_whole = False
        try:
            with connection.ask(request, method=method) as response:
                headers = {name.lower(): value for name, value in response.getheaders()}
                content, cut = _read(response, headers, exchange, allow_cut=allow_cut)
                is_whole = response.isclosed() and not response.will_close
            return Reply(status=response.status, headers=headers, body=content, seconds=exchange.spent(), cut=cut)
        finally:
            # What was not read to its end would be taken for the next answer.
            if is_whole:
                self._idle.keep(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Drop the connections that wait."""
        self._idle.close()


def redacted(text: str, *secrets: str) -> str:
    """`text` without the given secrets and without anything that looks like one of ours."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]") if secret else text
    return _SECRETS.sub(r"\1[redacted]", text)


def _written(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Place, bytes]:
    """A request as it is sent, in one piece: the guard let only a plain URL through. Raises CallFailed for a broken header."""
    place, named, target = _called(url)
    said = {"Host": named, **headers}
    if body is not None or method != "GET":
        said["Content-Length"] = str(len(body or b""))
    if not all(_HEADER_TEXT.fullmatch(name + value) for name, value in said.items()):
        raise CallFailed("bad_header", maybe_sent=False)
    lines = (f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", "")
    return place, "\r\n".join(lines).encode("latin-1") + (body or b"")


@lru_cache(maxsize=256)
def _called(url: str) -> tuple[Place, str, str]:
    """Where a URL leads, what it calls the host, and what is asked for there."""
    parts = urlsplit(url)
    is_tls, host = parts.scheme == "https", parts.hostname or ""
    usual = 443 if is_tls else 80
    place = Place(is_tls, host, parts.port or usual)
    named = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else "")
    return place, named if place.port == usual else f"{named}:{place.port}", target


def _failure(error: Exception, exchange: Exchange) -> CallFailed:
    timed_out = isinstance(error, TimeoutError)
    if exchange.connecting and not exchange.written:
        tls = isinstance(error, ssl.SSLError)
        return CallFailed("tls" if tls else "connect_timeout" if timed_out else "unreachable", maybe_sent=False)
    if isinstance(error, TooMuch):
        return CallFailed("too_large", maybe_sent=True)
    return CallFailed("timeout" if timed_out or exchange.is_over() else "cut", maybe_sent=True)


def _read(
    response: http.client.HTTPResponse, headers: Mapping[str, str], exchange: Exchange, *, allow_cut: bool
) -> tuple[bytes, bool]:
    most = exchange.limits.max_bytes
    content = response.read(most + 1)
    cut = len(content) > most
    if not cut and response.length:
        raise http.client.IncompleteRead(content)
    if headers.get("content-encoding", "").lower() in _PACKED:
        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        content = unpacking.decompress(content, most + 1)
        cut = cut or len(content) > most
        if not cut and not unpacking.eof:
            raise http.client.IncompleteRead(content)
    if cut and not allow_cut:
        raise CallFailed("too_large", maybe_sent=True)
    return content[:most], cut


def _http_date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        # A number in it may be larger than any calendar's.
        return None
    return parsed if parsed is not None and parsed.tzinfo is not None else None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
