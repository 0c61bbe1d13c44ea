"""Taking money out of the hot wallet to the pinned cold addresses, and other treasury entries.

Owns the schedule, the proposal and the write-off; whether a sweep is worth it is `core.payout`'s, sending
`payouts.send_payouts`'.
"""

import hashlib
import json
import logging
from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.core.ledger import Entry, Journal
from bridge.core.money import check_sat
from bridge.core.payout import LIGHTNING_ROLE, Amounts, HotWallet, SweepPlan, TreasuryRules, plan_sweep
from bridge.invoices.targets import next_address
from bridge.logs import log
from bridge.payouts.decide_payout import carry_out_approval
from bridge.payouts.outcome import TXID
from bridge.payouts.refunds import new_payout
from bridge.payouts.steps import note, payout_json, terms_of
from bridge.payouts.treasury import hot_wallet, plan_json, read_balance
from bridge.permit import Act, acting, check_actor, require_words
from bridge.store import leases, ledger, payouts
from bridge.store.db import Tx, queue_up
from bridge.turns import take_turn

POLICY = "policy"
# The role that is swept.
SWEPT = "hot"
TRY_SECONDS = 60


def sweep_due(bridge: Bridge, *, owner: str) -> int:
    """The scheduled sweep: says (dry_run), proposes or orders one. Returns how many plans were made."""
    rules, now = bridge.treasury, bridge.clock()
    if SWEPT not in bridge.senders:
        return 0
    with bridge.store.read() as tx:
        if rules.sweep_mode == "off" or leases.mode_of(tx) == "read_only":
            return 0
        if not leases.is_free(tx, "sweep", now=now, lease_seconds=rules.sweep_every_seconds):
            return 0
    # A gateway that does not answer postpones the schedule by minutes, not by a whole period.
    if not take_turn(bridge, "sweep_try", owner=owner, now=now, every_seconds=TRY_SECONDS):
        return 0
    if _read(bridge) is None:
        return 0
    with bridge.store.write() as tx:
        if not leases.take_free(tx, "sweep", owner=owner, now=now, lease_seconds=rules.sweep_every_seconds):
            return 0
        queue_up(tx, "sweep")
        _scheduled(tx, bridge, now=now)
    return 1


def propose_sweep(bridge: Bridge, *, actor: str, reason: str, key: str) -> dict[str, Any]:
    """A person proposes a sweep now, whatever the threshold; another one approves it.

    Raises Refused (forbidden, nothing_to_sweep, no_gateway), Conflict("sweep_open") and Unavailable.
    """
    require_words(actor, reason)
    if SWEPT not in bridge.senders:
        raise Refused("no_gateway", "The money lies in your own wallet already; the bridge moves nothing there.")
    if _read(bridge) is None:
        raise Unavailable("provider_unavailable", "The gateway does not say its balance now.", retry_after_seconds=60)
    with acting(bridge, "payout.propose", actor=actor, reason=reason, unless="read_only") as act:
        tx = act.tx
        queue_up(tx, "sweep")  # of two at once, a person's and the schedule's, the second finds the first
        known = payouts.find(tx, merchant="", request_key=key)
        if known is not None:
            return payout_json(tx, known)
        plan = _plan(tx, bridge, replace(bridge.treasury, sweep_above_sat=0))
        if plan.amounts is None:
            raise Refused("nothing_to_sweep", f"Nothing can be swept now: {plan.reason}.")
        if payouts.any_open_sweep(tx):
            raise Conflict("sweep_open", "Another sweep is not finished yet.")
        return payout_json(tx, _add_sweep(act, bridge, plan.amounts, key=key))


def _read(bridge: Bridge) -> HotWallet | None:
    """The hot wallet as it is now; None when the gateway does not answer or is not well: then nothing is proposed."""
    try:
        terms_of(bridge, "hot")
    except BridgeError as error:
        log("sweep.waits", level=logging.WARNING, code=error.code)
        return None
    return read_balance(bridge, "hot")


def propose_write_off(
    bridge: Bridge, *, role: str, gross_sat: int, actor: str, reason: str, key: str
) -> dict[str, Any]:
    """A person gives up dust that is too little to be sent; another one approves. Raises Refused."""
    require_words(actor, reason)
    check_sat(gross_sat, field="gross_sat")
    if role not in bridge.senders or gross_sat == 0:
        raise Refused("bad_write_off", "Name a wallet and more than nothing.", field="role")
    with acting(bridge, "payout.propose", actor=actor, reason=reason, unless="read_only") as act:
        seen = hot_wallet(act.tx, bridge, role)
        if seen is None or gross_sat >= seen.min_send_sat:
            raise Refused("not_dust", "Only what is below the minimum send can be written off.", field="gross_sat")
        amounts = Amounts(gross_sat=gross_sat, fee_sat=0, net_sat=gross_sat)
        values = _values(bridge, "write_off", amounts, role=role, fee_bps=0, key=key, now=act.now)
        return payout_json(act.tx, _add(act, bridge, values))


def record_funding(bridge: Bridge, *, role: str, sat: int, txid: str, actor: str, reason: str) -> None:
    """Books money that the operator put into a wallet from outside, such as the refund float of the billing wallet.

    Raises Refused (bad_funding, txid_used, forbidden).
    """
    require_words(actor, reason)
    if role not in bridge.senders or check_sat(sat, field="sat") == 0:
        raise Refused("bad_funding", "Name a wallet and more than nothing.", field="role")
    entries = (Entry(account=f"wallet:{role}", units=sat), Entry(account="opening", units=-sat))
    told = {"role": role, "sat": sat, "txid": txid}
    journal = Journal(kind="funding", entries=entries)
    _book(bridge, journal, "wallet_funded", told, wallet=f"wallet:{role}", actor=actor, reason=reason)


def record_moved(bridge: Bridge, *, sat: int, fee_sat: int, txid: str, actor: str, reason: str) -> None:
    """Books money that a person took out of the Lightning wallet, by a swap or a closed channel: `sat` lie in the cold wallet, and
    `fee_sat` it cost. Raises Refused (bad_move, txid_used, forbidden).
    """
    require_words(actor, reason)
    check_actor(bridge, actor, "books.export")
    if not any(rail.role == LIGHTNING_ROLE for rail in bridge.rails) or check_sat(sat, field="sat") == 0:
        raise Refused("bad_move", "There is no Lightning wallet here, or nothing was moved.", field="sat")
    legs = {
        "wallet:cold": sat,
        "network_fee": check_sat(fee_sat, field="fee_sat"),
        f"wallet:{LIGHTNING_ROLE}": -sat - fee_sat,
    }
    entries = tuple(Entry(account=account, units=units) for account, units in legs.items() if units)
    told = {"sat": sat, "fee_sat": fee_sat, "txid": txid}
    journal = Journal(kind="moved", entries=entries)
    _book(bridge, journal, "wallet_moved", told, wallet=f"wallet:{LIGHTNING_ROLE}", actor=actor, reason=reason)


def _book(
    bridge: Bridge, journal: Journal, action: str, told: dict[str, Any], *, wallet: str, actor: str, reason: str
) -> None:
    """What people did with a wallet outside of the bridge, once for a transaction: whoever heard no answer says it again."""
    memo = {"txid": told["txid"], "actor": actor}
    with acting(bridge, "books.export", actor=actor, reason=reason) as act:
        queue_up(act.tx, action)
        txid = told["txid"].strip().lower()
        if TXID.fullmatch(txid) and ledger.names(act.tx, txid, kind=journal.kind, account=wallet):
            detail = "This transaction is booked for this wallet already; what it brought in several parts is one sum."
            raise Refused("txid_used", detail, field="txid")
        ledger.post(
            act.tx,
            (journal,),
            invoice_id=None,
            merchant="",
            service_ref="",
            at=act.now,
            memo=memo,
            family=ledger.PAYOUT,
        )
        act.audit(action, detail=told)


def _scheduled(tx: Tx, bridge: Bridge, *, now: datetime) -> None:
    rules = bridge.treasury
    plan = _plan(tx, bridge, rules)
    detail = plan_json(plan) | {"mode": rules.sweep_mode}
    log("sweep.planned", **detail)
    act = Act(tx=tx, actor=POLICY, reason="scheduled", now=now)
    replace(act, reason=plan.reason or "due").audit("sweep_planned", detail=detail)
    if plan.amounts is None or rules.sweep_mode == "dry_run" or payouts.any_open_sweep(tx):
        return
    row = _add_sweep(act, bridge, plan.amounts, key=f"sweep-{int(now.timestamp())}")
    if rules.sweep_mode == "auto" and row.fee_bps is not None:
        # The pinned address and the rules were decided by people when they wrote the configuration; an unknown fee was not.
        carry_out_approval(replace(act, reason="sweep_mode auto"), bridge, row)


def _plan(tx: Tx, bridge: Bridge, rules: TreasuryRules) -> SweepPlan:
    seen = hot_wallet(tx, bridge)
    nothing = HotWallet(confirmed_sat=0, owed_sat=0, promised_sat=0, fee_bps=0, min_send_sat=1)
    return plan_sweep(seen or nothing, rules)


def _add_sweep(act: Act, bridge: Bridge, amounts: Amounts, *, key: str) -> Any:
    seen = hot_wallet(act.tx, bridge)
    fee_bps = seen.fee_bps if seen is not None else None
    values = _values(bridge, "sweep", amounts, role="hot", fee_bps=fee_bps, key=key, now=act.now)
    address = _cold_address(act.tx, bridge, payout_id=values["id"], now=act.now)
    return _add(
        act, bridge, values | {"destination": address, "destination_set_at": act.now, "destination_set_by": POLICY}
    )


def _cold_address(tx: Tx, bridge: Bridge, *, payout_id: str, now: datetime) -> str:
    """The descriptor's next address, never used before; else the least used of the pinned ones, so that they take turns."""
    cold = bridge.treasury.cold_descriptor
    if cold is not None:
        return next_address(tx, bridge, cold, purpose="sweep", used_by=payout_id, now=now)
    return min(bridge.treasury.cold_addresses, key=lambda each: payouts.uses_of(tx, each))


def _add(act: Act, bridge: Bridge, values: dict[str, Any]) -> Any:
    row, is_new = payouts.add(act.tx, values | {"proposed_by": act.actor, "reason": act.reason})
    if is_new:
        note(act, bridge, row, f"{values['kind']}_requested")
    elif row.request_sha256 != values["request_sha256"]:
        raise Refused("idempotency_mismatch", "This key was used for another request.", field="Idempotency-Key")
    return row


def _values(
    bridge: Bridge, kind: str, amounts: Amounts, *, role: str, fee_bps: int | None, key: str, now: datetime
) -> dict[str, Any]:
    asked = json.dumps([kind, role, amounts.gross_sat])
    return new_payout(bridge, kind, amounts, role=role, fee_bps=fee_bps, now=now) | {
        "invoice_id": None,
        "merchant": "",
        "billing_payment_id": "",
        "customer_id": "",
        "service_ref": "",
        "request_key": key,
        "request_sha256": hashlib.sha256(asked.encode()).hexdigest(),
    }
