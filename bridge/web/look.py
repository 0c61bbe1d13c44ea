"""How pages are made: the shop's colours, the one style block, the languages, the templates.

Owns what is the same for all pages; must not know an invoice.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app, render_template, request

from bridge.language import Texts, languages
from bridge.web.context import Shop, here

_ROOM = Path(__file__).parent


class Look:
    """Made once per application. The style stands inside each page, so that the first paint needs one request; the
    content security policy names it by its hash.
    """

    def __init__(self, shop: Shop):
        dark = (
            f"@media screen and (prefers-color-scheme:dark){{{_accent(shop.accent_dark)}}}\n"
            if shop.accent_dark
            else ""
        )
        colours = f"{_accent(shop.accent)}\n{dark}"
        self.style = colours + _smaller((_ROOM / "templates" / "pay.css").read_text(encoding="utf-8"))
        self.style_sha256 = base64.b64encode(hashlib.sha256(self.style.encode()).digest()).decode()
        self.versions = {name: _version(name) for name in ("pay.js", "admin.css", "admin.js")}
        self.languages = languages()


def _version(name: str) -> str:
    """The address of a file carries its hash, so it may be kept for ever."""
    return hashlib.sha256((_ROOM / "static" / name).read_bytes()).hexdigest()[:12]


def look(app: Flask | None = None) -> Look:
    """The look of `app`, or of the application that answers the current request."""
    return cast(Look, (app or current_app).extensions["look"])


def texts_for(locale: str = "") -> Texts:
    """By ?lang=, then the invoice's `locale`, then what the browser asks for."""
    browser = [tag for tag, _ in request.accept_languages]
    return look().languages.choose([request.args.get("lang", ""), locale, *browser])


def render(template: str, texts: Texts, **values: Any) -> str:
    """A page in `texts`. Jinja escapes everything that is put in."""
    chosen = request.args.get("lang", "")
    return render_template(
        template,
        t=texts,
        look=look(),
        shop=here().shop,
        network=here().bridge.network,
        # A language that was chosen by hand stays chosen on every link of the page.
        query=f"?lang={texts.code}" if chosen == texts.code else "",
        **values,
    )


def error_page(status: int, code: str, trace: str | None) -> str:
    """What a payer sees instead of a page: what happened and what to do, in words."""
    kinds = {404: "not_found", 405: "not_found", 409: "busy", 429: "too_many"}
    kind = kinds.get(status, "busy" if status >= 500 else "other")
    return render("error.html", texts_for(), kind=kind, code=code, trace=trace)


def clean(text: str, *, longest: int = 160) -> str:
    """A stranger's text on one line, cut, without characters that steer the direction or the layout of what follows."""
    steering = r"[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u061c\ufeff]+"
    line = " ".join(re.sub(steering, " ", text[: 4 * longest]).split())
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1].rstrip() + "…"


def _accent(colour: str) -> str:
    return f":root{{--accent:{colour};--on-accent:{_readable_on(colour)}}}"


def _readable_on(colour: str) -> str:
    """Black or white, whichever has the better contrast on `colour` (WCAG relative luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#fff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#000"


def _smaller(css: str) -> str:
    """Without comments, indentation and the spaces that only people read; a selector's own spaces stay."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r" ?([{},;]) ?|(?<=:) ", r"\1", css)
    return "\n".join(line.strip() for line in css.splitlines() if line.strip())
