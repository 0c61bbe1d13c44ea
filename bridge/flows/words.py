"""The sentences of an explanation in one language: catalogue, plural forms, numbers and dates.

Owns the catalogues in texts/; must not choose what is told, `flows.story` does.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from bridge.core.errors import Refused

CATALOGUES = Path(__file__).parent / "texts"
LANGUAGES = ("en", "ru")


class Words:
    """One catalogue. `words("reasons.late")` is a sentence with its {placeholders} filled."""

    def __init__(self, catalogue: Mapping[str, Any]):
        self._catalogue = catalogue

    def __call__(self, path: str, **values: object) -> str:
        """The sentence at `path`. Raises KeyError when the catalogue lacks it: a test finds that first."""
        return str(self.section(path)).format_map(values)

    def section(self, path: str) -> Any:
        """A sentence or a group of them; event types hold a point, so the last name may too."""
        found: Any = self._catalogue
        group, _, rest = path.partition(".")
        while rest and rest not in found[group]:
            found, (group, _, rest) = found[group], rest.partition(".")
        return found[group][rest] if rest else found[group]

    def number(self, text: str) -> str:
        """Decimal text such as "1234.50" with this language's separators."""
        whole, point, fraction = text.partition(".")
        groups = f"{int(whole):,}".replace(",", self.section("number.group"))
        return groups + (self.section("number.point") + fraction if point else "")

    def count(self, what: str, n: int) -> str:
        """ "1 confirmation", "5 подтверждений": the plural form that `n` needs."""
        forms: Mapping[str, str] = self._catalogue["counts"][what]
        return forms[self._plural_form(abs(n))].format(n=self.number(str(n)))

    def sat(self, amount_sat: int) -> str:
        return self.count("satoshi", amount_sat)

    def when(self, at: datetime) -> str:
        at = at.astimezone(UTC)
        month = self._catalogue["months"][at.month - 1]
        return self("date", day=at.day, month=month, year=at.year, time=at.strftime("%H:%M"))

    def actor(self, name: str) -> str:
        """A part of the bridge in words; a person's own name as it is."""
        return str(self._catalogue["actors"].get(name.partition(":")[0], name))

    def _plural_form(self, n: int) -> str:
        for form, rule in self._catalogue["plural_rules"].items():
            is_in = n in rule.get("is", [n]) and n % 10 in rule.get("mod10", [n % 10])
            if is_in and n % 100 not in rule.get("not_mod100", []):
                return str(form)
        return "other"


@cache
def words_of(lang: str) -> Words:
    """Raises Refused("unknown_language")."""
    if lang not in LANGUAGES:
        raise Refused("unknown_language", f"The languages are {', '.join(LANGUAGES)}.", field="lang")
    return Words(json.loads((CATALOGUES / f"{lang}.json").read_text(encoding="utf-8")))
