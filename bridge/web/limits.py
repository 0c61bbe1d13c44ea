"""How much a stranger may send: the size of a body, the number of requests.

Owns both limits; must not tell strangers apart by anything but their address.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

from flask import Flask, abort, request

from bridge.core.errors import Refused

MAX_BODY_BYTES = 65_536
_WINDOW_SECONDS = 60


class PerAddressLimit:
    """Counts requests per address in windows of a minute, in this process only."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic):
        self._per_minute, self._clock = per_minute, clock
        self._lock = threading.Lock()
        self._window = -1
        self._counts: Counter[str] = Counter()

    def seconds_to_wait(self, address: str) -> int:
        """Counts one request: 0 when it may go on, else the seconds until the window ends."""
        now = int(self._clock())
        with self._lock:
            if now // _WINDOW_SECONDS != self._window:
                self._window = now // _WINDOW_SECONDS
                self._counts.clear()
            self._counts[address] += 1
            if self._counts[address] <= self._per_minute:
                return 0
        return _WINDOW_SECONDS - now % _WINDOW_SECONDS


def register(app: Flask, *, requests_per_minute: int) -> None:
    """Refuses what is above the limits, before any route sees it. 0 requests a minute means no limit."""
    app.before_request(_refuse_nul)
    if not requests_per_minute:
        return
    limit = PerAddressLimit(requests_per_minute)

    @app.before_request
    def refuse_too_many() -> None:
        seconds = limit.seconds_to_wait(request.remote_addr or "")
        if seconds:
            raise Refused("too_many_requests", "Too many requests from this address.", retry_after_seconds=seconds)


def _refuse_nul() -> None:
    """No id holds a NUL, and PostgreSQL takes none in a text: it would become an error of the driver."""
    if "\0" in request.path:
        abort(404)


def read_body() -> bytes:
    """The raw body, at most MAX_BODY_BYTES. Aborts with 413 above that, with or without a Content-Length.

    Werkzeug cuts a chunked body off at its limit without a word; so its limit is one byte higher and that byte tells.
    """
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        abort(413)
    return body
