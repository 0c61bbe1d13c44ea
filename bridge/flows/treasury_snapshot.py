"""The treasury over a period: opening, in, out, fees, closing of each wallet, and what its gateway says it holds.

Owns these figures; they come from the ledger alone, the gateway's reading only stands beside them.
"""

from datetime import datetime
from typing import Any

from bridge.core.columns import Cell
from bridge.core.ledger import ASSETS, BTC
from bridge.flows.context import Bridge
from bridge.store import balances, exports

WALLETS = tuple(account for account in ASSETS if account.startswith("wallet:"))


def treasury_rows(bridge: Bridge, *, from_at: datetime, to_at: datetime) -> list[dict[str, Cell]]:
    """One row per wallet role, satoshi. opening + in - out - fees = closing; `out_sat` is without fees."""
    with bridge.store.read() as tx:
        opening, closing = exports.balances_at(tx, from_at), exports.balances_at(tx, to_at)
        moves = exports.wallet_moves(tx, from_at=from_at, to_at=to_at)
        read = {row.role: row for row in balances.listing(tx)}
    return [_row(account, opening, closing, moves, read, from_at, to_at) for account in WALLETS]


def _row(
    account: str, opening: Any, closing: Any, moves: Any, read: Any, from_at: datetime, to_at: datetime
) -> dict[str, Cell]:
    role = account.partition(":")[2]
    in_sat, out_sat, fees_sat = moves.get(account, (0, 0, 0))
    reading = read.get(role)
    return {
        "role": role,
        "from": from_at,
        "to": to_at,
        "opening_sat": opening.get((account, BTC), 0),
        "in_sat": in_sat,
        "out_sat": out_sat - fees_sat,
        "fees_sat": fees_sat,
        "closing_sat": closing.get((account, BTC), 0),
        "read_sat": reading.confirmed_sat if reading is not None else None,
        "read_at": reading.read_at if reading is not None else None,
    }
