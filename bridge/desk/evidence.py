"""Everything about one invoice in one bundle, for a dispute: quote, events, transactions, deliveries, audit, story.

Owns what goes in; must not leave out what speaks against us, nor put in a secret.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.books.cells import NO_TXID, txids_of
from bridge.context import Bridge
from bridge.desk.explain import dossier_of, story
from bridge.desk.receipt import sign
from bridge.invoices.present import time_text
from bridge.language import plain_texts
from bridge.people.policy import versions_of
from bridge.store import screenings
from bridge.store.dossier import Dossier

_HIDDEN = frozenset({"callback_token_sha256", "lease_owner", "lease_until", "idempotency_key"})
_RULED = ("invoice_id", "kind", "state", "decision")


def evidence(bridge: Bridge, reference: str, *, lang: str = "en") -> dict[str, Any]:
    """The bundle of the one invoice that `reference` names, signed when a receipt key is configured.

    Raises Refused("unknown_invoice") when it names none or several.
    """
    with bridge.store.read() as tx:
        found = dossier_of(tx, reference)
        bundle = _bundle(found, screenings.of_invoice(tx, found.invoice.id))
    told = story(bridge, found, plain_texts(lang))
    now = bridge.clock()
    bundle |= {"kind": "evidence", "issued_at": time_text(now), "issuer": bridge.public_url, "story": told}
    return sign(bridge, bundle)


def _bundle(found: Dossier, screened: Iterable[Any]) -> dict[str, Any]:
    agreed_at, billing = found.accepted_at(), found.billing
    named = {"invoice_id": found.invoice.id} if billing is not None else {}
    return {
        "invoice": _plain(found.invoice),
        "policy_versions": list(versions_of(found).values()),
        "txids": txids_of(found.payments) or NO_TXID,
        "entitlement": {
            "accepted_at": time_text(agreed_at) if agreed_at else None,
            "billing": named | _plain(billing),
        },
        "quotes": [_plain(quote) for quote in found.quotes],
        "targets": [_plain(target) for target in found.targets],
        "payments": [_plain(payment) for payment in found.payments],
        "observations": [_plain(seen) for seen in found.observations],
        "callbacks": [_callback(rung) for rung in found.callbacks],
        "events": [_plain(event) for event in found.events],
        "deliveries": _deliveries(found),
        "journals": [_plain(j) | {"entries": [_plain(leg) for leg in found.legs[j.id]]} for j in found.journals],
        "reviews": [{name: getattr(review, name) for name in _RULED} for review in found.reviews],
        "screenings": [_plain(asked) for asked in screened],
        "payouts": [_plain(payout) for payout in found.payouts],
        "audit": [_plain(entry) for entry in found.audit],
    }


def _deliveries(found: Dossier) -> list[dict[str, Any]]:
    tries: dict[str, list[dict[str, Any]]] = {}
    for attempt in found.attempts:
        tries.setdefault(attempt.delivery_id, []).append(_plain(attempt))
    return [_plain(row) | {"tries": tries.get(row.id, [])} for row in found.deliveries]


def _callback(row: Any) -> dict[str, Any]:
    """The hash instead of the bytes: a stranger's words prove nothing, that they came may."""
    body = bytes(row.body)
    return _plain(row) | {"body": None, "body_bytes": len(body), "body_sha256": hashlib.sha256(body).hexdigest()}


def _plain(row: Any) -> dict[str, Any]:
    """A row as JSON: times as text, JSON columns opened, nothing that opens a door."""
    if row is None:
        return {}
    columns: Mapping[str, Any] = row._asdict()
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
