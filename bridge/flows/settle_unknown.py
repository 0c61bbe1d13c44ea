"""A person says what became of a send whose outcome nobody knew; the chain has a say too.

Owns the three rulings: it was sent, it was not, ask the gateway again with the same key.
"""

import re
from datetime import datetime
from typing import Any

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Sent
from bridge.core.kinds import RULINGS
from bridge.core.payout import amounts_for_gross
from bridge.flows.context import Bridge
from bridge.flows.payout_outcome import book_failed, book_sent
from bridge.flows.payout_steps import found, note
from bridge.flows.watch_unknown import gap_since, likely_outputs, read_destination
from bridge.store import audit, payouts, reviews

PAYOUT_RULINGS = tuple(code for code, ruling in RULINGS.items() if ruling.is_about_payout)
_TXID = re.compile(r"[0-9a-f]{64}")


def payout_of_review(bridge: Bridge, review_id: str) -> Any:
    """The payout whose unknown outcome an item asks about, None when it asks something else."""
    with bridge.store.read() as tx:
        row = payouts.find(tx, review_id=review_id)
    return row if row is not None and row.state == "unknown" else None


def settle_unknown(
    bridge: Bridge, row: Any, review_id: str, *, decision: str, actor: str, reason: str, txid: str
) -> None:
    """Carries out a ruling on an unknown outcome.

    Raises Refused (decision_not_legal, txid_missing, txid_not_seen, chain_shows_money, arrived_unknown, wallet_not_in_use),
    Conflict("review_resolved") and, while a chain reader is configured and cannot answer, or has not searched all it would
    need to, Unavailable.
    """
    if decision not in PAYOUT_RULINGS:
        raise Refused("decision_not_legal", f"The ruling must be one of {', '.join(PAYOUT_RULINGS)}.", field="decision")
    sending = [rail.wallet_id for rail in bridge.senders.values()]
    if decision == "payout_retry" and row.wallet_id not in sending:
        detail = "The same call can only be made by the wallet that made it, and no setting sends from that any more."
        raise Refused("wallet_not_in_use", detail, field="decision")
    now = bridge.clock()
    reading = read_destination(bridge.chain, row, now=now) if bridge.chain and decision != "payout_retry" else None
    outputs = likely_outputs(bridge, row, reading) if reading is not None else None
    sent = _sent(bridge, row, txid, outputs) if decision == "payout_sent" else None
    if decision == "payout_failed" and outputs:
        detail = f"The chain shows {outputs[0].outpoint} paying {outputs[0].amount_sat} satoshi to this address."
        raise Refused("chain_shows_money", detail, field="decision")
    if decision == "payout_failed" and reading is not None:
        _require_coverage(bridge, row, reading, now=now)
    with bridge.store.write() as tx:
        item = reviews.find(tx, review_id, lock=True)
        fresh = found(payouts.find(tx, lock=True, id=row.id))
        if item is None or item.state != "open" or fresh.version != row.version:
            raise Conflict("review_resolved", "Somebody settled this already.")
        reviews.resolve(tx, review_id, decision=decision, actor=actor, note=reason, now=now)
        detail_of = {"review": review_id, "decision": decision, "payout": row.id, "txid": txid}
        audit.write(
            tx,
            at=now,
            actor=actor,
            action="payout_ruled",
            invoice_id=row.invoice_id,
            from_status="unknown",
            reason=reason,
            detail=detail_of,
        )
        if sent is not None:
            book_sent(tx, bridge, fresh, sent, actor=actor, reason=reason, now=now)
        elif decision == "payout_failed":
            book_failed(tx, bridge, fresh, actor=actor, reason=reason, now=now)
        else:
            _order_retry(tx, bridge, fresh, actor=actor, reason=reason, now=now)


def _order_retry(tx: Any, bridge: Bridge, row: Any, *, actor: str, reason: str, now: datetime) -> None:
    """The same key and the same body, once more; only a clear answer ends the uncertainty."""
    payouts.change(tx, row, {"state": "submitting", "next_try_at": now, "waiting": "retry_ordered"}, now=now)
    after = payouts.find(tx, id=row.id)
    note(tx, bridge, after, "payout_retry_ordered", actor=actor, reason=reason, now=now, before="unknown")


def _require_coverage(bridge: Bridge, row: Any, reading: ChainReading, *, now: datetime) -> None:
    """That nothing was sent is said only of what was searched: else the money might leave twice."""
    if gap := gap_since(bridge, row, reading, now=now):
        detail = f"The chain reader cannot say that nothing was sent ({gap}): mend it, see the doctor, then rule again."
        raise Unavailable("evidence_missing", detail)


def _sent(bridge: Bridge, row: Any, txid: str, outputs: list[ChainOutput] | None) -> Sent:
    if not _TXID.fullmatch(txid):
        raise Refused("txid_missing", "Say by its txid which transaction it was.", field="txid")
    arrived_sat = row.net_sat
    if row.fee_bps is None and outputs is None:
        fee_bps = bridge.receiving.fee_bps
        if fee_bps is None:
            detail = "Nobody says how much arrived: name the fee (subtc.fee_bps), or a chain reader, first."
            raise Refused("arrived_unknown", detail, field="decision")
        arrived_sat = amounts_for_gross(row.gross_sat, fee_bps=fee_bps).net_sat
    if outputs is not None:
        amounts = [output.amount_sat for output in outputs if output.outpoint.startswith(f"{txid}:")]
        if not amounts:
            raise Refused("txid_not_seen", "No chain reader sees this transaction paying this address.", field="txid")
        arrived_sat = amounts[0]
    return Sent(
        txid=txid, requested_sat=row.gross_sat, sent_sat=arrived_sat, fee_sat=max(row.gross_sat - arrived_sat, 0)
    )
