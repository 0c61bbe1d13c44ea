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
from bridge.permit import Act, acting, check_actor, refuse_same_person, require_words
from bridge.store import claims, events, invoices, ledger, operators, reviews
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
        act = Act(tx=tx, actor=actor, reason=reason, now=now)
        if decision == MARK and operators.any_exist(tx):
            propose_mark(act, bridge, item, row)
            ruled = shown(tx, bridge, row)
        else:
            ruled = carry_out(act, bridge, item, row, decision=decision, rate=rate)
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


def propose_mark(act: Act, bridge: Bridge, item: Any, row: Any) -> None:
    """Keeps the proposal; nothing else happens yet. `item` and `row` are locked. Raises Conflict("mark_proposed")."""
    if (waiting := reviews.MARKS.find(act.tx, review_id=item.id, state="proposed")) is not None:
        detail = f"{waiting.proposed_by} proposed this already; somebody else must approve it."
        raise Conflict("mark_proposed", detail)
    worth_sat = _worth_sat(act.tx, row)
    seen = ("merchant", "amount_minor", "currency", "received_sat", "remaining_sat")
    values = {name: getattr(row, name) for name in seen} | {
        "id": bridge.new_id("mrk"),
        "review_id": item.id,
        "invoice_id": row.id,
        "state": "proposed",
        "worth_sat": worth_sat,
        "proposed_by": act.actor,
        "reason": act.reason,
        "approvals_needed": bridge.marks.needed(worth_sat),
        "proposed_at": act.now,
    }
    reviews.MARKS.add(act.tx, values)
    _note(act, reviews.MARKS.find(act.tx, id=values["id"]), "mark_proposed")


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
            _note(act, mark, "mark_approval_given")
            return mark_json(tx, mark)
        reviews.end_mark(tx, mark_id, state="approved", now=now)
        _note(act, mark, "mark_approved")
        carry_out(act, bridge, item, row, decision=MARK)
        bridge.crash_point("ruling.committing")
        approved = mark_json(tx, reviews.MARKS.find(tx, id=mark_id))
    bridge.crash_point("ruling.committed")
    return approved


def reject_mark(bridge: Bridge, mark_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Ends a mark that waits, by an approver or by who may propose; the review item stays open.

    Raises Refused (unknown_mark, forbidden) and Conflict("not_waiting").
    """
    with acting(bridge, PROPOSE, or_may=APPROVE, actor=actor, reason=reason) as act:
        _item, _row, mark = _locked(act.tx, mark_id)
        _check_waiting(mark)
        reviews.end_mark(act.tx, mark_id, state="rejected", now=act.now)
        _note(act, mark, "mark_rejected")
        return mark_json(act.tx, reviews.MARKS.find(act.tx, id=mark_id))


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


def _note(act: Act, mark: Any, action: str) -> None:
    """Audits one step of a mark."""
    detail = {"mark": mark.id, "review": mark.review_id, "proposed_by": mark.proposed_by}
    detail |= {"missing_sat": mark.remaining_sat, "approvals_needed": mark.approvals_needed}
    act.audit(action, invoice_id=mark.invoice_id, detail=detail)
    log(action.replace("_", ".", 1), mark_id=mark.id, invoice_id=mark.invoice_id, actor=act.actor)


def carry_out(
    act: Act, bridge: Bridge, item: Any, row: Any, *, decision: str, rate: Rate | None = None
) -> dict[str, Any]:
    """Answers the item, does what the ruling means for its invoice and returns the invoice's JSON, {} without one.

    `item` and `row` were locked in this transaction. Raises Refused("not_covered").
    """
    tx, now = act.tx, act.now
    reviews.resolve(tx, item.id, decision=decision, actor=act.actor, note=act.reason, now=now)
    detail = {"review": item.id, "kind": item.kind, "decision": decision}
    if row is None:
        act.audit("review_resolved", invoice_id=item.invoice_id, detail=detail)
        return {}
    under = {"from_status": row.status, "rule": row.rule, "policy_version": row.policy_version}
    act.audit("review_resolved", invoice_id=item.invoice_id, detail=detail, **under)
    _apply(act, bridge, row, decision=decision, rate=rate)
    after: Any = invoices.find(tx, id=row.id)
    if decision == review_of(item.kind).needs_cover and after.remaining_sat > 0:
        raise Refused("not_covered", "The money does not cover the amount; ask for the rest or mark it.")
    if decision in VERDICTS:
        _close_others(act, row, decision=decision)
        record(tx, bridge, invoices.find(tx, id=row.id), now=now, actor=act.actor, action="ruled")
    return shown(tx, bridge, invoices.find(tx, id=row.id))


def _apply(act: Act, bridge: Bridge, row: Any, *, decision: str, rate: Rate | None) -> None:
    tx, now = act.tx, act.now
    facts: dict[str, Any] = {"verdict": decision} if decision in VERDICTS else {}
    if rate is not None and not facts:
        _value_unquoted(tx, row, rate, now=now)
    if decision == "credit" and row.billing_change is not None:
        facts["billing_change"] = None
    if decision == "credit" and row.disagrees_since is not None:
        facts["disagrees_since"] = None
    if decision == "ask_remainder" and rate is not None:
        rule = rule_of(row)
        expires_at = now + timedelta(seconds=rule.invoice_expiry_seconds)
        facts |= {"expires_at": expires_at, "monitor_until": expires_at + timedelta(seconds=rule.monitor_seconds)}
    recorded = record(tx, bridge, row, now=now, actor=act.actor, action=f"ruled_{decision}", facts=facts)
    if decision == "ask_remainder" and rate is not None and recorded.invoice.status == "new":
        renew(tx, bridge, invoices.find(tx, id=row.id), rate=rate, now=now, actor=act.actor)


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


def _close_others(act: Act, row: Any, *, decision: str) -> None:
    """A final word on the invoice answers its other open questions too."""
    note = "by the final word on the invoice"
    for other in reviews.of_invoice(act.tx, row.id):
        if other.state == "open" and not review_of(other.kind).is_about_payout:
            reviews.resolve(act.tx, other.id, decision=decision, actor=act.actor, note=note, now=act.now)
