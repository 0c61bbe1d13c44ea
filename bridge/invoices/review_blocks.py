"""What a person must see to rule on a review item: quote, wallet history, session, service impact, money, actions.

Owns the shape of the blocks; must not decide anything.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.kinds import review_of
from bridge.core.money import btc_text, minor_text, worth_minor
from bridge.invoices.present import QuoteView, columns, depth_of, time_text
from bridge.language import plain_texts
from bridge.store import idempotency, inbox, invoices, ledger, reviews
from bridge.store.db import Tx

LAST = 20
# What is shown of a payment, its depth as people see it.
_PAYMENT = ("key", "amount_sat", "confirmations", "first_seen_at", "replaceable", "replaced", "source")


def review_blocks(tx: Tx, bridge: Bridge, invoice: Any, *, kind: str, now: datetime) -> dict[str, Any]:
    """The blocks as they stood when the item was opened."""
    quotes = invoices.quote_rows(tx, invoice.id)
    return {
        "what": {"kind": kind, "opened_at": time_text(now), "status": invoice.status, "reason": invoice.reason},
        "quote": [QuoteView.of(each) for each in quotes],
        "wallet_history": _wallet_history(tx, invoice),
        "session": _session(tx, invoice),
        "service_impact": {
            "billing_payment_id": invoice.billing_payment_id,
            "service_ref": invoice.service_ref,
            "billing_told": "paid" if invoice.settled_at is not None else "not paid",
            "access": "started by this invoice" if invoice.settled_at is not None else "not started by this invoice",
            "client_told": invoice.reason,
            "client_sees": f"{bridge.public_url}/pay/{invoice.public_id}",
            "expires_at": time_text(invoice.expires_at),
            "cancelled_if_empty_at": time_text(invoice.monitor_until),
            "grace_until": time_text(invoice.grace_until) if invoice.grace_until else None,
        },
        "money": {
            "amount": minor_text(invoice.amount_minor, invoice.currency),
            "currency": invoice.currency,
            **columns(invoice, "received_sat", "confirmed_sat", "remaining_sat"),
            "received_btc": btc_text(invoice.received_sat),
            "received_worth": _worth(bridge, invoice, quotes[-1]),
            "balances": ledger.balances(tx, invoice_id=invoice.id),
        },
        "screening": [columns(s, "at", "verdict", "matched", "detail") for s in inbox.screenings_of(tx, invoice.id)],
        "actions": shown_actions(kind),
    }


def shown_actions(kind: str) -> list[dict[str, Any]]:
    """The rulings that an item of this kind allows, each with what follows."""
    return [
        {"decision": decision, "consequence": consequence(decision), "approvals": 1}
        for decision in review_of(kind).rulings
    ]


def consequence(decision: str) -> str:
    """What a ruling leads to, for programs and for what is stored: in English."""
    return plain_texts("en")(f"rulings.{decision}.consequence")


def _worth(bridge: Bridge, invoice: Any, newest: Any) -> dict[str, str]:
    """What has arrived in the invoice's currency, at the newest quote and at the last price we saw; rounded down."""
    prices = {"at_quote": newest.price_minor}
    if (last := bridge.last_rates.get(invoice.currency)) is not None:
        prices["now"] = last.price_minor
    return {
        name: minor_text(worth_minor(invoice.received_sat, price), invoice.currency) for name, price in prices.items()
    }


def _wallet_history(tx: Tx, invoice: Any) -> dict[str, Any]:
    return {
        **columns(invoice, "address", "wallet_id", "provider_sat"),
        "payments": [
            columns(p, *_PAYMENT) | {"confirmations": depth_of(p, needed=invoice.confirmations_needed)}
            for p in invoices.payment_rows(tx, invoice.id)
        ],
        "snapshots": [
            columns(seen, "asked_at", "source", "body") for seen in invoices.observation_rows(tx, invoice.id)[-LAST:]
        ],
        "earlier_reviews": [
            columns(r, "kind", "opened_at", "state", "decision") for r in reviews.of_invoice(tx, invoice.id)
        ],
        "other_invoices": [
            columns(other, "id", "status", "received_sat") for other in _others(tx, invoice) if other.id != invoice.id
        ],
    }


def _others(tx: Tx, invoice: Any) -> list[Any]:
    if not invoice.customer_id:
        return []
    match = {"customer_id": invoice.customer_id}
    return list(invoices.listing(tx, match=match | {"merchant": invoice.merchant}, limit=LAST + 1))


def _session(tx: Tx, invoice: Any) -> dict[str, Any]:
    return {
        "trace_id": invoice.trace_id,
        "locale": invoice.locale,
        "idempotency_keys": idempotency.keys_of(tx, invoice.id),
        "callbacks": [
            {
                "id": row.id,
                "received_at": time_text(row.received_at),
                "headers": row.headers,
                "bytes": len(row.body),
                "copies": row.copies,
                "signature": "bad" if row.state == "dead" else "none or good",
            }
            for row in inbox.of_invoice(tx, invoice.id)[-LAST:]
        ],
    }
