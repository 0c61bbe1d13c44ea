"""The treasury over a period: opening, in, out, fees, closing of each wallet, and what its gateway says it holds.

Owns these figures; they come from the ledger alone, the gateway's reading only stands beside them.
"""

from datetime import datetime
from typing import Any

from bridge.core.columns import Cell
from bridge.core.ledger import ASSETS
from bridge.core.money import BTC
from bridge.flows.context import Bridge
from bridge.flows.treasury import readings_of
from bridge.store import exports

WALLETS = tuple(account for account in ASSETS if account.startswith("wallet:"))


def treasury_rows(bridge: Bridge, *, from_at: datetime, to_at: datetime) -> list[dict[str, Cell]]:
    """One row per wallet role, satoshi. opening + in - out - fees = closing; `out_sat` is without fees."""
    with bridge.store.read() as tx:
        opening, closing = exports.balances_at(tx, from_at), exports.balances_at(tx, to_at)
        moves = exports.wallet_moves(tx, from_at=from_at, to_at=to_at)
        read = {account: readings_of(tx, bridge, account.partition(":")[2]) for account in WALLETS}
        wanted = {account: len(bridge.readers_by_role.get(account.partition(":")[2], {})) for account in WALLETS}
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
