"""What programs say in codes and in English, in the operator's language; how the settings of a policy are called, what each means, and its
value in a unit that people read: "15 min", "1 %", "500,000 sat".

Owns which catalogue knows which code, and the units; must not know a sentence. What no catalogue knows is shown as it is.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge.core.money import BTC, EXPONENTS, minor_text
from bridge.language import Texts
from bridge.upkeep.check import Alert, Check

# Fields of a review item whose value is a word of ours, and the groups that may know it.
_WORDS_OF = ("kind", "status", "state", "reason", "access", "billing_told", "client_told", "source")
_MONEY = ("base", "price", "amount")
_GROUPS = ("values", "statuses", "review_states", "quote_kinds")
_ABOVE = re.compile(r"(\d+), limit (\d+)")


def machine_words(chosen: Texts, *, why_so: Callable[[str], str]) -> dict[str, Callable[..., Any]]:
    """The functions that templates call; `why_so` has the sentences of reasons."""
    blocks, accounts, statuses = (chosen.section(f"desk.{name}") for name in ("blocks", "accounts", "statuses"))
    return {
        "check_name": lambda check: _check_name(chosen, check),
        "check_detail": lambda check: _check_detail(chosen, check),
        "alert_detail": lambda alert: _alert_detail(chosen, alert),
        "block_name": lambda name: blocks.get(name) or accounts.get(name, name),
        "block_value": lambda name, value, currency="": _block_value(chosen, why_so, name, value, currency),
        "status_name": lambda code: statuses.get(code) or chosen.section("desk.payout_states").get(code, code),
        "event_name": lambda kind: chosen.section("story.events").get(kind, kind),
        "in_asset": lambda units, asset: _in_asset(chosen, units, asset),
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
        return _in_asset(chosen, value, BTC)
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


def _in_asset(chosen: Texts, units: int, asset: str) -> str:
    """What a ledger counts, as people do: satoshi, or money."""
    n = abs(units)
    told = (
        f"{chosen.number(str(n))} {chosen('desk.sat')}" if asset == BTC else chosen.money(minor_text(n, asset), asset)
    )
    return f"{'−' if units < 0 else ''}{told}"


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
        "why_so": lambda code: _why_so(kinds.get(code, {})),
    }


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _why_so(kind: Mapping[str, Any]) -> str:
    """What wants figures is told by its headline."""
    sentence = str(kind.get("reason", ""))
    return str(kind.get("page", {}).get("title", "")) if "{" in sentence else _begun(sentence)


_WHOLE = re.compile(r"-?[0-9]{1,18}")
_STEP = re.compile(r"\[([0-9]+), ([0-9]+)\]")
# What holds smallest units by currency.
_MINOR = ("_minor", "minor_per_day")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def setting_words(chosen: Texts) -> dict[str, Callable[..., Any]]:
    """The functions that templates call; a setting is told by its name or by its whole path."""
    return {
        "setting_name": lambda path: _name(chosen, path),
        "setting_is": lambda path: _known(chosen, path).get("is", ""),
        "setting_value": lambda path, value: _value(chosen, path, value),
    }


def _known(chosen: Texts, path: str) -> dict[str, str]:
    """The words of the longest end of the path that the catalogue knows."""
    words, parts = chosen.section("desk.settings"), path.split(".")
    ends = (".".join(parts[place:]) for place in range(len(parts)))
    found: dict[str, str] = next((words[end] for end in ends if end in words), {})
    return found


def _name(chosen: Texts, path: str) -> str:
    above, _, currency = path.rpartition(".")
    if currency in EXPONENTS and "name" in _known(chosen, above):
        return f"{_name(chosen, above)}, {currency}"
    return _known(chosen, path).get("name", path.rpartition(".")[2])


def _value(chosen: Texts, path: str, value: Any) -> str:
    """A value as the settings have it, or as the text of a difference."""
    above, _, name = path.rpartition(".")
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or value in ("true", "false"):
        return str(chosen(f"desk.values.{str(value).lower()}"))
    if isinstance(value, int):
        return _number(chosen, name, above, value)
    if name == "confirmations" and isinstance(value, dict):
        return "; ".join([*_steps(chosen, value["steps"]), _depth(chosen, value["above"])])
    if name == "steps" and isinstance(value, str):
        return "; ".join(_steps(chosen, [(int(sat), int(depth)) for sat, depth in _STEP.findall(value)]))
    if name.endswith(_MINOR) and isinstance(value, dict):
        return ", ".join(chosen.money(minor_text(minor, code), code) for code, minor in value.items()) or "–"
    text = value if isinstance(value, str) else json.dumps(value)
    known = chosen.section("desk.sweep_modes" if name == "sweep_mode" else "desk.setting_choices")
    return str(known.get(text if name == "sweep_mode" else f"{name}.{text}", text))


def _number(chosen: Texts, name: str, above: str, value: int) -> str:
    if above.endswith(_MINOR) and name in EXPONENTS:
        return chosen.money(minor_text(value, name), name)
    if name.endswith("_seconds"):
        return duration(chosen, value)
    if name.endswith("_bps"):
        return percent(chosen, value)
    if name.endswith("_sat"):
        return f"{chosen.number(str(value))}\u00a0{chosen('desk.sat')}"
    if name.endswith("_depth") or name in ("above", "depth", "confirmations_above"):
        return _depth(chosen, value)
    return chosen.number(str(value))


def _steps(chosen: Texts, steps: Any) -> Iterator[str]:
    for sat, depth in steps:
        yield chosen("desk.settings_step", depth=_depth(chosen, depth), sat=chosen.number(str(sat)))


def _depth(chosen: Texts, depth: int) -> str:
    return chosen.count("confirmation", depth)


def duration(chosen: Texts, seconds: int) -> str:
    """Seconds in the largest units that leave no rest: 900 is "15 min", 5400 "1 h 30 min"."""
    said, rest = list[str](), seconds
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not said):
            said.append(chosen(f"desk.durations.{unit}", n=chosen.number(str(count))))
    return "\u00a0".join(said)


def percent(chosen: Texts, bps: int) -> str:
    """Hundredths of a percent as percent, without idle zeros: 100 is "1 %"."""
    return f"{chosen.percent(bps)}\u00a0%"
