"""A merchant's endpoint that behaves like the module's result CGI, and counts what a client's account would feel.

Owns the counts; a payment is set paid once however often it is told, but every telling is kept.
"""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from bridge.billmanager import verify
from bridge.core.errors import Refused
from sandbox.serving import HttpServer


class Receiver:
    """Runs in threads of this process. `fault`, given the event, may return a status, "lost" or None; `delay_seconds` slows it."""

    def __init__(self, secret: str):
        self.secret = secret
        self.lock = threading.Lock()
        self.told: list[dict[str, Any]] = []
        self.told_at: list[float] = []
        self.settled_events: dict[str, set[str]] = {}
        self.refused = 0
        self.delay_seconds = 0.0
        self.fault: Callable[[dict[str, Any]], int | str | None] = lambda _event: None
        self._server = HttpServer(("127.0.0.1", 0), _request_class(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/mancgi/subtcresult"
        self._server.start()

    def take(self, headers: dict[str, str], body: bytes) -> int | str:
        """One notification: the status to answer, or "lost" to act and then hang up."""
        now = datetime.fromtimestamp(int(headers.get("webhook-timestamp", "0")), UTC)
        try:
            # Tests move the bridge's clock and not this one, so the age of the signature is not looked at.
            event_id = verify(headers=headers, body=body, secrets=[self.secret], now=now)
        except Refused:
            self.refused += 1
            return 401
        event = json.loads(body)
        assert event["id"] == event_id
        time.sleep(self.delay_seconds)
        fault = self.fault(event)
        if isinstance(fault, int):
            return fault
        with self.lock:
            self._act(event)
        return fault or 200

    def _act(self, event: dict[str, Any]) -> None:
        self.told.append(event)
        self.told_at.append(time.monotonic())
        invoice = event.get("invoice")
        if event["type"] == "invoice.settled" and invoice and invoice["status"] == "settled":
            self.settled_events.setdefault(invoice["billing_payment_id"], set()).add(event["id"])

    def paid(self) -> dict[str, int]:
        """How often each billing payment was set paid: the same event again changes nothing, another one would."""
        with self.lock:
            return {payment: len(events) for payment, events in self.settled_events.items()}

    def close(self) -> None:
        self._server.close()


def _request_class(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            if answer == "lost":
                self.close_connection = True
                return
            self.send_response(int(answer))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Request
