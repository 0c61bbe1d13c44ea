"""Hearing from the billing system that its payment was cancelled, deleted, changed or restored.

Owns what that means for the invoice's facts; with money in it means a person, never a machine's cancel.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.money import to_minor
from bridge.invoices.read_invoices import shown
from bridge.invoices.record import open_review, record
from bridge.payouts.steps import refundable_of
from bridge.store import audit, invoices, payouts
from bridge.store.db import Tx

CHANGES = ("cancelled", "deleted", "amount", "restored", "refunded")


def note_billing_change(
    bridge: Bridge, merchant_id: str, invoice_id: str, *, change: str, amount_text: str | None, currency: str | None
) -> dict[str, Any]:
    """Notes the change and returns the invoice. An amount equal to the invoice's is no change.

    Raises Refused("unknown_invoice") and Refused("unknown_change").
    """
    if change not in CHANGES:
        raise Refused("unknown_change", f"The change must be one of {', '.join(CHANGES)}.", field="change")
    now = bridge.clock()
    with bridge.store.write() as tx:
        row = invoices.find(tx, lock=True, id=invoice_id)
        if row is None or row.merchant != merchant_id:
            raise Refused("unknown_invoice", "There is no such invoice.")
        if change == "refunded":
            return _note_refund(tx, bridge, row, amount_text, currency, now=now)
        noted: str | None = None if change == "restored" else change
        if change == "amount" and (_is_same(row, amount_text, currency) or row.received_sat == 0):
            # Nothing came yet: the next opening of the payment re-quotes it at the new amount.
            noted = row.billing_change
        facts = {"billing_change": noted}
        record(tx, bridge, row, now=now, actor="module", action=f"billing_{change}", facts=facts)
        after = invoices.find(tx, id=invoice_id)
        bridge.crash_point("billing_change.committing")
        return shown(tx, bridge, after)


def _note_refund(
    tx: Tx, bridge: Bridge, row: Any, amount_text: str | None, currency: str | None, *, now: datetime
) -> dict[str, Any]:
    """The billing system paid money back by itself: the amount is all it ever paid back, none named means everything.

    That money is not refunded here again; where a refund is promised already, a person must look.
    """
    if (currency or row.currency) != row.currency:
        raise Refused("invalid_amount", "A refund is in the invoice's currency.", field="currency")
    refunded_minor = to_minor(amount_text, row.currency) if amount_text else row.amount_minor
    before_minor = payouts.billing_refunded_minor(tx, row.id)
    if refunded_minor != before_minor:
        payouts.set_billing_refund(tx, row.id, refunded_minor=refunded_minor, now=now)
        detail = {"refunded_minor": refunded_minor, "before_minor": before_minor}
        audit.write(tx, at=now, actor="module", action="billing_refunded", invoice_id=row.id, detail=detail)
    if refundable_of(tx, row).is_overdrawn:
        open_review(tx, bridge, row, kind="refunded_twice", now=now)
    return shown(tx, bridge, row)


def _is_same(row: Any, amount_text: str | None, currency: str | None) -> bool:
    if amount_text is None:
        raise Refused("invalid_amount", "An amount change needs the new amount.", field="amount")
    return (to_minor(amount_text, currency or row.currency), currency or row.currency) == (
        row.amount_minor,
        row.currency,
    )
