"""The review desk: a person rules on an item, and the consequences follow in one transaction.

Owns the way to a ruling; what follows is `desk.rulings`'s, and a manual mark waits in `desk.mark_settled`.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Conflict, Refused
from bridge.core.kinds import RULINGS, review_of
from bridge.core.roles import permission_of_ruling
from bridge.desk.mark_settled import MARK, mark_json, propose_mark
from bridge.desk.rulings import carry_out
from bridge.invoices.present import time_text
from bridge.invoices.price import current_rate
from bridge.invoices.read_invoices import shown
from bridge.payouts.outcome import payout_of_review, settle_unknown
from bridge.permit import check_actor, require_words
from bridge.store import events, invoices, ledger, operators, reviews
from bridge.store.db import Tx

DECISIONS = tuple(RULINGS)


def list_reviews(bridge: Bridge, *, match: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Items by due time; `match` may name state, kind and merchant."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        return [_shown(row, now) for row in reviews.listing(tx, match=match, limit=limit)]


def show_review(bridge: Bridge, review_id: str) -> dict[str, Any]:
    """One item with its blocks and its manual marks, newest first. Raises Refused("unknown_review")."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        row = _found(reviews.find(tx, review_id))
        blocks = row.blocks | {"outcome": _outcome(tx, row)}
        proposed = [mark_json(tx, mark) for mark in reviews.MARKS.listing(tx, match={"review_id": review_id}, limit=20)]
        return _shown(row, now) | {"blocks": blocks, "decision": row.decision, "note": row.note, "marks": proposed}


def resolve(
    bridge: Bridge, review_id: str, *, decision: str, actor: str, reason: str, txid: str = ""
) -> dict[str, Any]:
    """Carries out a ruling and returns the invoice's JSON; `txid` is what payout_sent needs.

    A manual mark is only proposed where there are operators: somebody else approves it with `desk.mark_settled`.
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
