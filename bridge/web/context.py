"""What the routes work with: the bridge, the keys that may call it, and how the shop looks.

Owns the values given to `create_app`; must not read a setting itself.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from flask import current_app

from bridge.context import Bridge
from bridge.invoices.polled import Polled
from bridge.upkeep.check import Watching

Sign = Callable[[str, str, bytes, datetime], dict[str, str]]
CallbackCheck = Callable[[Mapping[str, str], bytes], bool]

_ACCENT = re.compile(r"#[0-9a-fA-F]{6}")
_LINK = re.compile(r"(https?://|mailto:)[^\s\"'<>]+")
# The content security policy lets a page show pictures of its own server only.
_LOGO = re.compile(r"(/[^/\s]|data:image/)[^\s\"'<>]*")
_LANGUAGE, _NOTE = re.compile(r"[a-z]{2,3}"), re.compile(r"[^\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]{1,400}")
_EXPLORER = re.compile(r"https?://[^\s\"'<>{}]+\{txid\}[^\s\"'<>{}]*")


@dataclass(frozen=True, kw_only=True)
class Shop:
    """How the payer's pages look. Empty text leaves a part out; a value that could not work raises ValueError.

    `note` is a line of the shop's own by language, `accent_dark` the colour where the payer's screen is dark, if it is another one.
    `excess_refunds`: whether payers may ask for what was too much on the page.
    """

    name: str = "Hosting"
    support_url: str = ""
    accent: str = "#b45309"
    accent_dark: str = ""
    logo_url: str = ""
    note: Mapping[str, str] = field(default_factory=dict)
    explorer_url_template: str = ""
    excess_refunds: bool = True

    def __post_init__(self) -> None:
        shapes = {
            "accent": (_ACCENT, self.accent),
            "accent_dark": (_ACCENT, self.accent_dark),
            "support_url": (_LINK, self.support_url),
            "logo_url": (_LOGO, self.logo_url),
            "explorer_url_template": (_EXPLORER, self.explorer_url_template),
        }
        for name, (shape, text) in shapes.items():
            if text and not shape.fullmatch(text):
                raise ValueError(f"shop.{name} has an unusable value")
        if not all(_LANGUAGE.fullmatch(code) and _NOTE.fullmatch(text) for code, text in self.note.items()):
            raise ValueError("shop.note has an unusable value")

    def note_in(self, language: str) -> str:
        """The shop's own words at the foot of a page; where it has none in this language those in English, else the first."""
        return self.note.get(language) or self.note.get("en") or next(iter(self.note.values()), "")

    def explorer_url(self, txid: str) -> str:
        """Where a person can look at the transaction; empty when the shop names no explorer."""
        return self.explorer_url_template.replace("{txid}", txid)


@dataclass(frozen=True, kw_only=True)
class Web:
    """Everything a route needs. `api_keys` maps the SHA-256 of a key to its merchant: keys themselves never come here."""

    bridge: Bridge
    api_keys: Mapping[str, str]
    sign: Sign
    callback_check: CallbackCheck | None
    shop: Shop = field(default_factory=Shop)
    metrics_open: bool = True
    watching: Callable[[], Watching] = Watching
    polled: Polled = field(default_factory=Polled)


def here() -> Web:
    """The values of the application that answers the current request."""
    return cast(Web, current_app.extensions["bridge"])
