"""Everything about one invoice in one bundle, for a dispute: quote, events, transactions, deliveries, audit, story.

Owns what goes in; must not leave out what speaks against us, nor put in a secret.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.books.cells import NO_TXID, txids_of
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.desk.explain import explain, find
from bridge.desk.receipt import sign
from bridge.invoices.present import time_text
from bridge.people.policy import versions_of
from bridge.store import audit, deliveries, events, exports, inbox, invoice_pages, invoices, screenings
from bridge.store.db import Tx

_HIDDEN = frozenset({"callback_token_sha256", "lease_owner", "lease_until", "idempotency_key"})


def evidence(bridge: Bridge, reference: str, *, lang: str = "en") -> dict[str, Any]:
    """The bundle of the one invoice that `reference` names, signed when a receipt key is configured.

    Raises Refused("unknown_invoice") when it names none or several.
    """
    found = find(bridge, reference)
    if len(found) != 1:
        raise Refused("unknown_invoice", f"{len(found)} invoices match; use the invoice id.")
    story = explain(bridge, found[0]["id"], lang=lang)
    now = bridge.clock()
    with bridge.store.read() as tx:
        bundle = _bundle(tx, found[0]["id"])
    bundle |= {"kind": "evidence", "issued_at": time_text(now), "issuer": bridge.public_url, "story": story}
    return sign(bridge, bundle)


def _bundle(tx: Tx, invoice_id: str) -> dict[str, Any]:
    row = invoices.find(tx, id=invoice_id)
    [facts] = invoice_pages.of_rows(tx, [row]) if row is not None else []
    journals = exports.journals_of_invoice(tx, invoice_id)
    legs = exports.entries_of(tx, [journal.id for journal in journals])
    agreed_at = exports.told_paid(tx, [invoice_id]).get(invoice_id)
    return {
        "invoice": _plain(row),
        "policy_versions": list(versions_of(tx, row, audit.of_invoice(tx, invoice_id)).values()),
        "txids": txids_of(facts) or NO_TXID,
        "entitlement": {"accepted_at": time_text(agreed_at) if agreed_at else None, "billing": _plain(facts.billing)},
        "quotes": [_plain(quote) for quote in facts.quote_rows],
        "payments": [_plain(payment) for payment in invoices.payment_rows(tx, invoice_id)],
        "observations": [_plain(seen) for seen in invoices.observation_rows(tx, invoice_id)],
        "callbacks": [_callback(rung) for rung in inbox.of_invoice(tx, invoice_id)],
        "events": [_plain(event) for event in events.of_invoice(tx, invoice_id)],
        "deliveries": _deliveries(tx, invoice_id),
        "journals": [_plain(j) | {"entries": [_plain(leg) for leg in legs[j.id]]} for j in journals],
        "reviews": [_plain(review) for review in facts.review_rows],
        "screenings": [_plain(asked) for asked in screenings.of_invoice(tx, invoice_id)],
        "payouts": [_plain(payout) for payout in exports.payouts_of_invoice(tx, invoice_id)],
        "audit": [_plain(entry) for entry in exports.sealed_audit(tx, invoice_id)],
    }


def _deliveries(tx: Tx, invoice_id: str) -> list[dict[str, Any]]:
    tries: dict[str, list[dict[str, Any]]] = {}
    for attempt in deliveries.attempts_of_invoice(tx, invoice_id):
        tries.setdefault(attempt.delivery_id, []).append(_plain(attempt))
    rows = deliveries.listing(tx, match={"invoice_id": invoice_id}, limit=10_000)
    return [_plain(row) | {"tries": tries.get(row.id, [])} for row in rows]


def _callback(row: Any) -> dict[str, Any]:
    """The hash instead of the bytes: a stranger's words prove nothing, that they came may."""
    body = bytes(row.body)
    return _plain(row) | {"body": None, "body_bytes": len(body), "body_sha256": hashlib.sha256(body).hexdigest()}


def _plain(row: Any) -> dict[str, Any]:
    """A row as JSON: times as text, JSON columns opened, nothing that opens a door."""
    if row is None:
        return {}
    columns: Mapping[str, Any] = row._mapping
    return {name: _value(name, value) for name, value in columns.items() if name not in _HIDDEN}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | memoryview):
        return None
    if name in ("samples", "detail", "body", "memo", "blocks", "headers", "subject") and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
