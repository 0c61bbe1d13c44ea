"""Connections that keep to a guard and a deadline, and the idle ones that wait for the next call.

Owns the socket: where it connects, how long it waits, whether a byte left; must not know what is asked or answered.
"""

import http.client
import io
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from bridge.outbound.guard import Guard

MOST_IDLE = 32
# What an answer may hold beside its body: status line, headers, the sizes of its chunks.
MOST_FRAMING_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`deadline_seconds` bounds a whole call, so that a peer dripping one byte at a time cannot hold a worker."""

    connect_seconds: float = 5
    read_seconds: float = 15
    deadline_seconds: float = 20
    max_bytes: int = 256 * 1024


class TooMuch(OSError):
    """More came than the answer may have, whatever it says of its own size."""


class Exchange:
    """What one call has done so far."""

    def __init__(self, guard: Guard, limits: Limits):
        self.guard = guard
        self.limits = limits
        self.connecting = False
        self.written = False
        self._bytes = 0
        self._started = time.monotonic()

    def spent(self) -> float:
        return time.monotonic() - self._started

    def came(self, count: int) -> None:
        """Raises TooMuch: `http.client` believes whatever an answer says of its own size."""
        self._bytes += count
        if self._bytes > self.limits.max_bytes + MOST_FRAMING_BYTES:
            raise TooMuch("more than an answer may have")

    def is_over(self) -> bool:
        return self.spent() >= self.limits.deadline_seconds

    def wait_seconds(self, most: float) -> float:
        left = self.limits.deadline_seconds - self.spent()
        if left <= 0:
            raise TimeoutError("the deadline of the whole call is over")
        return min(left, most)


class Place(NamedTuple):
    """Where a connection leads: two calls to one place may share it."""

    is_tls: bool
    host: str
    port: int


class _TimedReader(io.RawIOBase):
    """Socket reads that stop at the call's deadline and its most bytes, in the headers as well as in the body."""

    def __init__(self, sock: socket.socket, exchange: Exchange):
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.wait_seconds(self._exchange.limits.read_seconds))
        count = self._raw.readinto(buffer)
        self._exchange.came(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Connection:
    """One open socket. It is a single call's at a time, whose deadline it keeps."""

    def __init__(self, place: Place, exchange: Exchange, *, ca_file: str | None):
        self.place = place
        self.exchange = exchange
        exchange.connecting = True
        self._sock = _connected(place, exchange)
        if place.is_tls:
            # On failure this closes the socket.
            self._sock = _trust(ca_file).wrap_socket(self._sock, server_hostname=place.host)

    def ask(self, request: bytes, *, method: str) -> http.client.HTTPResponse:
        """Sends a whole request and returns the answer with its body still to be read."""
        self._sock.settimeout(self.exchange.wait_seconds(self.exchange.limits.read_seconds))
        self.exchange.written = True
        self._sock.sendall(request)
        # Of a socket it asks for a file alone.
        response = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            while response.status < 200:
                if response.status == http.client.SWITCHING_PROTOCOLS:
                    raise http.client.HTTPException("another protocol, which nobody asked for")
                # Only a word ahead of the answer, of which `http.client` knows 100 alone. It reads on where it has no headers yet.
                response.headers = None  # type: ignore[assignment]
                response.begin()
        except BaseException:
            # Its file would keep the socket open.
            response.close()
            raise
        return response

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self.exchange))

    def is_usable(self) -> bool:
        """Whether nobody hung up meanwhile: what is not asked has nothing to say."""
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        self._sock.close()


def _connected(place: Place, exchange: Exchange) -> socket.socket:
    """A socket to the first address that answers; the guard says which may be tried."""
    refused: OSError | None = None
    for address in exchange.guard.addresses(place.host, place.port):
        wait = exchange.wait_seconds(exchange.limits.connect_seconds)
        try:
            sock = socket.create_connection((address, place.port), wait)
        except OSError as error:
            refused = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise refused or OSError("the name has no address")


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Reading a store takes longer than a call: only when the file has changed since."""
    return _trust_as_of(ca_file, Path(ca_file).stat().st_mtime_ns if ca_file else 0)


@lru_cache(maxsize=4)
def _trust_as_of(ca_file: str | None, _changed_at: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Idle:
    """Connections between two calls. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Connection] = []

    def take(self, place: Place, exchange: Exchange) -> Connection | None:
        """The one that was used last, for it is the least likely to have been given up by the other side."""
        while (found := self._newest(place)) is not None:
            if found.is_usable():
                found.exchange = exchange
                return found
            found.close()
        return None

    def _newest(self, place: Place) -> Connection | None:
        with self._lock:
            for each in reversed(self._waiting):
                if each.place == place:
                    self._waiting.remove(each)
                    return each
        return None

    def keep(self, connection: Connection) -> None:
        """For the next call to its place; of too many the one that waited longest is closed."""
        with self._lock:
            self._waiting.append(connection)
            dropped = self._waiting.pop(0) if len(self._waiting) > MOST_IDLE else None
        if dropped is not None:
            dropped.close()

    def close(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.close()
