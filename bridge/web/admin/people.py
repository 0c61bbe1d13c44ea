"""People: who may come in, as what and until when, and their API tokens.

Owns the pages of an admin; a secret that is shown once is on the page that answers its form, and nowhere after.
"""

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import Refused
from bridge.core.roles import ROLES
from bridge.people import operators
from bridge.people.operators import MANAGE
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render, texts
from bridge.web.admin.forms import moment
from bridge.web.qr import plain_qr_svg


@page("/people", needs=MANAGE)
def people() -> str:
    """Everybody, the disabled too."""
    return render("people.html", people=operators.list_operators(bridge()), roles=list(ROLES))


@page("/people/<name>", needs=MANAGE)
def person(name: str) -> str:
    """One person: role, end, access, password, authenticator, tokens."""
    found = operators.show_operator(bridge(), name)
    roles = [found["role"], "viewer"] if found["role"] != "viewer" else ["viewer"]
    return render("person.html", person=found, roles=list(ROLES), token_roles=roles, is_me=name == actor())


@form("/people/add", MANAGE)
def add_person() -> str:
    """Adds somebody; the answer shows the one-time secret of their authenticator app, this once."""
    name = request.form.get("name", "").strip()
    url = operators.add_operator(
        bridge(),
        name=name,
        role=request.form.get("role", ""),
        password=request.form.get("password", ""),
        expires_at=moment("expires"),
        actor=actor(),
        reason=reason(),
    )
    return _shown_once("totp", name, url)


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


@form("/people/<name>/totp", MANAGE)
def renew_totp(name: str) -> str:
    """A new one-time secret, for a lost telephone; the answer shows it, this once."""
    return _shown_once("totp", name, operators.renew_totp(bridge(), name, actor=actor(), reason=reason()))


@form("/people/<name>/tokens", MANAGE)
def issue_token(name: str) -> str:
    """An API token; the answer shows it, this once."""
    ends_at = moment("ends")
    if ends_at is None:
        raise Refused("bad_period", "A token has an end.", field="ends")
    made = operators.issue_token(
        bridge(),
        operator=name,
        role=request.form.get("role", ""),
        starts_at=moment("starts"),
        ends_at=ends_at,
        note=request.form.get("note", "").strip()[:200],
        actor=actor(),
        reason=reason(),
    )
    return _shown_once("token", name, made.token)


def _shown_once(what: str, name: str, secret: str) -> str:
    """The page with a secret. It answers the form itself: nothing keeps it, and a reload asks before it makes another."""
    code = plain_qr_svg(secret, label=texts()("desk.people.qr")) if what == "totp" else ""
    return render("secret.html", what=what, name=name, secret=secret, qr_svg=code)
