"""What every payout flow shares: the gateway's terms, journals, audit; a payout as the outside sees it, and what
an invoice may still give back.

Owns these steps, that shape and the reading of the refundable sum; must not decide which step is next.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from bridge import tracing
from bridge.context import Bridge
from bridge.core.errors import BridgeError, Unavailable, there
from bridge.core.evidence import Health
from bridge.core.ledger import Journal
from bridge.core.payout import (
    GATEWAY_ROLES,
    LIGHTNING_ROLE,
    LIVE,
    OWN_MIN_SEND_SAT,
    Refundable,
    billing_refund_sat,
    mirrored,
)
from bridge.invoices.present import Minor, View, approvals_json, time_text
from bridge.logs import log
from bridge.permit import Act
from bridge.store import invoices, ledger, payouts
from bridge.store.db import Tx, announce_work
from bridge.store.ledger import PAYOUT
from bridge.turns import draw_call

if TYPE_CHECKING:
    from bridge.store.dossier import Dossier

# Of a wallet that has nothing to say about itself.
UNTOLD = Health(ok=True, fee_bps=None, min_send_sat=None, server_time=None)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The gateway's fee, None while nobody names it, and the smallest gross that is sent now."""

    fee_bps: int | None
    min_send_sat: int


def terms_of(bridge: Bridge, role: str) -> Terms:
    """Asks the gateway: never inside a transaction. Nobody takes a fee of a send from the shop's own wallets: what a route of
    Lightning costs comes on top. Raises Unavailable.
    """
    if role not in GATEWAY_ROLES:
        return Terms(fee_bps=0, min_send_sat=1 if role == LIGHTNING_ROLE else OWN_MIN_SEND_SAT)
    draw_call(bridge)
    health = _health(bridge, role)
    if not health.ok:
        raise Unavailable("provider_unhealthy", "The gateway says that it is not well.", retry_after_seconds=60)
    return _terms(bridge, role, health)


def known_terms(bridge: Bridge, role: str) -> Terms:
    """The same as far as it is known, for what sends nothing: a health page that fails must hide no balance."""
    if role not in GATEWAY_ROLES:
        return terms_of(bridge, role)
    try:
        draw_call(bridge)
        health = _health(bridge, role)
    except BridgeError as error:
        log("gateway_terms.unknown", level=logging.WARNING, role=role, code=error.code)
        health = None
    return _terms(bridge, role, health)


def _health(bridge: Bridge, role: str) -> Health:
    ask = bridge.senders[role].health
    return ask() if ask is not None else UNTOLD


def _terms(bridge: Bridge, role: str, health: Health | None) -> Terms:
    """Every member of the gateway's health is optional (SUBTC contract 5.1). What it names is what it takes at this moment
    (4.4), so that counts; the settings count where it is silent. Of two minimums the larger counts (9.4).
    """
    told = health or UNTOLD
    fee_bps = told.fee_bps if told.fee_bps is not None else bridge.senders[role].fee_bps
    return Terms(fee_bps=fee_bps, min_send_sat=max(told.min_send_sat or 0, bridge.payouts.min_send_sat))


def found(row: Any) -> Any:
    """Raises Refused("unknown_payout")."""
    return there(row, "unknown_payout", "payout")


def void(act: Act, bridge: Bridge, row: Any, action: str, values: dict[str, Any], *, more: dict[str, Any]) -> Any:
    """Changes what people approved: the approvals of this round are void, and their money is back where it came from."""
    release(act, row)
    values = {"waiting": ""} | values | {"state": "requested", "round": row.round + 1, "approved_at": None}
    return move(act, bridge, row, action, values, more=more)


def release(act: Act, row: Any) -> None:
    """Takes the money that an approval moved to refunds_payable back to where it came from."""
    reverse = mirrored("refund_approve", ledger.of_payout(act.tx, row.id, kind="refund_approve"))
    if reverse is not None:
        post(act, row, reverse)


def post(act: Act, row: Any, *journals: Journal) -> None:
    """Appends a payout's journals to the books."""
    memo = {"payout": row.id, "currency": row.currency, "price_minor": row.price_minor}
    ledger.post(
        act.tx,
        journals,
        invoice_id=row.invoice_id,
        merchant=row.merchant,
        service_ref=row.service_ref,
        at=act.now,
        memo=memo,
        family=PAYOUT,
        payout_id=row.id,
    )


def move(
    act: Act,
    bridge: Bridge,
    row: Any,
    action: str,
    values: dict[str, Any],
    *,
    more: dict[str, Any] | None = None,
) -> Any:
    """Changes a payout and notes that step of it. Returns its row as it is then; raises Conflict when it was changed meanwhile."""
    after = payouts.change(act.tx, row, values, now=act.now)
    note(act, bridge, after, action, before=row.state, more=more)
    return after


def by_worker(tx: Tx, now: datetime, reason: str = "") -> Act:
    """What the worker does by itself, and why."""
    return Act(tx=tx, actor="worker", reason=reason, now=now)


def note(
    act: Act, bridge: Bridge, row: Any, action: str, *, before: str = "", more: dict[str, Any] | None = None
) -> None:
    """Audits one step of a payout, counts it and wakes whoever works on it."""
    detail = {"payout": row.id, "payout_kind": row.kind, "net_sat": row.net_sat, "gross_sat": row.gross_sat}
    detail |= {"fee_bps": row.fee_bps}
    trace_id = invoices.trace_of(act.tx, row.invoice_id) if row.invoice_id else tracing.current()
    detail |= {"destination": row.destination or "", "trace_id": trace_id} | (more or {})
    moved = {"from_status": before, "to_status": row.state, "policy_version": str(bridge.policy_number or "")}
    act.audit(action, invoice_id=row.invoice_id, detail=detail, **moved)
    bridge.metrics.payouts.labels(kind=row.kind, to=row.state).inc()
    ids = {"payout_id": row.id, "invoice_id": row.invoice_id, "trace_id": trace_id}
    log(action.replace("_", ".", 1), state=row.state, actor=act.actor, **ids)
    announce_work(act.tx)


class ApprovalShape(View):
    """One person's approval; `round` counts how often the payout was changed."""

    actor: str
    reason: str
    at: str
    round: int | None = None


class PayoutView(View):
    """A payout with the approvals of its present round."""

    id: str
    kind: str
    state: str
    merchant: str
    invoice_id: str | None
    billing_payment_id: str
    customer_id: str
    service_ref: str
    variant: str
    amount: Annotated[str | None, Minor(of="fiat")]
    currency: str
    rate: Annotated[str | None, Minor(of="price")]
    role: str
    destination: str | None
    destination_set_by: str
    gross_sat: int
    fee_bps: int | None
    fee_sat: int | None
    net_sat: int
    txid: str | None
    sent_sat: int | None
    paid_fee_sat: int | None
    still_owed_sat: int
    proposed_by: str
    reason: str
    approvals_needed: int
    approvals: list[ApprovalShape]
    attempts: int
    waiting: str
    balance_before_sat: int | None
    balance_after_sat: int | None
    review_id: str | None
    requested_at: str
    approved_at: str | None
    send_after: str | None
    sent_at: str | None
    finished_at: str | None
    updated_at: str


def payout_json(tx: Tx, row: Any) -> dict[str, Any]:
    """The absolute payout with the approvals of its present round."""
    return payout_with(row, payouts.approvals_of(tx, row.id))


def payout_with(row: Any, approvals: Iterable[Any]) -> dict[str, Any]:
    """The same from approvals of any round that were read already."""
    approvals = [each for each in approvals if each.round == row.round]
    is_to_be_sent = row.state in ("approved", "submitting")
    made = {
        "fee_sat": row.fee_sat if row.fee_bps is not None else None,
        "still_owed_sat": _still_owed_sat(row),
        "approvals": approvals_json(approvals),
        "send_after": time_text(row.next_try_at) if is_to_be_sent else None,
    }
    return PayoutView.of(row, **made)


def _still_owed_sat(row: Any) -> int:
    """What did not arrive of a sent refund: it stays owed to the payer."""
    is_sent_refund = row.kind == "refund" and row.sent_sat is not None
    return max(row.net_sat - row.sent_sat, 0) if is_sent_refund else 0


def refundable_of(tx: Tx, invoice: Any, *, besides: str = "") -> Refundable:
    """What came on the invoice, and what was promised or paid back already, here and in the billing system."""
    live_sat = payouts.live_sat(tx, invoice.id, besides=besides)
    return _refundable(invoice, refunded_minor=payouts.billing_refunded_minor(tx, invoice.id), live_sat=live_sat)


def refundable_in(dossier: "Dossier") -> Refundable:
    """The same as the dossier has it: to be shown, not to pay by."""
    live = [row for row in dossier.payouts if row.state in LIVE]
    live_sat = sum(row.net_sat if row.sent_sat is None else min(row.sent_sat, row.net_sat) for row in live)
    return _refundable(dossier.invoice, refunded_minor=dossier.refunded_minor, live_sat=live_sat)


def _refundable(invoice: Any, *, refunded_minor: int, live_sat: int) -> Refundable:
    refunded_minor = min(refunded_minor, invoice.amount_minor)
    used_sat = max(invoice.confirmed_sat - invoice.excess_sat, 0)
    return Refundable(
        came_sat=invoice.confirmed_sat,
        excess_sat=invoice.excess_sat,
        live_sat=live_sat,
        billing_sat=billing_refund_sat(
            refunded_minor=refunded_minor, amount_minor=invoice.amount_minor, used_sat=used_sat
        ),
    )


def address_form_url(bridge: Bridge, invoice: Any, payout: Any) -> str | None:
    """Where the payer names the address, while there is none; for who asked for the refund, to hand on."""
    if payout.destination is not None:
        return None
    return f"{bridge.public_url}/pay/{invoice.public_id}/refund?proof={refund_proof(bridge, payout.id)}"


def refund_proof(bridge: Bridge, payout_id: str) -> str:
    """What shows that its bearer was handed the form by the billing system or an operator: 128 bits, never stored."""
    return bridge.callback_token(f"refund:{payout_id}")
