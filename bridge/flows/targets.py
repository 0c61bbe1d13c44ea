"""Where an invoice is paid to: what was offered, and what a rail offers now.

Owns the making of a target and the reading of those that an earlier release did not write; must not ask a rail.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge.core.money import BTC
from bridge.core.rail import TOTAL_AND_CHAIN, Rail, Target
from bridge.flows.context import Bridge
from bridge.store import targets
from bridge.store.db import Tx


def offered(rail: Rail, text: str, *, due_units: int, now: datetime) -> Target:
    """A target over this rail that was not offered before."""
    return Target(
        rail=rail.name,
        asset=rail.asset,
        wallet_id=rail.wallet_id,
        text=text,
        account=rail.account,
        witness=rail.witness,
        due_units=due_units,
        created_at=now,
    )


def target_of(tx: Tx, bridge: Bridge, row: Any) -> Target:
    """The first target of a stored invoice.

    Beside this release one before it may run, which writes no targets: what it opened is said by the invoice's own columns.
    """
    return first_of(targets.of_invoice(tx, row.id), bridge, row)


def first_of(stored: Sequence[Target], bridge: Bridge, row: Any) -> Target:
    """The same of targets that were read already."""
    return stored[0] if stored else _adopted(bridge, row)


def _adopted(bridge: Bridge, row: Any) -> Target:
    rail = bridge.rail_of(row.wallet_id)
    # Of a wallet that no setting names the careful guess: somebody else keeps its money and would have to be asked.
    return Target(
        rail=rail.name if rail is not None else "",
        asset=rail.asset if rail is not None else BTC,
        wallet_id=row.wallet_id,
        text=row.address,
        account=rail.account if rail is not None else "wallet:hot",
        witness=rail.witness if rail is not None else TOTAL_AND_CHAIN,
        due_units=max(row.remaining_sat, 1),
        created_at=row.created_at,
    )
