"""A manual mark by two people: one proposes that an invoice counts as paid, others approve, and only then it does.

Owns the second pair of eyes; what follows from the mark is `desk.rulings`'s.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Conflict, Refused
from bridge.core.money import SAT_PER_BTC, minor_text
from bridge.desk.rulings import carry_out
from bridge.invoices.present import approvals_json, time_text
from bridge.invoices.review_blocks import consequence
from bridge.logs import log
from bridge.permit import acting, refuse_same_person
from bridge.store import audit, invoices, reviews
from bridge.store.db import Tx

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
        return mark_json(tx, _found(reviews.MARKS.find(tx, id=mark_id)))


def mark_json(tx: Tx, row: Any) -> dict[str, Any]:
    """The mark as the outside sees it. `remaining_sat` is what was missing when it was proposed, and would be forgone."""
    return {
        "id": row.id,
        "review_id": row.review_id,
        "invoice_id": row.invoice_id,
        "merchant": row.merchant,
        "state": row.state,
        "amount": minor_text(row.amount_minor, row.currency),
        "currency": row.currency,
        "worth_sat": row.worth_sat,
        "received_sat": row.received_sat,
        "remaining_sat": row.remaining_sat,
        "consequence": consequence(MARK),
        "proposed_by": row.proposed_by,
        "reason": row.reason,
        "approvals_needed": row.approvals_needed,
        "approvals": approvals_json(reviews.approvals_of_mark(tx, row.id)),
        "proposed_at": time_text(row.proposed_at),
        "ended_at": time_text(row.ended_at) if row.ended_at else None,
    }


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
    known = _found(reviews.MARKS.find(tx, id=mark_id))
    item = reviews.find(tx, known.review_id, lock=True)
    row = invoices.find(tx, lock=True, id=known.invoice_id)
    return item, row, _found(reviews.MARKS.find(tx, lock=True, id=mark_id))


def _check_approvable(tx: Tx, mark: Any, row: Any, actor: str) -> None:
    _check_waiting(mark)
    refuse_same_person(actor, involved=[mark.proposed_by, *(a.actor for a in reviews.approvals_of_mark(tx, mark.id))])
    if any(getattr(row, name) != getattr(mark, name) for name in ("received_sat", "amount_minor", "currency")):
        raise Conflict("mark_changed", "Money or amount changed since this was proposed; reject it and look again.")


def _check_waiting(mark: Any) -> None:
    if mark.state != "proposed":
        raise Conflict("not_waiting", f"This mark is {mark.state}; there is nothing to approve.")


def _found(row: Any) -> Any:
    if row is None:
        raise Refused("unknown_mark", "There is no such mark.")
    return row


def _note(tx: Tx, mark: Any, action: str, *, actor: str, reason: str, now: datetime) -> None:
    """Audits one step of a mark."""
    detail = {"mark": mark.id, "review": mark.review_id, "proposed_by": mark.proposed_by}
    detail |= {"missing_sat": mark.remaining_sat, "approvals_needed": mark.approvals_needed}
    audit.write(tx, at=now, actor=actor, action=action, invoice_id=mark.invoice_id, reason=reason, detail=detail)
    log(action.replace("_", ".", 1), mark_id=mark.id, invoice_id=mark.invoice_id, actor=actor)
