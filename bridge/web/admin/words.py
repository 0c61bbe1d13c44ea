"""What programs say in codes and in English, in the operator's language; how the settings of a policy are called, what each means, and its
value in a unit that people read: "15 min", "1 %", "500,000 sat".

Owns which catalogue knows which code, and the units; must not know a sentence. What no catalogue knows is shown as it is.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from bridge.core.money import BTC, EXPONENTS, minor_text
from bridge.language import Texts
from bridge.upkeep.check import Alert, Check

# Fields of a review item whose value is a word of ours, and the groups that may know it.
_WORDS_OF = ("kind", "status", "state", "reason", "access", "billing_told", "client_told", "source")
_MONEY = ("base", "price", "amount")
_GROUPS = ("values", "statuses", "review_states", "quote_kinds")
_ABOVE = re.compile(r"(\d+), limit (\d+)")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_STEP = re.compile(r"\[([0-9]+), ([0-9]+)\]")
# What holds smallest units by currency.
_MINOR = ("_minor", "minor_per_day")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class Words:
    """One language's."""

    def __init__(self, chosen: Texts):
        self._t = chosen
        self._kinds, self._rulings = chosen.section("kinds"), chosen.section("rulings")

    def say(self, group: str, code: str) -> str:
        """A code of a later version is shown as it is rather than breaking the page."""
        return str(self._t.section(f"desk.{group}").get(code, code))

    def kind_name(self, kind: str) -> str:
        return str(self._kinds.get(kind, {}).get("name", kind))

    def review_is(self, kind: str) -> str:
        return self._of_kind(kind, "is")

    def review_do(self, kind: str) -> str:
        return self._of_kind(kind, "do")

    def ruling(self, decision: str) -> str:
        return _begun(self._rulings.get(decision, {}).get("is", decision))

    def why_so(self, code: str) -> str:
        """The reason; one that wants figures is told by its headline."""
        kind = self._kinds.get(code, {})
        sentence = str(kind.get("reason", ""))
        return str(kind.get("page", {}).get("title", "")) if "{" in sentence else _begun(sentence)

    def _of_kind(self, code: str, name: str) -> str:
        return _begun(self._kinds[code][name]) if name in self._kinds.get(code, {}) else code

    def check_name(self, check: Check) -> str:
        name, _, currency = check.name.partition("_")
        return f"{self.say('checks', name)} {currency}".strip()

    def check_detail(self, check: Check) -> str:
        """The figure of a check that passed, or the code of the trouble."""
        word, _, more = check.detail.partition(" ")
        if not check.ok or check.detail == "ok":
            return "" if check.ok else check.detail
        if word == "mode":
            return self.say("mode_names", more)
        kind = check.name.partition("_")[0]
        return self._t(f"desk.check_figures.{kind}", count=word if kind == "price" else more)

    def alert_detail(self, alert: Alert) -> str:
        """How much of what; the longer words of a rule are English and stay with who reads English."""
        figures = _ABOVE.fullmatch(alert.detail)
        if figures:
            return self._t("desk.above", count=figures[1], limit=figures[2])
        return alert.detail if self._t.code == "en" else ""

    def block_name(self, name: str) -> str:
        return self._t.section("desk.blocks").get(name) or self.say("accounts", name)

    def block_value(self, name: str, value: Any, currency: str = "") -> Any:
        if isinstance(value, bool):
            return self.say("values", str(value).lower())
        if isinstance(value, int) and name.endswith("_sat"):
            return self.in_asset(value, BTC)
        if isinstance(value, int) and name.endswith("_bps"):
            return self._percent(value)
        if name in _MONEY and currency and isinstance(value, str):
            return self._t.money(value, currency)
        if name == "decision":
            return self._rulings.get(value, {}).get("is", value)
        if name not in _WORDS_OF or not isinstance(value, str):
            return value
        kind = self._kinds.get(value, {}).get("name", "")
        known = (kind, *(self._t.section(f"desk.{each}").get(value, "") for each in _GROUPS))
        return next(filter(None, known), "") or self.why_so(value) or value

    def in_asset(self, units: int, asset: str) -> str:
        """What a ledger counts, as people do: satoshi, or money."""
        n = abs(units)
        in_sat = f"{self._t.number(str(n))} {self._t('desk.sat')}"
        told = in_sat if asset == BTC else self._t.money(minor_text(n, asset), asset)
        return f"{'−' if units < 0 else ''}{told}"

    def event_name(self, kind: str) -> str:
        return str(self._t.section("story.events").get(kind, kind))

    def status_name(self, code: str) -> str:
        return self._t.section("desk.statuses").get(code) or self.say("payout_states", code)

    def journal_name(self, kind: str) -> str:
        name = str(self._t.section("desk.journals").get(kind.removesuffix("_reverse"), kind))
        return self._t("desk.reversed", name=name) if kind.endswith("_reverse") else name

    def setting_name(self, path: str) -> str:
        """A setting is told by its name or by its whole path."""
        above, _, currency = path.rpartition(".")
        if currency in EXPONENTS and "name" in self._setting(above):
            return f"{self.setting_name(above)}, {currency}"
        return self._setting(path).get("name", path.rpartition(".")[2])

    def setting_is(self, path: str) -> str:
        return self._setting(path).get("is", "")

    def setting_value(self, path: str, value: Any) -> str:
        """A value as the settings have it, or as the text of a difference."""
        above, _, name = path.rpartition(".")
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or value in ("true", "false"):
            return self.say("values", str(value).lower())
        if isinstance(value, int):
            return self._number(name, above, value)
        if name == "confirmations" and isinstance(value, dict):
            return "; ".join([*self._steps(value["steps"]), self._depth(value["above"])])
        if name == "steps" and isinstance(value, str):
            return "; ".join(self._steps([(int(sat), int(depth)) for sat, depth in _STEP.findall(value)]))
        if name.endswith(_MINOR) and isinstance(value, dict):
            return ", ".join(self._t.money(minor_text(minor, code), code) for code, minor in value.items()) or "–"
        text = value if isinstance(value, str) else json.dumps(value)
        known = self._t.section("desk.sweep_modes" if name == "sweep_mode" else "desk.setting_choices")
        return str(known.get(text if name == "sweep_mode" else f"{name}.{text}", text))

    def _setting(self, path: str) -> dict[str, str]:
        """The words of the longest end of the path that the catalogue knows."""
        words, parts = self._t.section("desk.settings"), path.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts)))
        found: dict[str, str] = next((words[end] for end in ends if end in words), {})
        return found

    def _number(self, name: str, above: str, value: int) -> str:
        if above.endswith(_MINOR) and name in EXPONENTS:
            return self._t.money(minor_text(value, name), name)
        if name.endswith("_seconds"):
            return self._duration(value)
        if name.endswith("_bps"):
            return self._percent(value)
        if name.endswith("_sat"):
            return f"{self._t.number(str(value))}\u00a0{self._t('desk.sat')}"
        if name.endswith("_depth") or name in ("above", "depth", "confirmations_above"):
            return self._depth(value)
        return self._t.number(str(value))

    def _steps(self, steps: Any) -> Iterator[str]:
        for sat, depth in steps:
            yield self._t("desk.settings_step", depth=self._depth(depth), sat=self._t.number(str(sat)))

    def _depth(self, depth: int) -> str:
        return self._t.count("confirmation", depth)

    def _duration(self, seconds: int) -> str:
        """Seconds in the largest units that leave no rest: 900 is "15 min", 5400 "1 h 30 min"."""
        said, rest = list[str](), seconds
        for unit, size in _UNITS:
            count, rest = divmod(rest, size)
            if count or (unit == "s" and not said):
                said.append(self._t(f"desk.durations.{unit}", n=self._t.number(str(count))))
        return "\u00a0".join(said)

    def _percent(self, bps: int) -> str:
        """Hundredths of a percent as percent, without idle zeros: 100 is "1 %"."""
        return f"{self._t.percent(bps)}\u00a0%"


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def words_in(chosen: Texts) -> dict[str, Callable[..., Any]]:
    """The functions that templates call, by their names."""
    words = Words(chosen)
    return {name: getattr(words, name) for name in vars(Words) if not name.startswith("_")}
