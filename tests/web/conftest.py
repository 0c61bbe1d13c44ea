"""A real application over a real store and fake worlds, and a client that knows the shop's API key.

Owns the fixtures of the web tests; must not assert anything.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from bridge.context import Bridge
from bridge.invoices.observe import look
from bridge.web import Shop, create_app
from tests.builders import World, build_bridge

API_KEY = "test-key-of-the-shop-0123456789"
KEYS = {hashlib.sha256(API_KEY.encode()).hexdigest(): "shop"}
SHOP = Shop(
    name="Example Hosting",
    support_url="https://shop.example/support",
    explorer_url_template="https://explorer.example/tx/{txid}",
)


def sign(merchant: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """A stand-in whose answer names everything that was signed."""
    digest = hashlib.sha256(merchant.encode() + message_id.encode() + body).hexdigest()
    return {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": digest}


@dataclass(kw_only=True)
class Site:
    """One bridge on the web. Calls carry the shop's key unless `headers` say otherwise."""

    app: Flask
    bridge: Bridge
    world: World

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        return self.app.test_client().open(path, method=method, **options)

    def api(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> TestResponse:
        sent = {"Authorization": f"Bearer {API_KEY}"} | headers
        sent |= {"Idempotency-Key": key} if key is not None else {}
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return self.call(method, path, headers=sent, data=raw)

    def order(self, billing_payment_id: str = "1001", **changes: Any) -> dict[str, Any]:
        """The body of a request for USD 10.00."""
        body = {"billing_payment_id": billing_payment_id, "amount": "10.00", "currency": "USD"}
        return body | {"description": "VPS Start, 1 month", "return_url": "https://shop.example/billmgr"} | changes

    def open(self, billing_payment_id: str = "1001", **changes: Any) -> dict[str, Any]:
        """A new invoice, as the API shows it."""
        order = self.order(billing_payment_id, **changes)
        response = self.api("POST", "/v1/invoices", order, key=f"bm-{billing_payment_id}")
        assert response.status_code in (200, 201), response.text
        return dict(response.json)

    def pay(self, invoice: dict[str, Any], sat: int, *, confirmations: int = 0) -> None:
        """Money on the invoice's address, and the bridge has looked."""
        self.world.money.pay(invoice["address"], sat, confirmations=confirmations)
        self.look(invoice)

    def look(self, invoice: dict[str, Any]) -> None:
        look(self.bridge, invoice["id"])

    def page(self, invoice: dict[str, Any], suffix: str = "", **options: Any) -> TestResponse:
        """The payer's page, or what hangs under it."""
        path = invoice["payment_url"].removeprefix(self.bridge.public_url)
        return self.call(options.pop("method", "GET"), path + suffix, **options)


def build_site(database_url: str, world: World | None = None, **options: Any) -> Site:
    """An application with the test shop; `options` go to create_app, `bridge` among them to build_bridge."""
    world = world or World()
    bridge = build_bridge(database_url, world=world, **options.pop("bridge", {}))
    app = create_app(bridge, **{"api_keys": KEYS, "sign": sign, "callback_check": None, "shop": SHOP} | options)
    app.testing = True
    return Site(app=app, bridge=bridge, world=world)


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """A site on each engine."""
    built = build_site(database_url)
    with closing(built.bridge.store):
        yield built


@pytest.fixture
def lite_site(sqlite_url: str) -> Iterator[Site]:
    """A site on SQLite only, for what the engine cannot change: pages, headers, texts."""
    built = build_site(sqlite_url)
    with closing(built.bridge.store):
        yield built
