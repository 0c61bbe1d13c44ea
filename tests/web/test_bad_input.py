"""What strangers and broken callers send: each gets a clear error, and nothing is opened."""

import base64
import http.client
import json
from contextlib import closing, suppress

import pytest

from sandbox.serving import WsgiServer
from tests.web.conftest import API_KEY


def refused(site, body, *, key="bm-1001"):
    response = site.api("POST", "/v1/invoices", body, key=key)
    assert response.mimetype == "application/problem+json"
    assert set(response.json) >= {"type", "title", "status", "code", "detail"}
    assert response.json["status"] == response.status_code
    assert site.api("GET", "/v1/invoices").json["invoices"] == []
    return response.status_code, response.json["code"], response.json.get("field")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"currency": "XXX"}, "unsupported_currency", "currency"),
        ({"currency": "usd"}, "unsupported_currency", "currency"),
        ({"currency": 840}, "invalid_field", "currency"),
        ({"amount": "10.001"}, "invalid_amount", "amount"),
        ({"amount": "-1.00"}, "invalid_amount", "amount"),
        ({"amount": "0.00"}, "invalid_amount", "amount"),
        ({"amount": "1e3"}, "invalid_amount", "amount"),
        ({"amount": "9" * 40}, "invalid_amount", "amount"),
        ({"amount": "9" * 400}, "invalid_field", "amount"),
        ({"amount": "١٠.٠٠"}, "invalid_amount", "amount"),
        ({"amount": " 10.00"}, "invalid_amount", "amount"),
        ({"amount": ""}, "invalid_amount", "amount"),
        ({"amount": 10.5}, "invalid_field", "amount"),
        ({"amount": 10}, "invalid_field", "amount"),
        ({"amount": True}, "invalid_field", "amount"),
        ({"amount": None}, "invalid_field", "amount"),
        ({"amount": "0.01"}, "below_minimum", "amount"),
        ({"billing_payment_id": 1001}, "invalid_field", "billing_payment_id"),
        ({"billing_payment_id": "1;rm -rf"}, "invalid_field", "billing_payment_id"),
        ({"billing_payment_id": "1001\n"}, "invalid_field", "billing_payment_id"),
        ({"billing_payment_id": ""}, "invalid_field", "billing_payment_id"),
        ({"billing_payment_id": "9" * 65}, "invalid_field", "billing_payment_id"),
        ({"description": "a\u0000b"}, "invalid_field", "description"),
        ({"description": "a" * 10_001}, "invalid_field", "description"),
        ({"customer": {"id": 7}}, "invalid_field", "customer.id"),
        ({"customer": {"country": "deu"}}, "invalid_field", "customer.country"),
        ({"customer": {"phone": "1"}}, "unknown_field", "customer.phone"),
        ({"customer": []}, "invalid_field", "customer"),
        ({"return_url": "javascript:alert(1)"}, "invalid_field", "return_url"),
        ({"return_url": "//shop.example"}, "invalid_field", "return_url"),
        ({"return_url": "https://"}, "invalid_field", "return_url"),
        ({"return_url": 'https://shop.example/"><script>'}, "invalid_field", "return_url"),
        ({"return_url": "ftp://shop.example/"}, "invalid_field", "return_url"),
        ({"return_url": "https://[broken"}, "invalid_field", "return_url"),
        ({"status": "settled"}, "unknown_field", "status"),
    ],
)
def test_a_wrong_field_is_named(lite_site, changes, code, field):
    assert refused(lite_site, lite_site.order(**changes)) == (422, code, field)


@pytest.mark.parametrize("missing", ["billing_payment_id", "amount", "currency"])
def test_a_missing_field_is_named(lite_site, missing):
    body = lite_site.order()
    del body[missing]
    assert refused(lite_site, body) == (422, "missing_field", missing)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"amount": "10.00",}',
        b"\xff\xfe",
        b'{"billing_payment_id": "\\ud800", "amount": "1", "currency": "USD"}',
        b"[" * 30_000,
    ],
)
def test_what_is_not_json_is_refused(lite_site, body):
    assert refused(lite_site, body)[:2] == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_json_that_is_no_object_is_refused(lite_site, body):
    assert refused(lite_site, body)[:2] == (422, "invalid_field")


def test_a_fault_does_not_repeat_what_was_sent(lite_site):
    body = lite_site.order(currency=["hunter2-secret"])
    assert "hunter2" not in lite_site.api("POST", "/v1/invoices", body, key="k").text


@pytest.mark.parametrize("key", ["", " ", "a" * 65, "bm 1", "bm;1", "ключ".encode().decode("latin-1")])
def test_an_idempotency_key_outside_its_alphabet_is_refused(lite_site, key):
    assert refused(lite_site, lite_site.order(), key=key)[:2] == (400, "idempotency_key_invalid")


def test_a_missing_idempotency_key_is_refused(lite_site):
    assert refused(lite_site, lite_site.order(), key=None)[:2] == (400, "idempotency_key_missing")


@pytest.mark.parametrize("key", ["a", "a" * 64, "bm-1001-Abc_9"])
def test_an_idempotency_key_inside_its_alphabet_is_taken(lite_site, key):
    assert lite_site.api("POST", "/v1/invoices", lite_site.order(), key=key).status_code == 201


def test_a_body_of_64_kib_is_read_and_one_byte_more_is_not(lite_site):
    order = lite_site.order()
    room = 65_536 - len(json.dumps(order).encode())
    fitting = json.dumps(order).encode() + b" " * room
    assert len(fitting) == 65_536
    assert lite_site.api("POST", "/v1/invoices", fitting, key="a").status_code == 201
    response = lite_site.api("POST", "/v1/invoices", fitting + b" ", key="b")
    assert (response.status_code, response.json["code"]) == (413, "body_too_large")


@pytest.fixture
def served(lite_site):
    """The address of a real server with the site."""
    with WsgiServer("127.0.0.1", 0, lite_site.app) as server:
        yield server.server_address


@pytest.mark.parametrize(("pieces", "status"), [(8, 400), (9, 413), (200, 413)])
def test_a_chunked_body_without_a_length_is_cut_off_too(served, pieces, status):
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "a", "Transfer-Encoding": "chunked"}
    with closing(http.client.HTTPConnection(*served, timeout=10)) as connection:
        # Sent whole, then read: the server may stop reading and hang up before the last piece.
        with suppress(BrokenPipeError, ConnectionResetError):
            chunks = (b"x" * 8_192 for _ in range(pieces))
            connection.request("POST", "/v1/invoices", body=chunks, headers=headers, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, json.load(response)["status"]) == (status, status)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {API_KEY}", API_KEY, f"Bearer {API_KEY}x"]
)
@pytest.mark.parametrize("path", ["/v1/invoices", "/v1/events", "/v1/invoices/inv_1"])
def test_without_a_valid_key_there_is_nothing_to_see(lite_site, authorization, path):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = lite_site.call("GET", path, headers=headers)
    assert (response.status_code, response.json["code"]) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/invoices/%00", "/pay/%00", "/callbacks/subtc/%00"])
def test_a_nul_in_a_path_is_just_an_unknown_page(site, path):
    method = "POST" if path.startswith("/callbacks") else "GET"
    assert site.api(method, path).status_code == 404


def test_unknown_paths_and_methods_are_problems_too(lite_site):
    missing = lite_site.call("GET", "/wp-login.php")
    assert (missing.status_code, missing.json["code"]) == (404, "not_found")
    wrong = lite_site.call("DELETE", "/v1/invoices")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


@pytest.mark.parametrize("text", ["2026-03-14T12:00:00|inv_1", "2026-03-14T12:00:00+00:00|inv\0_1", "2026-03-14|", "|"])
def test_a_cursor_without_a_zone_or_with_a_nul_is_refused(site, text):
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    response = site.api("GET", f"/v1/invoices?cursor={cursor}")
    assert (response.status_code, response.json["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("path", ["/pay/abc", "/pay/abc/status", "/v1/events", "/healthz"])
def test_a_host_that_is_no_name_is_told_so(lite_site, path):
    lite_site.app.testing = False
    response = lite_site.call("GET", path, headers={"Host": "a" * 64})
    assert response.status_code == 400 and "bad_request" in response.text
