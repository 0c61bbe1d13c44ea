"""Logging in and out.

Owns the two forms and the session's cookie; who may come in is `people.login`'s to say.
"""

import hmac
import secrets
from urllib.parse import urlsplit

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import Refused
from bridge.people.login import log_in as open_session
from bridge.people.login import log_out as end_session
from bridge.web.admin.door import COOKIE, bridge, form, page, render, set_cookie

# The form of somebody who has no session yet carries the same random text as this cookie.
FORM_COOKIE = "subtc_desk_form"


@page("/login")
def login_form() -> Response:
    """Name, password and one-time code."""
    return _form()


@form("/login", "read")
def log_in() -> AnyResponse:
    """Opens a session; the answer to every wrong try is the same."""
    kept, given = request.cookies.get(FORM_COOKIE, ""), request.form.get("form_token", "")
    if not kept or not hmac.compare_digest(kept.encode(), given.encode("utf-8", "replace")):
        return _form(fault="bad_csrf_token", status=403)
    fields = {name: request.form.get(name, "") for name in ("name", "password", "code")}
    try:
        opened = open_session(bridge(), **fields)
    except Refused as error:
        return _form(fault=error.code, status=401)
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


def _form(*, fault: str = "", status: int = 200) -> Response:
    token = secrets.token_urlsafe(24)
    wanted = request.values.get("next", "")
    body = render(
        "login.html", fault=fault, form_token=token, next=safe_next(wanted), name=request.form.get("name", "")
    )
    response = Response(body, status, mimetype="text/html")
    set_cookie(response, FORM_COOKIE, token, seconds=3_600)
    return response
