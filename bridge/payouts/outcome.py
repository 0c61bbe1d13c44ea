"""What came of a payout: sent, unknown, failed, and confirmed by the chain, with its journals and reviews.

Owns these endings, and the ruling on one of which nobody knows whether it was sent: the chain says what came, never the person
alone where a reader is. Must not send anything.
"""

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.coverage import gap_of
from bridge.core.errors import BridgeError, Conflict, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Sent
from bridge.core.kinds import RULINGS
from bridge.core.payout import (
    LIGHTNING_ROLE,
    Amounts,
    amounts_for_gross,
    differences,
    send_journal,
    sweep_done_journal,
)
from bridge.core.rail import Chain
from bridge.core.reconciliation import BLOCK_TIME_SLACK
from bridge.invoices.chain import horizon
from bridge.invoices.record import urgency
from bridge.invoices.review_blocks import review_blocks, shown_actions
from bridge.logs import log
from bridge.payouts.destination import most_route_of
from bridge.payouts.steps import by_worker, found, move, payout_json, post, release
from bridge.permit import Act
from bridge.store import invoices, payouts, reviews
from bridge.turns import draw_call, take_turn

_IDLE: dict[str, Any] = {"lease_until": None, "lease_owner": None, "waiting": ""}
FIRST_LOOK_SECONDS = 30


def book_sent(act: Act, bridge: Bridge, row: Any, sent: Sent) -> None:
    """The gateway's numbers go into the books; where they differ from what was promised a person is told."""
    if row.state not in ("submitting", "unknown"):
        return
    amounts = Amounts(gross_sat=row.gross_sat, fee_sat=row.fee_sat, net_sat=row.net_sat)
    values = {"state": "sent", "txid": sent.txid, "sent_sat": sent.sent_sat, "paid_fee_sat": sent.fee_sat}
    values |= _IDLE | {"sent_at": act.now, "next_try_at": act.now + timedelta(seconds=FIRST_LOOK_SECONDS)}
    told = {"txid": sent.txid, "sent_sat": sent.sent_sat, "fee_sat": sent.fee_sat}
    after = move(act, bridge, row, "payout_sent", values, more=told)
    post(act, row, send_journal(row.kind, amounts, sent, role=row.role))
    if row.state == "unknown" and row.review_id is not None:
        # The gateway's late answer, or a person's, settles what was asked.
        answer = {"decision": "payout_sent", "note": "it was sent"}
        reviews.resolve(act.tx, row.review_id, actor=act.actor, now=act.now, **answer)
        _ask_about_others(act, bridge, row)
    most_sat = most_route_of(bridge, row)
    if found := differences(amounts, sent, is_fee_known=row.fee_bps is not None, most_route_sat=most_sat):
        open_payout_review(act, bridge, after, kind="recon_diff", why="; ".join(found))


def book_failed(act: Act, bridge: Bridge, row: Any) -> None:
    """Surely not sent: the money is free again, and another try is a new request with its own approvals."""
    release(act, row)
    move(act, bridge, row, "payout_failed", {"state": "failed", "finished_at": act.now} | _IDLE)


def book_unknown(act: Act, bridge: Bridge, row: Any, *, balance_after_sat: int | None) -> None:
    """Nobody knows whether it was sent: nothing is repeated, the wallet sends nothing else, a person decides."""
    values = {"state": "unknown", "maybe_sent": True, "balance_after_sat": balance_after_sat} | _IDLE
    after = move(act, bridge, row, "payout_unknown", values)
    open_payout_review(act, bridge, after, kind="outcome_unknown", why=act.reason)


def open_payout_review(act: Act, bridge: Bridge, row: Any, *, kind: str, why: str) -> None:
    """An item with everything a person needs: the payout, why it is asked about, the balance before and after."""
    tx, now = act.tx, act.now
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


def _ask_about_others(act: Act, bridge: Bridge, row: Any) -> None:
    """What is still unknown of another payout that hung on the same item is a question of its own now."""
    for other in payouts.listing(act.tx, match={"review_id": row.review_id, "state": "unknown"}):
        if other.id != row.id:
            open_payout_review(act, bridge, other, kind="outcome_unknown", why="nobody knows whether it was sent")


LOOK_SECONDS = 60
BATCH = 5
# How long a wallet may go on looking for a way after it was asked to pay.
PAYING_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is seen of a payout that was sent. `is_missing`: whoever must show it does not; `why` in words for a person."""

    is_final: bool = False
    is_missing: bool = False
    why: str = ""


def confirm_payouts(bridge: Bridge) -> int:
    """Looks at sent payouts whose look is due. Without a chain reader there is no evidence of what went to an address, and it
    stays sent; what left over Lightning its own wallet is asked for.
    """
    now = bridge.clock()
    roles = None if bridge.chain is not None else (LIGHTNING_ROLE,)
    with bridge.store.read() as tx:
        rows = payouts.unconfirmed(tx, now=now, limit=BATCH, roles=roles)
    for row in rows:
        seen = _seen_by_wallet(bridge, row) if row.role == LIGHTNING_ROLE else _seen_on_chain(bridge, row, now=now)
        try:
            with bridge.store.write() as tx:
                fresh = found(payouts.find(tx, lock=True, id=row.id))
                _record(by_worker(tx, now), bridge, fresh, seen)
        except Conflict:
            log("payout.changed_meanwhile", payout_id=row.id)
    return len(rows)


def _seen_on_chain(bridge: Bridge, row: Any, *, now: datetime) -> _Seen:
    """`why` also says what no server can ever show."""
    if bridge.chain is None:
        return _Seen()
    try:
        outputs = bridge.chain.read(row.destination, born_at=row.requested_at, asked_at=now).outputs
    except BridgeError as error:
        log("payout.not_seen", level=logging.WARNING, payout_id=row.id, code=error.code)
        return _Seen(is_missing=isinstance(error, ProtocolError), why=error.detail)
    ours = [output.confirmations for output in outputs if output.outpoint.startswith(f"{row.txid}:")]
    if not ours:
        return _Seen(is_missing=True, why="the chain does not show the transaction that the gateway named")
    return _Seen(is_final=max(ours) >= bridge.payouts.final_depth)


def _seen_by_wallet(bridge: Bridge, row: Any) -> _Seen:
    """Over Lightning who is paid has it at once: only the wallet that paid can take its word back."""
    try:
        sent = _told_by_wallet(bridge, row)
    except BridgeError as error:
        log("payout.not_seen", level=logging.WARNING, payout_id=row.id, code=error.code)
        return _Seen()
    if sent is None or sent.txid != row.txid:
        return _Seen(is_missing=True, why="the wallet does not know the payment any more that it said was made")
    return _Seen(is_final=True)


def _told_by_wallet(bridge: Bridge, row: Any) -> Sent | None:
    """What the wallet itself says came of a payment over Lightning, None when nothing left.

    Raises OutcomeUnknown while it may still leave, Unavailable when nobody can be asked.
    """
    rail = bridge.rail_of(row.wallet_id)
    if rail is None or rail.told is None:
        detail = "Only the wallet itself knows what came of it, and no setting names it: put its section back."
        raise Unavailable("evidence_missing", detail)
    draw_call(bridge, rail=rail)
    return rail.told(row.destination, row.gross_sat)


def _record(act: Act, bridge: Bridge, row: Any, seen: _Seen) -> None:
    """Final, looked at again later, or asked about."""
    if row.state != "sent":
        return
    now = act.now
    if seen.is_final:
        if row.kind == "sweep":
            post(act, row, sweep_done_journal(row.sent_sat))
        done = {"state": "confirmed", "finished_at": now}
        move(act, bridge, row, "payout_confirmed", done, more={"txid": row.txid})
        return
    after = payouts.change(act.tx, row, {"next_try_at": now + timedelta(seconds=LOOK_SECONDS)}, now=now)
    is_late = now - row.sent_at > timedelta(seconds=bridge.payouts.unseen_seconds)
    if seen.is_missing and row.review_id is None and is_late:
        open_payout_review(act, bridge, after, kind="recon_diff", why=seen.why)


READ_EVERY_SECONDS = 60


def watch_unknown(bridge: Bridge, *, owner: str) -> int:
    """Reads the destinations of unknown payouts at most once per pause over all workers; how many were read.

    A person may rule days later, and a node that prunes has thrown away by then what would have to be searched.
    """
    if bridge.chain is None:
        return 0
    now = bridge.clock()
    with bridge.store.read() as tx:
        rows = [row for row in payouts.unknown(tx) if row.role != LIGHTNING_ROLE]
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
TXID = re.compile(r"[0-9a-f]{64}")


def payout_of_review(bridge: Bridge, review_id: str) -> Any:
    """The payout whose unknown outcome an item asks about, None when it asks something else."""
    with bridge.store.read() as tx:
        row = payouts.of_review(tx, review_id)
    return row if row is not None and row.state == "unknown" else None


def settle_unknown(
    bridge: Bridge, row: Any, review_id: str, *, decision: str, actor: str, reason: str, txid: str
) -> None:
    """Carries out a ruling on an unknown outcome.

    Raises Refused (decision_not_legal, txid_missing, txid_not_seen, chain_shows_money, arrived_unknown, wallet_not_in_use,
    wallet_says_paid, wallet_says_unpaid), Conflict("review_resolved") and, while a chain reader is configured and cannot answer, or
    has not searched all it would need to, or the wallet that pays over Lightning does not answer, Unavailable.
    """
    if decision not in PAYOUT_RULINGS:
        raise Refused("decision_not_legal", f"The ruling must be one of {', '.join(PAYOUT_RULINGS)}.", field="decision")
    sending = [rail.wallet_id for rail in bridge.senders.values()]
    if decision == "payout_retry" and row.wallet_id not in sending:
        detail = "The same call can only be made by the wallet that made it, and no setting sends from that any more."
        raise Refused("wallet_not_in_use", detail, field="decision")
    now = bridge.clock()
    sent = None
    if decision != "payout_retry":
        judge = _by_wallet if row.role == LIGHTNING_ROLE else _by_chain
        sent = judge(bridge, row, decision, txid, now=now)
    with bridge.store.write() as tx:
        item = reviews.find(tx, review_id, lock=True)
        fresh = found(payouts.find(tx, lock=True, id=row.id))
        if item is None or item.state != "open" or fresh.version != row.version:
            raise Conflict("review_resolved", "Somebody settled this already.")
        reviews.resolve(tx, review_id, decision=decision, actor=actor, note=reason, now=now)
        act = Act(tx=tx, actor=actor, reason=reason, now=now)
        _ask_about_others(act, bridge, fresh)
        ruled = {"review": review_id, "decision": decision, "payout": row.id, "txid": txid}
        act.audit("payout_ruled", invoice_id=row.invoice_id, from_status="unknown", detail=ruled)
        if sent is not None:
            book_sent(act, bridge, fresh, sent)
        elif decision == "payout_failed":
            book_failed(act, bridge, fresh)
        else:
            # The same key and the same body, once more; only a clear answer ends the uncertainty.
            again = {"state": "submitting", "next_try_at": now, "waiting": "retry_ordered"}
            move(act, bridge, fresh, "payout_retry_ordered", again)


def _by_chain(bridge: Bridge, row: Any, decision: str, txid: str, *, now: datetime) -> Sent | None:
    """The send that the chain shows, None when nothing was sent; refused where it shows otherwise than was ruled."""
    reading = read_destination(bridge.chain, row, now=now) if bridge.chain else None
    outputs = likely_outputs(bridge, row, reading) if reading is not None else None
    if decision == "payout_sent":
        return _sent(bridge, row, txid, outputs)
    if outputs:
        detail = f"The chain shows {outputs[0].outpoint} paying {outputs[0].amount_sat} satoshi to this address."
        raise Refused("chain_shows_money", detail, field="decision")
    if reading is not None:
        _require_coverage(bridge, row, reading, now=now)
    return None


def _by_wallet(bridge: Bridge, row: Any, decision: str, txid: str, *, now: datetime) -> Sent | None:
    """The same of a payment over Lightning, which nobody but the wallet that paid it can show."""
    try:
        sent = _told_by_wallet(bridge, row)
    except OutcomeUnknown as still:
        raise Unavailable("evidence_missing", f"{still.detail}: rule again when it is over.") from None
    if decision == "payout_sent":
        if sent is None:
            raise Refused("wallet_says_unpaid", "The wallet says that nothing has left for this.", field="decision")
        if txid not in ("", sent.txid):
            raise Refused("txid_not_seen", f"The wallet paid {sent.txid}, not this.", field="txid")
        return sent
    if sent is not None:
        raise Refused("wallet_says_paid", f"The wallet says that it paid {sent.txid}.", field="decision")
    if now - row.updated_at < timedelta(seconds=PAYING_SECONDS):
        detail = "The wallet may still be looking for a way: rule again ten minutes after it was asked to pay."
        raise Unavailable("evidence_missing", detail, retry_after_seconds=PAYING_SECONDS)
    return None


def _require_coverage(bridge: Bridge, row: Any, reading: ChainReading, *, now: datetime) -> None:
    """That nothing was sent is said only of what was searched: else the money might leave twice."""
    if gap := gap_since(bridge, row, reading, now=now):
        detail = f"The chain reader cannot say that nothing was sent ({gap}): mend it, see the doctor, then rule again."
        raise Unavailable("evidence_missing", detail)


def _sent(bridge: Bridge, row: Any, txid: str, outputs: list[ChainOutput] | None) -> Sent:
    if not TXID.fullmatch(txid):
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
