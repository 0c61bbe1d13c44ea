"""What programs say in codes and in English, in the operator's language.

Owns which catalogue knows which code; must not know a sentence. A code that no catalogue knows is shown as it is.
"""

import re
from collections.abc import Callable
from typing import Any

from bridge.language import Texts
from bridge.upkeep.check import Alert, Check
from bridge.web.admin.setting_words import percent

# Fields of a review item whose value is a word of ours, and the groups that may know it.
_WORDS_OF = ("kind", "status", "state", "reason", "access", "billing_told", "client_told", "source")
_MONEY = ("base", "price", "amount")
_GROUPS = ("values", "statuses", "review_states", "quote_kinds")
_ABOVE = re.compile(r"(\d+), limit (\d+)")


def machine_words(chosen: Texts, *, why_so: Callable[[str], str]) -> dict[str, Callable[..., Any]]:
    """The functions that templates call; `why_so` has the sentences of reasons."""
    blocks, accounts = (chosen.section(f"desk.{name}") for name in ("blocks", "accounts"))
    return {
        "check_name": lambda check: _check_name(chosen, check),
        "check_detail": lambda check: _check_detail(chosen, check),
        "alert_detail": lambda alert: _alert_detail(chosen, alert),
        "block_name": lambda name: blocks.get(name) or accounts.get(name, name),
        "block_value": lambda name, value, currency="": _block_value(chosen, why_so, name, value, currency),
        "event_name": lambda kind: chosen.section("story.events").get(kind, kind),
        "journal_name": lambda kind: _journal_name(chosen, kind),
    }


def _check_name(chosen: Texts, check: Check) -> str:
    name, _, currency = check.name.partition("_")
    return f"{chosen.section('desk.checks').get(name, name)} {currency}".strip()


def _check_detail(chosen: Texts, check: Check) -> str:
    """The figure of a check that passed, or the code of the trouble."""
    word, _, more = check.detail.partition(" ")
    if not check.ok or check.detail == "ok":
        return "" if check.ok else check.detail
    if word == "mode":
        return str(chosen.section("desk.mode_names").get(more, more))
    kind = check.name.partition("_")[0]
    return chosen(f"desk.check_figures.{kind}", count=word if kind == "price" else more)


def _alert_detail(chosen: Texts, alert: Alert) -> str:
    """How much of what; the longer words of a rule are English and stay with who reads English."""
    figures = _ABOVE.fullmatch(alert.detail)
    if figures:
        return chosen("desk.above", count=figures[1], limit=figures[2])
    return alert.detail if chosen.code == "en" else ""


def _block_value(chosen: Texts, why_so: Callable[[str], str], name: str, value: Any, currency: str) -> Any:
    if isinstance(value, bool):
        return chosen(f"desk.values.{str(value).lower()}")
    if isinstance(value, int) and name.endswith("_sat"):
        return f"{'−' if value < 0 else ''}{chosen.number(str(abs(value)))} {chosen('desk.sat')}"
    if isinstance(value, int) and name.endswith("_bps"):
        return percent(chosen, value)
    if name in _MONEY and currency and isinstance(value, str):
        return chosen.money(value, currency)
    if name == "decision":
        return chosen.section("rulings").get(value, {}).get("is", value)
    if name not in _WORDS_OF or not isinstance(value, str):
        return value
    kind = chosen.section("kinds").get(value, {}).get("name", "")
    known = (kind, *(chosen.section(f"desk.{each}").get(value, "") for each in _GROUPS))
    return next(filter(None, known), "") or why_so(value) or value


def _journal_name(chosen: Texts, kind: str) -> str:
    name = str(chosen.section("desk.journals").get(kind.removesuffix("_reverse"), kind))
    return chosen("desk.reversed", name=name) if kind.endswith("_reverse") else name


def desk_words(chosen: Texts) -> dict[str, Callable[[str], str]]:
    """The sentences of a code, for kinds of review, rulings and reasons. A code of a later version is shown as it is."""
    kinds, rulings = chosen.section("kinds"), chosen.section("rulings")

    def said(group: Any, code: str, name: str) -> str:
        return _begun(group[code][name]) if name in group.get(code, {}) else code

    return {
        "kind_name": lambda kind: kinds.get(kind, {}).get("name", kind),
        "review_is": lambda kind: said(kinds, kind, "is"),
        "review_do": lambda kind: said(kinds, kind, "do"),
        "ruling": lambda decision: _begun(rulings.get(decision, {}).get("is", decision)),
        # A reason with figures in it is told by the story, with them.
        "why_so": lambda code: "" if "{" in kinds.get(code, {}).get("reason", "{") else said(kinds, code, "reason"),
    }


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
