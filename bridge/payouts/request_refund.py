"""Asking for a refund: how much it is, and whether it can be sent at all.

Owns the request; it moves no money: other people approve, and the worker sends.
"""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.credit import quote_at
from bridge.core.errors import Refused
from bridge.core.money import to_minor
from bridge.core.payout import ROLES, Amounts, amounts_for_net, check_minimum, net_of
from bridge.invoices.price import current_rate
from bridge.invoices.record import rule_of
from bridge.payouts.present import address_form_url, payout_json, refundable_of
from bridge.payouts.steps import Terms, checked_destination, note, terms_of
from bridge.permit import check_actor, check_actor_in, require_mode, require_words
from bridge.store import invoices, payouts
from bridge.store.db import Tx


@dataclass(frozen=True, kw_only=True)
class NewRefund:
    """What is asked for. `fiat_text` is decimal text in the invoice's currency, for the fiat variants; empty is all."""

    invoice_id: str
    variant: str
    net_sat: int | None = None
    fiat_text: str = ""
    destination: str = ""


@dataclass(frozen=True, kw_only=True)
class Requested:
    """The payout as it stands. `is_replay` when the same key asked before; `form_url` while an address is missing."""

    payout: dict[str, Any]
    form_url: str | None
    is_replay: bool = False


def request_refund(
    bridge: Bridge, *, merchant_id: str | None, request: NewRefund, key: str, actor: str, reason: str
) -> Requested:
    """Proposes a refund. `merchant_id` limits it to that merchant's invoices, None is an operator's request.

    Raises Refused (unknown_invoice, unknown_variant, nothing_to_refund, above_refundable, below_min_send, bad_address,
    wrong_network, own_address, idempotency_mismatch, forbidden, …) and Unavailable.
    """
    require_words(actor, reason)
    if merchant_id is None:
        check_actor(bridge, actor, "payout.propose")
    now = bridge.clock()
    with bridge.store.read() as tx:
        invoice = _found(invoices.find(tx, id=request.invoice_id), merchant_id)
        known = payouts.find(tx, merchant=invoice.merchant, request_key=key)
        if known is not None:
            return _answer(tx, bridge, invoice, known, request, is_replay=True)
    terms = terms_of(bridge, refund_role(bridge))
    today_minor = current_rate(bridge, invoice.currency, now).price_minor if request.variant == "fiat_today" else None
    with bridge.store.write() as tx:
        require_mode(tx, "read_only")
        if merchant_id is None:
            check_actor_in(tx, actor, "payout.propose", now=now)
        # The lock on the invoice lines up everybody who wants money of it.
        invoice = _found(invoices.find(tx, lock=True, id=request.invoice_id), merchant_id)
        known = payouts.find(tx, merchant=invoice.merchant, request_key=key)
        if known is not None:  # a double click was faster
            return _answer(tx, bridge, invoice, known, request, is_replay=True)
        values = _values(tx, bridge, invoice, request, terms, today_minor=today_minor, now=now)
        values |= {"request_key": key, "proposed_by": actor, "reason": reason}
        if request.destination:
            address = checked_destination(tx, bridge, request.destination)
            values |= {"destination": address, "destination_set_at": now, "destination_set_by": actor}
        # The same key for another invoice does not wait for this one's lock.
        row, is_new = payouts.add(tx, values)
        if is_new:
            note(tx, bridge, row, "refund_requested", actor=actor, reason=reason, now=now)
            bridge.crash_point("payout.requested")
        return _answer(tx, bridge, invoice, row, request, is_replay=not is_new)


def refund_role(bridge: Bridge) -> str:
    """Which wallet pays refunds. What the shop keeps itself it sends itself, see `payouts.change_refund`."""
    return next((role for role in reversed(ROLES) if role in bridge.senders), bridge.receiving.role)


def _answer(tx: Tx, bridge: Bridge, invoice: Any, row: Any, request: NewRefund, *, is_replay: bool) -> Requested:
    if row.request_sha256 != _digest(request):
        raise Refused("idempotency_mismatch", "This key was used for another request.", field="Idempotency-Key")
    form_url = address_form_url(bridge, invoice, row)
    return Requested(payout=payout_json(tx, row), form_url=form_url, is_replay=is_replay)


def _values(
    tx: Tx,
    bridge: Bridge,
    invoice: Any,
    request: NewRefund,
    terms: Terms,
    *,
    today_minor: int | None,
    now: datetime,
) -> dict[str, Any]:
    """The new row but for who asked. Raises Refused when the request cannot be met."""
    role, price_minor = refund_role(bridge), today_minor or _quoted_price(tx, bridge, invoice)
    fiat_minor = _fiat_minor(invoice, request)
    amounts = _amounts(tx, invoice, request, terms, fiat_minor=fiat_minor, price_minor=price_minor)
    return asdict(amounts) | {
        "id": bridge.new_id("pay"),
        "kind": "refund",
        "state": "requested",
        "invoice_id": invoice.id,
        "merchant": invoice.merchant,
        "billing_payment_id": invoice.billing_payment_id,
        "customer_id": invoice.customer_id,
        "service_ref": invoice.service_ref,
        "request_sha256": _digest(request),
        "variant": request.variant,
        "fiat_minor": fiat_minor if request.variant.startswith("fiat") else None,
        "currency": invoice.currency,
        "price_minor": price_minor,
        "role": role,
        "wallet_id": bridge.senders[role].wallet_id if role in bridge.senders else bridge.wallet_id,
        "network": bridge.network,
        "fee_bps": terms.fee_bps,
        "approvals_needed": bridge.payouts.needed(amounts.gross_sat),
        "idempotency_key": new_send_key(),
        "maybe_sent": False,
        "requested_at": now,
        "updated_at": now,
        "next_try_at": now,
    }


def new_send_key() -> str:
    """Random, made with the intent and never again: a key made of a time would be another one on a retry."""
    return f"po-{secrets.token_hex(16)}"


def _amounts(tx: Tx, invoice: Any, request: NewRefund, terms: Terms, *, fiat_minor: int, price_minor: int) -> Amounts:
    net_sat = net_of(
        request.variant,
        refundable=refundable_of(tx, invoice),
        fiat_minor=fiat_minor,
        price_minor=price_minor,
        currency=invoice.currency,
        custom_sat=request.net_sat,
    )
    amounts = amounts_for_net(net_sat, fee_bps=terms.fee_bps)
    check_minimum(amounts, min_send_sat=terms.min_send_sat, fee_bps=terms.fee_bps)
    return amounts


def _fiat_minor(invoice: Any, request: NewRefund) -> int:
    fiat_minor: int = to_minor(request.fiat_text, invoice.currency) if request.fiat_text else invoice.amount_minor
    if fiat_minor > invoice.amount_minor:
        raise Refused("above_refundable", "A refund is not more than the invoice.", field="amount")
    return fiat_minor


def _quoted_price(tx: Tx, bridge: Bridge, invoice: Any) -> int:
    """The price that the first money was taken at, else the newest one that was offered."""
    quotes = invoices.quotes_of(tx, invoice.id, currency=invoice.currency)
    payments = [payment for payment in invoices.payments_of(tx, invoice.id) if not payment.replaced]
    at_sight = (quote_at(quotes, payment, rule_of(invoice)) for payment in payments)
    return next((quote for quote in at_sight if quote is not None), quotes[-1]).price_minor


def _digest(request: NewRefund) -> str:
    return hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()


def _found(invoice: Any, merchant_id: str | None) -> Any:
    if invoice is None or (merchant_id is not None and invoice.merchant != merchant_id):
        raise Refused("unknown_invoice", "There is no such invoice.")
    return invoice
