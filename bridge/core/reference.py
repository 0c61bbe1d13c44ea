"""What a text that somebody looks for an invoice by can be: an id, a transaction, a client, a number of a document, a sum.

Owns that reading, and which number of a payment a description carries; must not know where any of it is kept.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bridge.core.errors import Refused
from bridge.core.money import BTC, MAX_MONEY_SAT, SAT_PER_BTC, to_minor

Kind = Literal["reference", "transaction", "client", "email", "document", "amount", "sat", "description"]
# Shorter words are common to every description, and shorter beginnings of a transaction to too many.
LEAST_WORD = 3
_HEX = re.compile(r"[0-9a-fA-F]{6,64}")
_UNIT = re.compile(r"^(?P<before>[^0-9\s]+)?\s*(?P<number>[0-9][0-9.,\s']*?)\s*(?P<after>[^0-9\s.,']+\.?)?$")
_SCHEME = re.compile(r"^(?:lightning|bitcoin):", re.IGNORECASE)
_BRACKETS = re.compile(r"\(([^()]{1,40})\)\s*$")
_SAT = frozenset({"sat", "sats", "satoshi", "сат", "сатоши"})
# What people write where the standard has a code.
_UNITS = {"₿": BTC, "xbt": BTC, "bitcoin": BTC, "$": "USD", "€": "EUR", "£": "GBP", "₽": "RUB", "руб": "RUB"} | {
    "р": "RUB",
    "₴": "UAH",
    "₸": "KZT",
}


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One thing that a text can be. `units` are minor units of `currency`, or satoshi; a transaction may be its beginning."""

    kind: Kind
    text: str = ""
    units: int = 0
    currency: str = ""


def asks_of(text: str, *, currencies: Iterable[str]) -> tuple[Ask, ...]:
    """Everything that it can be, the plainest first; a sum without a unit may be of any of `currencies`, or bitcoin."""
    wanted = " ".join(text.split())
    asks = [*_names(wanted), *_sums(wanted, sorted(currencies))]
    if len(wanted) >= LEAST_WORD and any(letter.isalpha() for letter in wanted) and "://" not in wanted:
        asks.append(Ask(kind="description", text=wanted))
    return tuple(dict.fromkeys(asks))


def document_of(description: str) -> str:
    """The number of the payment as a description ends with it, "VPS-2 (pay/7)", or nothing."""
    found = _BRACKETS.search(description)
    return found[1].strip() if found else ""


def _names(text: str) -> Iterator[Ask]:
    if not text:
        return
    if " " not in text:
        # A page's or wallet's link is what it opens.
        link = text.partition("?")[0].rstrip("/")
        link = link.rpartition("/")[2] if "://" in link or "/pay/" in link else link
        yield Ask(kind="reference", text=_SCHEME.sub("", link))
        if _HEX.fullmatch(text):
            yield Ask(kind="transaction", text=text.lower())
        if "@" in text:
            yield Ask(kind="email", text=text)
    yield Ask(kind="client", text=text)
    yield Ask(kind="document", text=text.lstrip("#№ "))


def _sums(text: str, currencies: list[str]) -> Iterator[Ask]:
    found = _UNIT.match(text)
    if found is None or (found["before"] and found["after"]):
        return
    unit = (found["before"] or found["after"] or "").rstrip(".").casefold()
    named = _UNITS.get(unit, unit.upper())
    for number in _decimals(found["number"]):
        if unit in _SAT or (not unit and "." not in number):
            yield from _sat(number)
        if named == BTC or (not unit and "." in number):
            yield from _sat(number, per=SAT_PER_BTC)
        for currency in [named] if unit else currencies:
            try:
                yield Ask(kind="amount", units=to_minor(number, currency), currency=currency)
            except Refused:
                continue


def _decimals(number: str) -> list[str]:
    """The numbers that it can be: "1.490,50" is one, "1,490" is two, for a comma stands before thousands or after the whole."""
    digits = re.sub(r"[\s']", "", number).rstrip(".,")
    marks = re.findall(r"[.,]", digits)
    whole = re.sub(r"[.,]", "", digits)
    if not marks or (len(marks) > 1 and len(set(marks)) == 1):
        return [_plain(whole)]
    before, _, after = digits.rpartition(marks[-1])
    split = f"{_plain(re.sub(r'[.,]', '', before))}.{after}"
    return [split, _plain(whole)] if len(marks) == 1 and len(after) == 3 else [split]


def _plain(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _sat(number: str, *, per: int = 1) -> Iterator[Ask]:
    whole, _, fraction = number.partition(".")
    places = len(str(per)) - 1
    if len(whole) < 17 and len(fraction) <= places:
        units = int(whole) * per + int(fraction.ljust(places, "0") or 0)
        if 0 < units <= MAX_MONEY_SAT:
            yield Ask(kind="sat", units=units)
