"""The wallets as treasury sees them: balances read on a schedule, what is owed, what is free, what is over the cap.

Owns these readings; must not move money, `flows.sweep` proposes that.
"""

import logging
from datetime import datetime
from typing import Any

from bridge.core.errors import BridgeError, Unavailable
from bridge.core.treasury import HotWallet, SweepPlan, plan_sweep
from bridge.flows.call_budget import draw_call
from bridge.flows.context import AddressSource, Bridge
from bridge.flows.modes import may_call_provider
from bridge.flows.payout_steps import known_terms
from bridge.flows.present import time_text
from bridge.logs import log
from bridge.store import balances, leases, ledger, payouts
from bridge.store.db import Tx

# What may have to go back to payers. What settled an invoice is the shop's, until a person approves its refund.
_OWED = ("customer:unallocated", "customer:overpayment", "refunds_payable")


def owed_sat(tx: Tx, bridge: Bridge) -> int:
    """Open liabilities to payers in satoshi, as far as the money lies in the wallet and not in the mempool."""
    held = ledger.sums(tx, (*_OWED, "inflight:unconfirmed"))
    return max(-sum(held.get(account, 0) for account in _OWED) - held.get("inflight:unconfirmed", 0), 0)


def read_balances(bridge: Bridge, *, owner: str) -> int:
    """Reads every wallet's balance at most once per pause over all workers. Returns how many were read."""
    now, pause = bridge.clock(), bridge.treasury.balance_every_seconds
    with bridge.store.read() as tx:
        if not leases.is_free(tx, "balances", now=now):
            return 0
    with bridge.store.write() as tx:
        if not leases.take_free(tx, "balances", owner=owner, now=now, lease_seconds=pause):
            return 0
        wanted = [role for role, (wallet_id, _) in bridge.wallets.items() if may_call_provider(tx, wallet_id)]
    return sum(read_balance(bridge, role) is not None for role in wanted)


def read_balance(bridge: Bridge, role: str) -> HotWallet | None:
    """Reads one wallet now and keeps what it said; None when the gateway does not answer."""
    asked_at, (wallet_id, wallet) = bridge.clock(), bridge.wallets[role]
    try:
        draw_call(bridge)
        balance = wallet.balance()
    except BridgeError as error:
        log("balance.unavailable", level=logging.WARNING, role=role, code=error.code)
        return None
    terms = known_terms(bridge, role)
    values = {
        "wallet_id": wallet_id,
        "confirmed_sat": balance.confirmed_sat,
        "unconfirmed_sat": balance.unconfirmed_sat,
    }
    values |= {"fee_bps": terms.fee_bps, "min_send_sat": terms.min_send_sat}
    with bridge.store.write() as tx:
        balances.put(tx, role, values | {"read_at": asked_at})
        seen = hot_wallet(tx, bridge, role)
    bridge.metrics.wallet_sat.labels(role=role).set(balance.confirmed_sat)
    if role == "hot" and seen is not None:
        bridge.metrics.hot_cap_sat.set(bridge.treasury.max_hot_sat)
        bridge.metrics.owed_sat.set(seen.owed_sat)
        bridge.metrics.stranded_sat.set(plan_sweep(seen, bridge.treasury).stranded_sat)
    return seen


def hot_wallet(tx: Tx, bridge: Bridge, role: str = "hot") -> HotWallet | None:
    """The last reading of a wallet with what is owed from it; None before the first reading."""
    row = balances.of(tx, role)
    if row is None:
        return None
    return HotWallet(
        confirmed_sat=row.confirmed_sat,
        owed_sat=owed_sat(tx, bridge) if role == "hot" else 0,
        promised_sat=payouts.promised_sat(tx, wallet_id=row.wallet_id),
        fee_bps=row.fee_bps,
        min_send_sat=row.min_send_sat,
    )


def require_room(tx: Tx, bridge: Bridge) -> None:
    """Raises Unavailable("hot_wallet_full") while the hot wallet is over its cap and the operator wants that to count."""
    row = balances.of(tx, "hot") if bridge.treasury.stop_new_invoices and bridge.has_gateway else None
    if row is not None and bridge.treasury.is_over_cap(row.confirmed_sat):
        raise Unavailable("hot_wallet_full", "The wallet holds as much as it may.", retry_after_seconds=600)


def treasury_view(bridge: Bridge) -> dict[str, Any]:
    """Everything about the wallets on one page; amounts in satoshi, `ledger_sat` is what our own books say."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        hot = hot_wallet(tx, bridge)
        books = ledger.sums(tx, ("wallet:hot", "wallet:billing", "wallet:cold", "inflight:sweep", "provider_fee"))
        rows = {row.role: row for row in balances.listing(tx)}
        plan = plan_sweep(hot, bridge.treasury) if hot is not None else None
        return {
            "network": bridge.network,
            "wallets": [
                _wallet(bridge, role, rows.get(role), books.get(f"wallet:{role}", 0), now) for role in bridge.wallets
            ],
            "cold": {
                "addresses": list(bridge.treasury.cold_addresses),
                "first_address": _first(bridge.treasury.cold_descriptor),
                "ledger_sat": books.get("wallet:cold", 0),
            },
            "own_first_address": _first(bridge.own_addresses),
            "in_sweep_sat": books.get("inflight:sweep", 0),
            "fees_paid_sat": books.get("provider_fee", 0),
            "owed_sat": hot.owed_sat if hot is not None else owed_sat(tx, bridge),
            "promised_sat": hot.promised_sat if hot is not None else 0,
            "refund_float_sat": bridge.treasury.refund_float_sat,
            "max_hot_sat": bridge.treasury.max_hot_sat,
            "is_over_cap": hot is not None and bridge.treasury.is_over_cap(hot.confirmed_sat),
            "sweep_mode": bridge.treasury.sweep_mode if bridge.has_gateway else "off",
            "sweep": plan_json(plan) if plan is not None else None,
        }


def _first(source: AddressSource | None) -> str | None:
    """What a person compares with a wallet: the address by which its descriptor is known here."""
    return source.address(0) if source is not None else None


def plan_json(plan: SweepPlan) -> dict[str, Any]:
    amounts = plan.amounts
    return {
        "reason": plan.reason,
        "free_sat": plan.free_sat,
        "stranded_sat": plan.stranded_sat,
        "gross_sat": amounts.gross_sat if amounts else 0,
        "fee_bps": plan.fee_bps,
        "fee_sat": None if plan.fee_bps is None else amounts.fee_sat if amounts else 0,
        "net_sat": amounts.net_sat if amounts else 0,
    }


def old_balances(tx: Tx, bridge: Bridge, *, now: datetime) -> list[str]:
    """Roles whose wallet holds money that nobody could look at for too long: the gateway may be gone with it."""
    limit = bridge.treasury.balance_age_alert_seconds
    rows = balances.listing(tx)
    return [r.role for r in rows if r.confirmed_sat > 0 and (now - r.read_at).total_seconds() > limit]


def _wallet(bridge: Bridge, role: str, row: Any, ledger_sat: int, now: datetime) -> dict[str, Any]:
    return {
        "role": role,
        "wallet_id": bridge.wallets[role][0],
        "confirmed_sat": row.confirmed_sat if row is not None else None,
        "unconfirmed_sat": row.unconfirmed_sat if row is not None else None,
        "ledger_sat": ledger_sat,
        "read_at": time_text(row.read_at) if row is not None else None,
        "age_seconds": int((now - row.read_at).total_seconds()) if row is not None else None,
        "fee_bps": row.fee_bps if row is not None else None,
        "min_send_sat": row.min_send_sat if row is not None else None,
    }
