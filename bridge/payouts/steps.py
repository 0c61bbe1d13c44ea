"""The steps that every payout flow shares: the gateway's terms, destinations, journals, audit.

Owns them; must not decide which step is next.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge import tracing
from bridge.call_budget import draw_call
from bridge.context import Bridge
from bridge.core.addresses import check_payable
from bridge.core.errors import BridgeError, Refused, Unavailable
from bridge.core.evidence import Health
from bridge.core.ledger import Journal
from bridge.core.payout import OWN_MIN_SEND_SAT, ROLES, mirrored
from bridge.logs import log
from bridge.store import audit, invoices, ledger, payouts, wallets
from bridge.store.db import Tx, announce_work
from bridge.store.ledger import PAYOUT

# Of a wallet that has nothing to say about itself.
UNTOLD = Health(ok=True, fee_bps=None, min_send_sat=None, server_time=None)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The gateway's fee, None while nobody names it, and the smallest gross that is sent now."""

    fee_bps: int | None
    min_send_sat: int


def terms_of(bridge: Bridge, role: str) -> Terms:
    """Asks the gateway: never inside a transaction. The shop's own wallet takes no fee of a send. Raises Unavailable."""
    if role not in ROLES:
        return Terms(fee_bps=0, min_send_sat=OWN_MIN_SEND_SAT)
    draw_call(bridge)
    health = _health(bridge, role)
    if not health.ok:
        raise Unavailable("provider_unhealthy", "The gateway says that it is not well.", retry_after_seconds=60)
    return _terms(bridge, role, health)


def known_terms(bridge: Bridge, role: str) -> Terms:
    """The same as far as it is known, for what sends nothing: a health page that fails must hide no balance."""
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
    if row is None:
        raise Refused("unknown_payout", "There is no such payout.")
    return row


def checked_destination(tx: Tx, bridge: Bridge, address: str) -> str:
    """The address in canonical spelling: payable, of this network, and not one of ours (it would come back to us)."""
    checked = check_payable(address.strip(), network=bridge.network, field="address").text
    if wallets.is_used(tx, checked) or checked in bridge.treasury.cold_addresses:
        raise Refused("own_address", "This address is one of our own.", field="address")
    return checked


def set_destination(tx: Tx, bridge: Bridge, row: Any, *, address: str, actor: str, reason: str, now: datetime) -> Any:
    """Names or changes where a refund goes, and returns its row. Whatever was approved was approved for the old address, and is void.

    Raises Refused (fixed_destination, already_submitted, bad_address, wrong_network, own_address).
    """
    if row.kind != "refund":
        raise Refused("fixed_destination", "Only a refund's address can be named.", field="address")
    if row.state not in ("requested", "approved") or row.attempts:
        raise Refused("already_submitted", "This refund can no longer be changed.", field="address")
    checked = checked_destination(tx, bridge, address)
    if checked == row.destination:
        return row
    values = {"destination": checked, "destination_set_at": now, "destination_set_by": actor}
    detail = {"before": row.destination or "", "after": checked, "voided": row.state == "approved"}
    return void(tx, bridge, row, "refund_address_set", values, actor=actor, reason=reason, now=now, more=detail)


def void(
    tx: Tx,
    bridge: Bridge,
    row: Any,
    action: str,
    values: dict[str, Any],
    *,
    actor: str,
    reason: str,
    now: datetime,
    more: dict[str, Any] | None = None,
) -> Any:
    """Changes what people approved: the approvals of this round are void, and their money is back where it came from."""
    release(tx, row, now=now)
    values = values | {"state": "requested", "round": row.round + 1, "approved_at": None, "waiting": ""}
    after = payouts.change(tx, row, values, now=now)
    note(tx, bridge, after, action, actor=actor, reason=reason, now=now, before=row.state, more=more)
    return after


def release(tx: Tx, row: Any, *, now: datetime) -> None:
    """Takes the money that an approval moved to refunds_payable back to where it came from."""
    reverse = mirrored("refund_approve", ledger.of_payout(tx, row.id, kind="refund_approve"))
    if reverse is not None:
        post(tx, row, reverse, now=now)


def post(tx: Tx, row: Any, *journals: Journal, now: datetime) -> None:
    """Appends a payout's journals to the books."""
    memo = {"payout": row.id, "currency": row.currency, "price_minor": row.price_minor}
    ledger.post(
        tx,
        journals,
        invoice_id=row.invoice_id,
        merchant=row.merchant,
        service_ref=row.service_ref,
        at=now,
        memo=memo,
        family=PAYOUT,
        payout_id=row.id,
    )


def note(
    tx: Tx,
    bridge: Bridge,
    row: Any,
    action: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    before: str = "",
    more: dict[str, Any] | None = None,
) -> None:
    """Audits one step of a payout, counts it and wakes whoever works on it."""
    detail = {"payout": row.id, "payout_kind": row.kind, "net_sat": row.net_sat, "gross_sat": row.gross_sat}
    detail |= {"fee_bps": row.fee_bps}
    trace_id = invoices.trace_of(tx, row.invoice_id) if row.invoice_id else tracing.current()
    detail |= {"destination": row.destination or "", "trace_id": trace_id} | (more or {})
    audit.write(
        tx,
        at=now,
        actor=actor,
        action=action,
        invoice_id=row.invoice_id,
        from_status=before,
        to_status=row.state,
        reason=reason,
        policy_version=str(bridge.policy_number or ""),
        detail=detail,
    )
    bridge.metrics.payouts.labels(kind=row.kind, to=row.state).inc()
    ids = {"payout_id": row.id, "invoice_id": row.invoice_id, "trace_id": trace_id}
    log(action.replace("_", ".", 1), state=row.state, actor=actor, **ids)
    announce_work(tx)
