"""The whole journey over Lightning: an order in BILLmanager, asked for on the pay page, really paid over a channel, becomes active."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from bridge.lightning.bolt11 import decoded
from sandbox.demo import PORTS, Demo, Walk, running
from tests.lightning.electrum.programs import Daemon, is_open, until

pytestmark = pytest.mark.lightning


@pytest.fixture
def demo(shop: Daemon, payer: Daemon, tmp_path: Path) -> Iterator[Demo]:
    """The demo's own programs; the bridge's other way to pay is the real daemon."""
    until(lambda: is_open(shop) and is_open(payer))

    def change(settings: dict[str, Any]) -> None:
        del settings["lnbits"]
        settings["network"] = "regtest"
        settings["electrum"] = {
            "url": shop.url,
            "user": shop.user,
            "password": shop.password,
            "node_id": shop("nodeid").partition("@")[0],
            "wallet": shop.wallet,
        }

    free = dict.fromkeys(PORTS, 0)
    with running(tmp_path, wanted_ports=free, change=change, tick_seconds=0, chain=("--net", "regtest")) as started:
        yield started


def ask_for_lightning(page: str) -> dict[str, Any]:
    """What the page's own script sends when the payer chooses Lightning."""
    parts = urlsplit(page)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", f"{parts.path}/way", urlencode({"way": "lightning"}), headers)
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 200, body
        return dict(json.loads(body))
    finally:
        connection.close()


def test_an_order_paid_over_a_real_channel_becomes_an_active_service(demo: Demo, shop: Daemon, payer: Daemon) -> None:
    walk = Walk(demo)
    for step in (walk.add_method, walk.place_order, walk.open_pay_page):
        step()
    due_sat = walk.invoice["remaining_sat"]
    way = ask_for_lightning(walk.invoice["payment_url"])
    assert ask_for_lightning(walk.invoice["payment_url"]) == way
    asked = decoded(way["text"])
    assert (way["way"], way["due_sat"], asked.amount_msat) == ("lightning", due_sat, due_sat * 1_000)
    assert asked.payee == shop("nodeid").partition("@")[0]
    paid = payer("lnpay", invoice=way["text"])
    started = time.monotonic()
    assert paid["success"]
    for step in (walk.settled, walk.paid):
        step()
    # Nobody rings: what may be paid any moment is asked for each second.
    assert time.monotonic() - started < 10
    walk.active()
    assert (walk.invoice["received_sat"], walk.invoice["confirmed_sat"]) == (due_sat, due_sat)
    assert shop("get_request", request_id=asked.payment_hash)["status"] == 3
