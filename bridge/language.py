"""What people read, in their language: one catalogue file each in texts/.

Owns the choice of a language, plural forms and the shapes of numbers, dates and money; must not know any sentence.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bridge.core.books import Calendar
from bridge.core.errors import Refused
from bridge.core.money import btc_text

CATALOGUES = Path(__file__).parent / "texts"
DEFAULT = "en"
_UTC = Calendar()
_NO_BREAK_SPACE = "\u00a0"
# What no line may begin with: the unit of the number before it, and a dash.
_NEVER_FIRST = re.compile(r" (?=(?:BTC|sat|сат|₽|%|—)(?!\w))")


class Texts:
    """One catalogue. `texts("labels.copy")` is a sentence, with its {placeholders} filled.

    A page keeps a number and its word on one line; what is `plain`, for terminals and files, has ordinary spaces.
    """

    def __init__(self, catalogue: Mapping[str, Any], *, is_plain: bool = False, calendar: Calendar = _UTC):
        self._catalogue = catalogue
        self._is_plain = is_plain
        self._calendar = calendar
        self.code: str = catalogue["code"]
        self.name: str = catalogue["name"]

    @property
    def is_whole(self) -> bool:
        return "desk" in self._catalogue

    @cached_property
    def plain(self) -> "Texts":
        return Texts(self._catalogue, is_plain=True, calendar=self._calendar)

    def by(self, calendar: Calendar) -> "Texts":
        """The same with times as they are in the time zone of the books: for people of the shop."""
        return Texts(self._catalogue, is_plain=self._is_plain, calendar=calendar)

    def __call__(self, path: str, **values: object) -> str:
        """The sentence at `path`. Raises KeyError for a path that the catalogue lacks: a test finds that first."""
        said = str(self.section(path))
        said = said if self._is_plain else _NEVER_FIRST.sub(_NO_BREAK_SPACE, said)
        return said.format_map(values) if values else said

    def section(self, path: str) -> Any:
        """A sentence or a group of them; event types hold a point, so the last name may too."""
        found: Any = self._catalogue
        while path not in found:
            name, _, path = path.partition(".")
            found = found[name]
        return found[path]

    def number(self, text: str) -> str:
        """Decimal text such as "1234.50" with this language's separators."""
        whole, point, fraction = text.partition(".")
        sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        groups = sign + f"{int(whole):,}".replace(",", self.section("number.group"))
        return self._spaced(groups + (self.section("number.point") + fraction if point else ""))

    def money(self, text: str, currency: str) -> str:
        """Fiat for people."""
        symbol = self._catalogue["symbols"].get(currency, currency)
        return self._spaced(self._catalogue["money"].format(number=self.number(text), symbol=symbol))

    def percent(self, bps: int) -> str:
        """Hundredths of a percent as percent, without idle zeros: 100 is "1", 125 is "1.25"."""
        return self.number(f"{bps // 100}.{bps % 100:02d}".rstrip("0").rstrip("."))

    def btc(self, sat: int) -> str:
        """Bitcoin as wallets take it: always eight digits and a point."""
        return btc_text(sat)

    def sat(self, amount_sat: int) -> str:
        return self.count("satoshi", amount_sat)

    def count(self, what: str, n: int) -> str:
        """ "1 confirmation", "5 подтверждений": the plural form that `n` needs."""
        forms: Mapping[str, str] = self._catalogue["counts"][what]
        return self._spaced(forms[self._plural_form(abs(n))].format(n=self.number(str(n))))

    def day(self, day: date) -> str:
        """A day of the books."""
        return self._spaced(
            self("date.day", day=day.day, month=self.section("date.months")[day.month - 1], year=day.year)
        )

    def when(self, at: datetime | str) -> str:
        """A time, also as RFC 3339 text, in UTC unless these texts go `by` another zone; a payer's page turns it into his own."""
        at = self._calendar.local(datetime.fromisoformat(at) if isinstance(at, str) else at)
        month, form = self.section("date.months")[at.month - 1], "date.plain" if self._is_plain else "date.form"
        # Zones that have no letters of their own are called "+04".
        zone = f"UTC{at.tzname()}" if (at.tzname() or "")[:1] in "+-" else at.tzname()
        told = self(form, day=at.day, month=month, year=at.year, time=at.strftime("%H:%M"), zone=zone)
        # A line may end between day and time, not within them.
        return self._spaced(told).replace(f",{_NO_BREAK_SPACE}", ", ")

    def _spaced(self, text: str) -> str:
        return text.replace(_NO_BREAK_SPACE, " ") if self._is_plain else text.replace(" ", _NO_BREAK_SPACE)

    def _plural_form(self, n: int) -> str:
        for form, rule in self._catalogue["plural_rules"].items():
            is_in = n in rule.get("is", [n]) and n % 10 in rule.get("mod10", [n % 10])
            if is_in and n % 100 not in rule.get("not_mod100", []):
                return str(form)
        return "other"


class Languages:
    """All catalogues found at the start."""

    def __init__(self, folder: Path = CATALOGUES):
        self._folder = folder

    @cached_property
    def all(self) -> dict[str, Texts]:
        """By language code, in the order of their files."""
        found = [Texts(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(self._folder.glob("*.json"))]
        return {texts.code: texts for texts in found}

    @cached_property
    def whole(self) -> dict[str, Texts]:
        """Those that speak to the shop's people too; a file may hold what payers read alone."""
        return {code: texts for code, texts in self.all.items() if texts.is_whole}

    def choose(self, wishes: Iterable[str], *, whole: bool = False) -> Texts:
        """The first wish that we speak ("ru_RU" and "ru-KZ" are "ru"), else English."""
        spoken = self.whole if whole else self.all
        for wish in wishes:
            code = wish.replace("_", "-").partition("-")[0].strip().lower()
            if code in spoken:
                return spoken[code]
        return spoken[DEFAULT]


@cache
def languages() -> Languages:
    """Those of this program."""
    return Languages()


def plain_texts(lang: str) -> Texts:
    """For what is no page. Raises Refused("unknown_language")."""
    known = languages().whole
    if lang not in known:
        raise Refused("unknown_language", f"The languages are {', '.join(known)}.", field="lang")
    return known[lang].plain
