"""A tiny bridge in a thread: invoices, feed, check and billing changes, signed by a foreign implementation.

Owns the module's view of the bridge's interface; must not import the module or the real bridge.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from standardwebhooks.webhooks import Webhook

from sandbox.serving import HttpServer
from tests.plugin_stub.panel import KEY, SECRET

Answer = tuple[int, dict[str, Any], dict[str, str]]


class FakeBridge:
    """`requests` are (method, path, headers, body); `status` forces an answer; `clock_offset` moves its clock."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)  # no two bridges ever give the same id
        self.keys = {KEY: SECRET}
        self.invoices: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.feed: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.changes: list[tuple[str, dict[str, Any]]] = []
        self.reports: list[dict[str, Any]] = []
        # What it says that it reads of a payment: nothing, as one of before.
        self.reads: list[str] = []
        self.status = 0
        self.force: Answer | None = None
        self.clock_offset = 0
        self.surcharges: list[dict[str, Any]] = []
        self.currencies = ["RUB", "USD", "EUR"]
        self.server = HttpServer(("127.0.0.1", 0), _requests_of(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.server.start()

    def close(self) -> None:
        self.server.close()

    def opened(self) -> list[str]:
        """Idempotency keys of the invoices asked for, in order."""
        return [headers["idempotency-key"] for method, path, headers, _ in self.requests if path == "/v1/invoices"]

    def invoice(self, elid: str = "7", **fields: Any) -> dict[str, Any]:
        """The invoice of a billing payment, changed by `fields`; makes one when the module did not."""
        found = next((one for one in self.invoices.values() if one["billing_payment_id"] == elid), None)
        if found is None:
            found = self._new_invoice({"billing_payment_id": elid, "amount": "10.00", "currency": "RUB"})
        found.update(fields)
        return found

    def event(self, kind: str, elid: str = "7", **fields: Any) -> dict[str, Any]:
        """Append an event to the feed and return it as a push would carry it."""
        about = self.invoice(elid, **fields)
        about["sequence"] += 1
        event = {
            "id": f"evt_{self.name}{len(self.feed) + 1}",
            "type": f"invoice.{kind}",
            "sequence": about["sequence"],
            "created_at": "2026-01-02T03:04:05Z",
            "invoice": dict(about),
        }
        self.feed.append({**event, "position": len(self.feed) + 1})
        return event

    def settled(self, elid: str = "7", **fields: Any) -> dict[str, Any]:
        money = {"status": "settled", "received_sat": 15924, "confirmed_sat": 15924}
        return self.event("settled", elid, **{**money, **fields})

    def signed(
        self, body: bytes, *, secret: str = SECRET, age_seconds: int = 0, event_id: str = "evt_1"
    ) -> dict[str, str]:
        """CGI variables of a push of `body`."""
        stamp = datetime.fromtimestamp(int(time.time()) - age_seconds, tz=UTC)
        return {
            "HTTP_WEBHOOK_ID": event_id,
            "HTTP_WEBHOOK_TIMESTAMP": str(int(stamp.timestamp())),
            "HTTP_WEBHOOK_SIGNATURE": Webhook(secret).sign(event_id, stamp, body.decode()),
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        self.requests.append((method, path, headers, body))
        if self.force is not None:
            return self.force
        if self.status:
            return self.status, {"title": "forced", "code": "forced", "status": self.status}, {}
        secret = self.keys.get(headers.get("authorization", "").replace("Bearer ", "", 1))
        if secret is None:
            return _problem(401, "unauthorized")
        parts = urlsplit(path)
        if parts.path == "/v1/check":
            return self._check(body, secret)
        if parts.path == "/v1/events":
            return self._events(int(parse_qs(parts.query)["after"][0]))
        if parts.path == "/v1/invoices":
            return self._open(headers, body)
        if parts.path == "/v1/billing-statuses":
            self.reports.append(body)
            taken = {"report_id": body["report_id"], "taken": len(body["payments"]), "finished": body["last"]}
            return 200, taken | ({"reads": self.reads} if self.reads else {}), {}
        words = parts.path.split("/")
        invoice = self.invoices.get(words[3]) if len(words) > 3 else None
        if invoice is None:
            return _problem(404, "not_found")
        if parts.path.endswith("/billing-changes"):
            self.changes.append((words[3], body))
        return 200, invoice, {}

    def _check(self, body: dict[str, Any], secret: str) -> Answer:
        if body.get("currency", "RUB") not in self.currencies:
            return _problem(422, "unsupported_currency", field="currency", detail="RUB, USD, EUR")
        now = datetime.fromtimestamp(int(time.time()) + self.clock_offset, tz=UTC)
        told = {"merchant": "demo", "network": "test", "currencies": self.currencies, "nonce": body["nonce"]}
        told |= {"time": now.isoformat(), "surcharges": self.surcharges}
        raw = json.dumps(told)
        signature = Webhook(secret).sign("msg_check", now, raw)
        stamp = str(int(now.timestamp()))
        return 200, told, {"webhook-id": "msg_check", "webhook-timestamp": stamp, "webhook-signature": signature}

    def _events(self, after: int) -> Answer:
        page = [event for event in self.feed if event["position"] > after][:3]  # small pages, so that paging is met
        last = page[-1]["position"] if page else after
        return 200, {"events": page, "next_after": last, "has_more": last < len(self.feed)}, {}

    def _open(self, headers: dict[str, str], order: dict[str, Any]) -> Answer:
        key = headers.get("idempotency-key")
        if not key:
            return _problem(400, "idempotency_key_missing")
        if key in self.by_key:
            first_order, first = self.by_key[key]
            if first_order != order:
                return _problem(422, "idempotency_mismatch")
            return 201, first, {"Idempotent-Replayed": "true"}
        invoice = self._of_payment(order)
        self.by_key[key] = (order, dict(invoice))
        return 201, invoice, {}

    def _of_payment(self, order: dict[str, Any]) -> dict[str, Any]:
        for found in self.invoices.values():
            if found["billing_payment_id"] == order["billing_payment_id"]:
                if found["amount"] != order["amount"] or found["status"] == "expired":
                    found.update(amount=order["amount"], status="new", sequence=found["sequence"] + 1)
                return found
        return self._new_invoice(order)

    def _new_invoice(self, order: dict[str, Any]) -> dict[str, Any]:
        number = len(self.invoices) + 1
        invoice = {
            "id": f"inv_{number}",
            "billing_payment_id": order["billing_payment_id"],
            "status": "new",
            "exception": "none",
            "hold": None,
            "amount": order["amount"],
            "currency": order["currency"],
            "received_sat": 0,
            "sequence": 1,
            "payment_url": f"{self.url}/pay/pub_{number}",
            "address": f"tb1q{number}",
        }
        self.invoices[f"inv_{number}"] = invoice
        return invoice


def _problem(status: int, code: str, **more: str) -> Answer:
    return status, {"type": "about:blank", "title": code, "status": status, "code": code, **more}, {}


def _requests_of(bridge: FakeBridge) -> type[BaseHTTPRequestHandler]:
    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content, more = bridge.answer(self.command, self.path, headers, body)
            raw = json.dumps(content).encode()
            self.send_response_only(status)
            self.send_header("Date", formatdate(time.time() + bridge.clock_offset, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Requests
