"""A server that answers with whatever bytes a test writes, broken ones included.

Owns one listening socket on loopback and its threads; must not know what a proper answer looks like.
"""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

Script = Callable[[socket.socket, bytes], None]


class RawServer:
    """Runs `script(connection, request)` for each request; `requests` keeps their bytes. Use it as a context."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None):
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._open: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        # Each thread closes its own: a close from here would leave it reading from a number that is given out anew.
        for connection, thread in list(self._open.items()):
            with contextlib.suppress(OSError):  # that one is over
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._open[connection] = thread
            self.connections += 1
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open[connection] = threading.current_thread()
            while request := read_request(connection):
                self.requests.append(request)
                self._script(connection, request)
        except OSError:
            pass
        finally:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """One whole HTTP request, or nothing when the client hung up."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        body += chunk
    return head + b"\r\n\r\n" + body


def answer(body: bytes | str | dict[str, Any], *, status: str = "200 OK", headers: str = "") -> bytes:
    """A well-formed response."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


def always(response: bytes) -> Script:
    """The same bytes for every request."""
    return lambda connection, _: connection.sendall(response)


def hang_up(connection: socket.socket, _: bytes) -> None:
    """Reads the request and closes without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def silent(_connection: socket.socket, _request: bytes) -> None:
    """Reads the request and never answers."""


def free_port() -> int:
    """A port where nobody listens just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
