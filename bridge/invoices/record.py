"""The one door: facts in, one transaction of state, ledger, outbox, reviews and audit.

Owns the write of every decision; must not read the network, its callers did before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Protocol

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.credit import Payment
from bridge.core.errors import Conflict, Unavailable
from bridge.core.invoice import Decision, Invoice, decide
from bridge.core.kinds import review_of
from bridge.core.ledger import Books, Journal, journals
from bridge.core.policy import Rule, outcome_of_grace, rule_of_terms
from bridge.core.quote import Quote
from bridge.core.rail import Target
from bridge.core.schedule import DONE, is_done, look_class, next_look_at
from bridge.invoices.present import invoice_json
from bridge.invoices.review_blocks import review_blocks
from bridge.invoices.targets import accounts_beside, targets_of, told_by
from bridge.permit import SILENT
from bridge.store import archive, audit, deliveries, events, idempotency, invoices, ledger, receipt_mails, reviews
from bridge.store import targets as target_rows
from bridge.store.db import Duplicate, Tx, announce_work
from bridge.store.together import Part, Together


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What `record` wrote: the invoice as it is now, its newest quote, and the decision. `texts` is its JSON as far as it was said,
    by the sequence in it.
    """

    invoice: Any
    quote: Quote
    sources: list[str]
    decision: Decision
    targets: Sequence[Target]
    payments: Sequence[Payment]
    texts: dict[int, str] = field(default_factory=dict)
    # Of what was told what a courier has the lease of.
    deliveries: list[Any] = field(default_factory=list)


class Courier(Protocol):
    """Who tells merchants at once what a look has recorded."""

    def lease(self, merchant: str, *, now: datetime) -> Mapping[str, Any]:
        """The columns of the lease that its delivery is born with, none where no hand is free."""

    def carry(self, bridge: Bridge, leased: Sequence[Any]) -> None:
        """Takes the deliveries that were born so, once they are committed."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An invoice's row and what is written only together with it, so that all of this stands while the row's version does."""

    row: Any
    payments: Sequence[Payment]
    quotes: Sequence[Any]
    booked: Mapping[str, int]

    def quotes_in(self, currency: str) -> list[Quote]:
        return [invoices.quote_of_row(each) for each in self.quotes if each.currency == currency]


def stored(tx: Tx, row: Any) -> Stored:
    """Read after the row: who wrote meanwhile has given it another version."""
    return Stored(
        row=row,
        payments=invoices.payments_of(tx, row.id),
        quotes=invoices.quote_rows(tx, row.id),
        booked=ledger.balances(tx, invoice_id=row.id),
    )


def still_stored(tx: Tx, invoice_id: str, known: Stored | None) -> Stored:
    """What was read before this transaction, where nobody has written the invoice since; else as it is now. Nobody writes it until
    `tx` ends. Raises Unavailable("unknown_invoice").
    """
    if known is not None and invoices.version_of(tx, invoice_id) == known.row.version:
        return known
    row = invoices.find(tx, lock=True, id=invoice_id)
    if row is None:
        raise Unavailable("unknown_invoice", "The invoice is gone.")
    return stored(tx, row)


def rule_of(row: Any) -> Rule:
    """The rule the invoice was opened under, as it was then."""
    return rule_of_terms(row.rule_terms)


def record(
    tx: Tx,
    bridge: Bridge,
    row: Any,
    *,
    now: datetime,
    actor: str,
    action: str,
    facts: Mapping[str, Any] | None = None,
    targets: Sequence[Target] | None = None,
    before: Stored | None = None,
    payments: Sequence[Payment] | None = None,
    releases: str | None = None,
    courier: Courier | None = None,
) -> Recorded:
    """Decides on the stored facts plus `facts` (columns of the invoice) and writes everything that follows, or nothing.

    `row` must have been read in this transaction, or found by `still_stored` with the rest as `before`, and `payments` as they are
    after it; of `targets`, which never change, any reading will do. The lease of `releases` ends. Raises Conflict("invoice_changed").
    """
    archive.thaw_row(tx, row)
    facts, rule, before = dict(facts or {}), rule_of(row), before or stored(tx, row)
    facts |= _watched_through_grace(row, facts)
    known = SimpleNamespace(**dict(row._mapping) | facts)
    payments = before.payments if payments is None else payments
    targets = targets_of(tx, bridge, row) if targets is None else targets
    told_of = invoices.facts_of(known, invoices.review_kinds(tx, row.id), **told_by(bridge, targets))
    decision = decide(told_of, quotes=before.quotes_in(known.currency), payments=payments, now=now, rule=rule)
    facts |= _end_grace(tx, known, decision, now=now)
    told, together = _told(row, decision, facts), Together()
    values = facts | _columns(bridge, known, decision, targets, now=now) | {"sequence": row.sequence + len(told)}
    if _is_news(row, values) or told or decision.reviews:
        values["updated_at"] = now
        _audit(together, row, decision, now=now, actor=actor, action=action, facts=facts)
    changed = invoices.change(together, row, values, releases=releases)
    after = SimpleNamespace(**vars(known) | values)
    quote, sources = invoices.quote_of_row(before.quotes[-1]), sources_of(before.quotes[-1])
    recorded = Recorded(
        invoice=after, quote=quote, sources=sources, decision=decision, targets=targets, payments=payments
    )
    due = _due(after, decision, before=before.booked, targets=targets)
    _post(together, after, quote, due, mirrors=ledger.mirrored(tx, due, invoice_id=row.id), now=now)
    _note_status(tx, together, bridge, row, after, now=now)
    _tell_each(tx, together, bridge, recorded, told, before=row, courier=courier, now=now)
    _write(tx, together, changed)
    if len(told) > len(recorded.deliveries):
        announce_work(tx)
    _ask_people(tx, bridge, told_of, after, decision, now=now)
    _count(tx, bridge, row, after, payments=payments, targets=targets)
    return recorded


def _tell_each(
    tx: Tx,
    together: Together,
    bridge: Bridge,
    recorded: Recorded,
    told: Sequence[str],
    *,
    before: Any,
    courier: Courier | None,
    now: datetime,
) -> None:
    lease: Mapping[str, Any] = {}
    # Not from `now` on, which may be when the worlds were asked: where they took long, little would be left of it.
    if told and courier is not None and (lease := courier.lease(before.merchant, now=bridge.clock())):
        waits, mode = deliveries.before_telling(tx, before.id)
        lease = {} if waits or mode in SILENT else lease
    for step, kind in enumerate(told, 1):
        _tell(together, bridge, recorded, kind=kind, sequence=before.sequence + step, now=now, lease=lease)
        lease = {}  # the next one waits for the first


def _note_status(tx: Tx, together: Together, bridge: Bridge, before: Any, after: Any, *, now: datetime) -> None:
    """Where the status changed, what the kept answers say of it; with the settlement a receipt by mail is promised, so that none is
    forgotten, where the shop sends those and an address is known.
    """
    if after.status != before.status:
        idempotency.set_settlement(together, after.id, settlement_status=after.status)
    is_wanted = bridge.mailer is not None and bool(after.customer_email)
    if is_wanted and before.settled_at is None and after.settled_at is not None:
        receipt_mails.add(tx, after.id, now=now)


def _told(row: Any, decision: Decision, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The decision's events, or the news that somebody's grace began or ended."""
    has_news_of_grace = facts.get("grace_until", row.grace_until) != row.grace_until
    return decision.events or (("invoice.updated",) if has_news_of_grace else ())


def _watched_through_grace(row: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing is closed, so nothing is cancelled, while somebody's grace goes on."""
    grace_until = facts.get("grace_until", row.grace_until)
    monitor_until = facts.get("monitor_until", row.monitor_until)
    is_longer = grace_until is not None and grace_until > monitor_until
    return {"monitor_until": grace_until} if is_longer else {}


def _end_grace(tx: Tx, known: Any, decision: Decision, *, now: datetime) -> dict[str, Any]:
    """Closes the grant of an invoice that was paid or whose time is over: by an entry, never by forgiving the sum."""
    if known.grace_until is None:
        return {}
    ended = outcome_of_grace(known.grace_until, status=decision.status, is_closed=decision.closed, now=now)
    if ended is not None:
        reviews.end_grace(tx, known.id, state=ended, now=now)
        detail = {"remaining_sat": decision.remaining_sat}
        audit.write(tx, at=now, actor="worker", action=f"grace_{ended}", invoice_id=known.id, detail=detail)
    return {} if ended is None else {"grace_until": None}


def _write(tx: Tx, together: Together, changed: Part) -> None:
    """Writes everything, or raises Conflict("invoice_changed"): then somebody wrote the invoice after it was read."""
    try:
        together.run(tx)
    except Duplicate:
        changed.value = None  # an event of this sequence was there already
    if changed.value is None:
        raise Conflict("invoice_changed", "The invoice was changed by somebody else; read it again.")


def record_first(
    together: Together,
    bridge: Bridge,
    values: Mapping[str, Any],
    quote: Quote,
    target: Target,
    *,
    samples: str,
    now: datetime,
    actor: str,
) -> Recorded:
    """The door for a new invoice with these columns, its first quote and target: nothing is read back, the row is written decided.

    Decided before the transaction, so that nobody waits for that: the caller runs `together` in it. Nobody is woken: nothing about
    an invoice that was just opened is urgent, and waking takes a lock of the whole database.
    """
    row = invoices.fresh(values)
    decision = decide(
        invoices.facts_of(row, (), **told_by(bridge, (target,))),
        quotes=[quote],
        payments=[],
        now=now,
        rule=rule_of(row),
    )
    told = ("invoice.created", *decision.events)
    decided = _columns(bridge, row, decision, (target,), now=now) | {"sequence": len(told)}
    invoices.add(together, dict(values) | decided)
    target_rows.add(together, row.id, target)
    invoices.add_quote(together, row.id, quote, now=now, policy_version=row.policy_version, samples=samples)
    after = SimpleNamespace(**vars(row) | decided)
    _audit(together, row, decision, now=now, actor=actor, action="opened", facts={})
    sources = _sources(samples)
    recorded = Recorded(invoice=after, quote=quote, sources=sources, decision=decision, targets=(target,), payments=())
    for sequence, kind in enumerate(told, 1):
        _tell(together, bridge, recorded, kind=kind, sequence=sequence, now=now)
    _post(together, after, quote, _due(after, decision, before={}, targets=(target,)), mirrors={}, now=now)
    return recorded


def recorded_text(bridge: Bridge, recorded: Recorded, *, sequence: int) -> str:
    """The JSON of what was recorded as of an event of this sequence. Event and answer say the same: it is made once."""
    if sequence not in recorded.texts:
        row = SimpleNamespace(**vars(recorded.invoice) | {"sequence": sequence})
        shown = invoice_json(
            bridge, row, recorded.quote, recorded.sources, recorded.targets, payments=recorded.payments
        )
        recorded.texts[sequence] = _json(shown)
    return recorded.texts[sequence]


def open_review(
    tx: Tx, bridge: Bridge, invoice: Any, *, kind: str, now: datetime, more: Mapping[str, Any] | None = None
) -> None:
    """Opens an item of the review queue with the blocks a person needs to rule on it, and `more` of the caller's."""
    blocks = review_blocks(tx, bridge, invoice, kind=kind, now=now) | dict(more or {})
    is_new = reviews.open_item(
        tx,
        review_id=bridge.new_id("rev"),
        invoice_id=invoice.id,
        merchant=invoice.merchant,
        kind=kind,
        now=now,
        **urgency(bridge, kind, now=now),
        blocks=blocks,
        is_refreshed=more is not None,
    )
    if is_new:
        bridge.metrics.reviews_opened.labels(kind=kind).inc()


def urgency(bridge: Bridge, kind: str, *, now: datetime) -> dict[str, Any]:
    """How severe an item of this kind is, and until when a person looks at it: what is urgent has a quarter of the time."""
    is_urgent = review_of(kind).is_urgent
    due_at = now + timedelta(seconds=bridge.review_due_seconds // (4 if is_urgent else 1))
    return {"severity": "urgent" if is_urgent else "normal", "due_at": due_at}


def open_loose_review(
    tx: Tx, bridge: Bridge, *, merchant: str, kind: str, what: Mapping[str, Any], now: datetime
) -> None:
    """Opens an item that belongs to no invoice; `what` is all there is to see."""
    reviews.open_item(
        tx,
        review_id=bridge.new_id("rev"),
        invoice_id=None,
        merchant=merchant,
        kind=kind,
        now=now,
        **urgency(bridge, kind, now=now),
        blocks={"what": {"kind": kind} | dict(what), "actions": ["acknowledge"]},
        is_refreshed=review_of(kind).is_refreshed,
    )
    bridge.metrics.reviews_opened.labels(kind=kind).inc()


def samples_of(quote_row: Any) -> list[dict[str, Any]]:
    """The prices that a quote rests on, as `invoices.price.samples_json` wrote them."""
    return list(json.loads(quote_row.samples))


def sources_of(quote_row: Any) -> list[str]:
    return _sources(quote_row.samples)


def _sources(samples: str) -> list[str]:
    return [sample["source"] for sample in json.loads(samples)]


def _columns(
    bridge: Bridge, known: Any, decision: Decision, targets: Sequence[Target], *, now: datetime
) -> dict[str, Any]:
    """The columns that a decision sets."""
    first_settled = decision.status == "settled" and known.settled_at is None
    return {
        "status": decision.status,
        "exception": decision.exception,
        "hold": decision.hold,
        "reason": decision.reason,
        "received_sat": decision.received_sat,
        "confirmed_sat": decision.confirmed_sat,
        "remaining_sat": decision.remaining_sat,
        "excess_sat": decision.excess_sat,
        "confirmations_seen": min(decision.confirmations_seen, 1_000),
        "confirmations_needed": decision.confirmations_needed,
        "settled_at": now if first_settled else known.settled_at,
        "closed_at": (known.closed_at or now) if decision.closed else None,
        "look_class": DONE
        if _is_done(bridge, known, decision, targets, now=now)
        else look_class(status=decision.status, is_confirming=_is_confirming(decision), age=now - known.created_at),
        "next_look_at": _next_look_at(known, decision, now=now),
    }


def _is_done(bridge: Bridge, known: Any, decision: Decision, targets: Sequence[Target], *, now: datetime) -> bool:
    """Whether nobody looks at it any more, because it is final and old and money that still comes is noticed without looking."""
    waits_for = (decision.hold, known.gap, known.disagrees_since, known.grace_until)
    is_quiet = not decision.reviews and all(each is None for each in waits_for)
    return (
        is_quiet
        and not _is_confirming(decision)
        and is_done(
            status=decision.status,
            is_final=decision.is_final,
            is_closed=decision.closed,
            received_sat=decision.received_sat,
            monitor_until=known.monitor_until,
            now=now,
        )
        and all(bridge.notices_money_at(target.wallet_id) for target in targets)
    )


def _is_confirming(decision: Decision) -> bool:
    return decision.received_sat > decision.confirmed_sat


def _next_look_at(known: Any, decision: Decision, *, now: datetime) -> datetime:
    """By the schedule, but not later than the end of a grace."""
    due_at = next_look_at(
        status=decision.status,
        is_final=decision.is_final,
        is_confirming=_is_confirming(decision),
        created_at=known.created_at,
        expires_at=known.expires_at,
        monitor_until=known.monitor_until,
        now=now,
        is_undecided=_is_undecided(known, decision, now=now),
    )
    return min(due_at, known.grace_until) if known.grace_until is not None and known.grace_until > now else due_at


def _is_undecided(known: Any, decision: Decision, *, now: datetime) -> bool:
    """Whether a deadline is over and what came until then is not known, has no price or no block yet."""
    if decision.status in ("settled", "invalid") or decision.closed:
        return False
    over = [at for at in (known.expires_at, known.monitor_until) if at <= now]
    covered_until = believed(known.covered_until, now=now)
    is_uncovered = bool(over) and (covered_until is None or covered_until < max(over))
    is_on_its_way = bool(over) and decision.hold is None and _is_confirming(decision)
    return is_uncovered or is_on_its_way or decision.wants_late_quote_from is not None


_QUIET = frozenset(
    {
        "look_class",
        "next_look_at",
        "provider_asked_at",
        "chain_asked_at",
        "sequence",
        "watched_until",
        "confirmations_seen",
        "covered_until",
        "gap_at",
    }
)


def _is_news(row: Any, values: Mapping[str, Any]) -> bool:
    """Whether anything changed that a person would want to find in the audit: not clocks, not another block on top."""
    return any(getattr(row, name) != value for name, value in values.items() if name not in _QUIET)


def _audit(
    tx: Tx | Together, row: Any, decision: Decision, *, now: datetime, actor: str, action: str, facts: Mapping[str, Any]
) -> None:
    detail = {
        "exception": decision.exception,
        "hold": decision.hold,
        "received_sat": decision.received_sat,
        "confirmed_sat": decision.confirmed_sat,
        "remaining_sat": decision.remaining_sat,
        "excess_sat": decision.excess_sat,
        "confirmations_seen": decision.confirmations_seen,
        "confirmations_needed": decision.confirmations_needed,
        "reviews": list(decision.reviews),
        # What is new: a look also says again what is known, and when it asked, which is the row's own time.
        "facts": {name: str(value) for name, value in facts.items() if value not in (getattr(row, name), now)},
        "trace_id": row.trace_id,
    }
    audit.write(
        tx,
        at=now,
        actor=actor,
        action=action,
        invoice_id=row.id,
        from_status=row.status,
        to_status=decision.status,
        reason=decision.reason,
        rule=row.rule,
        policy_version=row.policy_version,
        detail=detail,
    )


def _due(
    invoice: Any, decision: Decision, *, before: Mapping[str, int], targets: Sequence[Target]
) -> tuple[Journal, ...]:
    """What leads from the balances `before` to the decision: the money of each target lies on its own account."""
    beside = accounts_beside(targets)
    booked = Books.of_balances(before, beside=beside.values())
    after = Books.of_decision(decision, amount_minor=invoice.amount_minor, verdict=invoice.verdict, beside=beside)
    return journals(booked, after, currency=invoice.currency, wallet=targets[0].account)


def _post(
    together: Together, invoice: Any, quote: Quote, due: Iterable[Journal], *, mirrors: Mapping[str, int], now: datetime
) -> None:
    memo = {"currency": invoice.currency, "amount_minor": invoice.amount_minor, "price_minor": quote.price_minor}
    values = {
        "invoice_id": invoice.id,
        "merchant": invoice.merchant,
        "at": now,
        "memo": memo,
    }
    ledger.add(together, due, values=values, service_ref=invoice.service_ref, mirrors=mirrors)


def _tell(
    tx: Tx | Together,
    bridge: Bridge,
    recorded: Recorded,
    *,
    kind: str,
    sequence: int,
    now: datetime,
    lease: Mapping[str, Any] | None = None,
) -> None:
    """Appends the event; every event carries the same absolute invoice, the sequence is its own."""
    event_id, invoice = bridge.new_id("evt"), recorded.invoice
    body = event_body(event_id, kind, sequence, now, recorded_text(bridge, recorded, sequence=sequence))
    merchant = bridge.merchants.get(invoice.merchant)
    # Of one that no setting names any more it waits for a person: that must not keep anybody from seeing the money.
    wants_push = (merchant is None or merchant.wants_push) and kind != "invoice.created"
    delivery_id = bridge.new_id("dlv") if wants_push else None
    if delivery_id is not None and lease:
        owed = {"id": delivery_id, "event_id": event_id, "type": kind, "body": body, "attempts": 0}
        shared = {"invoice_id": invoice.id, "merchant": invoice.merchant, "trace_id": invoice.trace_id}
        recorded.deliveries.append(SimpleNamespace(**owed, **shared))
    events.append(
        tx,
        event_id=event_id,
        delivery_id=delivery_id,
        lease=lease,
        invoice_id=invoice.id,
        merchant=invoice.merchant,
        type=kind,
        sequence=sequence,
        body=body,
        asset=recorded.quote.asset,
        now=now,
    )


def event_body(event_id: str, kind: str, sequence: int, now: datetime, invoice: str | None) -> str:
    """The exact text that is signed, pushed and shown in the feed; `invoice` is its JSON."""
    body: dict[str, Any] = {"id": event_id, "type": kind, "sequence": sequence}
    head = _json(body | {"created_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
    return head if invoice is None else f'{head[:-1]},"invoice":{invoice}}}'


def _json(shown: Mapping[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def _ask_people(tx: Tx, bridge: Bridge, told_of: Invoice, after: Any, decision: Decision, *, now: datetime) -> None:
    """Opens the decision's reviews; what asked about missing evidence closes by itself once nothing is missing."""
    for kind in decision.reviews:
        open_review(tx, bridge, after, kind=kind, now=now)
    if "evidence_missing" in told_of.open_reviews and told_of.gap is None:
        withdraw_review(tx, after, kind="evidence_missing", now=now)


def withdraw_review(tx: Tx, row: Any, *, kind: str, now: datetime) -> None:
    """Ends the open item of this kind: what it asked has answered itself. Nobody ruled, so nothing is let pass by it."""
    why = review_of(kind).withdrawn_when
    for item in reviews.of_invoice(tx, row.id):
        if item.kind == kind and item.state == "open":
            reviews.withdraw(tx, item.id, note=why, now=now)
            audit.write(
                tx,
                at=now,
                actor="worker",
                action="review_withdrawn",
                invoice_id=row.id,
                from_status=row.status,
                reason=why,
                rule=row.rule,
                policy_version=row.policy_version,
                detail={"review": item.id, "kind": kind},
            )


def _count(
    tx: Tx, bridge: Bridge, before: Any, after: Any, *, payments: Sequence[Payment], targets: Sequence[Target]
) -> None:
    if before.status != after.status:
        bridge.metrics.moves.labels(to=after.status).inc()
    if before.settled_at is None and after.settled_at is not None:
        first_seen_at = min((p.first_seen_at for p in payments), default=after.settled_at)
        bridge.metrics.settlement_lag_seconds.observe((after.settled_at - first_seen_at).total_seconds())
        paid = {payment.target_id for payment in payments if not payment.replaced}
        for target in targets:
            is_paid = target.id in paid or (target is targets[0] and None in paid)
            # What an earlier setting's rail offered has no label.
            if is_paid and target.rail in bridge.metrics.rails:
                took_seconds = (after.settled_at - target.created_at).total_seconds()
                bridge.metrics.rail_settlement_seconds.labels(rail=target.rail).observe(took_seconds)
        if after.customer_id and not invoices.has_paid_before(tx, after):
            began_at = invoices.first_created_at(tx, merchant=after.merchant, customer_id=after.customer_id)
            bridge.metrics.first_paid_seconds.observe(
                (after.settled_at - (began_at or after.created_at)).total_seconds()
            )
