"""What operators and their machines ask."""

import os
import re
import subprocess
from contextlib import closing

import pytest

from bridge.core.errors import Unavailable
from bridge.invoices.present import InvoiceShape, QuoteShape
from bridge.web.pay import PayStatusShape
from tests.web.conftest import API_KEY, build_site


def test_alive_asks_nobody_else(site):
    site.world.wallet.fails_with = RuntimeError("down")
    site.world.rates.prices.clear()
    assert site.call("GET", "/healthz").json == {"ok": True}


def test_ready_names_every_part(site):
    response = site.call("GET", "/readyz")
    assert (response.status_code, response.json["ready"]) == (200, True)
    assert {check["name"] for check in response.json["checks"]} >= {"database", "provider", "chain", "price_USD"}


def test_not_ready_names_the_part_that_is_missing(site):
    site.world.wallet.fails_with = Unavailable("provider_unavailable", "It does not answer.")
    del site.world.rates.prices["RUB"]
    response = site.call("GET", "/readyz")
    assert (response.status_code, response.json["ready"]) == (503, False)
    assert {c["name"] for c in response.json["checks"] if not c["ok"]} == {"provider", "price_RUB"}


def test_metrics_are_prometheus_text(site):
    site.open()
    response = site.call("GET", "/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert f'bridge_invoices_opened_total{{merchant="shop",process="{os.getpid()}"}} 1.0' in response.text


def test_closed_metrics_need_a_key_and_readiness_keeps_its_details(sqlite_url):
    site = build_site(sqlite_url, metrics_open=False)
    with closing(site.bridge.store):
        assert site.call("GET", "/metrics").status_code == 401
        assert all("detail" not in check for check in site.call("GET", "/readyz").json["checks"])
        key = {"Authorization": f"Bearer {API_KEY}"}
        assert site.call("GET", "/metrics", headers=key).status_code == 200
        assert all("detail" in check for check in site.call("GET", "/readyz", headers=key).json["checks"])


def test_openapi_describes_exactly_the_routes(lite_site):
    document = lite_site.call("GET", "/openapi.json").json
    described = {(path, method) for path, operations in document["paths"].items() for method in operations}
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in lite_site.app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_openapi_shapes_are_what_is_sent(lite_site):
    invoice = lite_site.open()
    assert InvoiceShape.model_validate(invoice, strict=True)
    assert set(InvoiceShape.model_fields) == set(invoice)
    assert set(QuoteShape.model_fields) == set(invoice["quote"])
    assert set(PayStatusShape.model_fields) == set(lite_site.page(invoice, "/status").json)


def test_every_reference_in_openapi_leads_somewhere(lite_site):
    document = lite_site.call("GET", "/openapi.json").json

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    names = {reference.rsplit("/", 1)[1] for reference in references(document)}
    assert names and names <= set(document["components"]["schemas"])


@pytest.mark.parametrize("path", ["/healthz", "/v1/invoices", "/pay/nope", "/nowhere", "/openapi.json"])
def test_every_answer_carries_the_security_headers(lite_site, path):
    headers = lite_site.call("GET", path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src").startswith("'self' 'sha256-")
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


def test_the_script_may_be_kept_for_ever_because_its_address_names_its_content(lite_site):
    with lite_site.call("GET", "/static/pay.js") as response:
        assert "immutable" in response.headers["Cache-Control"]


def test_a_limit_per_address_when_one_is_set(sqlite_url):
    site = build_site(sqlite_url, requests_per_minute=3)
    with closing(site.bridge.store):
        codes = [site.call("GET", "/healthz").status_code for _ in range(5)]
        refused = site.call("GET", "/healthz")
        # The window may turn over once while the test runs.
        assert codes.count(200) >= 3
        if refused.status_code == 429:
            assert int(refused.headers["Retry-After"]) >= 1
        other = {"REMOTE_ADDR": "192.0.2.7"}
        assert site.call("GET", "/healthz", environ_overrides=other).status_code == 200


def test_every_sample_of_the_web_names_its_process_and_promtool_reads_them(site):
    site.open()
    text = site.call("GET", "/metrics").text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert all(f'process="{os.getpid()}"' in line for line in samples)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert "error while linting" not in done.stderr
