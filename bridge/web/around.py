"""What surrounds every request: its trace, the limits, the policy version it is answered under, the headers of its answer.

Owns these four and their order; must not tell strangers apart by anything but their address, nor answers by the state of an invoice.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from flask import Flask, Response, abort, current_app, g, request

from bridge import tracing
from bridge.core.errors import BridgeError, Refused
from bridge.logs import log
from bridge.people.policy import in_force
from bridge.web.context import here
from bridge.web.look import look

# Only the billing system's own calls name their trace (the proxy keeps others out of here): what a stranger sends must
# not turn up among an invoice's lines.
_TRUSTED = "/v1/"
ROUTE_KEY = "bridge.route"


def register(app: Flask, *, requests_per_minute: int) -> None:
    """In this order, so that what is refused above the limits has a trace too. 0 requests a minute means no limit."""
    _begin_and_end_traces(app)
    _refuse_above_limits(app, requests_per_minute=requests_per_minute)
    _keep_to_policy(app)
    _add_headers(app)


def _begin_and_end_traces(app: Flask) -> None:
    """Before anything else of a request: its trace, and its route for the log line; after it the end of its span."""

    @app.before_request
    def begin() -> None:
        told = tracing.of_header(request.headers.get("traceparent", "")) if request.path.startswith(_TRUSTED) else ""
        tracing.follow(told)
        tracing.follow(tracing.current_or_new())
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        request.environ[ROUTE_KEY] = route
        g.span = tracing.span("http.request", method=request.method, route=route)
        g.span.__enter__()

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        span = g.pop("span", None)
        if span is not None:
            span.__exit__(None, None, None)


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


def _refuse_above_limits(app: Flask, *, requests_per_minute: int) -> None:
    """Refuses what is above the limits, before any route sees it."""
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


PAUSE_SECONDS = 1
# Asks nobody else; and what says how the bridge is must answer when nothing else does, and decides nothing.
_ASKS_NOBODY, _DECIDES_NOTHING = ("ops.healthz", "static"), "ops."


class Watch:
    """When it was looked last, in this process. One thread looks; the others go on with what is known."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._due_at = 0.0

    def look(self) -> None:
        """Raises what hinders the look while no version was ever known: nothing is decided by the file alone."""
        web = here()
        is_known = web.bridge.policy_file is None or web.bridge.policy_number > 0
        if time.monotonic() < self._due_at or not self._turn.acquire(blocking=not is_known):
            return
        try:
            bridge = in_force(here().bridge)
            if bridge is not web.bridge:
                current_app.extensions["bridge"] = replace(web, bridge=bridge)
            self._due_at = time.monotonic() + PAUSE_SECONDS
        except BridgeError as error:
            log("policy.unread", level=logging.ERROR, code=error.code)
            self._due_at = time.monotonic() + PAUSE_SECONDS if is_known else 0.0
            if not is_known:
                raise
        finally:
            self._turn.release()


def _keep_to_policy(app: Flask) -> None:
    """Every request is answered under the version in force a second ago or later."""
    watch = Watch()

    @app.before_request
    def under_the_policy_in_force() -> None:
        endpoint = request.endpoint or ""
        if endpoint in _ASKS_NOBODY:
            return
        try:
            watch.look()
        except Exception:
            if not endpoint.startswith(_DECIDES_NOTHING):
                raise


def content_security_policy(style_sha256: str) -> str:
    """Nothing from elsewhere, nothing inline; the one style block of our own pages is named by its hash."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'sha256-{style_sha256}'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def _add_headers(app: Flask) -> None:
    """Adds the headers after every request, errors included."""
    policy = content_security_policy(look(app).style_sha256)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if request.endpoint == "static" and response.status_code == 200:
            # The address carries the content's hash, so a new version has a new address.
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-store"
        return response
