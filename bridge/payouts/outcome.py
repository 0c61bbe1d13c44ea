"""What came of a payout: sent, unknown, failed, and confirmed by the chain, with its journals and reviews.

Owns these endings; must not send anything.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import BridgeError, Conflict, ProtocolError
from bridge.core.evidence import ChainOutput, Sent
from bridge.core.payout import Amounts, differences, send_journal, sweep_done_journal
from bridge.invoices.record import urgency
from bridge.invoices.review_blocks import review_blocks, shown_actions
from bridge.logs import log
from bridge.payouts.present import payout_json
from bridge.payouts.steps import found, note, post, release
from bridge.store import invoices, payouts, reviews
from bridge.store.db import Tx

_IDLE: dict[str, Any] = {"lease_until": None, "lease_owner": None, "waiting": ""}
FIRST_LOOK_SECONDS = 30


def book_sent(tx: Tx, bridge: Bridge, row: Any, sent: Sent, *, actor: str, reason: str, now: datetime) -> None:
    """The gateway's numbers go into the books; where they differ from what was promised a person is told."""
    if row.state not in ("submitting", "unknown"):
        return
    amounts = Amounts(gross_sat=row.gross_sat, fee_sat=row.fee_sat, net_sat=row.net_sat)
    values = {"state": "sent", "txid": sent.txid, "sent_sat": sent.sent_sat, "paid_fee_sat": sent.fee_sat}
    values |= _IDLE | {"sent_at": now, "next_try_at": now + timedelta(seconds=FIRST_LOOK_SECONDS)}
    after = payouts.change(tx, row, values, now=now)
    post(tx, row, send_journal(row.kind, amounts, sent, role=row.role), now=now)
    note(tx, bridge, after, "payout_sent", actor=actor, reason=reason, now=now, before=row.state, more=_told(sent))
    _answer_question(tx, row, actor=actor, now=now)
    if found := differences(amounts, sent, is_fee_known=row.fee_bps is not None):
        open_payout_review(tx, bridge, after, kind="recon_diff", why="; ".join(found), now=now)


def book_failed(tx: Tx, bridge: Bridge, row: Any, *, actor: str, reason: str, now: datetime) -> None:
    """Surely not sent: the money is free again, and another try is a new request with its own approvals."""
    release(tx, row, now=now)
    after = payouts.change(tx, row, {"state": "failed", "finished_at": now} | _IDLE, now=now)
    note(tx, bridge, after, "payout_failed", actor=actor, reason=reason, now=now, before=row.state)


def book_unknown(tx: Tx, bridge: Bridge, row: Any, *, why: str, balance_after_sat: int | None, now: datetime) -> None:
    """Nobody knows whether it was sent: nothing is repeated, the wallet sends nothing else, a person decides."""
    values = {"state": "unknown", "maybe_sent": True, "balance_after_sat": balance_after_sat} | _IDLE
    after = payouts.change(tx, row, values, now=now)
    note(tx, bridge, after, "payout_unknown", actor="worker", reason=why, now=now, before=row.state)
    open_payout_review(tx, bridge, after, kind="outcome_unknown", why=why, now=now)


def open_payout_review(tx: Tx, bridge: Bridge, row: Any, *, kind: str, why: str, now: datetime) -> None:
    """An item with everything a person needs: the payout, why it is asked about, the balance before and after."""
    invoice = invoices.find(tx, id=row.invoice_id) if row.invoice_id else None
    blocks = review_blocks(tx, bridge, invoice, kind=kind, now=now) if invoice is not None else {"what": {"kind": kind}}
    blocks |= {"payout": payout_json(tx, row) | {"why": why}, "actions": shown_actions(kind)}
    review_id = bridge.new_id("rev")
    is_new = reviews.open_item(
        tx,
        review_id=review_id,
        invoice_id=row.invoice_id,
        merchant=row.merchant,
        kind=kind,
        now=now,
        **urgency(bridge, kind, now=now),
        blocks=blocks,
    )
    if not is_new:
        # One open item of a kind per invoice: this payout hangs on the one that is there.
        match = {"kind": kind, "state": "open", "merchant": row.merchant}
        items = reviews.listing(tx, match=match, limit=1_000)
        review_id = next(item.id for item in items if item.invoice_id == row.invoice_id)
    else:
        bridge.metrics.reviews_opened.labels(kind=kind).inc()
    payouts.change(tx, row, {"review_id": review_id}, now=now)


def _answer_question(tx: Tx, row: Any, *, actor: str, now: datetime) -> None:
    """The gateway's late answer, or a person's, settles what was asked."""
    if row.state == "unknown" and row.review_id is not None:
        reviews.resolve(tx, row.review_id, decision="payout_sent", actor=actor, note="it was sent", now=now)


def _told(sent: Sent) -> dict[str, Any]:
    return {"txid": sent.txid, "sent_sat": sent.sent_sat, "fee_sat": sent.fee_sat}


LOOK_SECONDS = 60
BATCH = 5


def confirm_payouts(bridge: Bridge) -> int:
    """Looks at sent payouts whose look is due. Without a chain reader there is no evidence, and they stay sent."""
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        rows = payouts.unconfirmed(tx, now=now, limit=BATCH)
    for row in rows:
        outputs, why = None, ""
        try:
            outputs = bridge.chain.read(row.destination, born_at=row.requested_at, asked_at=now).outputs
        except BridgeError as error:
            why = error.detail if isinstance(error, ProtocolError) else ""
            log("payout.not_seen", level=logging.WARNING, payout_id=row.id, code=error.code)
        try:
            with bridge.store.write() as tx:
                _record(tx, bridge, found(payouts.find(tx, lock=True, id=row.id)), outputs, why=why, now=now)
        except Conflict:
            log("payout.changed_meanwhile", payout_id=row.id)
    return len(rows)


def _record(
    tx: Tx, bridge: Bridge, row: Any, outputs: tuple[ChainOutput, ...] | None, *, why: str, now: datetime
) -> None:
    """Final, looked at again later, or asked about: what never shows up, and what no server can ever show (`why`)."""
    if row.state != "sent":
        return
    ours = [output for output in outputs or () if output.outpoint.startswith(f"{row.txid}:")]
    if ours and max(output.confirmations for output in ours) >= bridge.payouts.final_depth:
        _confirm(tx, bridge, row, now=now)
        return
    after = payouts.change(tx, row, {"next_try_at": now + timedelta(seconds=LOOK_SECONDS)}, now=now)
    is_missing = (outputs is not None and not ours) or bool(why)
    if is_missing and row.review_id is None and now - row.sent_at > timedelta(seconds=bridge.payouts.unseen_seconds):
        why = why or "the chain does not show the transaction that the gateway named"
        open_payout_review(tx, bridge, after, kind="recon_diff", why=why, now=now)


def _confirm(tx: Tx, bridge: Bridge, row: Any, *, now: datetime) -> None:
    if row.kind == "sweep":
        post(tx, row, sweep_done_journal(row.sent_sat), now=now)
    after = payouts.change(tx, row, {"state": "confirmed", "finished_at": now}, now=now)
    more = {"txid": row.txid}
    note(tx, bridge, after, "payout_confirmed", actor="worker", reason="", now=now, before="sent", more=more)
