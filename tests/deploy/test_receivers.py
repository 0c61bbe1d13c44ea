"""The example receivers of the integrator guide, as programs, against events that the bridge itself signs and sends.

Owns what an integrator may rely on; both languages pass the same list.
"""

import json
import os
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.billmanager import Notifier, sign
from tests.deploy.site import free_port
from tests.flows.world import open_world, until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECRET = "whsec_" + b64encode(b"the current secret of the shop").decode()
OLD = "whsec_" + b64encode(b"the former secret of the shop").decode()
# As a double click copies it; the bridge signs with the whole one.
OLD_AS_COPIED = OLD.rstrip("=")
LONGEST = 70


@dataclass(kw_only=True)
class Receiver:
    """A running example with one order: 77 for 10.00 USD."""

    url: str
    orders: Path

    def paid(self) -> str:
        with closing(sqlite3.connect(self.orders)) as database:
            return str(database.execute("SELECT paid FROM orders WHERE id = '77'").fetchone()[0])

    def tell(self, event: dict[str, Any], *, secrets: tuple[str, ...] = (SECRET,), now: datetime | None = None) -> int:
        body = json.dumps(event).encode()
        headers = sign(event_id=event["id"], body=body, secrets=secrets, now=now or datetime.now(UTC))
        return self.post(body, headers)

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        return requests.post(self.url, data=body, headers=headers, timeout=10).status_code


def command(language: str, port: int, orders: Path) -> list[str]:
    if language == "python":
        return [sys.executable, str(EXAMPLES / "receiver.py"), str(port), str(orders), SECRET, OLD_AS_COPIED]
    return ["php", "-d", "display_errors=0", "-S", f"127.0.0.1:{port}", str(EXAMPLES / "receiver.php")]


@pytest.fixture(params=["python", "php"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Receiver]:
    orders = tmp_path / "orders.db"
    with closing(sqlite3.connect(orders)) as database:
        database.execute(
            "CREATE TABLE orders (id TEXT PRIMARY KEY, price TEXT, currency TEXT, paid TEXT NOT NULL DEFAULT '')"
        )
        database.execute("INSERT INTO orders (id, price, currency) VALUES ('77', '10.00', 'USD')")
        database.commit()
    port = free_port()
    environment = os.environ | {"ORDERS_DB": str(orders), "NOTIFY_SECRETS": f"{SECRET} {OLD_AS_COPIED}"}
    with (tmp_path / "log").open("wb") as log_file:
        program = subprocess.Popen(
            command(request.param, port, orders), env=environment, stdout=log_file, stderr=log_file
        )
    running = Receiver(url=f"http://127.0.0.1:{port}/", orders=orders)
    try:
        until(lambda: answers(running), seconds=15)
        yield running
    finally:
        program.terminate()
        program.wait(timeout=10)


def answers(running: Receiver) -> bool:
    try:
        return running.post(b"{}", {}) == 401
    except requests.ConnectionError:
        return False


def event(**changes: Any) -> dict[str, Any]:
    invoice = {"id": "inv_1", "billing_payment_id": "77", "status": "settled", "exception": "none", "hold": None}
    invoice |= {"amount": "10.00", "currency": "USD", "received_sat": 15_924, "sequence": 3}
    return {"id": "evt_1", "type": "invoice.settled", "sequence": 3, "invoice": invoice | changes}


def test_a_settled_invoice_is_paid_once_however_often_it_is_told(receiver):
    assert [receiver.tell(event()) for _ in range(3)] == [200, 200, 200]
    assert receiver.paid() == "inv_1"


def test_another_settled_event_of_another_invoice_does_not_pay_again(receiver):
    assert receiver.tell(event()) == 200
    assert receiver.tell(event(id="inv_2")) == 200
    assert receiver.paid() == "inv_1"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "processing"}, 200),
        ({"hold": "review"}, 200),
        ({"amount": "1.00"}, 422),
        ({"currency": "RUB"}, 422),
        ({"billing_payment_id": "78"}, 409),
    ],
)
def test_whatever_is_not_this_orders_settled_sum_pays_nothing(receiver, changes, status):
    assert receiver.tell(event(**changes)) == status
    assert receiver.paid() == ""


def test_a_test_event_is_answered_and_does_nothing(receiver):
    assert receiver.tell({"id": "evt_t", "type": "test", "sequence": 0}) == 200


def test_forged_stale_and_altered_events_are_refused(receiver):
    now = datetime.now(UTC)
    stranger = "whsec_" + b64encode(b"the secret of a stranger").decode()
    assert receiver.tell(event(), secrets=(stranger,)) == 401
    assert receiver.tell(event(), now=now - timedelta(minutes=6)) == 401
    assert receiver.tell(event(), now=now + timedelta(minutes=6)) == 401
    body = json.dumps(event()).encode()
    headers = sign(event_id="evt_1", body=body, secrets=[SECRET], now=now)
    assert receiver.post(body.replace(b"10.00", b"99.00"), headers) == 401
    assert receiver.post(body, headers | {"webhook-id": "evt_2"}) == 401
    assert receiver.post(body, {}) == 401
    assert receiver.paid() == ""


def test_while_a_secret_rotates_either_signature_is_enough(receiver):
    stranger = "whsec_" + b64encode(b"the next secret of the shop").decode()
    assert receiver.tell(event(), secrets=(stranger, OLD)) == 200
    assert receiver.paid() == "inv_1"


def test_a_secret_that_lost_its_padding_is_the_same_secret(receiver):
    assert OLD != OLD_AS_COPIED
    assert receiver.tell(event(), secrets=(OLD,)) == 200
    assert receiver.paid() == "inv_1"


def test_nonsense_that_is_rightly_signed_comes_again_later(receiver):
    headers = sign(event_id="evt_1", body=b"[", secrets=[SECRET], now=datetime.now(UTC))
    assert receiver.post(b"[", headers) == 503


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_real_invoice_of_the_bridge_pays_the_order(receiver, database_url):
    """The whole contract: opened, paid, settled, signed and sent by the bridge's own adapter."""
    with open_world(database_url) as world:
        invoice = world.open("77")
        world.pay(invoice)
        world.mine()
        assert world.seen(invoice)[0] == "settled"
        world.deliver()
        told = [e for _, e in world.billing.told]
    notifier = Notifier()
    for each in told:
        body = json.dumps(each).encode()
        now = datetime.now(UTC)
        answer = notifier.notify(receiver.url, event_id=each["id"], body=body, secrets=[SECRET], now=now)
        assert answer.outcome == "delivered"
    notifier.close()
    assert receiver.paid() == invoice["id"]


@pytest.mark.parametrize("name", ["receiver.py", "receiver.php"])
def test_an_example_is_short_enough_to_read(name):
    assert len((EXAMPLES / name).read_text().splitlines()) <= LONGEST
