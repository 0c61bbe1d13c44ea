"""The one job over Lightning, through real programs: ordered, paid in the sandbox's wallet, active, with LNbits' webhook in between."""

import json
import time
from typing import Any

import pytest
import requests

from sandbox.demo import until
from tests.e2e.conftest import Order


def ask_for_lightning(order: Order) -> dict[str, Any]:
    """What the pay page's button makes."""
    page = order.invoice["payment_url"]
    reply = requests.post(f"{page}/way", data={"way": "lightning"}, headers={"Accept": "application/json"}, timeout=20)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def pay_in_the_wallet(order: Order, uri: str) -> str:
    wallet = f"{order.demo.url('bitcoin')}/wallet"
    reply = requests.post(wallet, data={"action": "lightning", "uri": uri}, timeout=20)
    assert reply.status_code == 200, reply.text
    return reply.text


def made(order: Order, bolt11: str) -> dict[str, Any]:
    """What LNbits has of it."""
    payments = order.control("bitcoin", "ln_state")["payments"]
    return next(each for each in payments if each["bolt11"] == bolt11)


@pytest.mark.parametrize("kind", [None, "drop", "duplicate", "not_json"], ids=str)
def test_an_order_that_is_paid_over_lightning_becomes_an_active_service(order: Order, kind: str | None) -> None:
    """However the webhook comes, if it comes: after a lost one it takes the next look at a young invoice."""
    if kind is not None:
        order.knobs(fault={"mode": "ln_webhook", "kind": kind, "copies": 3})
    invoice = order.place_and_open()
    way = ask_for_lightning(order)
    assert (way["way"], way["state"], way["due_sat"]) == ("lightning", "offered", invoice["remaining_sat"])
    assert "arrived over Lightning" in pay_in_the_wallet(order, way["uri"])
    began = time.monotonic()
    order.settled()
    order.paid()
    order.active()
    print(f"active {time.monotonic() - began:.1f} s after it was paid")
    assert order.statuses().count(4) == 1
    assert {each["name"] for each in order.control("billmanager", "paymethods")["paymethods"]} == {"Bitcoin"}
    assert order.invoice["received_sat"] == invoice["remaining_sat"]
    until(lambda: order.events()[-1:] == ["invoice.settled"], "the feed does not say that it is paid")
    assert f"over Lightning {order.invoice['payments'][0]['first_seen_at'][:10]}" in order.payment()["info"]
    assert order.payment()["info"].endswith(f", payment hash {made(order, way['text'])['payment_hash']}")
    shown = json.dumps(order.events())
    assert made(order, way["text"])["preimage"] not in shown


def test_nothing_comes_of_an_invoice_that_nobody_paid_and_the_address_works(order: Order) -> None:
    order.place_and_open()
    way = ask_for_lightning(order)
    order.pay()
    order.doorbell()
    order.seen()
    order.mine()
    order.travel(6)
    order.settled()
    order.paid()
    assert until(lambda: made(order, way["text"])["status"] == "pending", "it waits")
