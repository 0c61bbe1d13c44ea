"""Where a refund goes: an address of the chain, or one request of Lightning; either says which wallet sends it.

Owns the reading of what was named and its naming on a payout; must not send, nor decide whether anything may be sent.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.addresses import check_payable, is_lightning
from bridge.core.errors import Conflict, Refused
from bridge.core.payout import (
    GATEWAY_ROLES,
    LIGHTNING_APPROVAL_SECONDS,
    LIGHTNING_ROLE,
    Amounts,
    amounts_for_net,
    check_minimum,
)
from bridge.core.rail import Payees, most_route_sat
from bridge.payouts.steps import Terms, terms_of, void
from bridge.permit import Act
from bridge.store import payouts, targets, wallets
from bridge.store.db import Duplicate, Tx

FIELD = "address"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a refund of `sat` goes and by which wallet. `key` is the payment hash of a request of Lightning, `named` what it was
    made of. `terms` are those of a wallet that was not the payout's before.
    """

    text: str
    role: str
    sat: int
    terms: Terms | None
    named: str = ""
    key: str | None = None


def refund_role(bridge: Bridge) -> str:
    """Which wallet pays refunds to addresses. What the shop keeps itself it sends itself, see `payouts.refunds`."""
    return next((role for role in reversed(GATEWAY_ROLES) if role in bridge.senders), bridge.receiving.role)


def role_for(bridge: Bridge, text: str) -> str:
    """The wallet that can send to what was named, or to nothing yet. Raises Refused("lightning_not_sent")."""
    if not is_lightning(text):
        return refund_role(bridge)
    if _payees(bridge) is None:
        raise Refused("lightning_not_sent", "Nothing is sent over Lightning here; name a Bitcoin address.", field=FIELD)
    return LIGHTNING_ROLE


def new_place(bridge: Bridge, row: Any, text: str, *, now: datetime) -> Place:
    """Where a payout that waits shall go instead. Raises as `place_of`, and Refused (fixed_destination, already_submitted)."""
    _check_changeable(row)
    role = role_for(bridge, text)
    is_same = LIGHTNING_ROLE not in (role, row.role) or role == row.role
    terms = None if is_same else terms_of(bridge, role)
    return place_of(bridge, text, role=row.role if is_same else role, terms=terms, sat=row.net_sat, now=now)


def place_of(bridge: Bridge, text: str, *, role: str, terms: Terms | None, sat: int, now: datetime) -> Place:
    """Reads what was named. A Lightning address asks a server that a stranger names: never inside a transaction.

    Raises Refused naming the field address, Unavailable or ProtocolError.
    """
    payees = _payees(bridge)
    if role != LIGHTNING_ROLE or payees is None:
        address = check_payable(text.strip(), network=bridge.network, field=FIELD).text
        return Place(text=address, role=role, terms=terms, sat=sat)
    request = payees.read(text, sat=sat, now=now)
    seconds = bridge.payouts.cooling_of(role) + LIGHTNING_APPROVAL_SECONDS
    if request.expires_at is not None and request.expires_at < now + timedelta(seconds=seconds):
        detail = f"This must be payable for {seconds // 60} minutes or longer: people look at it first."
        raise Refused("bolt11_expires_soon", detail, field=FIELD)
    named = text.strip() if "@" in text else ""
    return Place(text=request.text, role=role, terms=terms, sat=sat, named=named, key=request.key)


def naming(tx: Tx, bridge: Bridge, place: Place, *, payout_id: str = "") -> dict[str, Any]:
    """What the payout's row says then. Raises Refused (own_address, bolt11_used): ours would come back to us, and a request that
    another payout has ever named could be paid, and counted, twice.
    """
    if place.key is None:
        is_own = wallets.is_used(tx, place.text) or place.text in bridge.treasury.cold_addresses
    else:
        is_own = targets.is_offered(tx, place.key)
    if is_own:
        raise Refused("own_address", "This address is one of our own.", field=FIELD)
    if place.key is None:
        return {"destination": place.text}
    # The wallet pays a hash once, whatever happens: so that is the one key of the send.
    key = f"ln-{place.key}"
    other = payouts.find(tx, idempotency_key=key)
    if other is not None and other.id != payout_id:
        raise _used()
    return {"destination": place.text, "idempotency_key": key}


@contextmanager
def used_once() -> Iterator[None]:
    """Around a transaction in which something is named: another one may name the same request at this moment."""
    try:
        yield
    except Duplicate:
        raise _used() from None


def _used() -> Refused:
    return Refused("bolt11_used", "This Lightning invoice was named for another refund; make a new one.", field=FIELD)


def fresh_key() -> str:
    """Made with the intent and never again: a key made of a time would be another one on a retry."""
    return f"po-{secrets.token_hex(16)}"


def leaving(bridge: Bridge, amounts: Amounts, *, role: str, fee_bps: int | None) -> dict[str, Any]:
    """What a payout's row says of the wallet and the sums."""
    return asdict(amounts) | {
        "role": role,
        "wallet_id": bridge.senders[role].wallet_id if role in bridge.senders else bridge.wallet_id,
        "fee_bps": fee_bps,
        "approvals_needed": bridge.payouts.needed(amounts.gross_sat),
        "idempotency_key": fresh_key(),
    }


def set_destination(act: Act, bridge: Bridge, row: Any, place: Place) -> Any:
    """Names or changes where a refund goes, and returns its row. Whatever was approved was approved for the old address, and is void.

    Raises Refused (fixed_destination, already_submitted, own_address, bolt11_used, below_min_send), Conflict("payout_changed").
    """
    _check_changeable(row)
    if place.sat != row.net_sat or (place.terms is None and place.role != row.role):
        raise Conflict("payout_changed", "The payout was changed by somebody else; read it again.")
    values: dict[str, Any] = {}
    if place.terms is not None and place.role != row.role:
        amounts = amounts_for_net(row.net_sat, fee_bps=place.terms.fee_bps)
        check_minimum(amounts, min_send_sat=place.terms.min_send_sat, fee_bps=place.terms.fee_bps)
        values |= leaving(bridge, amounts, role=place.role, fee_bps=place.terms.fee_bps)
    values |= naming(act.tx, bridge, place, payout_id=row.id)
    if place.text == row.destination:
        return row
    values |= {"destination_set_at": act.now, "destination_set_by": act.actor}
    detail = {"before": row.destination or "", "after": place.text, "voided": row.state == "approved"}
    detail |= {"named": place.named} if place.named else {}
    return void(act, bridge, row, "refund_address_set", values, more=detail)


def unpayable(bridge: Bridge, row: Any, *, now: datetime) -> str:
    """The code of why a request of Lightning cannot be paid at that time, "" when nothing speaks against it. Asks nobody."""
    payees = _payees(bridge)
    if row.role != LIGHTNING_ROLE or row.destination is None or payees is None:
        return ""
    try:
        payees.read(row.destination, sat=row.net_sat, now=now)
    except Refused as refused:
        return refused.code
    return ""


def most_route_of(bridge: Bridge, row: Any) -> int | None:
    """The most that the route of a payout over Lightning may cost; None of any other, or when nobody says."""
    rail = bridge.rail_of(row.wallet_id) if row.role == LIGHTNING_ROLE else None
    return most_route_sat(row.gross_sat, most_bps=rail.most_route_bps) if rail is not None else None


def _payees(bridge: Bridge) -> Payees | None:
    rail = bridge.senders.get(LIGHTNING_ROLE)
    return rail.payees if rail is not None else None


def _check_changeable(row: Any) -> None:
    if row.kind != "refund":
        raise Refused("fixed_destination", "Only a refund's address can be named.", field=FIELD)
    if row.state not in ("requested", "approved") or row.attempts:
        raise Refused("already_submitted", "This refund can no longer be changed.", field=FIELD)
