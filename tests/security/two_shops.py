"""One bridge with two merchants, each with invoices, events and reviews of its own.

Owns the set-up; must not assert anything.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from bridge.flows.keep_books import number_events
from tests.builders import build_merchant
from tests.web.conftest import Site, build_site

KEYS = {"shop": "test-key-of-the-shop-0123456789", "rival": "test-key-of-the-rival-987654321"}


@dataclass(kw_only=True)
class TwoShops:
    """The site and what each merchant has: invoice id by merchant, and everything of it that is only its own."""

    site: Site
    invoices: dict[str, dict[str, Any]]

    def call(self, merchant: str, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {KEYS[merchant]}"} | options.pop("headers", {})
        return self.site.call(method, path, headers=headers, **options)

    def marks(self, merchant: str) -> list[str]:
        """Texts that must never be seen by anybody but this merchant."""
        invoice = self.invoices[merchant]
        return [invoice["id"], invoice["address"], invoice["payment_url"].rpartition("/")[2], f"secret of {merchant}"]


@contextmanager
def two_shops(database_url: str) -> Iterator[TwoShops]:
    merchants = {name: build_merchant(name) for name in KEYS}
    keys = {hashlib.sha256(key.encode()).hexdigest(): name for name, key in KEYS.items()}
    site = build_site(database_url, bridge={"merchants": merchants}, api_keys=keys, metrics_open=False)
    with closing(site.bridge.store):
        shops = TwoShops(site=site, invoices={})
        for name in KEYS:
            # Both use the same number for their billing payment: that must not make it the same invoice.
            order = site.order("77", description=f"secret of {name}", service_ref=f"secret of {name}")
            order |= {"customer": {"id": "5", "email": f"{name}@mail.example"}}
            answer = shops.call(name, "POST", "/v1/invoices", json=order, headers={"Idempotency-Key": "same-key"})
            assert answer.status_code == 201, answer.text
            shops.invoices[name] = dict(answer.json)
            site.pay(shops.invoices[name], answer.json["remaining_sat"], confirmations=1)
        number_events(site.bridge, owner="w")
        yield shops
