"""What an invoice can be proved by: the payer's receipt, and everything in one bundle for a dispute.

Owns what goes in; must not leave out what speaks against us, nor put in a secret, nor in a receipt anybody but the payer.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.books.export import NO_TXID, txids_of
from bridge.context import Bridge
from bridge.core.errors import Refused, there
from bridge.core.evidence import FINAL
from bridge.core.money import minor_text
from bridge.desk.explain import story
from bridge.desk.find import dossier_of
from bridge.invoices.present import columns, depth_of, time_text
from bridge.invoices.record import sources_of
from bridge.invoices.statement import refunds_of, statement_json, statement_of
from bridge.language import plain_texts
from bridge.people.policy import versions_of
from bridge.store import claims, dossier, inbox
from bridge.store.dossier import Dossier


def receipt(bridge: Bridge, public_id: str) -> dict[str, Any]:
    """The receipt of a settled invoice, signed when a receipt key is configured (then it has "signature").

    Raises Refused: unknown_invoice, and no_receipt while the invoice is not settled.
    """
    now = bridge.clock()
    with bridge.store.read() as tx:
        found = there(dossier.find(tx, public_id=public_id), "unknown_invoice", "invoice")
    if found.invoice.status != "settled":
        raise Refused("no_receipt", "There is no receipt before the invoice is settled.")
    return sign(bridge, _document(found) | {"issued_at": time_text(now), "issuer": bridge.public_url})


def _known_by(payment: Any) -> dict[str, str]:
    """What a payment can be found by outside: its transaction, or the payment hash of what stands in no blocks."""
    known_by = payment.key.partition(":")[0] if ":" in payment.key else NO_TXID
    is_final = payment.confirmations is not None and payment.confirmations >= FINAL
    return {"payment_hash" if is_final else "txid": known_by}


def sign(bridge: Bridge, document: dict[str, Any]) -> dict[str, Any]:
    return bridge.signer.sign(document) if bridge.signer is not None else document


def public_key(bridge: Bridge) -> dict[str, Any]:
    """The key that checks receipts, and those that check older ones. Raises Refused("no_receipt_key")."""
    if bridge.signer is None:
        raise Refused("no_receipt_key", "This bridge signs no receipts.")
    former = [{"key_id": key_id, "public_key": pem} for key_id, pem in bridge.signer.former.items()]
    ours = {"key_id": bridge.signer.key_id, "public_key": bridge.signer.public_pem}
    return {"algorithm": "Ed25519", **ours, "former": former}


def _document(found: Dossier) -> dict[str, Any]:
    row, quote, agreed_at = found.invoice, found.quotes[-1], found.accepted_at()
    return {
        "kind": "payment_receipt",
        "is_tax_document": False,
        "invoice_id": row.id,
        "amount": minor_text(row.amount_minor, row.currency),
        **columns(
            row, "billing_payment_id", "description", "currency", "received_sat", "settled_at", "network", "address"
        ),
        "quote": {
            "version": quote.version,
            "rate": minor_text(quote.price_minor, quote.currency),
            "due_sat": quote.due_sat,
            "sources": sources_of(quote),
        },
        "transactions": [
            {
                **_known_by(p),
                "amount_sat": p.amount_sat,
                "confirmations": depth_of(p, needed=row.confirmations_needed),
                "first_seen_at": time_text(p.first_seen_at),
            }
            for p in found.payments
            if not p.replaced
        ],
        "statement": statement_json(statement_of(row, quotes=found.quotes, payments=found.payments), row.currency),
        "refunds": refunds_of(found.payouts),
        # The module says 200 to "settled" only after it has read status 4 back from the billing system.
        "billing": {
            "accepted_at": time_text(agreed_at) if agreed_at else None,
            "status_read_back": 4 if agreed_at else (found.billing.status if found.billing is not None else None),
        },
    }


_HIDDEN = frozenset({"callback_token_sha256", "lease_owner", "lease_until", "idempotency_key", "packed_at"})
_RULED = ("invoice_id", "kind", "state", "decision")


def evidence(bridge: Bridge, reference: str, *, lang: str = "en") -> dict[str, Any]:
    """The bundle of the one invoice that `reference` names, signed when a receipt key is configured.

    Raises Refused("unknown_invoice") when it names none or several.
    """
    with bridge.store.read() as tx:
        found = dossier_of(tx, bridge, reference)
        bundle = _bundle(found, inbox.screenings_of(tx, found.invoice.id))
        bundle["claims"] = [_plain(each) for each in claims.of_invoice(tx, found.invoice.id)]
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
