"""Looking at where an invoice is paid to: our own reads first, then one transaction that records what they mean.

Owns the way from readings to stored facts; must not decide, `core.invoice` does, nor believe any callback.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bridge import tracing
from bridge.context import Bridge
from bridge.core.clock import Witness, believed
from bridge.core.coverage import NOT_ALL_SEARCHED, Horizon, covered_until, learn
from bridge.core.credit import COINBASE_DEPTH, Payment, remaining_minor
from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import NOT_IN_BLOCKS, ChainReading, ProviderReading
from bridge.core.rail import Target
from bridge.invoices.chain import horizon_of, is_over, note_tip, read_chain
from bridge.invoices.present import time_text
from bridge.invoices.price import current_rate, keep_late_quote
from bridge.invoices.put_right import put_right
from bridge.invoices.record import Courier, Recorded, Stored, open_review, record, rule_of, still_stored, stored
from bridge.invoices.screen import Screening, ask, keep
from bridge.invoices.targets import all_of, paid_to, targets_of
from bridge.invoices.unread import is_let_pass, refused, unread, withdraw_unread
from bridge.logs import log
from bridge.permit import is_paused
from bridge.store import inbox, invoices, targets
from bridge.store.db import Tx
from bridge.turns import draw_call

# Answers that mean somebody must look at the address itself.
SUSPICIOUS = {
    ("provider_disagrees", "reached"): "provider_disagrees",
    ("provider_other_answer", "address"): "suspicious_address",
    ("provider_other_answer", "wallet_id"): "suspicious_address",
    ("provider_other_answer", "net"): "wrong_network",
    ("chain_too_long", ""): "address_crowded",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look brought home of one target. None where a world did not answer; `suspicion` is a review kind to open.

    `target` None: the invoice's first, which has to be read.
    """

    target: Target | None = None
    provider: ProviderReading | None = None
    chain: ChainReading | None = None
    suspicion: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nobody said anything, and nothing is wrong with that."""
        return self.provider is None and self.chain is None and self.suspicion is None


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What one look brought home: the first target's, then of those beside it that were asked about.

    `horizon` is what was known of the chain before it was asked; `targets` are all that the invoice has, empty: they have to be
    read. `before` is what was stored when the worlds were asked, None: it has to be read.
    """

    asked_at: datetime
    seen: tuple[Seen, ...]
    horizon: Horizon = field(default_factory=Horizon)
    targets: tuple[Target, ...] = ()
    before: Stored | None = None


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What is known before the worlds are asked."""

    due_sat: int
    targets: tuple[Target, ...]
    before: Stored
    horizon: Horizon
    asked_at: datetime


def look(
    bridge: Bridge,
    invoice_id: str,
    *,
    actor: str = "worker",
    is_granted: bool = False,
    is_routine: bool = False,
    releases: str | None = None,
    courier: Courier | None = None,
) -> Recorded | None:
    """Reads every target's witnesses, then records. Returns None when nobody answered: then nothing is known but since when.

    `is_granted`: the caller has taken the call to the gateway from the budget. `is_routine`: nobody and nothing asks for this
    look but the schedule, so that targets which are over may rest. The lease of the owner `releases` ends with what is recorded.
    """
    now = bridge.clock()
    with bridge.store.glance() as tx:
        rows = invoices.to_look_at(tx, invoice_id, network=bridge.network)
        if not rows:
            return None
        before = stored(tx, rows[0])
    row = before.row
    tracing.follow(row.trace_id)
    question = _Question(
        due_sat=row.quote_due_sat,
        targets=all_of(targets.labelled(rows), bridge, row),
        before=before,
        horizon=horizon_of(bridge, row.tip_height, row.tip_seen_at, now=now),
        asked_at=now,
    )
    with tracing.span("flow.look"):
        readings = _read_worlds(bridge, row, question, is_granted=is_granted, is_routine=is_routine)
        return _take_home(bridge, row, readings, actor=actor, releases=releases, courier=courier)


def _take_home(
    bridge: Bridge, row: Any, readings: Readings, *, actor: str, releases: str | None, courier: Courier | None
) -> Recorded | None:
    invoice_id = row.id
    screening = ask(bridge, row, provider=readings.seen[0].provider, chains=[each.chain for each in readings.seen])
    bridge.crash_point("look.read")
    with bridge.store.write(joins=True) as tx:
        if all(each.is_silent for each in readings.seen):
            _note_silence(tx, bridge, invoice_id, readings, actor=actor)
            return None
        recorded = take_in(
            tx, bridge, invoice_id, readings, actor=actor, screening=screening, releases=releases, courier=courier
        )
        bridge.crash_point("look.committing")
    bridge.crash_point("look.committed")
    if courier is not None:
        courier.carry(bridge, recorded.deliveries)
    bridge.metrics.looks.labels(outcome="read").inc()
    if recorded.decision.wants_late_quote_from is not None:
        return value_late_money(bridge, invoice_id, recorded.decision.wants_late_quote_from, actor=actor) or recorded
    return recorded


def _read_worlds(bridge: Bridge, row: Any, question: _Question, *, is_granted: bool, is_routine: bool) -> Readings:
    """Our own authenticated reads. Each world may fail alone; `asked_at` is taken before anything is sent."""
    paid = zip(question.targets, paid_to(question.before.payments, question.targets), strict=True)
    return Readings(
        asked_at=question.asked_at,
        seen=tuple(
            _read_target(bridge, row, question, target, payments, is_granted=is_granted)
            for target, payments in paid
            if target is question.targets[0] or not (is_routine and rests(row, target, now=question.asked_at))
        ),
        horizon=question.horizon,
        targets=question.targets,
        before=question.before,
    )


def rests(row: Any, target: Target, *, now: datetime) -> bool:
    """Whether a target that is over by its own rail's word needs no call: every deadline that is over was looked at after it.

    At the end of the watch it is asked once more, and whenever somebody rings.
    """
    covered_until = believed(row.covered_until, now=now)
    if target.expires_at is None or target.expires_at > now or covered_until is None:
        return False
    return covered_until > max(at for at in (target.expires_at, row.expires_at, row.monitor_until) if at <= now)


def _read_target(
    bridge: Bridge, row: Any, question: _Question, target: Target, payments: Sequence[Payment], *, is_granted: bool
) -> Seen:
    provider, chain, suspicion, now = None, None, None, question.asked_at
    evidence = bridge.evidence_of(target)
    if target.is_told:
        due_sat = question.due_sat
        provider, suspicion = _ask_gateway(bridge, row, due_sat=due_sat, now=now, is_granted=is_granted)
    elif evidence is None:
        suspicion = unread(row, now=now)
    if not target.is_on_chain and _is_paused(bridge, target.wallet_id):
        evidence = None
    if evidence is not None:
        try:
            if not target.is_on_chain:
                draw_call(bridge, rail=bridge.rail_of(target.wallet_id))
            chain = read_chain(evidence, row, target, payments=payments, now=now)
        except BridgeError as error:
            suspicion = SUSPICIOUS.get((error.code, error.field or ""), suspicion)
            log("chain.unavailable", level=logging.WARNING, invoice_id=row.id, rail=target.rail, code=error.code)
    if chain is not None and target.is_on_chain and chain.tip.height > question.horizon.height:
        note_tip(bridge, chain.tip, now=now)
    return Seen(target=target, provider=provider, chain=chain, suspicion=suspicion)


def _ask_gateway(
    bridge: Bridge, row: Any, *, due_sat: int, now: datetime, is_granted: bool
) -> tuple[ProviderReading | None, str | None]:
    """What the invoice's own wallet says of the address, or the review kind that its silence or nonsense calls for."""
    reader = bridge.reader_of(row.wallet_id)
    if reader is None:
        log("wallet.not_in_settings", level=logging.ERROR, invoice_id=row.id, wallet_id=row.wallet_id)
        return None, unread(row, now=now)
    if row.wallet_id != bridge.wallet_id and _is_paused(bridge, row.wallet_id):
        return None, None
    try:
        if not is_granted:
            draw_call(bridge)
        return reader.poll(address=row.address, expected_sat=due_sat, asked_at=now), None
    except ProtocolError as error:
        log("provider.protocol_error", level=logging.ERROR, invoice_id=row.id, code=error.code)
        return None, SUSPICIOUS.get((error.code, error.field or ""))
    except Refused as error:
        log("provider.refused", level=logging.ERROR, invoice_id=row.id, code=error.code)
        return None, refused(row, now=now)
    except BridgeError as error:
        log("provider.unavailable", level=logging.WARNING, invoice_id=row.id, code=error.code)
        return None, None


def _is_paused(bridge: Bridge, wallet_id: str) -> bool:
    """A former wallet has its own switch, and what is beside the first; that of the wallet in use stops the looks themselves."""
    with bridge.store.read() as tx:
        return is_paused(tx, wallet_id)


def take_in(
    tx: Tx,
    bridge: Bridge,
    invoice_id: str,
    readings: Readings,
    *,
    actor: str,
    screening: Screening | None = None,
    **recorded: Any,
) -> Recorded:
    """Stores the readings as facts and records the decision, in the caller's transaction. `recorded` are options of `record`."""
    before = still_stored(tx, invoice_id, readings.before)
    row, now = before.row, bridge.clock()
    is_newest_look = _is_newer(readings.asked_at, row.chain_asked_at or row.provider_asked_at, now=now)
    # Before anything is learned: what is new has to stand in the same time as what is known.
    facts = put_right(tx, row, witness=_witness(readings), now=now)
    if facts:
        before = stored(tx, row)
    facts |= keep(tx, bridge, row, screening if is_newest_look else None, now=readings.asked_at)
    provider = readings.seen[0].provider
    if provider is not None and _is_newer(readings.asked_at, row.provider_asked_at, now=now):
        facts |= {"provider_sat": provider.received_sat, "provider_asked_at": readings.asked_at}
    payments = before.payments
    readings = _with_targets(tx, bridge, row, readings, payments)
    told = [
        _learned(tx, bridge, row, readings, each, paid, facts, now=now)
        for each, paid in zip(readings.seen, _paid_to_seen(payments, readings), strict=True)
    ]
    facts |= _covered(row, readings, told, now=now)
    if readings.seen[0].chain is not None and "provider_sat" in facts and told[0].until is not None:
        facts["disagrees_since"] = _disagreement(row, readings.seen[0].chain, facts["provider_sat"], readings.asked_at)
    if row.hold is not None and all(_has_witness(each) for each in readings.seen):
        withdraw_unread(tx, row, now=readings.asked_at)
    for suspicion in {each.suspicion for each in readings.seen if each.suspicion is not None}:
        if not is_let_pass(tx, row, suspicion):
            open_review(tx, bridge, row, kind=suspicion, now=readings.asked_at)
    _answer_bells(tx, bridge, row, readings, now=now)
    return record(
        tx,
        bridge,
        row,
        now=_reached(row, readings, now=now),
        actor=actor,
        action="observed",
        facts=facts,
        targets=readings.targets,
        before=before,
        payments=_as_learned(payments, told),
        **recorded,
    )


def _answer_bells(tx: Tx, bridge: Bridge, row: Any, readings: Readings, *, now: datetime) -> None:
    for rung_at in inbox.mark_answered(tx, row.id, up_to=readings.asked_at, now=now, note="own read done"):
        bridge.metrics.doorbell_seconds.observe(max((readings.asked_at - rung_at).total_seconds(), 0))


def _note_silence(tx: Tx, bridge: Bridge, invoice_id: str, readings: Readings, *, actor: str) -> None:
    """Nobody answered: doorbells wait no longer for it, and the invoice keeps since when its witnesses have been away."""
    row, now = invoices.find(tx, lock=True, id=invoice_id), bridge.clock()
    note = "no source answered; the schedule goes on"
    inbox.mark_answered(tx, invoice_id, up_to=readings.asked_at, now=now, note=note)
    bridge.metrics.looks.labels(outcome="unavailable").inc()
    if row is None:
        return
    told = [_learned(tx, bridge, row, readings, each, (), {}, now=now) for each in readings.seen]
    if facts := _covered(row, readings, told, now=now):
        record(
            tx,
            bridge,
            row,
            now=_reached(row, readings, now=now),
            actor=actor,
            action="observed",
            facts=facts,
            targets=readings.targets,
        )


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What one target's witnesses taught: its payments as they are now, what the reading lacks, and up to when it is a fact what
    came, None while it is not.
    """

    payments: tuple[Payment, ...] = ()
    source: str = ""
    gap: str = ""
    until: datetime | None = None


def _with_targets(tx: Tx, bridge: Bridge, row: Any, readings: Readings, payments: Sequence[Payment]) -> Readings:
    """The readings with every target that money came to: one may have been offered and paid since they were asked for."""
    its, known = readings.targets, {None, *(each.id for each in readings.targets)}
    if not its or any(payment.target_id not in known for payment in payments):
        its = targets_of(tx, bridge, row)
    return replace(readings, targets=its, seen=tuple(replace(s, target=s.target or its[0]) for s in readings.seen))


def _paid_to_seen(payments: Sequence[Payment], readings: Readings) -> list[list[Payment]]:
    paid = dict(zip((each.text for each in readings.targets), paid_to(payments, readings.targets), strict=True))
    return [paid[each.target.text] for each in readings.seen if each.target is not None]


def _as_learned(payments: Sequence[Payment], told: Sequence[_Told]) -> list[Payment]:
    """All payments as they are stored now, in the order of their first sights."""
    known = {p.key: p for p in payments} | {p.key: p for each in told for p in each.payments}
    return sorted(known.values(), key=lambda p: (p.first_seen_at, p.key))


def _has_witness(seen: Seen) -> bool:
    is_told = seen.target is not None and seen.target.is_told
    return (seen.provider if is_told else seen.chain) is not None


def _reached(row: Any, readings: Readings, *, now: datetime) -> datetime:
    """An old answer is judged by the time we have already reached, else it would bring an expired invoice back."""
    stored = (believed(at, now=now) for at in (row.updated_at, row.provider_asked_at, row.chain_asked_at))
    return max([readings.asked_at, *(at for at in stored if at is not None)])


def _witness(readings: Readings) -> Witness:
    seen = readings.seen
    tips = [s.chain.tip for s in seen if s.chain is not None and s.chain.tip is not NOT_IN_BLOCKS]
    return Witness(
        server_time=seen[0].provider.server_time if seen[0].provider is not None else None,
        block_time=tips[0].time if tips else None,
        oldest_tip=readings.horizon.oldest_tip,
    )


def _learned(
    tx: Tx,
    bridge: Bridge,
    row: Any,
    readings: Readings,
    seen: Seen,
    known: Sequence[Payment],
    facts: Mapping[str, Any],
    *,
    now: datetime,
) -> _Told:
    """Stores what a target's reading taught, or that it taught nothing; `facts` are columns that this look has set already."""
    target, reading = seen.target or readings.targets[0], seen.chain
    if target.is_on_chain and bridge.evidence_of(target) is None:
        if "provider_sat" not in facts:
            return _Told()
        rises = list(_from_totals(known, facts["provider_sat"], readings.asked_at))
        payments = _store(tx, row, known, rises, "provider", readings, seen)
        return _Told(payments=payments, source="provider", until=readings.asked_at)
    if reading is None:
        # What is settled loses nothing while nobody answers.
        silent = "chain_unavailable" if target.is_on_chain else "rail_unavailable"
        return _Told(gap=silent if row.settled_at is None else "")
    is_newest = _is_newer(readings.asked_at, row.chain_asked_at, now=now)
    held_to = readings.horizon.of(target)
    learned = learn(
        known,
        reading,
        born_at=facts.get("created_at", row.created_at),
        horizon=held_to,
        is_newest=is_newest,
        is_settled=row.settled_at is not None,
    )
    payments = _store(tx, row, known, learned.payments, reading.source, readings, seen)
    watched_until = facts.get("monitor_until", row.monitor_until)
    until = covered_until(reading, horizon=held_to, watched_until=watched_until) if not learned.gap else None
    told = "" if is_over(row, now=now) and learned.gap in NOT_ALL_SEARCHED else learned.gap
    return _Told(payments=payments, source=reading.source, gap=told, until=until)


def _covered(row: Any, readings: Readings, told: Sequence[_Told], *, now: datetime) -> dict[str, Any]:
    """The invoice's columns that follow from all its targets together: "nothing came" needs every one of them."""
    first, asked_at = told[0], readings.asked_at
    if not _is_newer(asked_at, row.chain_asked_at, now=now):
        return {}
    facts: dict[str, Any] = {"chain_asked_at": asked_at} if readings.seen[0].chain is not None else {}
    until = [each.until for each in told if each.until is not None]
    if len(until) == len(told):
        facts["covered_until"] = min(until)
    lacking = next((each for each in told if each.gap), None)
    if lacking is not None:
        return facts | _gap(row, lacking.gap, lacking.source, asked_at)
    sources = [each.source for each in told if each.source]
    if len(sources) < len(told):
        return facts
    return facts | _gap(row, "", row.gap_source if row.gap_source in sources else first.source, asked_at)


def _gap(row: Any, code: str, source: str, asked_at: datetime) -> dict[str, Any]:
    """What an invoice's readings lack, since when, and when that was last seen.

    Of two sources that differ the one that shows all does not close the gap of the other, until that one was not heard for the
    policy's patience: else the difference would be forgotten each time their turn comes round.
    """
    if code:
        since = believed(row.gap_since, now=asked_at) or asked_at
        # Where nobody answered, what one source lacked is still open.
        return {"gap": code, "gap_source": source or row.gap_source or "", "gap_since": since, "gap_at": asked_at}
    patience = timedelta(seconds=rule_of(row).disagree_grace_seconds)
    is_of_another = row.gap is not None and row.gap_source not in ("", source)
    if row.gap is None or (is_of_another and abs(asked_at - row.gap_at) <= patience):
        return {}
    return dict.fromkeys(("gap", "gap_source", "gap_since", "gap_at"))


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
            version, rule = quotes[-1].version + 1, rule_of(row)
            keep_late_quote(
                tx, row, rate, version=version, base_minor=base_minor, rule=rule, seen_from=seen_from, now=now
            )
        recorded = record(tx, bridge, row, now=now, actor=actor, action="valued_late_money")
        bridge.crash_point("late.committing")
    bridge.crash_point("late.committed")
    return recorded


def _is_newer(asked_at: datetime, last: datetime | None, *, now: datetime) -> bool:
    """A slow old answer never undoes a newer one; the same answer twice is harmless."""
    told_at = believed(last, now=now)
    return told_at is None or asked_at >= told_at


def _from_totals(payments: Sequence[Payment], total_sat: int, asked_at: datetime) -> Iterator[tuple[Payment, bool]]:
    """The provider's cumulative total as payments: each rise is one, so that it is valued at its own first sight.

    A fall (a replaced or reorganised payment) takes from the newest.
    """
    known = [p for p in payments if not p.replaced]
    change = total_sat - sum(p.amount_sat for p in known)
    if change > 0:
        key = f"total@{int(asked_at.timestamp() * 1_000_000)}"
        rise = Payment(key=key, amount_sat=change, confirmations=None, first_seen_at=asked_at, source="provider")
        yield rise, True
    for payment in reversed(known):
        if change >= 0:
            return
        taken = min(payment.amount_sat, -change)
        change += taken
        left = payment.amount_sat - taken
        yield replace(payment, amount_sat=left or payment.amount_sat, replaced=left == 0), False


def _store(
    tx: Tx,
    row: Any,
    known: Sequence[Payment],
    found: Sequence[tuple[Payment, bool]],
    source: str,
    readings: Readings,
    seen: Seen,
) -> tuple[Payment, ...]:
    """Writes what was found; the reading itself is kept when it says more than another block on top."""
    target_id = seen.target.id if seen.target is not None else None
    payments = tuple(replace(payment, target_id=target_id) for payment, _ in found)
    for payment, (_, is_new) in zip(payments, found, strict=True):
        invoices.put_payment(tx, row.id, payment, asked_at=readings.asked_at, is_new=is_new)
    before, depths = {payment.key: payment for payment in known}, (row.confirmations_needed, rule_of(row).final_depth)
    if any(_says_more(payment, before.get(payment.key), depths) for payment in payments):
        body = _snapshot(seen, is_first=target_id in (None, readings.targets[0].id))
        invoices.add_observation(tx, row.id, source=source, asked_at=readings.asked_at, body=body)
    return payments


def _says_more(payment: Payment, before: Payment | None, depths: Iterable[int]) -> bool:
    """Whether it explains what was decided: money that is new or gone, and a depth that something waits for, reached or lost."""
    if before is None or replace(payment, confirmations=before.confirmations, source=before.source) != before:
        return True
    depth, was = payment.confirmations or 0, before.confirmations or 0
    return depth < was or any(was < each <= depth for each in (payment.least_depth, *depths))


def _snapshot(seen: Seen, *, is_first: bool) -> str:
    chain, provider = seen.chain, seen.provider
    beside = {} if is_first or seen.target is None else {"target": seen.target.id, "rail": seen.target.rail}
    return json.dumps(
        beside
        | {
            "provider_sat": provider.received_sat if provider else None,
            "tip_height": chain.tip.height if chain else None,
            "tip_hash": chain.tip.hash if chain else None,
            "since": time_text(chain.since) if chain and chain.since else None,
            "gap": chain.gap if chain else None,
            "outputs": [
                {"outpoint": o.outpoint, "amount_sat": o.amount_sat, "confirmations": o.confirmations}
                for o in (chain.outputs if chain else ())
            ],
        },
        separators=(",", ":"),
    )


def _disagreement(row: Any, chain: ChainReading, provider_sat: int, asked_at: datetime) -> datetime | None:
    """Since when the provider's total lies outside what can be spent and what was seen on the chain; None when it lies inside."""
    seen = {o.outpoint: o.amount_sat for o in chain.outputs}
    # A wallet counts what a miner was paid one block later than it may be spent.
    firm = {o.outpoint: o.amount_sat for o in chain.outputs if o.confirmations > (COINBASE_DEPTH if o.coinbase else 0)}
    since = believed(row.disagrees_since, now=asked_at)
    return None if sum(firm.values()) <= provider_sat <= sum(seen.values()) else since or asked_at
