"""Looking at an invoice's address: our own reads first, then one transaction that records what they mean.

Owns the way from readings to stored facts; must not decide, `core.invoice` does, nor believe any callback.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge import tracing
from bridge.core.credit import Payment, remaining_minor
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainReading, ProviderReading
from bridge.core.ledger import is_own_wallet
from bridge.flows.call_budget import draw_call
from bridge.flows.context import Bridge
from bridge.flows.price import current_rate, late_quote, samples_json
from bridge.flows.record import Recorded, open_review, record, rule_of
from bridge.flows.screen import Screening, ask, keep
from bridge.logs import log
from bridge.store import inbox, invoices
from bridge.store.db import Tx

# Answers that mean somebody must look at the address itself.
SUSPICIOUS = {
    ("provider_disagrees", "reached"): "provider_disagrees",
    ("provider_other_answer", "address"): "suspicious_address",
    ("provider_other_answer", "wallet_id"): "suspicious_address",
    ("provider_other_answer", "net"): "wrong_network",
    ("chain_too_long", ""): "address_crowded",
}


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What one look brought home. None where a world did not answer; `suspicion` is a review kind to open."""

    asked_at: datetime
    provider: ProviderReading | None
    chain: ChainReading | None
    suspicion: str | None = None


def look(bridge: Bridge, invoice_id: str, *, actor: str = "worker", is_granted: bool = False) -> Recorded | None:
    """Reads provider and chain, then records. Returns None when neither world answered: then nothing is known, nothing moves.

    `is_granted`: the caller has taken the call to the gateway from the budget.
    """
    now = bridge.clock()
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
        if row is None:
            return None
        tracing.follow(row.trace_id)
        due_sat = invoices.quotes_of(tx, invoice_id)[-1].due_sat
    return _look_at(bridge, row, due_sat=due_sat, now=now, actor=actor, is_granted=is_granted)


@tracing.traced("flow.look")
def _look_at(bridge: Bridge, row: Any, *, due_sat: int, now: datetime, actor: str, is_granted: bool) -> Recorded | None:
    invoice_id = row.id
    readings = read_worlds(bridge, row, due_sat=due_sat, now=now, is_granted=is_granted)
    screening = ask(bridge, row, provider=readings.provider, chain=readings.chain)
    bridge.crash_point("look.read")
    with bridge.store.write() as tx:
        if readings.provider is None and readings.chain is None and readings.suspicion is None:
            inbox.mark_answered(tx, invoice_id, up_to=now, note="no source answered; the schedule goes on")
            bridge.metrics.looks.labels(outcome="unavailable").inc()
            return None
        recorded = take_in(tx, bridge, invoice_id, readings, actor=actor, screening=screening)
        bridge.crash_point("look.committing")
    bridge.crash_point("look.committed")
    bridge.metrics.looks.labels(outcome="read").inc()
    if recorded.decision.wants_late_quote_from is not None:
        return value_late_money(bridge, invoice_id, recorded.decision.wants_late_quote_from, actor=actor) or recorded
    return recorded


def read_worlds(bridge: Bridge, row: Any, *, due_sat: int, now: datetime, is_granted: bool) -> Readings:
    """Our own authenticated reads. Each world may fail alone; `asked_at` is taken before anything is sent."""
    provider, chain, suspicion = None, None, None
    if bridge.has_gateway and not is_own_wallet(row.wallet_id):
        provider, suspicion = _ask_gateway(bridge, row, due_sat=due_sat, now=now, is_granted=is_granted)
    if bridge.chain is not None:
        try:
            chain = bridge.chain.read(row.address, asked_at=now)
        except BridgeError as error:
            suspicion = SUSPICIOUS.get((error.code, error.field or ""), suspicion)
            log("chain.unavailable", level=logging.WARNING, invoice_id=row.id, code=error.code)
    return Readings(asked_at=now, provider=provider, chain=chain, suspicion=suspicion)


def _ask_gateway(
    bridge: Bridge, row: Any, *, due_sat: int, now: datetime, is_granted: bool
) -> tuple[ProviderReading | None, str | None]:
    """What the gateway says of the address, or the review kind that its nonsense calls for."""
    try:
        if not is_granted:
            draw_call(bridge)
        return bridge.wallet.poll(address=row.address, expected_sat=due_sat, asked_at=now), None
    except ProtocolError as error:
        log("provider.protocol_error", level=logging.ERROR, invoice_id=row.id, code=error.code)
        return None, SUSPICIOUS.get((error.code, error.field or ""))
    except BridgeError as error:
        log("provider.unavailable", level=logging.WARNING, invoice_id=row.id, code=error.code)
        return None, None


def take_in(
    tx: Tx, bridge: Bridge, invoice_id: str, readings: Readings, *, actor: str, screening: Screening | None = None
) -> Recorded:
    """Stores the readings as facts and records the decision, in the caller's transaction."""
    row = invoices.find(tx, lock=True, id=invoice_id)
    if row is None:
        raise Unavailable("unknown_invoice", "The invoice is gone.")
    is_newest_look = _is_newer(readings.asked_at, row.chain_asked_at or row.provider_asked_at)
    facts = keep(tx, bridge, row, screening if is_newest_look else None, now=readings.asked_at)
    if readings.provider is not None and _is_newer(readings.asked_at, row.provider_asked_at):
        facts |= {"provider_sat": readings.provider.received_sat, "provider_asked_at": readings.asked_at}
    if readings.chain is not None:
        is_newest = _is_newer(readings.asked_at, row.chain_asked_at)
        facts |= {"chain_asked_at": readings.asked_at} if is_newest else {}
        _store(tx, row.id, _from_chain(tx, row, readings.chain, is_newest=is_newest), readings.chain.source, readings)
    elif bridge.chain is None and "provider_sat" in facts:
        _store(tx, row.id, _from_totals(tx, row, facts["provider_sat"], readings.asked_at), "provider", readings)
    if readings.chain is not None and "provider_sat" in facts and "chain_asked_at" in facts:
        facts["disagrees_since"] = _disagreement(row, readings.chain, facts["provider_sat"], readings.asked_at)
    if readings.suspicion is not None:
        open_review(tx, bridge, row, kind=readings.suspicion, now=readings.asked_at)
    for rung_at in inbox.mark_answered(tx, row.id, up_to=readings.asked_at, note="own read done"):
        bridge.metrics.doorbell_seconds.observe((readings.asked_at - rung_at).total_seconds())
    # An old answer is judged by the time we have already reached, else it would bring an expired invoice back.
    reached = [at for at in (row.updated_at, row.provider_asked_at, row.chain_asked_at) if at is not None]
    return record(tx, bridge, row, now=max(readings.asked_at, *reached), actor=actor, action="observed", facts=facts)


def value_late_money(bridge: Bridge, invoice_id: str, seen_from: datetime, *, actor: str) -> Recorded | None:
    """Prices money that was first seen when no quote was active. Without a price it waits for the next look."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
    if row is None:
        return None
    try:
        rate = current_rate(bridge, row.currency, now)
    except Unavailable:
        return None
    bridge.crash_point("late.priced")
    with bridge.store.write() as tx:
        row = invoices.find(tx, lock=True, id=invoice_id)
        if row is None:
            return None
        quotes, payments = invoices.quotes_of(tx, row.id), invoices.payments_of(tx, row.id)
        base_minor = remaining_minor(
            [p for p in payments if not p.replaced],
            quotes=[q for q in quotes if q.currency == row.currency],
            amount_minor=row.amount_minor,
            rule=rule_of(row),
        )
        if base_minor > 0 and any(p.first_seen_at >= seen_from for p in payments):
            quote = late_quote(
                version=quotes[-1].version + 1, base_minor=base_minor, rate=rate, seen_from=seen_from, now=now
            )
            invoices.add_quote(
                tx, row.id, quote, now=now, policy_version=row.policy_version, samples=samples_json(rate)
            )
        recorded = record(tx, bridge, row, now=now, actor=actor, action="valued_late_money")
        bridge.crash_point("late.committing")
    bridge.crash_point("late.committed")
    return recorded


def _is_newer(asked_at: datetime, last: datetime | None) -> bool:
    """A slow old answer never undoes a newer one; the same answer twice is harmless."""
    return last is None or asked_at >= last


def _from_chain(tx: Tx, row: Any, reading: ChainReading, *, is_newest: bool) -> Iterator[tuple[Payment, bool]]:
    """The absolute facts of every output we know, with whether it is new to us.

    From an answer that is older than one already taken in, only earlier first sights are learned.
    """
    known = {p.key: p for p in invoices.payments_of(tx, row.id)}
    for output in reading.outputs:
        before = known.pop(output.outpoint, None)
        # A block's time may lie well back: it only dates money that we did not see before it was in a block.
        told_at = before.first_seen_at if before else output.block_time or reading.asked_at
        seen = Payment(
            key=output.outpoint,
            amount_sat=output.amount_sat,
            confirmations=output.confirmations,
            # Nobody can pay an address before it exists.
            first_seen_at=max(min(reading.asked_at, told_at), row.created_at),
            replaceable=output.replaceable,
            replaced=not is_newest,
        )
        if before is not None and not is_newest:
            seen = Payment(**vars(before) | {"first_seen_at": seen.first_seen_at})
        if seen != before:
            yield seen, before is None
    for gone in known.values() if is_newest else ():
        if not gone.replaced:
            yield Payment(**vars(gone) | {"replaced": True, "confirmations": 0}), False


def _from_totals(tx: Tx, row: Any, total_sat: int, asked_at: datetime) -> Iterator[tuple[Payment, bool]]:
    """The provider's cumulative total as payments: each rise is one, so that it is valued at its own first sight.

    A fall (a replaced or reorganised payment) takes from the newest.
    """
    known = [p for p in invoices.payments_of(tx, row.id) if not p.replaced]
    change = total_sat - sum(p.amount_sat for p in known)
    if change > 0:
        key = f"total@{int(asked_at.timestamp() * 1_000_000)}"
        yield Payment(key=key, amount_sat=change, confirmations=None, first_seen_at=asked_at), True
    for payment in reversed(known):
        if change >= 0:
            return
        taken = min(payment.amount_sat, -change)
        change += taken
        left = payment.amount_sat - taken
        yield Payment(**vars(payment) | {"amount_sat": left or payment.amount_sat, "replaced": left == 0}), False


def _store(tx: Tx, invoice_id: str, payments: Iterator[tuple[Payment, bool]], source: str, readings: Readings) -> None:
    found = list(payments)
    for payment, is_new in found:
        invoices.put_payment(tx, invoice_id, payment, source=source, asked_at=readings.asked_at, is_new=is_new)
    if found:
        invoices.add_observation(tx, invoice_id, source=source, asked_at=readings.asked_at, body=_snapshot(readings))


def _snapshot(readings: Readings) -> str:
    chain, provider = readings.chain, readings.provider
    return json.dumps(
        {
            "provider_sat": provider.received_sat if provider else None,
            "tip_height": chain.tip_height if chain else None,
            "outputs": [
                {"outpoint": o.outpoint, "amount_sat": o.amount_sat, "confirmations": o.confirmations}
                for o in (chain.outputs if chain else ())
            ],
        }
    )


def _disagreement(row: Any, chain: ChainReading, provider_sat: int, asked_at: datetime) -> datetime | None:
    """Since when the provider's total lies outside what the chain has confirmed and what it has seen; None when it lies inside."""
    total_sat = sum(o.amount_sat for o in chain.outputs)
    confirmed_sat = sum(o.amount_sat for o in chain.outputs if o.confirmations >= 1)
    since: datetime | None = row.disagrees_since
    return None if confirmed_sat <= provider_sat <= total_sat else since or asked_at
