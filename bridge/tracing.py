"""The trace: one id that links the module's request, everything done about its invoice, and the way back to setpaid.

Owns what is being traced now, the W3C header, and spans once OpenTelemetry is turned on; must not import OpenTelemetry before.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_HEADER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_NONE = re.compile(r"0+")
_followed: ContextVar[str] = ContextVar("trace_id", default="")
_tracers: list[Any] = []
P = ParamSpec("P")
T = TypeVar("T")


def current() -> str:
    """The id of the trace that is being followed, "" when none is."""
    return _followed.get()


def current_or_new() -> str:
    """The id to keep with something new: 32 hex digits, as the W3C wants them."""
    return _followed.get() or secrets.token_hex(16)


def follow(trace_id: str) -> None:
    """From here on, in this thread's context, log lines, spans and messages to merchants belong to this trace."""
    _followed.set(trace_id)


@contextmanager
def following(trace_id: str) -> Iterator[None]:
    """The same for a block: one of many things that a job does in turn."""
    token = _followed.set(trace_id)
    try:
        yield
    finally:
        _followed.reset(token)


def of_header(traceparent: str) -> str:
    """The trace id of a `traceparent` header, "" when there is none to follow. Whatever a stranger sends raises nothing."""
    told = _HEADER.fullmatch(traceparent[:60])
    return "" if told is None or _NONE.fullmatch(told[1]) or _NONE.fullmatch(told[2]) else told[1]


def header() -> str:
    """The `traceparent` of a message that belongs to the current trace, "" when there is none.

    Ids of earlier versions do not have the W3C's shape and are told to nobody.
    """
    return f"00-{_followed.get()}-{_span_id()}-01" if _TRACE_ID.fullmatch(_followed.get()) else ""


def export_to(endpoint: str) -> None:
    """Sends spans to this collector (OTLP over HTTP) from now on. Raises ModuleNotFoundError without OpenTelemetry."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "subtc-bridge"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    turn_on(provider.get_tracer("bridge"))


def turn_on(tracer: Any) -> None:
    """Makes spans with this tracer of OpenTelemetry from now on; None turns them off."""
    _tracers[:] = [] if tracer is None else [tracer]


def traced(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A span around every call of a function that begins in its own trace."""

    def around(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not _tracers:
                return function(*args, **kwargs)
            with span(name):
                return function(*args, **kwargs)

        return call

    return around


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span of the current trace around the block. Nothing at all while OpenTelemetry is off."""
    if not _tracers:
        yield
        return
    with _tracers[0].start_as_current_span(name, context=_parent(), attributes=attributes):
        yield


def _parent() -> Any:
    """The span around us if it belongs to this trace; else a made-up one that puts the first span into it."""
    from opentelemetry import trace

    known = trace.get_current_span().get_span_context()
    if not _TRACE_ID.fullmatch(_followed.get()) or trace.format_trace_id(known.trace_id) == _followed.get():
        return None
    begun = trace.SpanContext(
        trace_id=int(_followed.get(), 16),
        span_id=int(secrets.token_hex(8), 16) or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(begun))


def _span_id() -> str:
    if _tracers:
        from opentelemetry import trace

        known = trace.get_current_span().get_span_context()
        if trace.format_trace_id(known.trace_id) == _followed.get():
            return trace.format_span_id(known.span_id)
    return secrets.token_hex(8)
