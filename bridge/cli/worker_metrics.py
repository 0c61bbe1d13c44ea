"""The worker's own /metrics: queues, deliveries, looks and the call budget are seen without the web.

Owns one small HTTP server of the standard library in a thread; must not answer anything else, nor stop the worker.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bridge.books.keep_books import refresh_gauges
from bridge.context import Bridge
from bridge.logs import log
from bridge.web.ops import METRICS_TYPE

# A scraper that opens a connection and says nothing must not keep a thread.
PATIENCE_SECONDS = 10


@contextmanager
def serving_metrics(bridge: Bridge, listen: str, *, current: Callable[[], Bridge] | None = None) -> Iterator[int]:
    """Serves until the end of the block and yields the port; 0 when `listen` is empty or the port is taken by another worker.

    `current` gives the bridge under the policy in force, whose limits are gauges too.
    """
    server = _server(current or (lambda: bridge), listen) if listen else None
    if server is None:
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log("metrics.serving", listen=f"{server.server_address[0]!s}:{server.server_address[1]}")
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(current: Callable[[], Bridge], listen: str) -> ThreadingHTTPServer | None:
    host, _, port = listen.rpartition(":")

    def text() -> bytes:
        bridge = current()
        refresh_gauges(bridge)
        return bridge.metrics.text()

    try:
        return ThreadingHTTPServer((host.strip("[]"), int(port)), _answering(text))
    except OSError as error:
        log("metrics.not_served", level=logging.WARNING, listen=listen, error=error.strerror)
        return None


def _answering(text: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        timeout = PATIENCE_SECONDS

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            try:
                body = text()
            except Exception:
                log("metrics.failed", level=logging.ERROR, exc_info=True)
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", METRICS_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape is no news."""

    return Answers
