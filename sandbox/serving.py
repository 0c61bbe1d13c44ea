"""Servers in a thread of this process that are wholly gone once closed: nobody is connected, no thread runs on.

Owns the listening thread, the connections and their threads; must not know what is served.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import cached_property
from http.server import ThreadingHTTPServer
from typing import Any, Self

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler

POLL_SECONDS = 0.02
# What a request's thread may still take once its connection is cut: it may sleep, or wait for a program of its own.
PATIENCE_SECONDS = 5.0


class HttpServer(ThreadingHTTPServer):
    """Serves inside its `with` block, or from `start` to `close`.

    Threads are daemons: one that outlives the patience keeps no program from ending.
    """

    request_queue_size = 128

    @cached_property
    def _serving(self) -> threading.Thread:
        return threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @cached_property
    def _connected(self) -> dict[socket.socket, threading.Thread]:
        return {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody is connected."""
        return not self._connected

    def start(self) -> None:
        """Serve from now on."""
        self._serving.start()

    def close(self) -> None:
        """Accept nobody any more, hang up on everybody and wait for their threads. Safe to call twice."""
        self.shutdown()
        self._serving.join()
        self.server_close()
        threads = dict(self._connected)
        for connection in threads:
            with contextlib.suppress(OSError):  # it ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + PATIENCE_SECONDS
        for thread in threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread, and remember both."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connected[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        super().shutdown_request(request)
        self._connected.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed, or that is hung up on, is no news; anything else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Quiet(WSGIRequestHandler):
    """Logs nothing, and sends small answers at once: Nagle's algorithm would hold each back for 40 ms."""

    disable_nagle_algorithm = True
    server: WsgiServer

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The header Date goes by the clock of what is served."""
        return super().date_time_string(self.server.now() if timestamp is None else timestamp)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keep silent."""


class WsgiServer(HttpServer, BaseWSGIServer):
    """An application on a port, 0 for a free one; `server_port` says which."""

    multithread = True
    now: Callable[[], float] = staticmethod(time.time)

    def __init__(self, host: str, port: int, app: Any) -> None:
        BaseWSGIServer.__init__(self, host, port, app, handler=Quiet)
