"""The wallets as treasury sees them: balances read on a schedule, what is owed, what is free, and a period in figures.

Owns these readings and figures; must not move money, `payouts.sweep` proposes that.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.columns import Cell
from bridge.core.errors import BridgeError, Unavailable
from bridge.core.evidence import WalletBalance
from bridge.core.ledger import WALLETS
from bridge.core.money import BTC
from bridge.core.payout import HotWallet, SweepPlan, plan_sweep
from bridge.core.rail import AddressSource, Rail
from bridge.invoices.present import time_text
from bridge.logs import log
from bridge.payouts.steps import Terms, known_terms
from bridge.permit import may_call_provider
from bridge.store import ledger, payouts, wallets
from bridge.store.db import Tx
from bridge.turns import draw_call, take_turn

# What may have to go back to payers. What settled an invoice is the shop's, until a person approves its refund.
_OWED = ("customer:unallocated", "customer:overpayment", "refunds_payable")


def owed_sat(tx: Tx, bridge: Bridge) -> int:
    """Open liabilities to payers in satoshi, as far as the money lies in the wallet and not in the mempool."""
    held = ledger.sums(tx, (*_OWED, "inflight:unconfirmed"))
    return max(-sum(held.get(account, 0) for account in _OWED) - held.get("inflight:unconfirmed", 0), 0)


def read_balances(bridge: Bridge, *, owner: str) -> int:
    """Reads every wallet's balance at most once per pause over all workers. Returns how many were read."""
    now, pause = bridge.clock(), bridge.treasury.balance_every_seconds
    if not take_turn(bridge, "balances", owner=owner, now=now, every_seconds=pause):
        return 0
    with bridge.store.read() as tx:
        wanted = [role for role, rail in bridge.senders.items() if may_call_provider(tx, rail.wallet_id)]
        apart = [rail for rail in read_apart(bridge) if may_call_provider(tx, rail.wallet_id)]
    read = [read_balance(bridge, role) is not None for role in wanted]
    return sum(read) + sum(read_rail(bridge, rail) for rail in apart)


def read_apart(bridge: Bridge) -> list[Rail]:
    """Rails that nothing is sent from and that say what they hold: former wallets, and what is only offered beside the first."""
    return [rail for rail in bridge.rails if rail.sends is None and rail.balance is not None]


def read_balance(bridge: Bridge, role: str) -> HotWallet | None:
    """Reads one wallet now and keeps what it said; None when the gateway does not answer."""
    asked_at, rail = bridge.clock(), bridge.senders[role]
    balance = _asked(bridge, role, rail)
    if balance is None:
        return None
    _keep(bridge, role, rail.wallet_id, balance, known_terms(bridge, role), at=asked_at)
    with bridge.store.read() as tx:
        seen = hot_wallet(tx, bridge, role)
    if role == "hot" and seen is not None:
        bridge.metrics.hot_cap_sat.set(bridge.treasury.max_hot_sat)
        bridge.metrics.owed_sat.set(seen.owed_sat)
        bridge.metrics.stranded_sat.set(plan_sweep(seen, bridge.treasury).stranded_sat)
    return seen


def read_rail(bridge: Bridge, rail: Rail) -> bool:
    """Reads a wallet that nothing is sent from now: what lies there is at its keeper's mercy too. False when it does not answer."""
    asked_at, place = bridge.clock(), place_of(rail.role, rail.wallet_id)
    balance = _asked(bridge, place, rail)
    if balance is None:
        return False
    nothing_leaves = Terms(fee_bps=None, min_send_sat=bridge.payouts.min_send_sat)
    _keep(bridge, place, rail.wallet_id, balance, nothing_leaves, at=asked_at)
    return True


def place_of(role: str, wallet_id: str) -> str:
    """Where the readings of a wallet that nothing is sent from are kept, beside those of the roles in use."""
    return f"{role}:{wallet_id}"


def _asked(bridge: Bridge, place: str, rail: Rail) -> WalletBalance | None:
    if rail.balance is None:
        return None
    try:
        draw_call(bridge, rail=rail)
        return rail.balance()
    except BridgeError as error:
        log("balance.unavailable", level=logging.WARNING, role=place, code=error.code)
        return None


def _keep(bridge: Bridge, place: str, wallet_id: str, read: WalletBalance, terms: Terms, *, at: datetime) -> None:
    values = {"wallet_id": wallet_id, "confirmed_sat": read.confirmed_sat, "unconfirmed_sat": read.unconfirmed_sat}
    values |= {"fee_bps": terms.fee_bps, "min_send_sat": terms.min_send_sat, "read_at": at}
    with bridge.store.write() as tx:
        wallets.put_balance(tx, place, values)
    bridge.metrics.wallet_sat.labels(role=place).set(read.confirmed_sat)


def readings_of(tx: Tx, bridge: Bridge, role: str) -> dict[str, Any]:
    """The last reading of every wallet of a role that the settings name, by wallet id."""
    ids = bridge.told_by_role.get(role, {})
    return {
        row.wallet_id: row
        for row in wallets.balances(tx)
        if row.role.partition(":")[0] == role and row.wallet_id in ids
    }


def held_sat(tx: Tx, bridge: Bridge) -> int:
    """Confirmed satoshi that payers' money makes at gateways: the hot wallet and what still lies in former ones."""
    return sum(row.confirmed_sat for row in readings_of(tx, bridge, "hot").values())


def hot_wallet(tx: Tx, bridge: Bridge, role: str = "hot") -> HotWallet | None:
    """The last reading of a wallet with what is owed from it; None before the first reading."""
    row = wallets.balance_of(tx, role)
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
    counts = bridge.treasury.stop_new_invoices and "hot" in bridge.senders
    if counts and bridge.treasury.is_over_cap(held_sat(tx, bridge)):
        raise Unavailable("hot_wallet_full", "The wallet holds as much as it may.", retry_after_seconds=600)


def treasury_view(bridge: Bridge) -> dict[str, Any]:
    """Everything about the wallets on one page; amounts in satoshi, `ledger_sat` is what our own books say."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        hot = hot_wallet(tx, bridge)
        books = ledger.sums(tx, (*WALLETS, "inflight:sweep", "provider_fee", "network_fee"))
        rows = {row.role: row for row in wallets.balances(tx)}
        plan = plan_sweep(hot, bridge.treasury) if hot is not None else None
        return {
            "network": bridge.network,
            "wallets": [
                _wallet(bridge, role, rows.get(role), books.get(f"wallet:{role}", 0), now) for role in bridge.senders
            ],
            "former_wallets": [
                _former(bridge, wallet_id, rows.get(place_of(former.role, wallet_id)), now)
                for wallet_id, former in bridge.former.items()
            ],
            "cold": {
                "addresses": list(bridge.treasury.cold_addresses),
                "first_address": _first(bridge.treasury.cold_descriptor),
                "ledger_sat": books.get("wallet:cold", 0),
            },
            "own_first_address": _first(bridge.receiving.derives),
            "in_sweep_sat": books.get("inflight:sweep", 0),
            "fees_paid_sat": books.get("provider_fee", 0),
            "route_fees_sat": books.get("network_fee", 0),
            "beside": [_beside(rail, rows, books) for rail in bridge.rails if rail.is_beside],
            "owed_sat": hot.owed_sat if hot is not None else owed_sat(tx, bridge),
            "promised_sat": hot.promised_sat if hot is not None else 0,
            "refund_float_sat": bridge.treasury.refund_float_sat,
            "max_hot_sat": bridge.treasury.max_hot_sat,
            "is_over_cap": bridge.treasury.is_over_cap(held_sat(tx, bridge)),
            "sweep_mode": bridge.treasury.sweep_mode if "hot" in bridge.senders else "off",
            "sweep": plan_json(plan) if plan is not None else None,
        }


def _first(source: AddressSource | None) -> str | None:
    """What a person compares with a wallet: the address by which its descriptor is known here."""
    return source.address(0) if source is not None else None


def _beside(rail: Rail, rows: Mapping[str, Any], books: Mapping[str, int]) -> dict[str, Any]:
    """A wallet that is paid to beside the first. What it holds above its cap a person takes out: no rail of it sends to addresses."""
    row = rows.get(rail.role if rail.sends is not None else place_of(rail.role, rail.wallet_id))
    held_sat = row.confirmed_sat if row is not None else None
    return {
        "rail": rail.name,
        "wallet_id": rail.wallet_id,
        "role": rail.role,
        "confirmed_sat": held_sat,
        "ledger_sat": books.get(rail.account, 0),
        "max_held_sat": rail.max_held_sat,
        "over_sat": max((held_sat or 0) - rail.max_held_sat, 0) if rail.max_held_sat else 0,
    }


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
    rows = [row for row in wallets.balances(tx) if _is_told_by(bridge, row)]
    return [r.role for r in rows if r.confirmed_sat > 0 and (now - r.read_at).total_seconds() > limit]


def _is_told_by(bridge: Bridge, row: Any) -> bool:
    """Whether this row is what is read of its wallet now: a wallet that became a former one is read in another place, and one
    that people took out of the settings is not read any more.
    """
    is_apart = ":" in row.role
    return is_apart == any(rail.wallet_id == row.wallet_id for rail in read_apart(bridge))


def _former(bridge: Bridge, wallet_id: str, row: Any, now: datetime) -> dict[str, Any]:
    return {"role": bridge.former[wallet_id].role, "wallet_id": wallet_id} | _reading(row, now)


def _reading(row: Any, now: datetime) -> dict[str, Any]:
    return {
        "confirmed_sat": row.confirmed_sat if row is not None else None,
        "unconfirmed_sat": row.unconfirmed_sat if row is not None else None,
        "read_at": time_text(row.read_at) if row is not None else None,
        "age_seconds": int((now - row.read_at).total_seconds()) if row is not None else None,
    }


def _wallet(bridge: Bridge, role: str, row: Any, ledger_sat: int, now: datetime) -> dict[str, Any]:
    return _reading(row, now) | {
        "role": role,
        "wallet_id": bridge.senders[role].wallet_id,
        "ledger_sat": ledger_sat,
        "fee_bps": row.fee_bps if row is not None else None,
        "min_send_sat": row.min_send_sat if row is not None else None,
    }


def treasury_rows(bridge: Bridge, *, from_at: datetime, to_at: datetime) -> list[dict[str, Cell]]:
    """One row per wallet role, satoshi. opening + in - out - fees = closing; `out_sat` is without fees."""
    with bridge.store.read() as tx:
        opening, closing = ledger.balances_at(tx, from_at), ledger.balances_at(tx, to_at)
        moves = ledger.wallet_moves(tx, WALLETS, from_at=from_at, to_at=to_at)
        read = {account: readings_of(tx, bridge, account.partition(":")[2]) for account in WALLETS}
        wanted = {account: len(bridge.told_by_role.get(account.partition(":")[2], {})) for account in WALLETS}
    read = {account: rows for account, rows in read.items() if len(rows) == wanted[account]}
    return [_row(account, opening, closing, moves, read, from_at, to_at) for account in WALLETS]


def _row(
    account: str, opening: Any, closing: Any, moves: Any, read: Any, from_at: datetime, to_at: datetime
) -> dict[str, Cell]:
    role = account.partition(":")[2]
    in_sat, out_sat, fees_sat = moves.get(account, (0, 0, 0))
    # Of several wallets on one account all must have been read: a part would look like a loss.
    readings = list(read.get(account, {}).values())
    return {
        "role": role,
        "from": from_at,
        "to": to_at,
        "opening_sat": opening.get((account, BTC), 0),
        "in_sat": in_sat,
        "out_sat": out_sat - fees_sat,
        "fees_sat": fees_sat,
        "closing_sat": closing.get((account, BTC), 0),
        "read_sat": sum(row.confirmed_sat for row in readings) if readings else None,
        "read_at": min((row.read_at for row in readings), default=None),
    }
