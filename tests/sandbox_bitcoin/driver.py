"""How the sandbox tests speak to a sandbox: over real HTTP, as an outsider would.

Must not import what it tests; starting it is conftest's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import requests

from sandbox.serving import HttpServer


class Driver:
    """One key, one wallet, and short words for the calls the tests make."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.key = ""
        self.wallet_id = ""

    def ready(self, net: str = "test") -> Driver:
        """With a key and a wallet."""
        self.key = self.ok("key_create")["key"]
        self.wallet_id = self.ok("wallet_create", net=net)["wallet_id"]
        return self

    def raw(self, mode: str, body: Any = None, *, idempotency: str | None = None, **options: Any) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["X-SUBTC-KEY"] = self.key
        if idempotency:
            headers["X-SUBTC-IDEMPOTENCY"] = idempotency
        options = {"timeout": 10, "allow_redirects": False, **options}
        content = {"data": body} if isinstance(body, (str, bytes)) else {"json": body} if body is not None else {}
        return self.http.post(f"{self.url}/v1/btc?mode={mode}", headers=headers, **content, **options)

    def call(self, mode: str, *, idempotency: str | None = None, **body: Any) -> requests.Response:
        """A call with `wallet_id` filled in."""
        if self.wallet_id and mode != "wallet_create":
            body.setdefault("wallet_id", self.wallet_id)
        return self.raw(mode, body or None, idempotency=idempotency)

    def ok(self, mode: str, **body: Any) -> dict[str, Any]:
        answer = self.call(mode, **body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is True, answer.text
        return dict(answer.json()["result"])

    def refused(self, mode: str, **body: Any) -> str:
        """The error code of a call that must fail; its envelope has no request id."""
        answer = self.call(mode, **body).json()
        assert sorted(answer) == ["detail", "error", "ok"]
        assert answer["ok"] is False
        return str(answer["error"])

    def inbox(self, expected_sat: int = 50_000) -> str:
        return str(self.ok("inbox_create", expected_sat=expected_sat)["address"])

    def poll(self, address: str, expected_sat: int = 50_000) -> dict[str, Any]:
        return self.ok("wallet_poll", address=address, expected_sat=expected_sat)

    def send(self, to: str, sat: int, **options: Any) -> requests.Response:
        return self.call("wallet_send", to=to, amount_sat=sat, **options)

    def control(self, name: str, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"{self.url}/_control/{name}", json=body, timeout=20)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def look(self, name: str) -> dict[str, Any]:
        return dict(self.http.get(f"{self.url}/_control/{name}", timeout=10).json())

    def pay(self, address: str, sat: int, **options: Any) -> str:
        return str(self.control("pay", address=address, amount_sat=sat, **options)["txid"])

    def funded(self, sat: int = 200_000) -> str:
        """A confirmed address of the wallet."""
        address = self.inbox()
        self.pay(address, sat, confirmations=1)
        return address

    def fault(self, kind: str, mode: str = "*", times: int | None = 1, **params: Any) -> None:
        self.control("knobs", fault={"mode": mode, "kind": kind, "times": times, **params})

    def esplora(self, path: str) -> Any:
        answer = self.http.get(f"{self.url}/esplora/{path}", timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    def price(self, source: str, currency: str = "USD") -> requests.Response:
        return self.http.get(f"{self.url}/prices/{source}?currency={currency}", timeout=10)

    def stranger(self) -> str:
        """An address that belongs to another key."""
        return Driver(self.url).ready().inbox()


class Receiver:
    """A callback endpoint on loopback; `answers` are the statuses to give, then 200 for ever."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.types: list[str] = []
        self.answers: list[int] = []
        receiver = self

        class Doorbell(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.types.append(self.headers["Content-Type"])
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep silent."""

        self._server = HttpServer(("127.0.0.1", 0), Doorbell)
        self.url = f"http://127.0.0.1:{self._server.server_port}/callbacks/subtc/token"
        self._server.start()

    def stop(self) -> None:
        self._server.close()


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until `condition` holds, at most `seconds`."""
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it never happened"
        time.sleep(0.005)
