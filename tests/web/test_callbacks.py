"""The doorbell: kept, answered, never believed."""

from contextlib import closing

import pytest

from bridge.invoices.inbox import list_events
from bridge.store import inbox
from tests.builders import callback_token
from tests.web.conftest import build_site


def waiting(site):
    with site.bridge.store.read() as tx:
        return list(inbox.waiting(tx, limit=10))


def ring(site, invoice, body=b'{"reached": true, "received_sat": 999999999}', **options):
    return site.call("POST", f"/callbacks/subtc/{callback_token(invoice['id'])}", data=body, **options)


def test_a_callback_is_durable_when_it_is_answered_and_changes_nothing_by_itself(site):
    invoice = site.open()
    assert ring(site, invoice).status_code == 200
    assert [row.invoice_id for row in waiting(site)] == [invoice["id"]]
    assert site.api("GET", f"/v1/invoices/{invoice['id']}").json == invoice


def test_the_same_callback_twice_rings_once(site):
    invoice = site.open()
    assert [ring(site, invoice).status_code for _ in range(3)] == [200] * 3
    assert len(waiting(site)) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\x00\xfe", b"<xml/>", b'{"reached": "perhaps"}'])
def test_whatever_the_body_says_it_is_a_doorbell(site, body):
    assert ring(site, site.open(), body).status_code == 200
    assert len(waiting(site)) == 1


def test_an_unknown_token_is_not_found(site):
    response = site.call("POST", "/callbacks/subtc/nobody-knows-this", data=b"{}")
    assert (response.status_code, response.json["code"]) == (404, "unknown_token")
    assert waiting(site) == []


def test_a_body_of_65_kib_is_too_much(lite_site):
    assert ring(lite_site, lite_site.open(), b"x" * 65_537).status_code == 413
    assert waiting(lite_site) == []


def test_a_callback_is_a_post(lite_site):
    token = callback_token(lite_site.open()["id"])
    assert lite_site.call("GET", f"/callbacks/subtc/{token}").status_code == 405


def test_with_a_configured_signature_only_a_signed_callback_rings(database_url):
    site = build_site(database_url, callback_check=lambda headers, body: headers.get("x-signature") == "good")
    with closing(site.bridge.store):
        invoice = site.open()
        unsigned = ring(site, invoice)
        assert (unsigned.status_code, unsigned.json["code"]) == (401, "bad_signature")
        assert waiting(site) == []
        assert ring(site, invoice, headers={"X-Signature": "good"}).status_code == 200
        assert len(waiting(site)) == 1


def test_lnbits_rings_with_json_in_json_or_anything_and_needs_no_signature(database_url):
    site = build_site(database_url, callback_check=lambda headers, body: False)
    with closing(site.bridge.store):
        invoice = site.open()
        token = callback_token(invoice["id"])
        for body in (b'"{\\"paid\\": true}"', b"\xff", b""):
            assert site.call("POST", f"/callbacks/lnbits/{token}", data=body).status_code == 200
        heard = list_events(site.bridge, direction="in", match={}, limit=10)
        assert {(row["type"], row["invoice_id"]) for row in heard} == {("lnbits", invoice["id"])}
        assert site.api("GET", f"/v1/invoices/{invoice['id']}").json == invoice
        assert site.call("POST", "/callbacks/lnbits/unknown", data=b"{}").status_code == 404
