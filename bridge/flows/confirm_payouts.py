"""Watching what was sent until the chain holds it deep enough; what never shows up is a person's.

Owns the way from sent to confirmed; must not send anything again.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from bridge.core.errors import BridgeError, Conflict, ProtocolError
from bridge.core.evidence import ChainOutput
from bridge.core.payout import sweep_done_journal
from bridge.flows.context import Bridge
from bridge.flows.payout_outcome import open_payout_review
from bridge.flows.payout_steps import found, note, post
from bridge.logs import log
from bridge.store import payouts
from bridge.store.db import Tx

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
    payouts.change(tx, row, {"next_try_at": now + timedelta(seconds=LOOK_SECONDS)}, now=now)
    is_missing = (outputs is not None and not ours) or bool(why)
    if is_missing and row.review_id is None and now - row.sent_at > timedelta(seconds=bridge.payouts.unseen_seconds):
        why = why or "the chain does not show the transaction that the gateway named"
        open_payout_review(tx, bridge, found(payouts.find(tx, id=row.id)), kind="recon_diff", why=why, now=now)


def _confirm(tx: Tx, bridge: Bridge, row: Any, *, now: datetime) -> None:
    if row.kind == "sweep":
        post(tx, row, sweep_done_journal(row.sent_sat), now=now)
    payouts.change(tx, row, {"state": "confirmed", "finished_at": now}, now=now)
    after = payouts.find(tx, id=row.id)
    more = {"txid": row.txid}
    note(tx, bridge, after, "payout_confirmed", actor="worker", reason="", now=now, before="sent", more=more)
