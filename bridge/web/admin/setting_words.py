"""How the settings of a policy are called, what each means, and its value in a unit that people read: "15 min", "1 %", "500,000 sat".

Owns the units; the names stand in the catalogue. A setting of a later version is shown as it is written.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from bridge.core.money import EXPONENTS, minor_text
from bridge.language import Texts

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
