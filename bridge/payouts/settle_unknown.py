"""A payout of which nobody knows whether it was sent: its address is watched meanwhile, and a person rules.

Owns what was seen of it and the ruling; the chain says what came, never the person alone where a reader is.
"""

import logging
import re
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.coverage import gap_of
from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Sent
from bridge.core.kinds import RULINGS
from bridge.core.payout import amounts_for_gross
from bridge.core.rail import Chain
from bridge.core.reconciliation import BLOCK_TIME_SLACK
from bridge.invoices.chain import horizon
from bridge.logs import log
from bridge.payouts.outcome import book_failed, book_sent
from bridge.payouts.steps import found, note
from bridge.store import audit, payouts, reviews
from bridge.turns import take_turn

READ_EVERY_SECONDS = 60


def watch_unknown(bridge: Bridge, *, owner: str) -> int:
    """Reads the destinations of unknown payouts at most once per pause over all workers; how many were read.

    A person may rule days later, and a node that prunes has thrown away by then what would have to be searched.
    """
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        rows = payouts.unknown(tx)
    pause = READ_EVERY_SECONDS
    if not rows or not take_turn(bridge, "watch_unknown", owner=owner, now=now, every_seconds=pause, durable=False):
        return 0
    for row in rows:
        _watch(bridge, bridge.chain, row, now=now)
    return len(rows)


def _watch(bridge: Bridge, chain: Chain, row: Any, *, now: datetime) -> None:
    """Keeps up to when nothing was sent for certain. Money that may be this payout is not left behind: whoever rules sees it."""
    try:
        reading = read_destination(chain, row, now=now)
    except BridgeError as error:
        log("payout.not_read", level=logging.WARNING, payout_id=row.id, code=error.code)
        return
    gap = gap_since(bridge, row, reading, now=now)
    if gap or likely_outputs(bridge, row, reading):
        log("payout.not_covered", payout_id=row.id, gap=gap)
        return
    with bridge.store.write() as tx:
        # No later than the newest block that was searched: our own clock may be ahead.
        payouts.cover(tx, row.id, until=min(now, reading.tip.time))


def read_destination(chain: Chain, row: Any, *, now: datetime) -> ChainReading:
    """What pays the destination since the last time when nothing was sent for certain. Raises what the port raises."""
    return chain.read(row.destination, born_at=_open_since(row, now=now), asked_at=now)


def gap_since(bridge: Bridge, row: Any, reading: ChainReading, *, now: datetime) -> str:
    """Why the silence of this reading does not say that nothing was sent, "" when it does."""
    with bridge.store.read() as tx:
        return gap_of(reading, born_at=_open_since(row, now=now), horizon=horizon(tx, bridge, now=now))


def likely_outputs(bridge: Bridge, row: Any, reading: ChainReading) -> list[ChainOutput]:
    """Outputs to the destination that could be this payout: none of another payout of ours."""
    with bridge.store.read() as tx:
        known = payouts.txids_to(tx, row.destination)
    # Under an unknown fee any part of it could have arrived.
    least_sat = row.net_sat - 1 if row.fee_bps is not None else 1
    since = row.approved_at - BLOCK_TIME_SLACK
    fresh = [
        output
        for output in reading.outputs
        if output.outpoint.partition(":")[0] not in known
        # What lay there before anybody approved this is something else.
        and (output.block_time is None or output.block_time >= since)
    ]
    return [output for output in fresh if least_sat <= output.amount_sat <= row.gross_sat]


def _open_since(row: Any, *, now: datetime) -> datetime:
    covered_until: datetime = believed(row.covered_until, now=now) or row.requested_at
    return covered_until


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
    after = payouts.change(tx, row, {"state": "submitting", "next_try_at": now, "waiting": "retry_ordered"}, now=now)
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
