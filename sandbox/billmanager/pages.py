"""Owns what all pages share: who looks, in which language, login and logout. It must not go around the core's functions."""

from __future__ import annotations

from typing import Any, cast
from xml.etree import ElementTree as ET

from flask import Blueprint, Response, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.billmanager import documents, sessions, texts
from sandbox.billmanager.core import Call, Core, Element
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import money
from sandbox.billmanager.rows import User
from sandbox.billmanager.words import word

blueprint = Blueprint("pages", __name__)
RETURNS = ("payment.success", "payment.fail", "payment.pending")


def the_core() -> Core:
    """The core this application serves."""
    return cast(Core, current_app.extensions["core"])


def language() -> str:
    """`ru` or `en`, from the panel's language cookie."""
    return "ru" if sessions.cookie_lang(request.cookies.get(sessions.LANG_COOKIE, "")) == "ru" else "en"


def viewer() -> User:
    """Who looks at the page; nobody without a good session."""
    sid = request.args.get("auth") or sessions.cookie_session(request.cookies.get(sessions.COOKIE, ""))
    try:
        return sessions.by_session(the_core(), sid)
    except CoreError:
        return sessions.NOBODY


def perform(func: str, params: dict[str, str], *, user: User | None = None) -> Element:
    """Run a function as the viewer."""
    actor = viewer() if user is None else user
    peer = request.remote_addr or ""
    return the_core().answer(Call(func=func, params=params, actor=actor, lang=language(), peer=peer))


def error_of(document: Element) -> tuple[str, str] | None:
    """The object and the text of an error document."""
    error = document.find("error")
    return None if error is None else (error.get("object", ""), error.findtext("msg", ""))


def page(template: str, **values: Any) -> str:
    """Render a template with the words of the viewer's language."""
    lang = language()
    user = viewer()
    return render_template(
        f"{template}.html",
        core=the_core(),
        lang=lang,
        user=user,
        money=money,
        t=lambda name: word(name, lang),
        status=lambda number: (texts.STATUSES[number][0], texts.status_text(number, lang)),
        iso=lambda number: the_core().world.currencies[number].iso,
        here=request.full_path.rstrip("?"),
        **values,
    )


def show(core: Core, params: dict[str, str]) -> BaseResponse:
    """The page for a request to the core without `out`."""
    func = params.get("func", "")
    if func == "auth" and request.method == "POST":
        return log_in(core, params)
    if func in RETURNS:
        return return_page(core, params)
    user = viewer()
    if func in ("", "payment", "dashboard", "auth"):
        if user is sessions.NOBODY:
            return Response(page("login", failed=False))
        return redirect("/admin/" if user.level >= 30 else "/client/")
    actor = user if user is not sessions.NOBODY else sessions.NOBODY
    document = perform(func, params, user=actor)
    ET.indent(document)
    return Response(page("document", func=func, text=documents.write_xml(document)))


def log_in(core: Core, params: dict[str, str]) -> BaseResponse:
    """Check the name and password, set the session cookie."""
    document = perform("auth", params, user=sessions.NOBODY)
    granted = document.find("auth")
    if granted is None:
        return Response(page("login", failed=True), status=401)
    response = redirect("/")
    value = (granted.text or "") + core.knobs.cookie_suffix
    response.set_cookie(sessions.COOKIE, value, httponly=True, samesite="Lax")
    return response


def return_page(core: Core, params: dict[str, str]) -> BaseResponse:
    """payment.success, payment.fail, payment.pending: where the gateway sends the client back."""
    user, elid = viewer(), params.get("elid", "")
    payment = core.world.payments.get(int(elid)) if elid.isascii() and elid.isdigit() else None
    if payment is not None and user.level < 30 and user.account != payment.account:
        payment = None
    kind = params["func"].removeprefix("payment.")
    if payment is not None and payment.status == 4:
        kind = "success"
    elif kind == "success":  # the record decides what is said, not the address
        kind = "pending"
    return Response(page("return", kind=kind, payment=payment))


@blueprint.post("/logout")
def logout() -> BaseResponse:
    """End the session."""
    sid = sessions.cookie_session(request.cookies.get(sessions.COOKIE, ""))
    perform("logout", {"auth": sid}, user=sessions.NOBODY)
    response = redirect("/")
    response.delete_cookie(sessions.COOKIE)
    return response


@blueprint.get("/lang/<lang>")
def switch(lang: str) -> BaseResponse:
    """Choose the language and go back to a page of this panel."""
    back = request.args.get("back", "/")
    own = back.startswith("/") and not back.startswith(("//", "/\\"))
    response = redirect(back if own else "/")
    response.set_cookie(sessions.LANG_COOKIE, f"dragon:{'ru' if lang == 'ru' else 'en'}", samesite="Lax")
    return response
