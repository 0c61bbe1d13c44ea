"""The door of the operators' pages: logging in and out, session, permission of each route, form token, language, errors.

Owns the table of what each route needs; a route that is not in it opens to nobody. Must not know a page.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from flask import Blueprint, Response, abort, current_app, g, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from bridge.actions.row import Asked, Form
from bridge.context import Bridge
from bridge.core.errors import BridgeError, Refused
from bridge.core.roles import may
from bridge.language import Texts, languages
from bridge.people.login import LoginFailed, Session, session_of
from bridge.people.login import log_in as open_session
from bridge.people.login import log_out as end_session
from bridge.web.admin.words import words_in
from bridge.web.bodies import MAX_BODY_BYTES
from bridge.web.context import here
from bridge.web.errors import status_of
from bridge.web.look import look

routes = Blueprint("admin", __name__, url_prefix="/admin")
COOKIE, LANGUAGE_COOKIE = "subtc_desk", "subtc_desk_lang"
OPEN = frozenset({"admin.login_form", "admin.log_in"})
# What an operator needs for each endpoint: one of these permissions. A ruling's own permission is checked by its flow.
NEEDS: dict[str, tuple[str, ...]] = {}
# What a page draws by itself in its slot, by the page's endpoint.
OFFERS: "dict[str, list[Offer]]" = {}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A form of the table of actions with its fields; `shown` says of a page's values whether it is offered there."""

    form: Form
    fields: list[Asked]
    shown: Callable[[Mapping[str, Any]], bool]


View = TypeVar("View", bound=Callable[..., Any])


def page(rule: str, *, needs: str = "read") -> Callable[[View], View]:
    """A page to look at."""
    return _route(rule, "GET", (needs,))


def form(rule: str, *needs: str) -> Callable[[View], View]:
    """A form's target: it changes something, so it needs a permission and carries the session's token."""
    return _route(rule, "POST", needs)


def _route(rule: str, method: str, needs: tuple[str, ...]) -> Callable[[View], View]:
    def registered(view: View) -> View:
        NEEDS[f"admin.{view.__name__}"] = needs
        routes.add_url_rule(rule, view_func=view, methods=[method])
        return view

    return registered


@routes.before_request
def let_in() -> AnyResponse | None:
    """Nobody passes without a session, its role's permission and, in a form, its token."""
    request.max_content_length = request.max_form_memory_size = MAX_BODY_BYTES
    if any("\0" in text for text in (*request.args.values(), *request.form.values())):
        abort(400)
    if request.endpoint in OPEN:
        return None
    try:
        g.session = session_of(bridge(), request.cookies.get(COOKIE, ""))
    except Refused:
        wanted = request.full_path.rstrip("?") if request.method == "GET" else "/admin/"
        return redirect(f"{url_for('admin.login_form')}?next={quote(wanted)}", code=303)
    needs = NEEDS.get(request.endpoint or "", ())
    if not _lets_in(request.endpoint or ""):
        detail = f"The role {role()} may not do this: it needs {' or '.join(needs) or 'what nobody has'}."
        raise Refused("forbidden", detail)
    if request.method == "POST":
        session().check_csrf(request.form.get("csrf_token", ""))
    return None


@routes.after_request
def keep_language(response: Response) -> Response:
    """A language that was chosen by hand stays chosen on this device."""
    if request.args.get("lang", "") in languages().whole:
        set_cookie(response, LANGUAGE_COOKIE, request.args["lang"], seconds=31_536_000)
    return response


@routes.errorhandler(BridgeError)
def refused(error: BridgeError) -> Response:
    """What was refused and why, in words, with the way back."""
    return _error(status_of(error), error.code, error.detail)


@routes.errorhandler(HTTPException)
def not_served(error: HTTPException) -> Response:
    return _error(error.code or 400, f"http_{error.code}", error.description or "")


def _error(status: int, code: str, detail: str) -> Response:
    back = page_behind() if request.method == "POST" else "/admin/"
    body = render("error.html", code=code, detail=detail, status=status, back=back)
    response = Response(body, status, mimetype="text/html")
    if status == 503:
        response.headers["Retry-After"] = "30"
    return response


def page_behind() -> str:
    """This page's address. What answers a form has the address of the form's target, where mostly no page is: then the
    nearest page above it.
    """
    path = request.path
    if request.method == "POST" and request.endpoint not in OPEN:
        known = current_app.url_map.bind("")
        path = path.rpartition("/")[0]
        while not known.test(path, method="GET"):
            path = path.rpartition("/")[0]
    return path


def bridge() -> Bridge:
    return here().bridge


def session() -> Session:
    """The session of this request. Raises Refused("unauthorized") where nobody is logged in."""
    found = g.get("session")
    if found is None:
        raise Refused("unauthorized", "Log in first.")
    return found  # type: ignore[no-any-return]


def actor() -> str:
    """Who acts: never taken from a form."""
    return session().identity.name


def role() -> str:
    return session().identity.role


def had_a_hand(asked: dict[str, Any]) -> bool:
    """Whether this person proposed it, named its address or approved it: then they may not approve it now."""
    approvers = (each["actor"] for each in asked["approvals"])
    return actor() in {asked["proposed_by"], asked.get("destination_set_by"), *approvers}


def reason() -> str:
    """Why, as the form says; the flows refuse an empty one."""
    return request.form.get("reason", "").strip()[:500]


def texts() -> Texts:
    """By ?lang=, then the device's choice, then what the browser asks for."""
    wishes = [request.args.get("lang", ""), request.cookies.get(LANGUAGE_COOKIE, "")]
    wishes += [tag for tag, _ in request.accept_languages]
    return languages().choose(wishes, whole=True).by(bridge().calendar)


def chosen(*names: str) -> dict[str, str]:
    """The filters that the address names, those left empty not."""
    return {name: request.args[name].strip()[:100] for name in names if request.args.get(name, "").strip()}


def render(template: str, **values: Any) -> str:
    """A page in the operator's language. Jinja escapes everything that is put in."""
    chosen, found = texts(), g.get("session")
    return render_template(
        f"admin/{template}",
        t=chosen,
        **words_in(chosen),
        look=look(),
        shop=here().shop,
        network=bridge().network,
        me=found.identity if found else None,
        csrf_token=found.csrf_token if found else "",
        may=lambda permission: found is not None and may(found.identity.role, permission),
        done=request.args.get("done", ""),
        page_behind=page_behind,
        had_a_hand=had_a_hand,
        form_key=secrets.token_hex(12),
        offers=lambda: [each for each in _offered() if each.shown(values)],
        **values,
    )


def _offered() -> list[Offer]:
    """What this page offers to this person."""
    offered = OFFERS.get((request.endpoint or "").removeprefix("admin."), [])
    return [each for each in offered if _lets_in(f"admin.{each.form.endpoint}")]


def _lets_in(endpoint: str) -> bool:
    return any(may(role(), permission) for permission in NEEDS.get(endpoint, ()))


def done(what: str, endpoint: str, **values: Any) -> AnyResponse:
    """After a form: back to the page that shows what came of it, so that a reload does nothing."""
    return redirect(url_for(f"admin.{endpoint}", done=what, **values), code=303)


def set_cookie(response: AnyResponse, name: str, text: str, *, seconds: int | None = None) -> None:
    """Only for these pages, not for scripts, never sent from elsewhere, and over https only where there is https."""
    is_loopback = request.host.rpartition(":")[0] in _LOOPBACK or request.host in _LOOPBACK
    is_https = request.is_secure or (bridge().public_url.startswith("https:") and not is_loopback)
    response.set_cookie(name, text, max_age=seconds, path="/admin", httponly=True, samesite="Strict", secure=is_https)


# The form of somebody who has no session yet carries the same random text as this cookie.
FORM_COOKIE = "subtc_desk_form"


@page("/login")
def login_form() -> Response:
    """Name, password and one-time code."""
    return _form()


@form("/login", "read")
def log_in() -> AnyResponse:
    """Opens a session; a wrong try is told what is left, and nothing of the name, password or code."""
    kept, given = request.cookies.get(FORM_COOKIE, ""), request.form.get("form_token", "")
    if not kept or not hmac.compare_digest(kept.encode(), given.encode("utf-8", "replace")):
        return _form(fault="bad_csrf_token", status=403)
    fields = {name: request.form.get(name, "") for name in ("name", "password", "code")}
    try:
        opened = open_session(bridge(), **fields)
    except LoginFailed as error:
        return _form(fault=error.code, status=401, left=error.left, wait_seconds=error.retry_after_seconds)
    response = redirect(safe_next(request.form.get("next", "")), code=303)
    set_cookie(response, COOKIE, opened.token)
    response.delete_cookie(FORM_COOKIE, path="/admin")
    return response


@form("/logout", "read")
def log_out() -> AnyResponse:
    """Ends the session on the server too."""
    end_session(bridge(), request.cookies.get(COOKIE, ""))
    response = redirect(url_for("admin.login_form"), code=303)
    response.delete_cookie(COOKIE, path="/admin")
    return response


def safe_next(wanted: str) -> str:
    """A path of these pages, never another server's."""
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/admin/") and "\\" not in wanted
    return wanted if is_ours and wanted.isprintable() else "/admin/"


def _form(*, fault: str = "", status: int = 200, left: int = 0, wait_seconds: int | None = None) -> Response:
    token = secrets.token_urlsafe(24)
    wanted = request.values.get("next", "")
    body = render(
        "login.html",
        fault=fault,
        form_token=token,
        next=safe_next(wanted),
        name=request.form.get("name", ""),
        left=left,
        wait_minutes=None if wait_seconds is None else -(-max(wait_seconds, 1) // 60),
    )
    response = Response(body, status, mimetype="text/html")
    set_cookie(response, FORM_COOKIE, token, seconds=3_600)
    return response
