"""One invoice with everything: its story, facts, money and messages, and what may be done with it.

Owns the page and its forms; must not change an invoice, the flows do.
"""

from datetime import UTC, datetime

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import Refused
from bridge.core.payout import VARIANTS
from bridge.flows.check_again import check_again
from bridge.flows.desk import invoice_dossier
from bridge.flows.explain import explain
from bridge.flows.grant_grace import NEEDS, grant_grace
from bridge.flows.replay import DEAD, NO_ANSWER, UNCHANGED, replay, show_event
from bridge.flows.request_refund import NewRefund, request_refund
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render, texts

# What is said of a replay that left the invoice as it was.
REPLAYED = {UNCHANGED: "replayed_unchanged", NO_ANSWER: "no_answer", DEAD: "not_replayed"}


@page("/invoices/<invoice_id>")
def invoice(invoice_id: str) -> str:
    """Everything about one invoice."""
    found = invoice_dossier(bridge(), invoice_id)
    story = explain(bridge(), invoice_id, lang=texts().code)
    return render("invoice.html", story=story, variants=VARIANTS, **found)


@form("/invoices/<invoice_id>/check", "delivery.redeliver")
def check_invoice(invoice_id: str) -> AnyResponse:
    """Asks gateway and chain about the address now."""
    is_answered = check_again(bridge(), invoice_id, actor=actor(), reason=reason())
    return done("checked" if is_answered else "no_answer", "invoice", invoice_id=invoice_id)


@form("/invoices/<invoice_id>/grace", NEEDS)
def give_time(invoice_id: str) -> AnyResponse:
    """Gives the payer time, until the day of the form or as much as the tier allows."""
    grant_grace(bridge(), invoice_id, ends_at=moment("until"), actor=actor(), reason=reason())
    return done("grace_granted", "invoice", invoice_id=invoice_id)


@form("/invoices/<invoice_id>/refund", "payout.propose")
def propose_refund(invoice_id: str) -> AnyResponse:
    """Proposes a refund; other people approve it."""
    wanted = NewRefund(
        invoice_id=invoice_id,
        variant=request.form.get("variant", ""),
        net_sat=satoshi("net_sat"),
        fiat_text=request.form.get("fiat", "").strip()[:32],
        destination=request.form.get("destination", "").strip()[:100],
    )
    key = form_key()
    asked = request_refund(bridge(), merchant_id=None, request=wanted, key=key, actor=actor(), reason=reason())
    return done("proposed", "payout", payout_id=asked.payout["id"])


@page("/inbox/<event_id>")
def inbox_row(event_id: str) -> str:
    """What we were told, byte for byte."""
    return render("event.html", event=show_event(bridge(), event_id))


@form("/inbox/<event_id>/replay", "delivery.redeliver")
def replay_callback(event_id: str) -> AnyResponse:
    """Takes the stored bytes in once more; what is true already does not change."""
    outcome = replay(bridge(), event_id, actor=actor(), reason=reason())
    return done(REPLAYED.get(outcome, "replayed"), "inbox_row", event_id=event_id)


def satoshi(name: str) -> int | None:
    """A whole number of satoshi from a form, None when it is left empty. Raises Refused("bad_sat")."""
    text = request.form.get(name, "").replace(" ", "").replace("\u00a0", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise Refused("bad_sat", "Write a whole number of satoshi.", field=name)
    return int(text)


def moment(name: str) -> datetime | None:
    """The beginning of a day in UTC from a form, None when it is left empty. Raises Refused("bad_day")."""
    text = request.form.get(name, "").strip()
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        raise Refused("bad_day", "Write the day as 2026-12-31.", field=name) from None


def form_key() -> str:
    """The random key that the form was drawn with: sent twice, it is one request."""
    key = request.form.get("key", "")
    if not (8 <= len(key) <= 64 and key.isascii() and key.isalnum()):
        raise Refused("bad_form_key", "Open the page again and fill in the form once more.", field="key")
    return f"desk-{key}"
