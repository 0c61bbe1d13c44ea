"""One bridge with two merchants, each with invoices, events and reviews of its own.

Owns the set-up; must not assert anything.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from werkzeug.test import TestResponse

from bridge.books.keep_books import number_events
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.store import reviews
from tests.builders import build_merchant
from tests.payouts.desk import PAYER
from tests.web.conftest import Site, build_site

TABLES = {"payout_id": "payouts", "delivery_id": "deliveries", "review_id": "reviews", "event_id": "events"}
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
        return [
            *(
                invoice["id"],
                invoice["address"],
                invoice["trace_id"],
                invoice["payment_url"].rpartition("/")[2],
                f"secret of {merchant}",
            ),
            *(text for name, text in self.ids(merchant).items() if name != "invoice_id"),
        ]

    def ids(self, merchant: str) -> dict[str, str]:
        """Something of this merchant for every name that a path can hold."""
        invoice_id = self.invoices[merchant]["id"]
        found = {"invoice_id": invoice_id}
        found["mark_id"] = f"mark_{merchant}"
        with self.site.bridge.store.read() as tx:
            for name, table in TABLES.items():
                query = text(f"SELECT id FROM {table} WHERE invoice_id = :invoice ORDER BY id LIMIT 1")
                found[name] = str(tx.execute(query, {"invoice": invoice_id}).scalar_one())
        return found


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
            site.pay(shops.invoices[name], answer.json["remaining_sat"] + 500_000, confirmations=6)
            wanted = NewRefund(invoice_id=answer.json["id"], variant="excess_only", destination=PAYER)
            request_refund(
                site.bridge, merchant_id=name, request=wanted, key="same-key", actor="module", reason="asked"
            )
            propose_mark(shops, name)
        number_events(site.bridge, owner="w")
        yield shops


def propose_mark(shops: TwoShops, merchant: str) -> None:
    """Somebody wants to mark the invoice settled and waits for a second person."""
    ids, now = shops.ids(merchant), shops.site.bridge.clock()
    sums = dict.fromkeys(("amount_minor", "worth_sat", "received_sat", "remaining_sat", "approvals_needed"), 1)
    row = {"invoice_id": ids["invoice_id"], "review_id": ids["review_id"], "merchant": merchant, "currency": "USD"}
    row |= {"id": f"mark_{merchant}", "state": "proposed", "proposed_by": "anna", "reason": "x", "proposed_at": now}
    with shops.site.bridge.store.write() as tx:
        reviews.MARKS.add(tx, row | sums)
