"""What the routes work with: the bridge, the keys that may call it, and how the shop looks.

Owns the values given to `create_app`; must not read a setting itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from flask import current_app

from bridge.context import Bridge
from bridge.core.limits import check_shown
from bridge.invoices.polled import Polled
from bridge.upkeep.check import Watching

Sign = Callable[[str, str, bytes, datetime], dict[str, str]]
CallbackCheck = Callable[[Mapping[str, str], bytes], bool]


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
        names = ("accent", "accent_dark", "support_url", "logo_url", "explorer_url_template")
        shown = [(name, name.removesuffix("_dark"), text) for name in names if (text := getattr(self, name))]
        for code, line in self.note.items():
            shown += [("note", "language", code), ("note", "note", line)]
        for name, kind, text in shown:
            try:
                check_shown(kind, text)
            except ValueError as wrong:
                raise ValueError(f"shop.{name} has an unusable value: {wrong}") from None

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
