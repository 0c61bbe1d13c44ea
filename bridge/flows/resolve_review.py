"""The review desk: a person rules on an item, and the consequences follow in one transaction.

Owns the rulings; what a ruling means for the state is `core.invoice`'s.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from bridge.core.credit import Payment, quote_at, remaining_minor
from bridge.core.errors import Conflict, Refused
from bridge.core.quote import Rate
from bridge.core.roles import permission_of_ruling
from bridge.flows.context import Bridge
from bridge.flows.open_invoice import renew
from bridge.flows.permit import check_actor, require_words
from bridge.flows.present import time_text
from bridge.flows.price import current_rate, late_quote, samples_json
from bridge.flows.read_invoices import shown
from bridge.flows.record import record, rule_of
from bridge.flows.review_blocks import ACTIONS
from bridge.flows.settle_unknown import RULINGS, payout_of_review, settle_unknown
from bridge.store import audit, events, invoices, ledger, reviews
from bridge.store.db import Tx

ON_INVOICES = ("credit", "accept_late", "ask_remainder", "refund", "mark_settled", "mark_invalid", "acknowledge")
DECISIONS = (*ON_INVOICES, *RULINGS)
NEED_PRICE = frozenset({"accept_late", "ask_remainder"})
# Letting these pass when they are too little would leave the client with nothing to do and nobody to ask.
NEED_COVER = frozenset({("partial", "credit"), ("late", "accept_late")})
VERDICTS = frozenset({"refund", "mark_settled", "mark_invalid"})


def list_reviews(bridge: Bridge, *, match: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Items by due time; `match` may name state, kind and merchant."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        return [_shown(row, now) for row in reviews.listing(tx, match=match, limit=limit)]


def show_review(bridge: Bridge, review_id: str) -> dict[str, Any]:
    """One item with its blocks. Raises Refused("unknown_review")."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        row = _found(reviews.find(tx, review_id))
        blocks = json.loads(row.blocks) | {"outcome": _outcome(tx, row)}
        return _shown(row, now) | {"blocks": blocks, "decision": row.decision, "note": row.note}


def resolve(
    bridge: Bridge, review_id: str, *, decision: str, actor: str, reason: str, txid: str = ""
) -> dict[str, Any]:
    """Carries out a ruling and returns the invoice's JSON; `txid` is what payout_sent needs.

    Raises Refused (unknown_review, decision_not_legal, actor_and_reason_required, not_covered, forbidden, and those of
    `settle_unknown`), Conflict("review_resolved") and, for rulings that need today's price or the chain, Unavailable.
    """
    require_words(actor, reason)
    check_actor(bridge, actor, permission_of_ruling(decision))
    if (payout := payout_of_review(bridge, review_id)) is not None:
        settle_unknown(bridge, payout, review_id, decision=decision, actor=actor, reason=reason, txid=txid)
        return _invoice_of(bridge, payout)
    now = bridge.clock()
    with bridge.store.read() as tx:
        item = _found(reviews.find(tx, review_id))
        row = invoices.find(tx, id=item.invoice_id) if item.invoice_id else None
    if decision not in (ACTIONS.get(item.kind, ("acknowledge",)) if row is not None else ("acknowledge",)):
        raise Refused("decision_not_legal", f"An item of kind {item.kind} cannot be ruled so.", field="decision")
    rate = current_rate(bridge, row.currency, now) if row is not None and decision in NEED_PRICE else None
    with bridge.store.write() as tx:
        item = _found(reviews.find(tx, review_id, lock=True))
        if item.state != "open":
            raise Conflict("review_resolved", f"Already resolved by {item.actor}.")
        reviews.resolve(tx, review_id, decision=decision, actor=actor, note=reason, now=now)
        row = invoices.find(tx, lock=True, id=item.invoice_id) if item.invoice_id else None
        _audit(tx, item, row, decision=decision, actor=actor, reason=reason, now=now)
        if row is None:
            return {}
        _apply(tx, bridge, row, decision=decision, actor=actor, rate=rate, now=now)
        if (item.kind, decision) in NEED_COVER:
            _require_covered(shown(tx, bridge, invoices.find(tx, id=row.id)))
        if decision in VERDICTS:
            _close_others(tx, row, decision=decision, actor=actor, now=now)
            after = invoices.find(tx, id=row.id)
            record(tx, bridge, after, now=now, actor=actor, action="ruled")
        ruled = shown(tx, bridge, invoices.find(tx, id=row.id))
        bridge.crash_point("ruling.committing")
    bridge.crash_point("ruling.committed")
    return ruled


def _invoice_of(bridge: Bridge, payout: Any) -> dict[str, Any]:
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=payout.invoice_id) if payout.invoice_id else None
        return shown(tx, bridge, row) if row is not None else {}


def _require_covered(invoice: dict[str, Any]) -> None:
    """Money may only be let pass when it is enough. Raises Refused("not_covered")."""
    if invoice["remaining_sat"] > 0:
        raise Refused("not_covered", "The money does not cover the amount; ask for the rest or mark it.")


def _apply(tx: Tx, bridge: Bridge, row: Any, *, decision: str, actor: str, rate: Rate | None, now: datetime) -> None:
    if decision in VERDICTS:
        record(tx, bridge, row, now=now, actor=actor, action=f"ruled_{decision}", facts={"verdict": decision})
        return
    if rate is not None:
        _value_unquoted(tx, bridge, row, rate, now=now)
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


def _value_unquoted(tx: Tx, bridge: Bridge, row: Any, rate: Rate, *, now: datetime) -> None:
    """Gives today's worth to money that no quote was active for, so that the ruling has something to count."""
    quotes = invoices.quotes_of(tx, row.id, currency=row.currency)
    payments = [p for p in invoices.payments_of(tx, row.id) if not p.replaced]
    unquoted = [p for p in payments if not _is_quoted(p, quotes, bridge, row)]
    base_minor = remaining_minor(payments, quotes=quotes, amount_minor=row.amount_minor, rule=rule_of(row))
    if not unquoted or base_minor <= 0:
        return
    newest = invoices.quotes_of(tx, row.id)[-1]
    seen_from = min(p.first_seen_at for p in unquoted)
    quote = late_quote(version=newest.version + 1, base_minor=base_minor, rate=rate, seen_from=seen_from, now=now)
    invoices.add_quote(tx, row.id, quote, now=now, policy_version=row.policy_version, samples=samples_json(rate))


def _is_quoted(payment: Payment, quotes: Any, bridge: Bridge, row: Any) -> bool:
    return quote_at(quotes, payment, rule_of(row)) is not None


def _close_others(tx: Tx, row: Any, *, decision: str, actor: str, now: datetime) -> None:
    """A final word on the invoice answers its other open questions too."""
    for other in reviews.of_invoice(tx, row.id):
        # Whether a send happened is no question about the invoice: nobody's last word on it answers that.
        if other.state == "open" and other.kind != "outcome_unknown":
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


def _outcome(tx: Tx, row: Any) -> dict[str, Any] | None:
    """What came of the ruling: the person, the reason, and the journals and events of the same transaction."""
    if row.state != "resolved":
        return None
    kinds = ledger.kinds_at(tx, row.invoice_id, at=row.resolved_at) if row.invoice_id else []
    told = [e.type for e in events.of_invoice(tx, row.invoice_id) if e.created_at == row.resolved_at]
    return {
        "decision": row.decision,
        "reason": row.note,
        "people": [row.actor],
        "at": time_text(row.resolved_at),
        "journals": kinds,
        "events": told,
    }


def _found(row: Any) -> Any:
    if row is None:
        raise Refused("unknown_review", "There is no such review item.")
    return row


def _shown(row: Any, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "invoice_id": row.invoice_id,
        "merchant": row.merchant,
        "kind": row.kind,
        "severity": row.severity,
        "state": row.state,
        "opened_at": time_text(row.opened_at),
        "last_seen_at": time_text(row.last_seen_at),
        "times_seen": row.times_seen,
        "due_at": time_text(row.due_at),
        "is_overdue": row.state == "open" and row.due_at < now,
        "actor": row.actor,
    }
