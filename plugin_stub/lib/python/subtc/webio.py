"""A CGI request in and a CGI response out (BILLmanager contract 7).

Owns headers, cookies, the size cap and escaping of the frame; must not know payments.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Mapping, NamedTuple
from urllib.parse import parse_qsl, unquote

BODY_CAP = 65536
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class BadRequest(Exception):
    """The request cannot be read. `status` is what to answer."""

    def __init__(self, status: int):
        super().__init__(_REASONS[status])
        self.status = status


class Request(NamedTuple):
    """One request; `fields` holds query and form together, the query first."""

    method: str
    fields: Mapping[str, str]
    cookies: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Request(method={self.method!r})"

    def session(self) -> str:
        """BILLmanager's session: `auth` wins, else the cookie, whose value may be url-encoded and end in `:…`."""
        text = self.fields.get("auth") or unquote(self.cookies.get("billmgrses5", "")).split(":")[0]
        return text if _SESSION.fullmatch(text) else ""

    def language(self) -> str:
        """en or ru: from `lang`, else from the cookie billmgrlang5=<theme>:<lang>, else what the browser prefers."""
        cookie = unquote(self.cookies.get("billmgrlang5", "")).split(":")[-1]
        browser = os.environ.get("HTTP_ACCEPT_LANGUAGE", "")[:2]
        for choice in (self.fields.get("lang", ""), cookie, browser.lower()):
            if choice in ("en", "ru"):
                return choice
        return "en"


def header(name: str) -> str:
    """A request header; for Content-* also without HTTP_, as hosts differ (contract 18.7)."""
    variable = name.upper().replace("-", "_")
    found = os.environ.get(f"HTTP_{variable}")
    if found is None and variable.startswith("CONTENT_"):
        found = os.environ.get(variable)
    return found or ""


def read_body() -> bytes:
    """Exactly the announced number of bytes of STDIN, at most 64 KiB. Raises BadRequest (400, 413)."""
    length = 0
    for variable in ("CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"):
        text = os.environ.get(variable, "").strip()
        if not re.fullmatch(r"[0-9]{0,15}", text):
            raise BadRequest(400)
        length = length or int(text or "0")
    if length > BODY_CAP:
        raise BadRequest(413)
    body = sys.stdin.buffer.read(length) if length else b""
    if len(body) != length:
        raise BadRequest(400)
    return body


def read_request() -> Request:
    """Query, form body and cookies. Raises BadRequest."""
    method = os.environ.get("REQUEST_METHOD", "GET").upper()
    if method not in ("GET", "HEAD", "POST"):
        raise BadRequest(405)
    fields: dict[str, str] = {}
    sources = [os.environ.get("QUERY_STRING", "")]
    if method == "POST":
        sources.append(read_body().decode("utf-8", "replace"))
    try:
        for source in sources:
            for name, value in parse_qsl(source, keep_blank_values=True, max_num_fields=200):
                fields.setdefault(name, value)
    except ValueError as err:
        raise BadRequest(400) from err
    return Request(method, fields, _cookies(os.environ.get("HTTP_COOKIE", "")))


def _cookies(text: str) -> dict[str, str]:
    """Split by hand: http.cookies throws everything away when one cookie of another site is malformed."""
    found: dict[str, str] = {}
    for part in text[:8192].split(";"):
        name, _, value = part.strip().partition("=")
        found.setdefault(name, value.strip('"'))
    return found


def respond(status: int, body: str, *, kind: str = "text/html", headers: Mapping[str, str] | None = None) -> None:
    """Write one CGI response. Header values never contain a line break, whatever the caller was given."""
    fields = {
        "Status": f"{status} {_REASONS[status]}",
        "Content-Type": f"{kind}; charset=utf-8",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        **(headers or {}),
    }
    head = "".join(f"{name}: {re.sub(r'[^ -~]', '', value)}\n" for name, value in fields.items())
    sys.stdout.buffer.write(head.encode("ascii") + b"\n" + body.encode("utf-8"))
    sys.stdout.buffer.flush()


def redirect(url: str, text: str) -> None:
    """302 with a link for browsers that stay."""
    respond(302, page(text, "", link=url), headers={"Location": url})


def page(title: str, advice: str, *, link: str = "", link_text: str = "") -> str:
    """A plain page of escaped text without script."""
    from html import escape  # its table of all names is dear, and most answers are no page

    anchor = f'<p><a href="{escape(link)}">{escape(link_text or link)}</a></p>' if link else ""
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title></head>"
        f"<body><h1>{escape(title)}</h1><p>{escape(advice)}</p>{anchor}</body></html>\n"
    )
