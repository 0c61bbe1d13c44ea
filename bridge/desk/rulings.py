"""What follows from a person's ruling on an invoice, in the transaction of the ruling.

Owns the consequences; who may rule, and how many people it takes, is said by those who call.
"""

from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.credit import quote_at, remaining_minor
from bridge.core.errors import Refused
from bridge.core.kinds import VERDICTS, review_of
from bridge.core.quote import Rate
from bridge.invoices.open_invoice import renew
from bridge.invoices.price import keep_late_quote
from bridge.invoices.read_invoices import shown
from bridge.invoices.record import record, rule_of
from bridge.store import audit, invoices, reviews
from bridge.store.db import Tx


def carry_out(
    tx: Tx,
    bridge: Bridge,
    item: Any,
    row: Any,
    *,
    decision: str,
    actor: str,
    reason: str,
    rate: Rate | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Answers the item, does what the ruling means for its invoice and returns the invoice's JSON, {} without one.

    `item` and `row` were locked in this transaction. Raises Refused("not_covered").
    """
    reviews.resolve(tx, item.id, decision=decision, actor=actor, note=reason, now=now)
    _audit(tx, item, row, decision=decision, actor=actor, reason=reason, now=now)
    if row is None:
        return {}
    _apply(tx, bridge, row, decision=decision, actor=actor, rate=rate, now=now)
    if decision == review_of(item.kind).needs_cover:
        _require_covered(shown(tx, bridge, invoices.find(tx, id=row.id)))
    if decision in VERDICTS:
        _close_others(tx, row, decision=decision, actor=actor, now=now)
        after = invoices.find(tx, id=row.id)
        record(tx, bridge, after, now=now, actor=actor, action="ruled")
    return shown(tx, bridge, invoices.find(tx, id=row.id))


def _require_covered(invoice: dict[str, Any]) -> None:
    """Money may only be let pass when it is enough. Raises Refused("not_covered")."""
    if invoice["remaining_sat"] > 0:
        raise Refused("not_covered", "The money does not cover the amount; ask for the rest or mark it.")


def _apply(tx: Tx, bridge: Bridge, row: Any, *, decision: str, actor: str, rate: Rate | None, now: datetime) -> None:
    if decision in VERDICTS:
        record(tx, bridge, row, now=now, actor=actor, action=f"ruled_{decision}", facts={"verdict": decision})
        return
    if rate is not None:
        _value_unquoted(tx, row, rate, now=now)
    facts: dict[str, Any] = {}
    if decision == "credit" and row.billing_change is not None:
        facts["billing_change"] = None
    if decision == "credit" and row.disagrees_since is not None:
        facts["disagrees_since"] = None
    if decision == "ask_remainder" and rate is not None:
        rule = rule_of(row)
        expires_at = now + timedelta(seconds=rule.invoice_expiry_seconds)
        facts |= {"expires_at": expires_at, "monitor_until": expires_at + timedelta(seconds=rule.monitor_seconds)}
    recorded = record(tx, bridge, row, now=now, actor=actor, action=f"ruled_{decision}", facts=facts)
    if decision == "ask_remainder" and rate is not None and recorded.invoice.status == "new":
        renew(tx, bridge, invoices.find(tx, id=row.id), rate=rate, now=now, actor=actor)


def _value_unquoted(tx: Tx, row: Any, rate: Rate, *, now: datetime) -> None:
    """Gives today's worth to money that no quote was active for, so that the ruling has something to count."""
    quotes = invoices.quotes_of(tx, row.id, currency=row.currency)
    payments = [p for p in invoices.payments_of(tx, row.id) if not p.replaced]
    unquoted = [p for p in payments if quote_at(quotes, p, rule_of(row)) is None]
    base_minor = remaining_minor(payments, quotes=quotes, amount_minor=row.amount_minor, rule=rule_of(row))
    if not unquoted or base_minor <= 0:
        return
    version = invoices.quotes_of(tx, row.id)[-1].version + 1
    seen_from, rule = min(p.first_seen_at for p in unquoted), rule_of(row)
    keep_late_quote(tx, row, rate, version=version, base_minor=base_minor, rule=rule, seen_from=seen_from, now=now)


def _close_others(tx: Tx, row: Any, *, decision: str, actor: str, now: datetime) -> None:
    """A final word on the invoice answers its other open questions too."""
    for other in reviews.of_invoice(tx, row.id):
        if other.state == "open" and not review_of(other.kind).is_about_payout:
            reviews.resolve(
                tx, other.id, decision=decision, actor=actor, note="by the final word on the invoice", now=now
            )


def _audit(tx: Tx, item: Any, row: Any, *, decision: str, actor: str, reason: str, now: datetime) -> None:
    detail = {"review": item.id, "kind": item.kind, "decision": decision}
    audit.write(
        tx,
        at=now,
        actor=actor,
        action="review_resolved",
        invoice_id=item.invoice_id,
        from_status=row.status if row is not None else "",
        reason=reason,
        rule=row.rule if row is not None else "",
        policy_version=row.policy_version if row is not None else "",
        detail=detail,
    )
