"""Offering a second way to pay one invoice, when its payer asks: Lightning beside the address.

Owns that it is made once and belongs to this invoice alone; whether it is offered is `invoices.ways`' to say. Nothing of the first
way waits for this or fails with it.
"""

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bridge import tracing
from bridge.context import Bridge
from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.errors import BridgeError, Conflict, ProtocolError, Refused, Unavailable, there
from bridge.core.rail import Offer, Rail, Target, Wanted
from bridge.invoices.record import open_loose_review
from bridge.invoices.targets import memo_of, offered, targets_of
from bridge.invoices.ways import ask_standing, best_rails, chosen_ways, paused_beside, usable
from bridge.logs import log
from bridge.permit import require_mode
from bridge.store import audit, invoices, leases, targets
from bridge.store.db import Duplicate, Tx
from bridge.turns import require_rail_call

LEASE_SECONDS, ASKED_SECONDS = 30, 86_400
WAIT_STEPS_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1)
LONGEST_TEXT, LONGEST_KEY = 4_000, 128
# Offers that came to nothing are counted, over all nodes, in a budget of this name that nobody draws from.
FAILED, FAILED_WITHIN_SECONDS, FAILED_AT_MOST = "failed_offers", 3_600, 1_000_000
# What a rail may say of one invoice that says nothing of the next: its price ends now, no channel carries its sum.
OF_THIS_ONE = frozenset({"bolt11_expired", "no_inbound_capacity"})
# What a rail may answer that must make somebody look at it.
SUSPICIOUS = "suspicious_address"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a rail is asked for, for an invoice as it was read."""

    row: Any
    rail: Rail
    wanted: Wanted


@tracing.traced("flow.offer_beside")
def offer_beside(bridge: Bridge, public_id: str, way: str) -> Target:
    """What the invoice can be paid to over this way: as it was offered before, or made now.

    Raises Refused (unknown_invoice, unknown_way, way_not_offered), Conflict("offering_in_progress") and
    Unavailable (mode_…, call_budget_spent, way_unavailable).
    """
    owner = bridge.new_id("own")
    for pause in WAIT_STEPS_SECONDS:
        found = _found_or_asked(bridge, public_id, way)
        while isinstance(found, _Asked) and ask_standing(bridge, found.rail):
            found = _found_or_asked(bridge, public_id, way)
        if isinstance(found, Target):
            return found
        with bridge.store.write(durable=False) as tx:
            lease = _lease(found)
            now = bridge.clock()
            is_ours = leases.take(tx, lease, owner=owner, now=now, lease_seconds=LEASE_SECONDS)
            if is_ours:
                # It outlives a try of which nobody knows what it made, a killed one too, until one is stored.
                tried = f"{lease}:asked"
                is_first = leases.take_free(tx, tried, owner=lease, now=now, lease_seconds=ASKED_SECONDS)
                require_rail_call(tx, bridge, found.rail, now=now)
        if is_ours:
            bridge.crash_point("beside.claimed")
            try:
                return _made(bridge, found, owner=owner, is_first_try=is_first)
            except BaseException:
                with bridge.store.write(durable=False) as tx:
                    leases.give_back(tx, owner=owner)
                raise
        # Another tab asks right now: what it gets is ours too, a moment later.
        time.sleep(pause)
    raise Conflict("offering_in_progress", "This is being made by another request.", retry_after_seconds=2)


def failed_lately(tx: Tx, *, now: datetime) -> int:
    """How many offers came to nothing within the last hour."""
    return leases.calls_in_window(tx, FAILED, since=now - timedelta(seconds=FAILED_WITHIN_SECONDS))


def _lease(asked: _Asked) -> str:
    return f"beside:{asked.row.id}:{asked.rail.wallet_id}"


def _found_or_asked(bridge: Bridge, public_id: str, way: str) -> Target | _Asked:
    rails = (each for each in best_rails(bridge, bridge.clock()) if each.way == way)
    rail = there(next(rails, None), "unknown_way", "way to pay", field="way")
    with bridge.store.read() as tx:
        row = there(invoices.find(tx, public_id=public_id), "unknown_invoice", "invoice")
        return _decided(tx, bridge, row, rail)


def _decided(tx: Tx, bridge: Bridge, row: Any, rail: Rail) -> Target | _Asked:
    """What is there already for the invoice as it stands, or what to ask for. Raises Refused when it is not offered."""
    now, quote, sat = bridge.clock(), invoices.quote_rows(tx, row.id)[-1], row.remaining_sat
    its = targets_of(tx, bridge, row)
    is_open = row.status == "new" and row.hold is None and row.closed_at is None and now < row.expires_at
    if not (is_open and sat > 0 and quote.kind == "offer" and now < quote.expires_at):
        raise Refused("way_not_offered", "Nothing is to be paid at this price now.", field="way")
    if (there := usable(its, rail.way, sat=sat, now=now)) is not None:
        return there
    require_mode(tx, "read_only", "limited")
    chosen = chosen_ways(bridge, row, sat=sat, now=now, paused=paused_beside(tx, bridge))
    code = next(each.code for each in chosen if each.way == rail.way)
    if code:
        raise Refused("way_not_offered", f"This way is not offered now: {code}.", field="way")
    wanted = Wanted(
        due_units=sat,
        # What was stored once is over when it is asked for again; what was lost on its way here is found.
        reference=f"{row.id}:{quote.version}:{sat}:{len(its)}",
        memo=memo_of(bridge, row.billing_payment_id),
        expires_at=quote.expires_at,
        ring_url=f"{rail.doorbell.url}/{bridge.callback_token(row.id)}" if rail.doorbell is not None else "",
    )
    return _Asked(row=row, rail=rail, wanted=wanted)


def _made(bridge: Bridge, asked: _Asked, *, owner: str, is_first_try: bool) -> Target:
    """Asks the rail outside any transaction. A lost answer is found again by its reference at the next try."""
    rail = asked.rail
    if rail.asks is None:
        raise ValueError("a rail that cannot be asked is not offered")
    now = bridge.clock()
    try:
        offer = rail.asks(replace(asked.wanted, is_first_try=is_first_try))
        bridge.crash_point("beside.asked")
        _check(offer, asked.wanted)
        target = offered(rail, offer, due_units=asked.wanted.due_units, now=now)
    except BridgeError as met:
        raise _not_made(bridge, asked, met, now=now) from met
    try:
        return _stored(bridge, asked, target, owner=owner)
    except Duplicate:
        repeated = ProtocolError("address_repeated", "The rail gave out what was given out before.")
        raise _not_made(bridge, asked, repeated, now=now) from None


def _check(offer: Offer, wanted: Wanted) -> None:
    """What every rail keeps; what its text says the rail has read itself. Raises ProtocolError."""
    too_long = len(offer.text) > LONGEST_TEXT or len(offer.key or "") > LONGEST_KEY
    if not offer.text.isascii() or not offer.text.isprintable() or " " in offer.text or not offer.text or too_long:
        raise ProtocolError("rail_bad_offer", "The rail answered no text that can be paid to.", field="text")
    if offer.key is not None and offer.key != offer.key.lower():
        raise ProtocolError("rail_bad_offer", "The rail's key is not in small letters.", field="key")
    ours = wanted.expires_at
    if ours is not None and (offer.expires_at is None or offer.expires_at > ours + CLOCK_TOLERANCE):
        raise ProtocolError("rail_bad_offer", "What the rail offers outlives its price.", field="expires_at")


def _stored(bridge: Bridge, asked: _Asked, target: Target, *, owner: str) -> Target:
    """Stores what was made, if the invoice still asks for it; what it does not ask for any more nobody was shown."""
    with bridge.store.write() as tx:
        leases.give_back(tx, owner=owner)
        row = invoices.find(tx, lock=True, id=asked.row.id)
        if row is None:
            raise Refused("unknown_invoice", "The invoice is gone.")
        still = _decided(tx, bridge, row, asked.rail)
        if isinstance(still, Target):
            return still
        if still.wanted != asked.wanted:
            raise Refused("way_not_offered", "What is to be paid has changed meanwhile.", field="way")
        targets.add(tx, row.id, target)
        leases.give_back(tx, owner=_lease(asked))
        detail = {"way": target.way, "rail": target.rail, "due_units": target.due_units, "key": target.key}
        audit.write(tx, at=target.created_at, actor="payer", action="way_offered", invoice_id=row.id, detail=detail)
        bridge.crash_point("beside.committing")
        stored = targets.of_invoice(tx, row.id)[-1]
    bridge.crash_point("beside.committed")
    bridge.metrics.offers.labels(rail=target.rail, outcome="made").inc()
    return stored


def _not_made(bridge: Bridge, asked: _Asked, error: BridgeError, *, now: datetime) -> Unavailable:
    """The next try may come at once; a rail that fails is known to be unwell for a while, and nonsense is a person's business."""
    rail, row = asked.rail, asked.row
    log("way.not_offered", level=logging.WARNING, invoice_id=row.id, rail=rail.name, code=error.code)
    if isinstance(error, ProtocolError) or error.code not in OF_THIS_ONE:
        bridge.standing[rail.wallet_id] = (now, None)
    outcome = {Refused: "refused", ProtocolError: "nonsense"}.get(type(error), "unavailable")
    bridge.metrics.offers.labels(rail=rail.name, outcome=outcome).inc()
    with bridge.store.write(durable=False) as tx:
        leases.spend(tx, FAILED, now=now, limit=FAILED_AT_MOST, window_seconds=FAILED_WITHIN_SECONDS)
    if isinstance(error, ProtocolError):
        what = {"billing_payment_id": row.billing_payment_id, "code": error.code, "rail": rail.name}
        what |= {"field": error.field or ""}
        with bridge.store.write() as tx:
            open_loose_review(tx, bridge, merchant=row.merchant, kind=SUSPICIOUS, what=what, now=now)
    return Unavailable("way_unavailable", "This way to pay cannot be had now.", retry_after_seconds=30)
