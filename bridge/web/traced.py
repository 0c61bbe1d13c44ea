"""Which trace a request belongs to.

Owns taking the module's trace over and beginning a new one for everybody else; must not log, the server's log line does.
"""

from flask import Flask, g, request

from bridge import tracing

# Only the billing system's own calls name their trace (the proxy keeps others out of here): what a stranger sends must
# not turn up among an invoice's lines.
_TRUSTED = "/v1/"
ROUTE_KEY = "bridge.route"


def register(app: Flask) -> None:
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
