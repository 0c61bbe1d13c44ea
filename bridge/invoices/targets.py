"""Where an invoice is paid to: what was offered, and which address comes next, of a descriptor or of the pool fetched ahead.

Owns that an address is given to one thing for ever; deriving is `core.descriptors`', asking a gateway `invoices.open_invoice`'s.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.credit import Payment
from bridge.core.errors import BridgeError, Refused
from bridge.core.money import BTC
from bridge.core.rail import TOTAL_AND_CHAIN, AddressSource, Offer, Rail, Target, Wanted
from bridge.logs import log
from bridge.permit import may_call_provider
from bridge.store import leases, targets, wallets
from bridge.store.db import Tx
from bridge.turns import take_calls


def memo_of(bridge: Bridge, billing_payment_id: str) -> str:
    """What the payer's wallet shows: whom they pay, and the number that both know it by."""
    return f"{bridge.shop_name} #{billing_payment_id}".strip()


def offered(rail: Rail, offer: Offer, *, due_units: int, now: datetime) -> Target:
    """A target over this rail that was not offered before."""
    return Target(
        rail=rail.name,
        asset=rail.asset,
        wallet_id=rail.wallet_id,
        text=offer.text,
        key=offer.key,
        account=rail.account,
        witness=rail.witness,
        due_units=due_units,
        created_at=now,
        expires_at=offer.expires_at,
    )


def refuse_amount(rail: Rail, due_units: int) -> None:
    """Raises Refused (below_minimum, above_maximum) for what cannot be asked for over this rail."""
    if due_units < rail.least_units:
        raise Refused(
            "below_minimum", f"The least over this way is {rail.least_units} of {rail.asset}.", field="amount"
        )
    if rail.most_units is not None and due_units > rail.most_units:
        raise Refused("above_maximum", f"The most over this way is {rail.most_units} of {rail.asset}.", field="amount")


def targets_of(tx: Tx, bridge: Bridge, row: Any) -> tuple[Target, ...]:
    """Every target of a stored invoice: the first, then those beside it, in the order they were offered.

    Beside this release one before it may run, which writes no targets: what it opened is said by the invoice's own columns.
    """
    return all_of(targets.of_invoice(tx, row.id), bridge, row)


def all_of(stored: Sequence[Target], bridge: Bridge, row: Any) -> tuple[Target, ...]:
    """The same of targets that were read already."""
    is_there = bool(stored) and stored[0].text == row.address
    return tuple(stored) if is_there else (_adopted(bridge, row), *stored)


def told_by(bridge: Bridge, targets: Sequence[Target]) -> dict[str, Any]:
    """What a decision is told of an invoice's targets: who says what came, and what the gateway is not asked about."""
    first, *beside = targets
    return {
        "has_chain_evidence": bridge.evidence_of(first) is not None,
        "is_told": first.is_told,
        "beside": [each.id for each in beside if each.id is not None],
    }


def accounts_beside(targets: Sequence[Target]) -> dict[int, str]:
    """By target the accounts that money lies on which did not come to the first."""
    first, *beside = targets
    return {each.id: each.account for each in beside if each.id is not None and each.account != first.account}


def paid_to(payments: Iterable[Payment], targets: Sequence[Target]) -> list[list[Payment]]:
    """The payments of each target, in their order. What names none that is known came to the first."""
    places = {each.id: place for place, each in enumerate(targets) if each.id is not None}
    found: list[list[Payment]] = [[] for _ in targets]
    for payment in payments:
        found[places.get(payment.target_id, 0) if payment.target_id is not None else 0].append(payment)
    return found


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


def address_for_invoice(tx: Tx, bridge: Bridge, *, invoice_id: str, now: datetime) -> str | None:
    """The new invoice's address, or None when the gateway has to be asked for one."""
    source = bridge.receiving.derives
    if source is not None:
        return next_address(tx, bridge, source, purpose="invoice", used_by=invoice_id, now=now)
    if asks_always(bridge):
        return None
    return wallets.take_spare(tx, wallet_id=bridge.wallet_id, network=bridge.network, invoice_id=invoice_id)


def asks_always(bridge: Bridge) -> bool:
    """Whether each address is a call."""
    return bridge.receiving.derives is None and bridge.receiving.spares == 0


def next_address(tx: Tx, bridge: Bridge, source: AddressSource, *, purpose: str, used_by: str, now: datetime) -> str:
    """The next address of a descriptor, given out in the caller's transaction: with it, or not at all.

    Nodes take turns at the counter's row, so that no index is ever given out twice. Raises Refused("addresses_used_up").
    """
    index = wallets.take_index(tx, source.wallet_id)
    address = source.address(index)
    wallets.add_derived(
        tx,
        address=address,
        wallet_id=source.wallet_id,
        network=bridge.network,
        address_index=index,
        purpose=purpose,
        used_by=used_by,
        now=now,
    )
    return address


def is_pinned(tx: Tx, bridge: Bridge, destination: str | None) -> bool:
    """Whether a sweep may go there: a cold address of the settings, or one that follows from the cold descriptor.

    What the database says of an address is not believed: it is derived again.
    """
    cold = bridge.treasury.cold_descriptor
    if destination is None or cold is None:
        return destination in bridge.treasury.cold_addresses
    row = wallets.find_derived(tx, destination)
    return row is not None and row.purpose == "sweep" and cold.address(row.address_index) == destination


# The gateway only echoes what is expected of an inbox (SUBTC contract 5.7); the invoice's own amount is not known yet.
EXPECTED_SAT = 1
LEASE_SECONDS = 60


def fill_spare_addresses(bridge: Bridge, *, owner: str) -> int:
    """Adds one address to a pool that is not full. Returns how many were added."""
    rail = bridge.receiving
    if rail.asks is None or rail.spares == 0:
        return 0
    now, pool = bridge.clock(), {"wallet_id": bridge.wallet_id, "network": bridge.network}
    with bridge.store.read() as tx:
        if wallets.count_spare(tx, **pool) >= rail.spares:
            return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        if not leases.take(tx, "spare_addresses", owner=owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
        if not take_calls(tx, bridge, now=now):
            return 0
    try:
        address = rail.asks(Wanted(due_units=EXPECTED_SAT, reference=bridge.new_id("spare"))).text
    except BridgeError as error:
        log("spare_address.not_added", level=logging.WARNING, code=error.code)
        return 0
    bridge.crash_point("spare.address_taken")
    with bridge.store.write() as tx:
        if wallets.is_used(tx, address):
            log("spare_address.repeated", level=logging.ERROR)
            return 0
        wallets.add_spare(tx, address=address, now=now, **pool)
    return 1
