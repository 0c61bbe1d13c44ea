"""The dated part of an explanation: what came, what was decided, who was asked and told, each from its own rows.

Owns the way from stored rows to dated sentences; must not hold a sentence (the catalogues do) nor judge anything.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.core.evidence import FINAL
from bridge.core.money import minor_text
from bridge.invoices.record import samples_of
from bridge.language import Texts
from bridge.people.policy import policy_words, versions_of
from bridge.store.dossier import Dossier

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
    found = [
        *_doorbells(told, words),
        *_money(told, words),
        *_actions(told, words),
        *_prices(told, words),
        *_questions(told, words),
        *_messages(told, words),
    ]
    return sorted(found, key=lambda moment: (moment.at, moment.rank))


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
            reason = words(f"kinds.{row.reason}.reason", **_figures(told.invoice, detail, words))
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


def _figures(invoice: Any, detail: dict[str, Any], words: Texts) -> dict[str, str]:
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
