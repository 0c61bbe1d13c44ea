"""Where the desk's forms are sent: a target for every row of the table of actions that has one, and what a form's fields say.

Owns how texts of a form become a flow's keywords; must not know an action, nor judge what was written.
"""

from datetime import UTC, datetime
from typing import Any

from flask import request
from pydantic import SecretStr
from werkzeug.wrappers import Response as AnyResponse

from bridge.actions.fields import Asked, asked_of
from bridge.actions.row import Action, Form
from bridge.actions.table import ACTIONS
from bridge.core.errors import Refused
from bridge.web.admin.door import actor, bridge, done, form, reason

# Longer than an address or a txid: cut at its own length, a wrong one could become a right one.
LEAST_CUT = 200


def _add_target(row: Action, sent: Form) -> None:
    def posted(**place: Any) -> AnyResponse:
        given = {each.name: _said(each) for each in asked_of(row.asks)}
        if row.keyed:
            given["key"] = form_key()
        result = row.do(bridge(), *(place[name] for name in row.places), **given, actor=actor(), reason=reason())
        known = place | given | (result if isinstance(result, dict) else {})
        values = place if sent.values is None else {name: known[of] for name, of in sent.values.items()}
        return done(sent.done if isinstance(sent.done, str) else sent.done(result), sent.page, **values)

    posted.__name__ = sent.endpoint
    form(sent.path, *row.needs)(posted)


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


for each in ACTIONS:
    if isinstance(each.form, Form):
        _add_target(each, each.form)
