"""Sending what people approved: the intent is committed before the call, and an uncertain answer is never repeated.

Owns the way of one send and when it must wait; one payout per wallet is under way at a time, and a second key is never
made for the same money.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import BridgeError, Refused, Unavailable
from bridge.core.evidence import Sent
from bridge.core.payout import Amounts, amounts_for_net, wallet_has_room
from bridge.core.rail import Rail, Sender
from bridge.invoices.record import rule_of
from bridge.invoices.targets import is_pinned
from bridge.logs import log
from bridge.payouts.destination import most_route_of, unpayable
from bridge.payouts.outcome import book_failed, book_sent, book_unknown
from bridge.payouts.steps import Terms, by_worker, found, move, note, refundable_of, terms_of, void
from bridge.payouts.treasury import owed_sat
from bridge.permit import Act, may_call_provider
from bridge.store import ahead, invoices, leases, payouts
from bridge.store.db import Tx
from bridge.turns import draw_call, give_back, take_calls

WAIT_SECONDS = 60
CLAIM_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the gateway said right before a send."""

    terms: Terms
    confirmed_sat: int


def send_payouts(bridge: Bridge, *, owner: str) -> int:
    """Sends at most one due payout per wallet. Returns how many were worked on."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        has_moved = bool(_of_former(tx, bridge))
        if not has_moved and not payouts.any_work(tx, now=now):
            return 0
    if has_moved:
        _follow_wallets(bridge, now=now)
    done = _give_up_lapsed(bridge, now=now)
    # A clock that jumped must not take from people the time in which they may still stop what they approved.
    for rail in bridge.senders.values():
        wallet_id, cooling = rail.wallet_id, timedelta(seconds=bridge.payouts.cooling_of(rail.role))
        with bridge.store.read() as tx:
            is_due = may_call_provider(tx, wallet_id) and payouts.is_due(tx, wallet_id=wallet_id, now=now)
            is_cool = not ahead.jumps(tx, now=now, within=cooling)
        if is_due and is_cool:
            done += _send_next(bridge, rail, owner=owner)
    return done


def _follow_wallets(bridge: Bridge, *, now: datetime) -> None:
    """What was asked for before another wallet took over a role is sent by that one: people approved role, sum and address.

    Only of wallets that this node's settings call former, so that a node with older settings does not take it back.
    """
    with bridge.store.write() as tx:
        act = by_worker(tx, now, "another wallet sends now")
        for row in _of_former(tx, bridge):
            wallet_id = bridge.senders[row.role].wallet_id
            after = payouts.change(tx, row, {"wallet_id": wallet_id}, now=now)
            more = {"wallet_before": row.wallet_id, "wallet_after": wallet_id}
            note(act, bridge, after, "payout_wallet_changed", more=more)


def _of_former(tx: Tx, bridge: Bridge) -> Sequence[Any]:
    """What a former wallet was to send and another one can."""
    if not bridge.former:
        return ()
    return payouts.unsent_of(tx, wallet_ids=list(bridge.former), roles=list(bridge.senders))


def _send_next(bridge: Bridge, rail: Rail, *, owner: str) -> int:
    now, role, wallet_id = bridge.clock(), rail.role, rail.wallet_id
    try:
        terms = terms_of(bridge, role)
        draw_call(bridge, rail=rail)
        reading = Reading(terms=terms, confirmed_sat=_confirmed_sat(rail))
    except BridgeError as error:
        log("payout.waits", level=logging.WARNING, role=role, code=error.code)
        return 0
    with bridge.store.write() as tx:
        # Two workers take turns here; the database's own unique index stands behind this lease.
        if not leases.take(tx, f"send:{wallet_id}", owner=owner, now=now, lease_seconds=CLAIM_SECONDS):
            return 0
        if not may_call_provider(tx, wallet_id):
            return 0
        row = payouts.next_due(tx, wallet_id=wallet_id, now=now)
        # The call is taken with the intent: what is on its way is never held up for one.
        if row is None or not take_calls(tx, bridge, now=now, purpose="urgent", rail=rail):
            return 0
        intent = _intend(tx, bridge, row, reading, owner=owner, now=now)
        if intent is None and not rail.is_beside:
            give_back(tx, calls=1)
    if intent is not None:
        bridge.crash_point("payout.intended")
        _call(bridge, intent, owner=owner)
    return 1


def _intend(tx: Tx, bridge: Bridge, row: Any, reading: Reading, *, owner: str, now: datetime) -> Any:
    """Commits what is about to be sent, or why it waits; the row to send, or None."""
    if not row.maybe_sent and _is_astray(tx, bridge, row):
        _refuse(by_worker(tx, now, "destination_not_pinned"), bridge, row, "sweep_refused")
        return None
    if not row.maybe_sent and (why := unpayable(bridge, row, now=now)):
        _ask_for_another(by_worker(tx, now, why), bridge, row)
        return None
    if row.attempts == 0 and _fee_changed(row, reading):
        _void_for_new_fee(tx, bridge, row, reading, now=now)
        return None
    waiting = _why_wait(tx, bridge, row, reading)
    if waiting:
        values = {"waiting": waiting, "next_try_at": now + timedelta(seconds=WAIT_SECONDS)}
        after = payouts.change(tx, row, values, now=now)
        if waiting != row.waiting:
            note(by_worker(tx, now, waiting), bridge, after, "payout_waits", before=row.state)
        return None
    values = {
        "state": "submitting",
        "waiting": "",
        "attempts": row.attempts + 1,
        "balance_before_sat": reading.confirmed_sat,
        "lease_owner": owner,
        "lease_until": now + timedelta(seconds=bridge.payouts.lease_seconds),
    }
    return move(by_worker(tx, now), bridge, row, "payout_intended", values)


def _why_wait(tx: Tx, bridge: Bridge, row: Any, reading: Reading) -> str:
    """The first reason for which this payout must not leave now, "" when there is none."""
    amounts = _amounts(row)
    if _is_astray(tx, bridge, row):
        return "destination_not_pinned"
    if row.maybe_sent:
        # A person ordered the same call again: its balance may have left already, and only the gateway can say.
        return ""
    if amounts.gross_sat + (most_route_of(bridge, row) or 0) > reading.confirmed_sat:
        return "wallet_too_low"
    if amounts.gross_sat < reading.terms.min_send_sat:
        return "below_min_send"
    if waiting := refund_waits(tx, row):
        return waiting
    own_sat = row.net_sat if row.kind == "refund" else 0
    has_room = wallet_has_room(
        amounts, confirmed_sat=reading.confirmed_sat, owed_sat=owed_sat(tx, bridge), own_sat=own_sat
    )
    return "" if row.role != "hot" or has_room else "hot_needed_for_payers"


def _is_astray(tx: Tx, bridge: Bridge, row: Any) -> bool:
    """Whether a sweep would go where the settings no longer, or never, allowed: they may have changed since it was made."""
    return row.kind == "sweep" and not is_pinned(tx, bridge, row.destination)


def refund_waits(tx: Tx, row: Any) -> str:
    """Why a refund must not leave now whoever sends it, "" when nothing speaks against it."""
    if row.kind != "refund":
        return ""
    invoice = invoices.find(tx, id=row.invoice_id)
    if invoice is None or invoice.hold is not None:
        return "invoice_held"
    if refundable_of(tx, invoice).is_overdrawn:
        return "refunded_elsewhere"
    return "" if _is_final(tx, invoice) else "money_not_final"


def _is_final(tx: Tx, invoice: Any) -> bool:
    """Whether the money that came is deep enough that no reorganisation takes it back after we have refunded it."""
    depth = rule_of(invoice).final_depth
    present = [payment for payment in invoices.payments_of(tx, invoice.id) if not payment.replaced]
    return all(payment.confirmations is None or payment.confirmations >= depth for payment in present)


def _confirmed_sat(rail: Rail) -> int:
    if rail.balance is None:
        raise Unavailable("balance_unknown", "Nothing is sent from a wallet that does not say what it holds.")
    return rail.balance().confirmed_sat


def _wallet(bridge: Bridge, role: str) -> Sender:
    wallet = bridge.senders[role].sends
    if wallet is None:
        raise ValueError(f"nothing can be sent as {role}")
    return wallet


def _call(bridge: Bridge, row: Any, *, owner: str) -> None:
    """The one call, with the key and the body of the intent; then one transaction for what came of it."""
    wallet = _wallet(bridge, row.role)
    outcome: Sent | BridgeError
    try:
        outcome = wallet.send(destination=row.destination, gross_sat=row.gross_sat, idempotency_key=row.idempotency_key)
    except BridgeError as error:
        outcome = error
    bridge.crash_point("payout.called")
    is_uncertain = not isinstance(outcome, Sent | Unavailable | Refused) or (
        isinstance(outcome, Refused) and row.maybe_sent
    )
    after_sat = _balance_after(bridge, row.wallet_id) if is_uncertain else None
    now = bridge.clock()
    with bridge.store.write() as tx:
        fresh = found(payouts.find(tx, lock=True, id=row.id))
        if isinstance(outcome, Sent):
            book_sent(by_worker(tx, now), bridge, fresh, outcome)
        elif fresh.version != row.version:
            log("payout.answered_late", level=logging.WARNING, payout_id=row.id)
        elif isinstance(outcome, Unavailable):
            _try_again(tx, fresh, outcome, now=now)
        elif is_uncertain:
            book_unknown(by_worker(tx, now, outcome.detail), bridge, fresh, balance_after_sat=after_sat)
        else:
            book_failed(by_worker(tx, now, outcome.detail), bridge, fresh)
        bridge.crash_point("payout.committing")
    bridge.crash_point("payout.committed")


def _try_again(tx: Tx, row: Any, error: Unavailable, *, now: datetime) -> None:
    """Surely nothing was sent by this call: the same key and body again, later."""
    pause = max(error.retry_after_seconds or 0, WAIT_SECONDS)
    values = {"lease_until": None, "lease_owner": None, "waiting": error.code}
    payouts.change(tx, row, values | {"next_try_at": now + timedelta(seconds=pause)}, now=now)
    log("payout.not_sent_yet", level=logging.WARNING, payout_id=row.id, code=error.code)


def _give_up_lapsed(bridge: Bridge, *, now: datetime) -> int:
    """A sender that died after its intent may have sent: from here on it is a person's."""
    with bridge.store.read() as tx:
        lapsed = payouts.lapsed(tx, now=now, lease_seconds=bridge.payouts.lease_seconds)
        wallet_ids = {row.wallet_id for row in lapsed}
    if not wallet_ids:
        return 0
    after_sat = {wallet_id: _balance_after(bridge, wallet_id) for wallet_id in wallet_ids}
    with bridge.store.write() as tx:
        rows = payouts.lapsed(tx, now=now, lease_seconds=bridge.payouts.lease_seconds, lock=True)
        act = by_worker(tx, now, "the process that was sending it died before it heard the answer")
        for row in rows:
            book_unknown(act, bridge, row, balance_after_sat=after_sat.get(row.wallet_id))
    return len(rows)


def _balance_after(bridge: Bridge, wallet_id: str) -> int | None:
    """What a person compares with the balance before; the gateway may not answer."""
    rail = bridge.rail_of(wallet_id)
    if rail is None or rail.balance is None:
        return None
    try:
        draw_call(bridge, purpose="urgent", rail=rail)
        return rail.balance().confirmed_sat
    except BridgeError:
        return None


def _amounts(row: Any) -> Amounts:
    return Amounts(gross_sat=row.gross_sat, fee_sat=row.fee_sat, net_sat=row.net_sat)


def _fee_changed(row: Any, reading: Reading) -> bool:
    """Whether the fee is another one than people approved. That nobody names one any more changes no sum."""
    told_bps = reading.terms.fee_bps
    return told_bps is not None and row.fee_bps != told_bps


def _ask_for_another(act: Act, bridge: Bridge, row: Any) -> None:
    """A request of Lightning that ran out unpaid: the payer's form is open again, and people approve what is named there. One that
    was refused for a while already has failed, as its call was made.
    """
    if row.attempts:
        book_failed(act, bridge, row)
        return
    values = {"destination": None, "destination_set_at": None, "destination_set_by": "", "waiting": "bolt11_expired"}
    void(act, bridge, row, "refund_request_expired", values, more={"before": row.destination})


def _refuse(act: Act, bridge: Bridge, row: Any, action: str) -> None:
    """Ends a sweep of which no call was ever made."""
    move(act, bridge, row, action, {"state": "rejected", "finished_at": act.now, "waiting": ""})


def _void_for_new_fee(tx: Tx, bridge: Bridge, row: Any, reading: Reading, *, now: datetime) -> None:
    """What people approved is not what would leave any more: they are asked again, with the new figures."""
    fee_bps = reading.terms.fee_bps
    if row.kind == "sweep":
        before = "unknown" if row.fee_bps is None else f"{row.fee_bps} bps"
        reason = f"the fee changed from {before} to {fee_bps} bps"
        _refuse(by_worker(tx, now, reason), bridge, row, "payout_rejected")
        return
    amounts = amounts_for_net(row.net_sat, fee_bps=fee_bps)
    values: dict[str, Any] = {"fee_bps": fee_bps, "gross_sat": amounts.gross_sat, "fee_sat": amounts.fee_sat}
    values["approvals_needed"] = bridge.payouts.needed(amounts.gross_sat)
    more = {"fee_bps_before": row.fee_bps, "fee_bps_after": fee_bps}
    void(by_worker(tx, now, "the gateway's fee changed"), bridge, row, "payout_fee_changed", values, more=more)
