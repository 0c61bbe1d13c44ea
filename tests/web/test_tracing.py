"""The trace of a request, and the spans of OpenTelemetry that are made of it when somebody wants them."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_trace_id

from bridge import tracing
from bridge.config import ConfigError
from bridge.core.errors import Refused
from bridge.logs import JsonLines, log
from bridge.outbound import Guard, Outbound
from bridge.runtime import export_spans
from tests.flows.world import open_world, settings_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry on, with an exporter that keeps what it gets."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.turn_on(provider.get_tracer("test"))
    yield kept
    tracing.turn_on(None)
    provider.shutdown()


@pytest.fixture(autouse=True)
def no_trace_yet() -> Iterator[None]:
    with tracing.following(""):
        yield


def parent_of(span: ReadableSpan, spans: InMemorySpanExporter) -> str:
    named = {each.context.span_id: each.name for each in spans.get_finished_spans()}
    return named.get(span.parent.span_id, "") if span.parent else ""


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01",
        GOOD + "-more",
        GOOD * 10_000,
        "00-\x00-ä-01",
    ],
)
def test_a_traceparent_that_is_none_names_no_trace(header: str) -> None:
    assert tracing.of_header(header) == ""


def test_the_modules_trace_is_the_invoices_and_the_errors(site) -> None:
    made = site.api("POST", "/v1/invoices", site.order(), key="bm-1", traceparent=GOOD)
    assert made.json["trace_id"] == TRACE
    site.world.wallet.fails_with = RuntimeError("a defect")
    failed = site.api("POST", "/v1/invoices", site.order("1002"), key="bm-2", traceparent=GOOD)
    assert (failed.status_code, failed.json["trace"]) == (503, TRACE)


def test_two_requests_without_a_trace_have_two(site) -> None:
    first = site.api("POST", "/v1/invoices", site.order(), key="bm-1").json["trace_id"]
    second = site.api("POST", "/v1/invoices", site.order("1002"), key="bm-2").json["trace_id"]
    assert len({first, second}) == 2


def test_a_log_line_names_the_trace_unless_it_names_another() -> None:
    written, handler = io.StringIO(), logging.StreamHandler()
    handler.setStream(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("bridge")
    logger.addHandler(handler)
    try:
        with tracing.following(TRACE):
            log("one", level=logging.ERROR)
            log("two", level=logging.ERROR, trace_id="another")
        log("three", level=logging.ERROR)
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line.get("trace_id") for line in lines] == [TRACE, "another", None]


def test_spans_lead_from_the_request_over_the_flow_to_the_call(sqlite_url: str, spans: InMemorySpanExporter) -> None:
    with open_world(sqlite_url) as world, tracing.following(TRACE):
        invoice = world.open()
        world.pay(invoice, confirmations=1)
        world.look(invoice)
        world.deliver()
    found = {span.name: span for span in spans.get_finished_spans()}
    assert {"flow.open_invoice", "flow.look", "flow.deliver", "http.call"} <= set(found)
    assert {format_trace_id(span.context.trace_id) for span in found.values()} == {TRACE}
    calls = [span for span in spans.get_finished_spans() if span.name == "http.call"]
    assert {parent_of(call, spans) for call in calls} == {"flow.open_invoice", "flow.look"}
    assert {call.attributes["host"] for call in calls} == {"127.0.0.1"}


def test_a_request_is_a_span_by_its_route_and_ends_with_it(site, spans: InMemorySpanExporter) -> None:
    site.api("POST", "/v1/invoices", site.order(), key="bm-1", traceparent=GOOD)
    made = {span.name: span for span in spans.get_finished_spans()}
    request = made["http.request"]
    assert (request.attributes["route"], format_trace_id(request.context.trace_id)) == ("/v1/invoices", TRACE)
    assert parent_of(made["flow.open_invoice"], spans) == "http.request"
    site.call("GET", "/nowhere/secret-thing")
    last = spans.get_finished_spans()[-1]
    assert last.attributes["route"] == "unknown"
    assert "secret" not in str(last.attributes)
    assert format_trace_id(last.context.trace_id) != TRACE


def test_the_header_to_a_merchant_names_the_span_it_was_sent_in(spans: InMemorySpanExporter) -> None:
    with tracing.following(TRACE), tracing.span("flow.deliver"):
        version, trace, span_id, _flags = tracing.header().split("-")
    assert (version, trace) == ("00", TRACE)
    assert f"{spans.get_finished_spans()[0].context.span_id:016x}" == span_id
    with tracing.following("trc_an-id-of-before"):
        assert tracing.header() == ""


def test_a_failing_call_still_ends_its_span(spans: InMemorySpanExporter) -> None:
    with pytest.raises(Refused):
        Outbound(guard=Guard(allow_loopback=False)).call("GET", "http://127.0.0.1:9/")
    with pytest.raises(KeyError), tracing.span("flow.deliver"):
        raise KeyError
    assert [span.status.is_ok for span in spans.get_finished_spans()] == [False]


def test_while_it_is_off_nothing_of_it_is_imported() -> None:
    code = """
import sys
from bridge import tracing, wsgi
from bridge.cli.group import main
with tracing.following("4bf92f3577b34da6a3ce929d0e0e4736"), tracing.span("x", a=1):
    assert tracing.header().startswith("00-4bf9")
print(sorted(name for name in sys.modules if "opentelemetry" in name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_opentelemetry_the_setting_is_refused_with_its_mend(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for("http://127.0.0.1:9", sqlite_url, otlp_endpoint="http://127.0.0.1:4318/v1/traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"pip install --require-hashes --no-deps -r deploy/otel\.lock"):
        export_spans(settings)
