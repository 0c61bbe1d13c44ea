"""A person gives the payer time: until its end the invoice is not closed, so nothing is cancelled for it.

Owns the grant; access to the service stays the billing system's, and a grant forgives nothing (`invoices.record` ends it).
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Conflict, Refused, there
from bridge.core.policy import end_of_grace
from bridge.invoices.present import Fiat, View, time_text
from bridge.invoices.record import record, rule_of
from bridge.permit import acting
from bridge.store import invoices, reviews

NEEDS = "grace.grant"


class GrantShape(View):
    """Time that a person gave a payer; `state` is open, settled or lapsed."""

    invoice_id: str
    merchant: str
    billing_payment_id: str
    tier: str
    amount: Fiat
    currency: str
    approver: str
    reason: str
    state: str
    granted_at: str
    ends_at: str
    ended_at: str | None


def grant_grace(
    bridge: Bridge, invoice_id: str, *, ends_at: datetime | None = None, actor: str, reason: str
) -> dict[str, Any]:
    """Gives time until `ends_at`, or as much as the tier allows; once per billing payment.

    Raises Refused (actor_and_reason_required, forbidden, unknown_invoice, no_grace, bad_period, invoice_over) and
    Conflict("grace_given").
    """
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        tx, now = act.tx, act.now
        row = there(invoices.find(tx, lock=True, id=invoice_id), "unknown_invoice", "invoice")
        if reviews.GRANTS.find(tx, invoice_id) is not None:
            raise Conflict("grace_given", "This payment had its grace already; there is one.")
        if _is_over(row):
            raise Refused("invoice_over", "Time helps only an invoice that is still to be paid.")
        until = end_of_grace(rule_of(row), wanted=ends_at, now=now)
        values = {
            "invoice_id": row.id,
            "merchant": row.merchant,
            "billing_payment_id": row.billing_payment_id,
            "tier": row.rule,
            "amount_minor": row.amount_minor,
            "currency": row.currency,
            "approver": actor,
            "reason": reason,
            "state": "open",
            "granted_at": now,
            "ends_at": until,
        }
        reviews.GRANTS.add(tx, values)
        detail = {"ends_at": time_text(until), "tier": row.rule, "remaining_sat": row.remaining_sat}
        act.audit("grace_granted", invoice_id=row.id, detail=detail)
        record(tx, bridge, row, now=now, actor=actor, action="observed", facts={"grace_until": until})
        return GrantShape.of(reviews.GRANTS.find(tx, row.id))


def list_grants(bridge: Bridge, *, match: dict[str, str], limit: int = 50) -> list[dict[str, Any]]:
    """Newest first; `match` may name state, merchant and invoice_id."""
    with bridge.store.read() as tx:
        return [GrantShape.of(row) for row in reviews.GRANTS.listing(tx, match=match, limit=limit)]


def may_have_grace(row: Any) -> bool:
    """Whether a person could give an invoice time now, if it never had any."""
    return rule_of(row).grace_seconds > 0 and not _is_over(row)


def _is_over(row: Any) -> bool:
    is_given_up = row.closed_at is not None or row.billing_change in ("cancelled", "deleted")
    return is_given_up or row.status not in ("new", "expired")
