"""A bridge that is closed leaves no connection open anywhere."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from bridge.runtime import build
from sandbox.serving import HttpServer
from tests.flows.world import settings_for, until

ANSWERS = {
    "/prices/alpha": {"data": {"USD": {"last": "65000.00"}}},
    "/prices/beta": {"bitcoin": {"usd": 65_000}},
    "/esplora/block/" + "ab" * 32: {"id": "ab" * 32, "height": 9, "timestamp": 1_700_000_000},
}
HASHES = {
    "/esplora/blocks/tip/hash": "ab" * 32,
    "/esplora/block-height/0": "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
}


class Outside(HttpServer):
    """Every outside world at once; it knows how many callers are connected."""

    def __init__(self) -> None:
        self.connected = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Caller)

    def count(self, change: int) -> None:
        with self.lock:
            self.connected += change


class Caller(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Outside

    def setup(self) -> None:
        self.server.count(1)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.count(-1)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = HASHES[path].encode() if path in HASHES else json.dumps(ANSWERS[path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as server:
        yield server


def test_a_closed_bridge_hangs_up_everywhere(outside: Outside, sqlite_url: str) -> None:
    bridge = build(settings_for(f"http://127.0.0.1:{outside.server_port}", sqlite_url))
    assert len(bridge.rates.sample("USD", bridge.clock())) == 2
    assert bridge.chain is not None and bridge.chain.tip().height == 9
    assert outside.connected == 3
    bridge.close()
    until(lambda: outside.connected == 0)
