"""Where the desk's forms are sent: a target for every row of the table of actions that has one, and what a form's fields say.

Owns how texts of a form become a flow's keywords; must not know an action, nor judge what was written.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import request
from pydantic import SecretStr
from werkzeug.wrappers import Response as AnyResponse

from bridge.actions import ACTIONS
from bridge.actions.money import APPROVE
from bridge.actions.row import Action, Asked, Form, asked_of
from bridge.books.reconcile import start_reconciliation
from bridge.core.errors import Refused
from bridge.payouts.decide_payout import approve_payout, show_payout
from bridge.people import operators
from bridge.people.operators import MANAGE
from bridge.web.admin.door import OFFERS, Offer, actor, bridge, done, form, reason, render, texts
from bridge.web.ways import plain_qr_svg

# Longer than an address or a txid: cut at its own length, a wrong one could become a right one.
LEAST_CUT = 200


def _add_target(row: Action, sent: Form) -> None:
    def posted(**place: Any) -> AnyResponse | str:
        given = {each.name: _said(each) for each in asked_of(row.asks)}
        if row.keyed:
            given["key"] = form_key()
        result = row.do(bridge(), *(place[name] for name in row.places), **given, actor=actor(), reason=reason())
        known = place | given | (result if isinstance(result, dict) else {})
        if sent.once:
            return _shown_once(known["name"], sent.once, known[sent.once])
        values = place if sent.values is None else {name: known[of] for name, of in sent.values.items()}
        return done(sent.done if isinstance(sent.done, str) else sent.done(result), sent.page, **values)

    posted.__name__ = sent.endpoint
    form(row.sent_to, *row.needs)(posted)
    if sent.shown:
        OFFERS.setdefault(sent.page, []).append(Offer(form=sent, fields=list(asked_of(row.asks)), shown=sent.shown))


def _shown_once(name: str, what: str, secret: str) -> str:
    """The page with a secret. It answers the form itself: nothing keeps it, and a reload asks before it makes another."""
    code = plain_qr_svg(secret, label=texts()("desk.people.qr")) if what == "totp_url" else ""
    return render("secret.html", what=what, name=name, secret=secret, qr_svg=code)


def _said(asked: Asked) -> Any:
    name = asked.input_name
    if asked.kind is int:
        # The flow says what is wrong with no sum at all.
        return 0 if (sat := satoshi(name)) is None and asked.is_required else sat
    if asked.kind is datetime:
        return moment(name)
    text = request.form.get(name, "")
    return text if asked.kind is SecretStr else text.strip()[: max(LEAST_CUT, asked.longest)]


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


@form("/payouts/<payout_id>/approve", APPROVE)
def approve(payout_id: str) -> AnyResponse:
    """This person's approval of what the page showed: of that address and that sum, and of nothing newer."""
    found = show_payout(bridge(), payout_id)
    seen = (request.form.get("destination", ""), request.form.get("gross_sat", ""))
    if seen != (found["destination"] or "", str(found["gross_sat"])):
        raise Refused("payout_changed", "The payout is not what you saw any more; look at it again.")
    approve_payout(bridge(), payout_id, actor=actor(), reason=reason())
    return done("approved", "payout", payout_id=payout_id)


@form("/reconciliation/run", "books.export")
def reconcile_now() -> AnyResponse:
    """Begins a run; the worker carries it on and the page shows how far it is."""
    days = request.form.get("days", "7")
    if not (days.isascii() and days.isdecimal() and len(days) < 6 and 1 <= int(days) <= 3_660):
        raise Refused("bad_period", "Between one day and ten years.", field="days")
    from_at = bridge().clock() - timedelta(days=int(days))
    run_id = start_reconciliation(bridge(), from_at=from_at, actor=actor(), reason=reason())
    return done("run_started", "reconciliation_run", run_id=run_id)


@form("/people/<name>/change", MANAGE)
def change_person(name: str) -> AnyResponse:
    """Another role or another end; an empty end is none."""
    expires_at = moment("expires")
    operators.change_operator(
        bridge(),
        name,
        role=request.form.get("role") or None,
        expires_at=expires_at,
        is_endless=expires_at is None,
        actor=actor(),
        reason=reason(),
    )
    return done("person_changed", "person", name=name)


@form("/people/<name>/access", MANAGE)
def set_access(name: str) -> AnyResponse:
    """Locks somebody out at once, or lets them in again."""
    wanted = request.form.get("access", "")
    if wanted not in ("enabled", "disabled"):
        raise Refused("bad_access", "Enabled or disabled.", field="access")
    operators.change_operator(bridge(), name, is_active=wanted, actor=actor(), reason=reason())
    return done("person_changed", "person", name=name)


for each in ACTIONS:
    if isinstance(each.form, Form):
        _add_target(each, each.form)
