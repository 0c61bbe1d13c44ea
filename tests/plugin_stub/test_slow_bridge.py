"""A bridge that sends a byte now and then: one limit holds over the whole call, and nobody waits behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from sandbox.serving import HttpServer
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, SECRET, Panel
from tests.plugin_stub.test_settings_form import error, form

HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
LIMIT_SECONDS = 1
PAUSE_SECONDS = 0.2  # no single wait is too long, all of them together are
DRIPS = 60


class DrippingBridge:
    """Sends `at_once`, then spaces (of a header or a body) one by one; `sent` counts them per call."""

    def __init__(self, at_once: bytes, port: int = 0) -> None:
        self.sent: list[int] = []
        drippings = self.sent

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                drippings.append(0)
                self.wfile.write(at_once)
                for _ in range(DRIPS):
                    self.wfile.write(b" ")
                    drippings[-1] += 1
                    time.sleep(PAUSE_SECONDS)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = HttpServer(("127.0.0.1", port), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.server.start()


@pytest.fixture(params=[b"", HEADER + b"X-Slow: ", HEADER + b"\r\n"], ids=["status", "header", "body"])
def at_once(request: pytest.FixtureRequest) -> bytes:
    """What comes before the dripping."""
    whole: bytes = request.param
    return whole


@pytest.fixture
def dripping(panel: Panel, at_once: bytes) -> Iterator[DrippingBridge]:
    panel.base.joinpath("etc/subtc.conf").write_text(f"bridge_timeout_seconds = {LIMIT_SECONDS}\n")
    slow = DrippingBridge(at_once)
    use(panel, slow.url)
    yield slow
    slow.server.close()


def use(panel: Panel, *urls: str) -> None:
    """Payment methods from number 1 on, each with its bridge."""
    settings = {"subtc_api_key": KEY, "subtc_notify_secret": SECRET}
    rest = {"module": "pmsubtc", "currency": "RUB"}
    panel.change(
        methods={
            str(number): {**rest, "settings": {**settings, "subtc_bridge_url": url}}
            for number, url in enumerate(urls, 1)
        }
    )


def test_the_pay_page_says_in_time_that_it_cannot(panel: Panel, dripping: DrippingBridge) -> None:
    panel.add_payment("7")
    assert panel.pay("7").status == 503
    assert len(dripping.sent) == 1 and dripping.sent[0] < DRIPS
    assert panel.payment("7")["status"] == 8


def test_the_settings_form_says_so_at_the_address(panel: Panel, dripping: DrippingBridge) -> None:
    answer = panel.command("pmvalidate", form(dripping.url))
    assert error(answer)[1] == "subtc_bridge_url"
    assert dripping.sent[0] < DRIPS


def test_checkpay_asks_it_once_and_serves_the_other_bridge(panel: Panel, bridge: FakeBridge, at_once: bytes) -> None:
    """What people did to payments of the slow bridge is told another time; of the other bridge it is told now."""
    first = FakeBridge()
    use(panel, first.url, bridge.url)
    for elid, method in (("1", "1"), ("2", "1"), ("3", "1"), ("8", "2"), ("9", "2")):
        panel.add_payment(elid, method=method)
        panel.pay(elid)
        panel.edit_payment(elid, status=2 if elid == "8" else 9)
    bridge.settled("8")
    first.close()
    panel.base.joinpath("etc/subtc.conf").write_text(f"bridge_timeout_seconds = {LIMIT_SECONDS}\n")
    slow = DrippingBridge(at_once, first.server.server_port)
    panel.checkpay()
    slow.server.close()
    assert panel.payment("8")["status"] == 4
    assert [change["change"] for _, change in bridge.changes] == ["cancelled"]
    assert len(slow.sent) == 1 and slow.sent[0] < DRIPS
