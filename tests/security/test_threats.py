"""Attacks that no other room's test carries out whole; docs/threats.md says which threat each of them is about."""

import base64
import hmac
import random
import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import event, func, select

from bridge.billmanager import sign, verify
from bridge.core.errors import Refused
from bridge.rails.subtc.wire import CallbackSignature
from bridge.store import tables
from tests.builders import callback_token
from tests.web.conftest import Site, build_site

PLUGIN = Path(__file__).parents[2] / "plugin_stub" / "lib" / "python"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RAW_SECRET = b"a secret made up for this test"
SECRET = "whsec_" + base64.b64encode(RAW_SECRET).decode()
BODY = b'{"id":"evt_1","type":"invoice.settled","invoice":{"amount":"10.00"}}'


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    built = build_site(database_url)
    yield built
    built.bridge.store.close()


@pytest.fixture(scope="module")
def module_signature() -> ModuleType:
    """The check that runs inside BILLmanager."""
    sys.path.insert(0, str(PLUGIN))
    try:
        from subtc import signature
    finally:
        sys.path.remove(str(PLUGIN))
    return signature


def changed_bodies() -> Iterator[bytes]:
    """The body with one bit turned, for every bit of it; longer, shorter, and the same meaning written differently."""
    for place in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)
    yield from (BODY + b"\n", BODY[:-1], b"", BODY.replace(b":", b": "))


def test_no_bit_of_a_signed_body_can_be_turned(module_signature: ModuleType) -> None:
    """T-3: by the bridge's own check, by that of the module and by that of callbacks."""
    headers = sign(event_id="evt_1", body=BODY, secrets=[SECRET], now=NOW)
    theirs = {"secrets": [RAW_SECRET], "headers": headers, "now": int(NOW.timestamp())}
    callback = CallbackSignature(header="X-Signature", secrets=[RAW_SECRET])
    signed = {"X-Signature": hmac.digest(RAW_SECRET, BODY, "sha256").hex()}
    verify(headers=headers, body=BODY, secrets=[SECRET], now=NOW)
    module_signature.verify(body=BODY, **theirs)
    assert callback.is_valid(signed, BODY)
    for changed in changed_bodies():
        with pytest.raises(Refused):
            verify(headers=headers, body=changed, secrets=[SECRET], now=NOW)
        with pytest.raises(module_signature.BadSignature):
            module_signature.verify(body=changed, **theirs)
        assert not callback.is_valid(signed, changed)


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """Every statement that the database is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(site.bridge.store.engine, "before_cursor_execute", note)
    yield asked
    event.remove(site.bridge.store.engine, "before_cursor_execute", note)


def guesses(real: str) -> Iterator[str]:
    chance = random.Random(4)
    yield from (real[:-1], real + "A", real.upper(), "A" + real[1:], real.replace("-", "_", 1))
    for _ in range(100):
        yield "".join(chance.choices(string.ascii_letters + string.digits + "-_", k=len(real)))


def test_guessing_callback_tokens_finds_nothing_and_learns_nothing(site: Site) -> None:
    """T-4: whatever is guessed, the answer is the same to the byte and costs the same questions to the database."""
    real = callback_token(site.open()["id"])
    answers, costs = set(), set()
    for guess in guesses(real):
        with statements(site) as asked:
            answer = site.call("POST", f"/callbacks/subtc/{guess}", data=b'{"reached":true}')
        answers.add((answer.status_code, answer.data))
        costs.add(tuple(asked))
    assert [status for status, _ in answers] == [404]
    assert len(costs) == 1
    with site.bridge.store.read() as tx:
        assert tx.execute(select(func.count()).select_from(tables.inbox)).scalar() == 0


def test_nothing_a_payer_sends_changes_what_is_asked_of_them(site: Site) -> None:
    """T-7: sum, currency and payment stand in the database; the page reads none of them from the browser."""
    invoice = site.open()
    other = site.open("1002", amount="1.00")
    wishes = {"amount": "0.01", "currency": "JPY", "due_sat": "1", "price": "1", "billing_payment_id": "1002"}
    wishes |= {"id": other["id"], "quote": "0", "elid": "1002"}
    for method, suffix in (
        ("GET", ""),
        ("GET", "/status"),
        ("POST", "/quote"),
        ("POST", "/refund"),
        ("GET", "/receipt"),
    ):
        for sent in ({"query_string": wishes}, {"data": wishes}, {"json": wishes}):
            if method == "POST" or "query_string" in sent:
                site.page(invoice, suffix, method=method, **sent)
    for each in (invoice, other):
        now = site.api("GET", f"/v1/invoices/{each['id']}").json
        assert {name: now[name] for name in ("amount", "currency", "remaining_sat", "quote", "billing_payment_id")} == {
            name: each[name] for name in ("amount", "currency", "remaining_sat", "quote", "billing_payment_id")
        }


def test_a_flood_of_keys_for_one_payment_makes_one_invoice_and_one_address(site: Site) -> None:
    """T-16: keys are cheap to invent; what they could multiply is not multiplied by them."""
    order = site.order("1001")
    answers = [site.api("POST", "/v1/invoices", order, key=f"flood-{number}") for number in range(60)]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({(answer.json["id"], answer.json["address"]) for answer in answers}) == 1
    assert len(site.world.wallet.addresses) == 1
    bad = [site.api("POST", "/v1/invoices", site.order("1001", currency="XXX"), key=f"bad-{n}") for n in range(60)]
    assert {answer.status_code for answer in bad} == {422}
    with site.bridge.store.read() as tx:
        kept = select(func.count()).select_from(tables.idempotency).where(tables.idempotency.c.key.like("bad-%"))
        assert tx.execute(kept).scalar() == 0
