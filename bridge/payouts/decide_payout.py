"""Other people decide about a payout: approve, reject, look.

Owns the second pair of eyes; must not send, `payouts.send_payouts` does when the cooling time is over.
"""

from datetime import timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Conflict, Refused
from bridge.core.payout import ROLES, approve_journal, write_off_journal
from bridge.invoices.present import time_text
from bridge.invoices.read_invoices import next_cursor, read_cursor
from bridge.payouts.destination import unpayable
from bridge.payouts.send_payouts import refund_waits
from bridge.payouts.steps import found, move, note, payout_json, post, refundable_of, release
from bridge.permit import Act, acting, refuse_same_person
from bridge.store import invoices, ledger, payouts
from bridge.store.db import Tx

MAX_LIMIT = 200


def list_payouts(
    bridge: Bridge, *, match: dict[str, str], limit: int = 50, cursor: str | None = None
) -> dict[str, Any]:
    """Newest first; `match` may name state, kind, merchant, invoice_id and role. Raises Refused("invalid_cursor")."""
    limit = max(1, min(limit, MAX_LIMIT))
    before = read_cursor(cursor) if cursor else None
    with bridge.store.read() as tx:
        rows = payouts.listing(tx, match=match, cursor=before, limit=limit + 1)
        shown = [payout_json(tx, row) for row in rows[:limit]]
    return {"payouts": shown, "next_cursor": next_cursor(rows, limit, "requested_at")}


def show_payout(bridge: Bridge, payout_id: str) -> dict[str, Any]:
    """One payout with every approval, void ones too. Raises Refused("unknown_payout")."""
    with bridge.store.read() as tx:
        row = found(payouts.find(tx, id=payout_id))
        every = [
            {"round": a.round, "actor": a.actor, "reason": a.reason, "at": time_text(a.at)}
            for a in payouts.approvals_of(tx, payout_id)
        ]
        return payout_json(tx, row) | {"round": row.round, "all_approvals": every}


def approve_payout(bridge: Bridge, payout_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """One person's approval; with enough of them the payout is approved and cools down before it is sent.

    Raises Refused (unknown_payout, unknown_operator, forbidden, same_person, destination_missing, bolt11_expired, above_refundable; of
    what the shop sends itself also invoice_held, refunded_elsewhere, money_not_final) and
    Conflict("not_waiting") when there is nothing to approve any more.
    """
    with acting(bridge, "payout.approve", actor=actor, reason=reason, unless="read_only") as act:
        tx = act.tx
        _lock_invoice(tx, payout_id)
        row = found(payouts.find(tx, lock=True, id=payout_id))
        given = [a.actor for a in payouts.approvals_of(tx, row.id) if a.round == row.round]
        _check_approvable(act, bridge, row, given)
        payouts.approve(tx, row, actor=actor, reason=reason, now=act.now)
        if len(given) + 1 >= row.approvals_needed:
            return payout_json(tx, carry_out_approval(act, bridge, row))
        note(act, bridge, row, "payout_approval_given", before=row.state)
        return payout_json(tx, row)


def carry_out_approval(act: Act, bridge: Bridge, row: Any) -> Any:
    """Moves an approved payout on: books what is owed now, starts the cooling time; a write-off is done at once."""
    send_after = act.now + timedelta(seconds=bridge.payouts.cooling_of(row.role))
    waiting = "own_send" if row.role not in ROLES else ""
    values = {"state": "approved", "approved_at": act.now, "next_try_at": send_after, "waiting": waiting}
    journal = approve_journal(row.net_sat, owed=_owed(act.tx, row)) if row.kind == "refund" else None
    approved = move(act, bridge, row, "payout_approved", values)
    if journal is not None:
        post(act, row, journal)
    if row.kind != "write_off":
        return approved
    post(act, row, write_off_journal(row.gross_sat, role=row.role))
    return move(act, bridge, approved, "payout_confirmed", {"state": "confirmed", "finished_at": act.now})


def reject_payout(bridge: Bridge, payout_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Ends a payout that was surely not sent, by an approver or by who may propose (a withdrawal).

    Raises Refused (unknown_payout, forbidden) and Conflict("maybe_sent") once a call may have reached the gateway.
    """
    with acting(
        bridge, "payout.propose", or_may="payout.approve", actor=actor, reason=reason, unless="read_only"
    ) as act:
        row = found(payouts.find(act.tx, lock=True, id=payout_id))
        is_idle = row.state == "submitting" and not row.maybe_sent and row.lease_until is None
        if row.state not in ("requested", "approved") and not is_idle:
            raise Conflict("maybe_sent", f"This payout is {row.state}; it can no longer be stopped.")
        release(act, row)
        ended = {"state": "rejected", "finished_at": act.now, "waiting": ""}
        return payout_json(act.tx, move(act, bridge, row, "payout_rejected", ended))


def _check_approvable(act: Act, bridge: Bridge, row: Any, given: list[str]) -> None:
    tx = act.tx
    if row.state != "requested":
        raise Conflict("not_waiting", f"This payout is {row.state}; there is nothing to approve.")
    refuse_same_person(act.actor, involved=[row.proposed_by, row.destination_set_by, *given])
    if row.destination is None and row.kind != "write_off":
        raise Refused("destination_missing", "There is no address to send to yet.", field="destination")
    if unpayable(bridge, row, now=act.now + timedelta(seconds=bridge.payouts.cooling_of(row.role))):
        detail = "This Lightning invoice will have run out when it would be sent; a new one must be named."
        raise Refused("bolt11_expired", detail, field="destination")
    if row.kind == "refund":
        refundable_of(tx, invoices.find(tx, id=row.invoice_id), besides=row.id).check(row.net_sat)
    if row.role not in ROLES and (waiting := refund_waits(tx, row)):
        # Approved it is the shop's to send, and nothing of ours stands between any more.
        raise Refused(waiting, "This refund must not be sent yet; approve it later.", field="payout")


def _owed(tx: Tx, row: Any) -> dict[str, int]:
    """What each liability account of the invoice holds, free of other approved refunds."""
    free = {account: -units for account, units in ledger.owed(tx, row.invoice_id).items()}
    taken_sat = payouts.unbooked_sat(tx, row.invoice_id, besides=row.id)
    return free | {"refunds_payable": free.get("refunds_payable", 0) - taken_sat}


def _lock_invoice(tx: Tx, payout_id: str) -> None:
    """The invoice before its payout, as every flow takes them, so that none waits for another crosswise."""
    row = payouts.find(tx, id=payout_id)
    if row is not None and row.invoice_id is not None:
        invoices.find(tx, lock=True, id=row.invoice_id)
