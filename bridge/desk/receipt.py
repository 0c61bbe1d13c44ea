"""The payer's receipt: what was paid, at which price, in which transactions, and when the billing system agreed.

Owns its content; the signature is the port's. Nothing in it is about anybody but the payer.
"""

from typing import Any

from bridge.books.cells import NO_TXID
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.evidence import FINAL
from bridge.core.money import minor_text
from bridge.invoices.present import depth_of, time_text
from bridge.invoices.record import sources_of
from bridge.store import dossier
from bridge.store.dossier import Dossier


def receipt(bridge: Bridge, public_id: str) -> dict[str, Any]:
    """The receipt of a settled invoice, signed when a receipt key is configured (then it has "signature").

    Raises Refused: unknown_invoice, and no_receipt while the invoice is not settled.
    """
    now = bridge.clock()
    with bridge.store.read() as tx:
        found = dossier.find(tx, public_id=public_id)
    if found is None:
        raise Refused("unknown_invoice", "There is no such invoice.")
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
        "billing_payment_id": row.billing_payment_id,
        "description": row.description,
        "amount": minor_text(row.amount_minor, row.currency),
        "currency": row.currency,
        "received_sat": row.received_sat,
        "settled_at": time_text(row.settled_at) if row.settled_at else None,
        "network": row.network,
        "address": row.address,
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
        # The module says 200 to "settled" only after it has read status 4 back from the billing system.
        "billing": {
            "accepted_at": time_text(agreed_at) if agreed_at else None,
            "status_read_back": 4 if agreed_at else (found.billing.status if found.billing is not None else None),
        },
    }
