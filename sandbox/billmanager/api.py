"""Owns the HTTP face of the core: /billmgr, /mancgi, /manimg and mgrctl's door. It must not contain billing rules."""

from __future__ import annotations

import hmac
import ipaddress

from flask import Blueprint, Response, request, send_file
from werkzeug.wrappers import Response as BaseResponse

from sandbox.billmanager import cgi, documents, mgrctl, pages, sessions
from sandbox.billmanager.core import Call, Core, Element, decorate, error_document
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.pages import the_core

blueprint = Blueprint("api", __name__)


def parameters() -> dict[str, str]:
    """Query and form parameters; the form wins."""
    return {**request.args.to_dict(), **request.form.to_dict()}


def peer(core: Core) -> str:
    """The client's address; a proxy's word counts only with the shared secret."""
    secret = request.headers.get("X-Forwarded-Secret", "")
    if core.knobs.forwarded_secret and hmac.compare_digest(secret.encode(), core.knobs.forwarded_secret.encode()):
        claimed = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
        try:
            return str(ipaddress.ip_address(claimed))
        except ValueError:
            pass
    return request.remote_addr or ""


def run_call(core: Core, params: dict[str, str]) -> tuple[Call, Element]:
    """Identify the caller and run the function; an unknown caller gets `auth` or `access` as a document."""
    lang = params.get("lang") or sessions.cookie_lang(request.cookies.get(sessions.LANG_COOKIE, "")) or "en"
    call = Call(
        func=params.get("func", ""),
        params=params,
        actor=sessions.NOBODY,
        lang="ru" if lang == "ru" else "en",
        peer=peer(core),
        host=request.host_url.rstrip("/"),
    )
    try:
        actor = sessions.identify(core, params, request.cookies, call.peer)
        if actor is sessions.NOBODY and call.func not in ("auth", "logout"):
            raise CoreError("auth", "badsession")
    except CoreError as error:
        document = error_document(error, call.lang)
        decorate(document, call)
        return call, document
    call = Call(**{**vars(call), "actor": actor})
    return call, core.answer(call)


@blueprint.route("/billmgr", methods=["GET", "POST"])
@blueprint.route("/", methods=["GET", "POST"])
def billmgr() -> BaseResponse:
    """Every function of the core; without `out` the answer is a page."""
    core, params = the_core(), parameters()
    form = params.get("out", "")
    if form not in documents.MIME:
        return pages.show(core, params)
    _, document = run_call(core, params)
    text = documents.write(document, form, arrays=core.knobs.json_arrays)
    response = Response(text, content_type=f"{documents.MIME[form]}; charset=UTF-8")
    granted = document.find("auth")
    if granted is not None:
        response.set_cookie(sessions.COOKIE, (granted.text or "") + core.knobs.cookie_suffix)
    return response


@blueprint.route("/mancgi/<path:name>", methods=["GET", "POST", "PUT", "DELETE", "HEAD"])
def mancgi(name: str) -> BaseResponse:
    """Hand the request to a CGI script of the tree."""
    host = request.host
    reply = cgi.serve(
        the_core(),
        cgi.Request(
            method=request.method,
            name=name,
            query=request.query_string.decode("latin-1"),
            headers=list(request.headers.items()),
            body=request.get_data(cache=False),
            remote=request.remote_addr or "",
            scheme=request.scheme,
            host=host,
            port=str(request.environ.get("SERVER_PORT", "")),
            protocol=str(request.environ.get("SERVER_PROTOCOL", "HTTP/1.1")),
        ),
    )
    return Response(reply.body, status=reply.status, headers=reply.headers)


@blueprint.get("/manimg/<path:name>")
def manimg(name: str) -> BaseResponse:
    """A module's logo from `skins/`."""
    skins = (the_core().base / "skins").resolve()
    path = (skins / name).resolve()
    if not path.is_relative_to(skins) or not path.is_file():
        return Response("no such picture\n", status=404, content_type="text/plain")
    return send_file(path)


@blueprint.post("/_mgrctl")
def mgrctl_door() -> BaseResponse:
    """Where this tree's mgrctl knocks; the token is in a file only the tree's owner can read."""
    core = the_core()
    if not hmac.compare_digest(request.headers.get("X-Core-Token", "").encode(), core.token.encode()):
        return Response(status=403)
    answer = mgrctl.serve(core, request.get_data())
    if answer.fate == "dead":  # without its header the stub takes the answer for a broken link
        return Response(status=502)
    stderr = answer.stderr.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
    headers = {"X-Mgrctl-Rc": str(answer.rc), "X-Mgrctl-Stderr": stderr, "X-Mgrctl-Fault": answer.fate}
    return Response(answer.stdout, headers=headers, content_type="application/octet-stream")
