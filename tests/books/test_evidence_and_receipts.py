"""Receipts and evidence: they say what happened, they are signed, and anybody can check them without us."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from bridge.cli.group import main
from bridge.core.errors import Refused
from bridge.desk.evidence import evidence, public_key, receipt
from bridge.receipts import DocumentSigner, canonical, new_key, verify
from bridge.runtime import ConfigError, build
from bridge.web import create_app
from tests.books.runs import paid
from tests.flows.world import settings_for

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
PEM = new_key()


@pytest.fixture
def signed(worlds):
    return worlds(receipt_key=PEM)


def public_id(invoice):
    return invoice["payment_url"].rpartition("/")[2]


def test_the_bundle_tells_everything_and_its_signature_holds(signed):
    world = signed
    invoice = paid(world, customer_id="c1", service_ref="vps-1")
    world.ring(invoice, body=b'{"hello": 1}')
    world.work()
    bundle = evidence(world.bridge, invoice["billing_payment_id"])
    verify(bundle, public_key(world.bridge)["public_key"])
    assert bundle["invoice"]["id"] == invoice["id"]
    assert re.fullmatch("[0-9a-f]{32}", bundle["invoice"]["trace_id"])
    for part in (
        "quotes",
        "payments",
        "observations",
        "callbacks",
        "events",
        "deliveries",
        "journals",
        "audit",
        "story",
    ):
        assert bundle[part], part
    assert bundle["quotes"][0]["samples"][0]["source"]
    assert len(bundle["txids"]) == 64
    assert bundle["entitlement"]["accepted_at"]
    assert bundle["deliveries"][0]["tries"][0]["body_sha256"]
    assert {"id", "received_at", "body_sha256"} <= set(bundle["callbacks"][0])
    assert all(sum(leg["units"] for leg in j["entries"]) == 0 for j in bundle["journals"])
    assert [entry["sha256"] for entry in bundle["audit"]] and all(e["position"] for e in bundle["audit"])


@ONE_ENGINE
def test_no_secret_is_in_a_bundle(signed):
    invoice = paid(signed)
    text = json.dumps(evidence(signed.bridge, invoice["id"]))
    for secret in (signed.bridge.callback_token(invoice["id"]), "SUBTC-KEY", "whsec_", "callback_token", "lease_owner"):
        assert secret not in text


@ONE_ENGINE
def test_a_changed_bundle_is_found(signed):
    invoice = paid(signed)
    bundle, key = evidence(signed.bridge, invoice["id"]), public_key(signed.bridge)["public_key"]
    for changed in (
        bundle | {"txids": "ab"},
        {name: value for name, value in bundle.items() if name != "story"},
        bundle | {"extra": 1},
        bundle | {"signature": bundle["signature"] | {"algorithm": "none"}},
        bundle | {"signature": bundle["signature"] | {"value": ""}},
        {},
    ):
        with pytest.raises(Refused, match="signature"):
            verify(changed, key)
    with pytest.raises(Refused):
        verify(bundle, DocumentSigner(new_key()).public_pem)
    with pytest.raises(Refused):
        verify(bundle, "no key")


@ONE_ENGINE
def test_a_reference_that_names_no_invoice_is_refused(world):
    with pytest.raises(Refused):
        evidence(world.bridge, "nothing")


@ONE_ENGINE
def test_without_a_key_the_bundle_has_no_signature(world):
    invoice = paid(world)
    assert "signature" not in evidence(world.bridge, invoice["id"])
    with pytest.raises(Refused):
        public_key(world.bridge)


def test_the_payers_receipt_says_when_the_billing_system_agreed(signed):
    world = signed
    invoice = paid(world, customer_id="c1", customer_email="a@example.com")
    before = receipt(world.bridge, public_id(invoice))
    assert before["billing"] == {"accepted_at": None, "status_read_back": None}
    world.deliver()
    after = receipt(world.bridge, public_id(invoice))
    verify(after, public_key(world.bridge)["public_key"])
    assert after["billing"]["accepted_at"] and after["billing"]["status_read_back"] == 4
    assert (after["amount"], after["currency"], after["is_tax_document"]) == ("10.00", "USD", False)
    assert after["transactions"][0]["amount_sat"] == after["received_sat"] == invoice["received_sat"]
    assert "a@example.com" not in json.dumps(after)


@ONE_ENGINE
def test_the_receipt_is_served_after_settlement_with_its_key_beside_it(signed):
    world = signed
    web = create_app(world.bridge, api_keys={}, sign=lambda *_: {}).test_client()
    invoice = world.open()
    address = f"/pay/{public_id(invoice)}/receipt.json"
    assert web.get(address).status_code == 404
    assert web.get(address).json["code"] == "no_receipt"
    world.pay(invoice)
    world.mine()
    world.look(invoice)
    key = web.get("/.well-known/subtc-bridge-receipt-key").json
    verify(web.get(address).json, key["public_key"])
    unsigned = create_app(replace(world.bridge, signer=None), api_keys={}, sign=lambda *_: {}).test_client()
    assert unsigned.get("/.well-known/subtc-bridge-receipt-key").status_code == 404
    assert "signature" not in unsigned.get(address).json


@ONE_ENGINE
def test_a_receipt_is_checked_offline_by_the_command(signed, tmp_path):
    invoice = paid(signed)
    (tmp_path / "key.pem").write_text(public_key(signed.bridge)["public_key"])
    good = receipt(signed.bridge, public_id(invoice))
    (tmp_path / "good.json").write_text(json.dumps(good, indent=4, ensure_ascii=True))
    (tmp_path / "bad.json").write_text(json.dumps(good | {"received_sat": 1}))
    (tmp_path / "no.json").write_text("no")
    run = CliRunner().invoke
    checked = run(main, ["verify-receipt", str(tmp_path / "good.json"), "--key", str(tmp_path / "key.pem")])
    assert (checked.exit_code, "good" in checked.output) == (0, True)
    for wrong in ("bad.json", "no.json"):
        checked = run(main, ["verify-receipt", str(tmp_path / wrong), "--key", str(tmp_path / "key.pem")])
        assert (checked.exit_code, "receipt_invalid" in checked.output) == (1, True)


def test_a_new_key_is_a_file_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "receipt.pem"
    assert CliRunner().invoke(main, ["new-receipt-key", str(path)]).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert DocumentSigner(path.read_text()).key_id
    assert CliRunner().invoke(main, ["new-receipt-key", str(path)]).exit_code != 0


def test_the_signed_bytes_are_the_same_whatever_the_order():
    assert canonical({"b": 1, "a": "ы", "signature": 1}) == '{"a":"ы","b":1}'.encode()


@ONE_ENGINE
def test_a_key_that_is_none_is_refused_without_being_shown(database_url):
    with pytest.raises(ConfigError) as refused:
        build(settings_for("http://127.0.0.1:1", database_url, receipt_key="not a key at all"))
    assert "not a key at all" not in str(refused.value)
