"""A client claims something about an invoice: support enters it, it goes through stages with deadlines, and it ends with an outcome.

Owns these steps and the claim as it is seen; what is right about a claim follows by the desk's other actions, never from here.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.claims import CLOSED, OPEN, check_move
from bridge.core.errors import Conflict, Refused, there
from bridge.invoices.present import View
from bridge.invoices.record import open_review
from bridge.logs import log
from bridge.permit import Act, acting
from bridge.store import claims, invoices, reviews

NEEDS = "review.resolve"
KIND = "claim"


class ClaimView(View):
    """A client's claim. `said` is what he says; `due_at` is until when its stage may last, null once it is closed."""

    id: str
    invoice_id: str
    merchant: str
    customer_id: str
    stage: str
    said: str
    txid: str
    claimed_sat: int | None
    owner: str
    opened_at: str
    stage_since: str
    due_at: str | None
    is_overdue: bool
    outcome: str
    answer: str
    closed_by: str
    closed_at: str | None


def claim_json(row: Any, *, now: datetime) -> dict[str, Any]:
    """A ClaimView."""
    return ClaimView.of(row, is_overdue=row.due_at is not None and row.due_at < now)


def open_claim(
    bridge: Bridge,
    invoice_id: str,
    *,
    said: str,
    txid: str = "",
    claimed_sat: int | None = None,
    actor: str,
    reason: str,
) -> dict[str, Any]:
    """Enters what a client says; it waits in the queue as an item of its own, and changes nothing about the invoice.

    Raises Refused (actor_and_reason_required, forbidden, unknown_invoice, claim_said_nothing) and Conflict("claim_open").
    """
    if not said.strip():
        raise Refused("claim_said_nothing", "Write down what the client says.", field="said")
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        row = there(invoices.find(act.tx, lock=True, id=invoice_id), "unknown_invoice", "invoice")
        if any(each.stage != CLOSED for each in claims.of_invoice(act.tx, invoice_id)):
            raise Conflict("claim_open", "A claim about this invoice is open already.")
        due_at = bridge.claims.due_at(OPEN[0], now=act.now)
        values = {"invoice_id": row.id, "merchant": row.merchant, "customer_id": row.customer_id, "stage": OPEN[0]}
        values |= {"id": bridge.new_id("clm"), "said": said, "txid": txid, "claimed_sat": claimed_sat, "owner": actor}
        made = claims.add(act.tx, values | {"opened_at": act.now, "stage_since": act.now, "due_at": due_at})
        told = {"said": said, "txid": txid, "claimed_sat": claimed_sat, "state": OPEN[0]}
        open_review(act.tx, bridge, row, kind=KIND, now=act.now, more={"claim": told})
        _note(act, "claim_opened", made, stage=OPEN[0])
        return claim_json(made, now=act.now)


def advance_claim(bridge: Bridge, claim_id: str, *, stage: str, actor: str, reason: str) -> dict[str, Any]:
    """Takes a claim to a later stage, whose deadline begins now; who does so looks after it from then on.

    Raises Refused (actor_and_reason_required, forbidden, unknown_claim, claim_stage) and Conflict("claim_closed").
    """
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        row = _found(claims.find(act.tx, claim_id, lock=True))
        if stage not in OPEN:
            raise Refused("claim_stage", f"The stage must be one of {', '.join(OPEN)}.", field="stage")
        check_move(row.stage, stage)
        due_at = bridge.claims.due_at(stage, now=act.now)
        after = claims.change(
            act.tx, {"stage": stage, "stage_since": act.now, "due_at": due_at, "owner": actor}, id=row.id
        )
        _note(act, "claim_advanced", row, stage=stage)
        return claim_json(after, now=act.now)


def close_claim(bridge: Bridge, claim_id: str, *, outcome: str, actor: str, reason: str) -> dict[str, Any]:
    """Ends a claim; the reason is the answer to the client, and the item of the queue is answered with it.

    Raises Refused (actor_and_reason_required, forbidden, unknown_claim) and Conflict("claim_closed").
    """
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        row = _found(claims.find(act.tx, claim_id, lock=True))
        check_move(row.stage, CLOSED)
        ended = {"stage": CLOSED, "stage_since": act.now, "due_at": None, "outcome": outcome, "answer": reason}
        after = claims.change(act.tx, ended | {"closed_by": actor, "closed_at": act.now}, id=row.id)
        for item in reviews.of_invoice(act.tx, row.invoice_id):
            if item.kind == KIND and item.state == "open":
                reviews.resolve(act.tx, item.id, decision="acknowledge", actor=actor, note=reason, now=act.now)
        _note(act, "claim_closed", row, stage=CLOSED, outcome=outcome)
        return claim_json(after, now=act.now)


def list_claims(bridge: Bridge, *, match: dict[str, str], limit: int = 50) -> list[dict[str, Any]]:
    """Newest first; `match` may name stage, merchant, invoice_id and customer_id."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        return [claim_json(row, now=now) for row in claims.listing(tx, match=match, limit=limit)]


def next_claim(bridge: Bridge) -> dict[str, Any] | None:
    """The open claim whose deadline is the first."""
    with bridge.store.read() as tx:
        row = claims.next_due(tx)
    return claim_json(row, now=bridge.clock()) if row is not None else None


def show_claim(bridge: Bridge, claim_id: str) -> dict[str, Any]:
    """One claim. Raises Refused("unknown_claim")."""
    with bridge.store.read() as tx:
        return claim_json(_found(claims.find(tx, claim_id)), now=bridge.clock())


def _found(row: Any) -> Any:
    return there(row, "unknown_claim", "claim")


def _note(act: Act, action: str, row: Any, *, stage: str, **more: str) -> None:
    """Audits one step."""
    detail = {"claim": row.id, "before": row.stage, "stage": stage, **more}
    act.audit(action, invoice_id=row.invoice_id, detail=detail)
    log(action.replace("_", ".", 1), claim_id=row.id, invoice_id=row.invoice_id, actor=act.actor)
