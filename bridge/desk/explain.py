"""The story of an invoice, told to support: what came, what was decided, who was asked and told, what happens next.

Owns the way from stored rows to dated sentences, and what is true now; must not write or judge: catalogues say it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.evidence import FINAL
from bridge.core.kinds import KINDS
from bridge.core.money import minor_text
from bridge.core.offering import CODES
from bridge.desk.find import dossier_of
from bridge.invoices.pay import PayView, view_of
from bridge.invoices.record import rule_of, samples_of
from bridge.invoices.targets import all_of
from bridge.invoices.ways import ShownWay, paused_beside
from bridge.language import Texts, plain_texts
from bridge.people.policy import policy_words, versions_of
from bridge.store.dossier import Dossier


def explain(bridge: Bridge, reference: str, *, lang: str) -> list[str]:
    """The dated story, a line each, and how things stand now.

    Raises Refused("unknown_invoice") when the reference finds none or several, and Refused("unknown_language").
    """
    words = plain_texts(lang).by(bridge.calendar)
    with bridge.store.read() as tx:
        told = dossier_of(tx, bridge, reference)
    return story(bridge, told, words)


def story(bridge: Bridge, told: Dossier, words: Texts) -> list[str]:
    """The same of a dossier that was read already."""
    with bridge.store.read() as tx:
        paused = paused_beside(tx, bridge)
    view = view_of(
        bridge,
        told.invoice,
        quotes=told.quotes,
        payments=told.payments,
        payouts=told.payouts,
        targets=all_of(told.offered(), bridge, told.invoice),
        now=bridge.clock(),
        paused=paused,
    )
    dated = [words("story.line", when=words.when(m.at), sentence=m.sentence) for m in moments(told, words)]
    return dated + list(_now(bridge, told, view, words))


def _now(bridge: Bridge, told: Dossier, view: PayView, words: Texts) -> Iterator[str]:
    """How things stand: state, money, what client and billing system see, what comes next, who must act."""
    figures = _figures(bridge, told, view, words)
    yield words("story.now.state", reason=words(f"kinds.{view.reason}.reason", **figures))
    yield words("story.now.money", **figures)
    yield words("story.now.client", sentence=words(f"story.client.{_client(view)}", **figures))
    yield words("story.now.billing", sentence=_billing(bridge, told, words))
    yield words("story.now.next", sentence=words(f"story.next.{_next(told, view)}", **figures))
    if len(view.ways) > 1:
        yield words("story.now.ways", ways="; ".join(_way(each, words) for each in view.ways))
    if told.invoice.gap is not None:
        gap, since = words(f"story.gaps.{told.invoice.gap}"), words.when(told.invoice.gap_since)
        yield words("story.now.gap", gap=gap, since=since, source=told.invoice.gap_source or "–")
    asked = [row.kind for row in told.reviews if row.state == "open"]
    for kind in asked:
        yield words("story.now.person", sentence=words(f"kinds.{kind}.do") + ".")
    if not asked:
        yield words("story.now.nobody")
    yield words("story.now.trace", trace=told.invoice.trace_id)


def _way(shown: ShownWay, words: Texts) -> str:
    """One way to pay, and whether it is offered or why not."""
    why = f"story.ways.{shown.code}" if shown.code in CODES else f"story.ways.{shown.state}"
    return words("story.way", way=words(f"story.ways.{shown.way}"), how=words(why))


def _figures(bridge: Bridge, told: Dossier, view: PayView, words: Texts) -> dict[str, str]:
    row = told.invoice
    return {
        "received": words.sat(row.received_sat),
        "confirmed": words.sat(row.confirmed_sat),
        "remaining": words.sat(row.remaining_sat),
        "excess": words.sat(row.excess_sat),
        "asks": words.sat(view.shown_sat),
        "seen": words.count("confirmation", row.confirmations_seen),
        "needed": words.count("confirmation", row.confirmations_needed),
        "final": words.count("confirmation", rule_of(row).final_depth),
        "until": words.when(told.quotes[-1].expires_at),
        "expires": words.when(row.expires_at),
        "monitor": words.when(row.monitor_until),
        "look": words.when(row.next_look_at),
    }


def _client(view: PayView) -> str:
    if view.hold is None and view.reason == "partial":
        return "partial" if view.shown_sat > 0 else "partial_lapsed"
    return "checked" if view.hold is not None else KINDS[view.reason].client


def _next(told: Dossier, view: PayView) -> str:
    if view.hold is not None:
        return "held"
    if view.reason in ("partial", "replaced"):
        return "expired" if view.status == "expired" else ("lapse" if view.shown_sat > 0 else "new_price")
    chosen = KINDS[view.reason].next
    # A settled invoice is looked at rarely once it is final, see core.schedule.
    rests = told.invoice.next_look_at - told.invoice.updated_at
    return "done" if chosen == "final" and rests.total_seconds() > 3_600 else chosen


def _billing(bridge: Bridge, told: Dossier, words: Texts) -> str:
    """Whether the billing system knows it all, from the newest delivery that says something about that."""
    merchant = bridge.merchants.get(told.invoice.merchant)
    if merchant is not None and not merchant.wants_push:
        return words("story.billing.pulls", event=words(f"story.events.{told.events[-1].type}"))
    by_state: dict[str, list[Any]] = {"pending": [], "parked": [], "delivered": []}
    for row in told.deliveries:
        by_state[row.state].append(row)
    if by_state["parked"]:
        return words("story.billing.parked", messages=words.count("message", len(by_state["parked"])))
    if waiting := by_state["pending"]:
        when = words.when(min(row.next_try_at for row in waiting))
        return words("story.billing.waiting", messages=words.count("message", len(waiting)), when=when)
    if not by_state["delivered"]:
        return words("story.billing.unknown")
    newest = max(by_state["delivered"], key=lambda row: row.sequence)
    return words("story.billing.agreed", event=words(f"story.events.{newest.type}"))


# What is told about one moment, in this order.
DOORBELL, MONEY, ACTION, PRICE, DECISION, QUESTION, TOLD = range(7)
# Actions that speak for themselves: a look is told by what it found, a delivery by the message.
SILENT = frozenset({"observed", "valued_late_money", "delivered", "ruled", "mark_approved"})
MANY = 5
# What is added to a payout's step while nobody named the gateway's fee.
_FEE_UNKNOWN = {
    "refund_requested": "story.fee_unknown",
    "payout_approval_given": "story.fee_unknown",
    "payout_approved": "story.fee_unknown",
    "payout_sent": "story.fee_told",
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One dated sentence. `rank` orders what happened at the same time."""

    at: datetime
    rank: int
    sentence: str


def moments(told: Dossier, words: Texts) -> list[Moment]:
    """The whole story in order."""
    strands = (_doorbells, _money, _actions, _prices, _questions, _messages)
    opened_at = told.invoice.created_at
    found = [each for strand in strands for each in _in_sequence(strand(told, words), since=opened_at)]
    # What was moved there stands behind what happened then.
    return [moment for at, moment in sorted(found, key=lambda each: (each[0], each[0] > each[1].at, each[1].rank))]


def _in_sequence(strand: Iterator[Moment], *, since: datetime) -> Iterator[tuple[datetime, Moment]]:
    """Each with its place in time. A strand is in the order in which it was written: where a clock was put back meanwhile,
    what came later stays behind what came before it, and all of it behind the invoice's beginning.
    """
    for moment in strand:
        since = max(since, moment.at)
        yield since, moment


def source_name(source: str, words: Texts) -> str:
    """ "esplora:host" and "core:host" in words; the host is what tells two readers apart."""
    kind, _, host = source.partition(":")
    path = {"esplora": "story.chain_view", "core": "story.node"}.get(kind, "story.provider")
    return words(path, host=host)


def _doorbells(told: Dossier, words: Texts) -> Iterator[Moment]:
    for row in told.callbacks:
        copies = words("story.doorbell_again", copies=words.count("copy", row.copies)) if row.copies else ""
        path = "story.doorbell_dead" if row.state == "dead" else "story.doorbell"
        yield Moment(at=row.received_at, rank=DOORBELL, sentence=words(path, again=copies))


def _money(told: Dossier, words: Texts) -> Iterator[Moment]:
    """Each stored reading against the one before it of the same kind."""
    by_target: dict[int | None, dict[str, Any]] = {}
    total_sat = 0
    for row in told.observations:
        body = json.loads(row.body)
        if row.source == "provider":
            rise_sat, total_sat = body["provider_sat"] - total_sat, body["provider_sat"]
            path = "story.came_total" if rise_sat > 0 else "story.vanished_total"
            yield Moment(at=row.asked_at, rank=MONEY, sentence=words(path, sat=words.sat(abs(rise_sat))))
            continue
        now = {output["outpoint"]: output for output in body["outputs"]}
        # What one way to pay shows says nothing of another; what came to the first names no target.
        outputs = by_target.get(body.get("target"), {})
        for sentence in _changes(outputs, now, source_name(row.source, words), words):
            yield Moment(at=row.asked_at, rank=MONEY, sentence=sentence)
        by_target[body.get("target")] = now


def _changes(before: dict[str, Any], now: dict[str, Any], source: str, words: Texts) -> Iterator[str]:
    fresh = [output for outpoint, output in now.items() if outpoint not in before]
    if len(fresh) > MANY:
        sat = words.sat(sum(output["amount_sat"] for output in fresh))
        yield words("story.came_many", payments=words.count("payment", len(fresh)), sat=sat, source=source)
        fresh = []
    for output in fresh:
        if output["confirmations"] >= FINAL:
            yield words("story.came_final", **_named(output, words))
            continue
        depth = words.count("confirmation", output["confirmations"])
        depth = depth if output["confirmations"] else words("story.unconfirmed")
        yield words("story.came", **_named(output, words), source=source, depth=depth)
    for outpoint, output in before.items():
        if outpoint not in now:
            yield words("story.vanished", **_named(output, words))
        elif len(before) <= MANY and (depth_before := output["confirmations"]) != now[outpoint]["confirmations"]:
            if not depth_before:
                yield words("story.confirmed", **_named(output, words))
            elif not now[outpoint]["confirmations"]:
                yield words("story.taken_back", **_named(output, words))


def _named(output: dict[str, Any], words: Texts) -> dict[str, str]:
    return {"txid": output["outpoint"][:12] + "…", "sat": words.sat(output["amount_sat"])}


def _actions(told: Dossier, words: Texts) -> Iterator[Moment]:
    """What people and systems did, and what was decided then: a decision is told when it says something new."""
    last: tuple[str, ...] = ()
    versions = versions_of(told)
    for row in told.audit:
        detail = json.loads(row.detail)
        if row.action not in SILENT:
            yield Moment(at=row.at, rank=ACTION, sentence=action_sentence(told.invoice, row, detail, words))
        if "received_sat" not in detail:
            continue
        said = (row.to_status, detail["exception"], str(detail["hold"]), row.reason, str(detail["remaining_sat"]))
        if said != last:
            reason = words(f"kinds.{row.reason}.reason", **_decided_figures(told.invoice, detail, words))
            decided = words(
                "story.decided",
                rule=row.rule,
                policy=policy_words(row.policy_version, versions, words),
                reason=reason,
            )
            yield Moment(at=row.at, rank=DECISION, sentence=decided)
        last = said


def action_sentence(invoice: Any, row: Any, detail: dict[str, Any], words: Texts) -> str:
    """One audit row in words; an action of a later version is told by its name."""
    known = row.action if row.action in words.section("story.actions") else "other"
    rulings, actors = words.section("rulings"), words.section("story.actors")
    kind = words.section("kinds").get(detail.get("kind", ""), {})
    fee = "" if detail.get("fee_bps", 0) is not None else _FEE_UNKNOWN.get(row.action, "")
    said = words(
        f"story.actions.{known}",
        # A part of the bridge in words; a person's own name as it is.
        actor=actors.get(row.actor.partition(":")[0], row.actor),
        action=row.action,
        billing=invoice.billing_payment_id,
        invoice=invoice.id,
        address=invoice.address,
        amount=words.number(minor_text(invoice.amount_minor, invoice.currency)),
        currency=invoice.currency,
        kind=kind.get("is", "").rstrip("."),
        withdrawn=kind.get("withdrawn", ""),
        decision=rulings.get(detail.get("decision", ""), {}).get("is", ""),
        why=row.reason,
        sat=words.sat(detail.get("net_sat", 0)),
        destination=detail.get("destination", ""),
        txid=detail.get("txid", "")[:12] + "…",
        until=words.when(datetime.fromisoformat(detail["ends_at"])) if "ends_at" in detail else "",
        remaining=words.sat(detail.get("remaining_sat", 0)),
    )
    if not fee:
        return said
    figures = {name: words.sat(detail[name]) for name in ("sent_sat", "fee_sat") if name in detail}
    return f"{said} {words(fee, **figures)}"


def _decided_figures(invoice: Any, detail: dict[str, Any], words: Texts) -> dict[str, str]:
    """The figures of a decision as it was made then."""
    return {
        "remaining": words.sat(detail["remaining_sat"]),
        "needed": words.count("confirmation", detail["confirmations_needed"]),
        "seen": words.count("confirmation", detail.get("confirmations_seen", 1)),
        "excess": words.sat(detail.get("excess_sat", invoice.excess_sat)),
    }


def _prices(told: Dossier, words: Texts) -> Iterator[Moment]:
    for row in told.quotes:
        sentence = words(
            f"story.quote_{row.kind}",
            version=row.version,
            price=words.number(minor_text(row.price_minor, row.currency)),
            base=words.number(minor_text(row.base_minor, row.currency)),
            currency=row.currency,
            sources=", ".join(_sample(sample, words) for sample in samples_of(row)),
            due=words.sat(row.due_sat),
            until=words.when(row.expires_at),
        )
        yield Moment(at=row.created_at, rank=PRICE, sentence=sentence)


def _sample(sample: dict[str, Any], words: Texts) -> str:
    """The source's name; of a cross rate each of its parts too, with its price and time."""
    parts = [
        words(
            "story.price_part",
            pair=part["pair"],
            price=part["price"] if "/" in part["price"] else words.number(part["price"]),
            source=part["source"],
            at=words.when(datetime.fromisoformat(part["observed_at"])),
        )
        for part in sample.get("parts", ())
    ]
    name = str(sample["source"])
    return words("story.cross_rate", source=name, parts=" × ".join(parts)) if parts else name


def _questions(told: Dossier, words: Texts) -> Iterator[Moment]:
    for row in told.reviews:
        asked = words("story.review_opened", due=words.when(row.due_at), review=words(f"kinds.{row.kind}.is"))
        yield Moment(at=row.opened_at, rank=QUESTION, sentence=asked)


def _messages(told: Dossier, words: Texts) -> Iterator[Moment]:
    event_of = {delivery.id: delivery.type for delivery in told.deliveries}
    for row in told.attempts:
        answered = words("story.answered", status=row.status) if row.status else words("story.silent")
        path = {"delivered": "story.told", "retry": "story.told_retry"}.get(row.outcome, "story.told_parked")
        event = words(f"story.events.{event_of[row.delivery_id]}")
        sentence = words(path, event=event, status=row.status, answer=answered)
        yield Moment(at=row.at, rank=TOLD, sentence=sentence)
