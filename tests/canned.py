"""Canned answers in place of connections: the door writes its request as ever, and reads the answer as ever.

Owns what is registered and what was asked during one test; nothing is sent.
"""

import http.client
import io
import json as texts
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pytest

import bridge.outbound
from bridge.outbound.connection import Connection, Exchange, Place

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it was written."""

    method: str
    url: str
    headers: Message
    body: bytes


_answers: list[tuple[str, str, bytes]] = []
_passed: list[str] = []
calls: list[Asked] = []


def get(url: str, **answer: Any) -> None:
    _register("GET", url, **answer)


def post(url: str, **answer: Any) -> None:
    """Whatever the query. Of several answers each is given once, the last one ever after."""
    _register("POST", url, **answer)


def remove(method: str, url: str) -> None:
    _answers[:] = [each for each in _answers if each[:2] != (method, url)]


def pass_on(url: str) -> None:
    """What begins so is really called."""
    _passed.append(url)


def activate(test: Callable[P, T]) -> Callable[P, T]:
    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with activated():
            return test(*args, **kwargs)

    return run


@contextmanager
def activated() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge.outbound, "Connection", _connection)
        try:
            yield
        finally:
            for kept in (_answers, _passed, calls):
                kept.clear()


def _register(
    method: str,
    url: str,
    *,
    json: Any = None,
    body: str | bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> None:
    content = texts.dumps(json) if json is not None else body
    content = content.encode() if isinstance(content, str) else content
    said = {"Content-Length": len(content), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Canned", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    _answers.append((method, url, "\r\n".join(lines).encode() + content))


def _connection(place: Place, exchange: Exchange, *, ca_file: str | None) -> Any:
    url = f"{'https' if place.is_tls else 'http'}://" + (f"[{place.host}]" if ":" in place.host else place.host)
    if any(each.startswith(url) for each in _passed):
        return Connection(place, exchange, ca_file=ca_file)
    return _Canned(place, url if place.port in (80, 443) else f"{url}:{place.port}")


class _Canned:
    def __init__(self, place: Place, origin: str):
        self.place, self._origin = place, origin

    def ask(self, request: bytes, *, method: str) -> http.client.HTTPResponse:
        head, _, body = request.partition(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        url = self._origin + line.decode().split(" ")[1]
        calls.append(Asked(method=method, url=url, headers=message_from_bytes(headers), body=body))
        found = [each for each in _answers if each[:2] == (method, url.partition("?")[0])]
        if not found:
            raise ConnectionRefusedError(f"nothing is registered for {method} {url}")
        if len(found) > 1:
            _answers.remove(found[0])
        response = http.client.HTTPResponse(_File(found[0][2]), method=method)  # type: ignore[arg-type]
        response.begin()
        return response

    def is_usable(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""


class _File:
    def __init__(self, content: bytes):
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)
