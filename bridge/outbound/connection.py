"""Connections that keep to a guard and a deadline, below requests and urllib3.

Owns the socket: where it connects, how long it waits, whether a byte left; must not know requests of ours or answers.
"""

import http.client
import io
import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from bridge.outbound.guard import Guard


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`deadline_seconds` bounds a whole call, so that a peer dripping one byte at a time cannot hold a worker."""

    connect_seconds: float = 5
    read_seconds: float = 15
    deadline_seconds: float = 20
    max_bytes: int = 256 * 1024


class Exchange:
    """What one call has done so far. It lives in a context variable because connections are pooled across calls."""

    def __init__(self, guard: Guard, limits: Limits):
        self.guard = guard
        self.limits = limits
        self.connecting = False
        self.written = False
        self._started = time.monotonic()

    def spent(self) -> float:
        return time.monotonic() - self._started

    def is_over(self) -> bool:
        return self.spent() >= self.limits.deadline_seconds

    def wait_seconds(self, most: float) -> float:
        left = self.limits.deadline_seconds - self.spent()
        if left <= 0:
            raise TimeoutError("the deadline of the whole call is over")
        return min(left, most)


current: ContextVar[Exchange] = ContextVar("exchange")


class _TimedReader(io.RawIOBase):
    """Socket reads that stop at the call's deadline, in the headers as well as in the body."""

    def __init__(self, sock: socket.socket, exchange: Exchange):
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.wait_seconds(self._exchange.limits.read_seconds))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """Gives http.client a timed file in place of the plain one; it asks a socket for nothing else."""

    def __init__(self, sock: socket.socket):
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, current.get()))


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any):
        super().__init__(_TimedSocket(sock), *args, **options)  # type: ignore[arg-type]


class _GuardedConnection(HTTPConnection):
    """Connects only to addresses the guard allows, and notes when the first byte leaves."""

    response_class = _TimedResponse

    def _new_conn(self) -> socket.socket:
        exchange = current.get()
        exchange.connecting = True
        last: OSError | None = None
        try:
            for address in exchange.guard.addresses(self.host, self.port or self.default_port):
                try:
                    return self._open(address, exchange)
                except OSError as error:
                    last = error
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, type(error).__name__) from None
        raise NewConnectionError(self, "timed out" if isinstance(last, TimeoutError) else "refused")

    def _open(self, address: str, exchange: Exchange) -> socket.socket:
        wait = exchange.wait_seconds(exchange.limits.connect_seconds)
        sock = socket.create_connection((address, self.port or self.default_port), wait)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        current.get().written = True
        super().send(data)


class _GuardedTlsConnection(_GuardedConnection, HTTPSConnection):
    pass


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection


class GuardedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _GuardedPool, "https": _GuardedTlsPool}
