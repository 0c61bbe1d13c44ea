"""The review desk: a person rules on an item, and the consequences follow in one transaction; a manual mark waits for a second person.

Owns the way to a ruling, what follows, and the second pair of eyes; which rulings there are, is said in core.kinds.
"""

from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.credit import quote_at, remaining_minor
from bridge.core.errors import Conflict, Refused, there
from bridge.core.kinds import RULINGS, VERDICTS, review_of
from bridge.core.money import SAT_PER_BTC
from bridge.core.quote import Rate
from bridge.core.roles import permission_of_ruling
from bridge.invoices.open_invoice import renew
from bridge.invoices.present import Fiat, View, approvals_json, time_text
from bridge.invoices.price import current_rate, keep_late_quote
from bridge.invoices.read_invoices import shown
from bridge.invoices.record import record, rule_of
from bridge.invoices.review_blocks import consequence
from bridge.logs import log
from bridge.payouts.outcome import payout_of_review, settle_unknown
from bridge.payouts.steps import ApprovalShape
from bridge.permit import acting, check_actor, refuse_same_person, require_words
from bridge.store import audit, claims, events, invoices, ledger, operators, reviews
from bridge.store.db import Tx

DECISIONS = tuple(RULINGS)


class ReviewView(View):
    """Something that waits for a person, or a person's answer to it, as a list has it."""

    id: str
    invoice_id: str | None
    merchant: str
    kind: str
    severity: str
    state: str
    opened_at: str
    last_seen_at: str
    times_seen: int
    due_at: str
    is_overdue: bool
    actor: str | None


class MarkShape(View):
    """That an invoice counts as paid by people's word. `remaining_sat` was missing when it was proposed."""

    id: str
    review_id: str
    invoice_id: str
    merchant: str
    state: str
    amount: Fiat
    currency: str
    worth_sat: int
    received_sat: int
    remaining_sat: int
    consequence: str
    proposed_by: str
    reason: str
    approvals_needed: int
    approvals: list[ApprovalShape]
    proposed_at: str
    ended_at: str | None


def list_reviews(bridge: Bridge, *, match: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Items by due time; `match` may name state, kind and merchant."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        return [review_json(row, now=now) for row in reviews.listing(tx, match=match, limit=limit)]


def show_review(bridge: Bridge, review_id: str) -> dict[str, Any]:
    """One item with its blocks and its manual marks, newest first. Raises Refused("unknown_review")."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        row = _found(reviews.find(tx, review_id))
        blocks = row.blocks | {"outcome": _outcome(tx, row)}
        proposed = [mark_json(tx, mark) for mark in reviews.MARKS.listing(tx, match={"review_id": review_id}, limit=20)]
        return review_json(row, now=now) | {
            "blocks": blocks,
            "decision": row.decision,
            "note": row.note,
            "marks": proposed,
        }


def resolve(
    bridge: Bridge, review_id: str, *, decision: str, actor: str, reason: str, txid: str = ""
) -> dict[str, Any]:
    """Carries out a ruling and returns the invoice's JSON; `txid` is what payout_sent needs.

    A manual mark is only proposed where there are operators: somebody else approves it with `approve_mark`.
    Raises Refused (unknown_review, decision_not_legal, actor_and_reason_required, not_covered, forbidden, and those of
    `settle_unknown`), Conflict (review_resolved, mark_proposed) and, for rulings that need today's price or the chain, Unavailable.
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
    if decision not in (review_of(item.kind).rulings if row is not None else ("acknowledge",)):
        raise Refused("decision_not_legal", f"An item of kind {item.kind} cannot be ruled so.", field="decision")
    rate = current_rate(bridge, row.currency, now) if row is not None and RULINGS[decision].needs_price else None
    with bridge.store.write() as tx:
        item = _found(reviews.find(tx, review_id, lock=True))
        if item.state != "open":
            raise Conflict("review_resolved", f"Already resolved by {item.actor}.")
        if item.kind == "claim" and claims.is_open(tx, item.invoice_id):
            raise Conflict("claim_open", "Close the claim: its answer to the client ends this item.")
        row = invoices.find(tx, lock=True, id=item.invoice_id) if item.invoice_id else None
        if decision == MARK and operators.any_exist(tx):
            propose_mark(tx, bridge, item, row, actor=actor, reason=reason, now=now)
            ruled = shown(tx, bridge, row)
        else:
            ruled = carry_out(tx, bridge, item, row, decision=decision, actor=actor, reason=reason, rate=rate, now=now)
        bridge.crash_point("ruling.committing")
    bridge.crash_point("ruling.committed")
    return ruled


def _invoice_of(bridge: Bridge, payout: Any) -> dict[str, Any]:
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=payout.invoice_id) if payout.invoice_id else None
        return shown(tx, bridge, row) if row is not None else {}


def _outcome(tx: Tx, row: Any) -> dict[str, Any] | None:
    """What came of the ruling: the person, the reason, and the journals and events of the same transaction."""
    if row.state != "resolved":
        return None
    proposers = [
        m.proposed_by for m in reviews.MARKS.listing(tx, match={"review_id": row.id, "state": "approved"}, limit=1)
    ]
    kinds = ledger.kinds_at(tx, row.invoice_id, at=row.resolved_at) if row.invoice_id else []
    told = [e.type for e in events.of_invoice(tx, row.invoice_id) if e.created_at == row.resolved_at]
    return {
        "decision": row.decision,
        "reason": row.note,
        "people": [*proposers, row.actor],
        "at": time_text(row.resolved_at),
        "journals": kinds,
        "events": told,
    }


def _found(row: Any) -> Any:
    return there(row, "unknown_review", "review item")


def review_json(row: Any, *, now: datetime) -> dict[str, Any]:
    """A ReviewView."""
    return ReviewView.of(row, is_overdue=row.state == "open" and row.due_at < now)


MARK = "mark_settled"
PROPOSE, APPROVE = "review.mark", "mark.approve"
STATES = ("proposed", "approved", "rejected", "lapsed")


def list_marks(bridge: Bridge, *, match: dict[str, str], limit: int = 50) -> list[dict[str, Any]]:
    """Newest first; `match` may name state, review_id, invoice_id and merchant."""
    with bridge.store.read() as tx:
        return [mark_json(tx, row) for row in reviews.MARKS.listing(tx, match=match, limit=limit)]


def show_mark(bridge: Bridge, mark_id: str) -> dict[str, Any]:
    """One mark with its approvals. Raises Refused("unknown_mark")."""
    with bridge.store.read() as tx:
        return mark_json(tx, there(reviews.MARKS.find(tx, id=mark_id), "unknown_mark", "mark"))


def mark_json(tx: Tx, row: Any) -> dict[str, Any]:
    """A MarkShape."""
    approvals = approvals_json(reviews.approvals_of_mark(tx, row.id))
    return MarkShape.of(row, consequence=consequence(MARK), approvals=approvals)


def propose_mark(tx: Tx, bridge: Bridge, item: Any, row: Any, *, actor: str, reason: str, now: datetime) -> None:
    """Keeps the proposal; nothing else happens yet. `item` and `row` are locked. Raises Conflict("mark_proposed")."""
    if (waiting := reviews.MARKS.find(tx, review_id=item.id, state="proposed")) is not None:
        detail = f"{waiting.proposed_by} proposed this already; somebody else must approve it."
        raise Conflict("mark_proposed", detail)
    worth_sat = _worth_sat(tx, row)
    values = {
        "id": bridge.new_id("mrk"),
        "review_id": item.id,
        "invoice_id": row.id,
        "merchant": row.merchant,
        "state": "proposed",
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "worth_sat": worth_sat,
        "received_sat": row.received_sat,
        "remaining_sat": row.remaining_sat,
        "proposed_by": actor,
        "reason": reason,
        "approvals_needed": bridge.marks.needed(worth_sat),
        "proposed_at": now,
    }
    reviews.MARKS.add(tx, values)
    _note(tx, reviews.MARKS.find(tx, id=values["id"]), "mark_proposed", actor=actor, reason=reason, now=now)


def approve_mark(bridge: Bridge, mark_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """One person's approval; with enough of them the invoice counts as paid in the same transaction.

    Raises Refused (unknown_mark, unknown_operator, forbidden, same_person), Conflict("not_waiting") when there is nothing
    to approve any more, and Conflict("mark_changed") when the invoice is not what was proposed any more.
    """
    with acting(bridge, APPROVE, actor=actor, reason=reason) as act:
        tx, now = act.tx, act.now
        item, row, mark = _locked(tx, mark_id)
        _check_approvable(tx, mark, row, actor)
        reviews.approve_mark(tx, mark, actor=actor, reason=reason, now=now)
        if len(reviews.approvals_of_mark(tx, mark_id)) < mark.approvals_needed:
            _note(tx, mark, "mark_approval_given", actor=actor, reason=reason, now=now)
            return mark_json(tx, mark)
        reviews.end_mark(tx, mark_id, state="approved", now=now)
        _note(tx, mark, "mark_approved", actor=actor, reason=reason, now=now)
        carry_out(tx, bridge, item, row, decision=MARK, actor=actor, reason=reason, now=now)
        bridge.crash_point("ruling.committing")
        approved = mark_json(tx, reviews.MARKS.find(tx, id=mark_id))
    bridge.crash_point("ruling.committed")
    return approved


def reject_mark(bridge: Bridge, mark_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Ends a mark that waits, by an approver or by who may propose; the review item stays open.

    Raises Refused (unknown_mark, forbidden) and Conflict("not_waiting").
    """
    with acting(bridge, PROPOSE, or_may=APPROVE, actor=actor, reason=reason) as act:
        tx, now = act.tx, act.now
        _item, _row, mark = _locked(tx, mark_id)
        _check_waiting(mark)
        reviews.end_mark(tx, mark_id, state="rejected", now=now)
        _note(tx, mark, "mark_rejected", actor=actor, reason=reason, now=now)
        return mark_json(tx, reviews.MARKS.find(tx, id=mark_id))


def _worth_sat(tx: Tx, row: Any) -> int:
    """What the whole invoice is worth at the newest price it was quoted: this says how many people must look at it."""
    quotes = invoices.quotes_of(tx, row.id, currency=row.currency) or invoices.quotes_of(tx, row.id)
    return int(-(-row.amount_minor * SAT_PER_BTC // quotes[-1].price_minor))


def _locked(tx: Tx, mark_id: str) -> tuple[Any, Any, Any]:
    """Item, invoice and mark, locked in the order in which a ruling takes them, so that none waits crosswise."""
    known = there(reviews.MARKS.find(tx, id=mark_id), "unknown_mark", "mark")
    item = reviews.find(tx, known.review_id, lock=True)
    row = invoices.find(tx, lock=True, id=known.invoice_id)
    return item, row, there(reviews.MARKS.find(tx, lock=True, id=mark_id), "unknown_mark", "mark")


def _check_approvable(tx: Tx, mark: Any, row: Any, actor: str) -> None:
    _check_waiting(mark)
    refuse_same_person(actor, involved=[mark.proposed_by, *(a.actor for a in reviews.approvals_of_mark(tx, mark.id))])
    if any(getattr(row, name) != getattr(mark, name) for name in ("received_sat", "amount_minor", "currency")):
        raise Conflict("mark_changed", "Money or amount changed since this was proposed; reject it and look again.")


def _check_waiting(mark: Any) -> None:
    if mark.state != "proposed":
        raise Conflict("not_waiting", f"This mark is {mark.state}; there is nothing to approve.")


def _note(tx: Tx, mark: Any, action: str, *, actor: str, reason: str, now: datetime) -> None:
    """Audits one step of a mark."""
    detail = {"mark": mark.id, "review": mark.review_id, "proposed_by": mark.proposed_by}
    detail |= {"missing_sat": mark.remaining_sat, "approvals_needed": mark.approvals_needed}
    audit.write(tx, at=now, actor=actor, action=action, invoice_id=mark.invoice_id, reason=reason, detail=detail)
    log(action.replace("_", ".", 1), mark_id=mark.id, invoice_id=mark.invoice_id, actor=actor)


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
