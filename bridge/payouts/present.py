"""A payout as the outside sees it, and what an invoice may still give back.

Owns that shape and the reading of the refundable sum; must not write.
"""

from collections.abc import Iterable
from typing import Any

from bridge.context import Bridge
from bridge.core.money import minor_text
from bridge.core.payout import LIVE, Refundable, billing_refund_sat
from bridge.invoices.present import approvals_json, time_text
from bridge.store import payouts
from bridge.store.db import Tx
from bridge.store.dossier import Dossier


def payout_json(tx: Tx, row: Any) -> dict[str, Any]:
    """The absolute payout with the approvals of its present round."""
    return payout_with(row, payouts.approvals_of(tx, row.id))


def payout_with(row: Any, approvals: Iterable[Any]) -> dict[str, Any]:
    """The same from approvals of any round that were read already."""
    approvals = [each for each in approvals if each.round == row.round]
    return _figures(row) | {
        "proposed_by": row.proposed_by,
        "reason": row.reason,
        "approvals_needed": row.approvals_needed,
        "approvals": approvals_json(approvals),
        "attempts": row.attempts,
        "waiting": row.waiting,
        "balance_before_sat": row.balance_before_sat,
        "balance_after_sat": row.balance_after_sat,
        "review_id": row.review_id,
        "requested_at": time_text(row.requested_at),
        "approved_at": _time(row.approved_at),
        "send_after": time_text(row.next_try_at) if row.state in ("approved", "submitting") else None,
        "sent_at": _time(row.sent_at),
        "finished_at": _time(row.finished_at),
        "updated_at": time_text(row.updated_at),
    }


def _figures(row: Any) -> dict[str, Any]:
    fiat = minor_text(row.fiat_minor, row.currency) if row.fiat_minor is not None else None
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "merchant": row.merchant,
        "invoice_id": row.invoice_id,
        "billing_payment_id": row.billing_payment_id,
        "customer_id": row.customer_id,
        "service_ref": row.service_ref,
        "variant": row.variant,
        "amount": fiat,
        "currency": row.currency,
        "rate": minor_text(row.price_minor, row.currency) if row.price_minor is not None else None,
        "role": row.role,
        "destination": row.destination,
        "destination_set_by": row.destination_set_by,
        "gross_sat": row.gross_sat,
        "fee_bps": row.fee_bps,
        "fee_sat": row.fee_sat if row.fee_bps is not None else None,
        "net_sat": row.net_sat,
        "txid": row.txid,
        "sent_sat": row.sent_sat,
        "paid_fee_sat": row.paid_fee_sat,
        "still_owed_sat": _still_owed_sat(row),
    }


def _still_owed_sat(row: Any) -> int:
    """What did not arrive of a sent refund: it stays owed to the payer."""
    is_sent_refund = row.kind == "refund" and row.sent_sat is not None
    return max(row.net_sat - row.sent_sat, 0) if is_sent_refund else 0


def refundable_of(tx: Tx, invoice: Any, *, besides: str = "") -> Refundable:
    """What came on the invoice, and what was promised or paid back already, here and in the billing system."""
    live_sat = payouts.live_sat(tx, invoice.id, besides=besides)
    return _refundable(invoice, refunded_minor=payouts.billing_refunded_minor(tx, invoice.id), live_sat=live_sat)


def refundable_in(dossier: Dossier) -> Refundable:
    """The same as the dossier has it: to be shown, not to pay by."""
    live = [row for row in dossier.payouts if row.state in LIVE]
    live_sat = sum(row.net_sat if row.sent_sat is None else min(row.sent_sat, row.net_sat) for row in live)
    return _refundable(dossier.invoice, refunded_minor=dossier.refunded_minor, live_sat=live_sat)


def _refundable(invoice: Any, *, refunded_minor: int, live_sat: int) -> Refundable:
    refunded_minor = min(refunded_minor, invoice.amount_minor)
    used_sat = max(invoice.confirmed_sat - invoice.excess_sat, 0)
    return Refundable(
        came_sat=invoice.confirmed_sat,
        excess_sat=invoice.excess_sat,
        live_sat=live_sat,
        billing_sat=billing_refund_sat(
            refunded_minor=refunded_minor, amount_minor=invoice.amount_minor, used_sat=used_sat
        ),
    )


def address_form_url(bridge: Bridge, invoice: Any, payout: Any) -> str | None:
    """Where the payer names the address, while there is none; for who asked for the refund, to hand on."""
    if payout.destination is not None:
        return None
    return f"{bridge.public_url}/pay/{invoice.public_id}/refund?proof={refund_proof(bridge, payout.id)}"


def refund_proof(bridge: Bridge, payout_id: str) -> str:
    """What shows that its bearer was handed the form by the billing system or an operator: 128 bits, never stored."""
    return bridge.callback_token(f"refund:{payout_id}")


def _time(at: Any) -> str | None:
    return time_text(at) if at is not None else None
