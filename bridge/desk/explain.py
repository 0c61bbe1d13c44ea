"""The story of an invoice, told to support: what came, what was decided, who was told, what happens next.

Owns finding, and what is true now; must not write, nor hold a sentence: the catalogues do.
"""

from collections.abc import Iterator
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.kinds import KINDS
from bridge.core.offering import CODES
from bridge.desk.story import moments
from bridge.invoices.pay import PayView, view_of
from bridge.invoices.read_invoices import shown
from bridge.invoices.record import rule_of
from bridge.invoices.targets import all_of
from bridge.invoices.ways import ShownWay
from bridge.language import Texts, plain_texts
from bridge.store import dossier, invoices
from bridge.store.db import Tx
from bridge.store.dossier import Dossier


def find(bridge: Bridge, reference: str) -> list[dict[str, Any]]:
    """Invoices by any reference: invoice id, billing payment id, address or Lightning invoice, txid, payment hash, public id or pay
    page address.
    """
    with bridge.store.read() as tx:
        return [shown(tx, bridge, row) for row in invoices.by_any_reference(tx, _wanted(reference))]


def _wanted(reference: str) -> str:
    # A wallet's link is what it opens.
    return reference.strip().removeprefix("lightning:").rstrip("/").rpartition("/")[2]


def dossier_of(tx: Tx, reference: str) -> Dossier:
    """The dossier of the one invoice that a reference names. Raises Refused("unknown_invoice") for none and for several."""
    rows = invoices.by_any_reference(tx, _wanted(reference))
    found = dossier.find(tx, id=rows[0].id) if len(rows) == 1 else None
    if found is None:
        raise Refused("unknown_invoice", f"{len(rows)} invoices match; use the invoice id.")
    return found


def explain(bridge: Bridge, reference: str, *, lang: str) -> list[str]:
    """The dated story, a line each, and how things stand now.

    Raises Refused("unknown_invoice") when the reference finds none or several, and Refused("unknown_language").
    """
    words = plain_texts(lang)
    with bridge.store.read() as tx:
        told = dossier_of(tx, reference)
    return story(bridge, told, words)


def story(bridge: Bridge, told: Dossier, words: Texts) -> list[str]:
    """The same of a dossier that was read already."""
    view = view_of(
        bridge,
        told.invoice,
        newest=told.quotes[-1],
        payments=told.payments,
        targets=all_of(told.offered(), bridge, told.invoice),
        now=bridge.clock(),
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
    if not bridge.merchants[told.invoice.merchant].wants_push:
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
