"""One answer of a price source read by its rule: the exact price, and when the source saw it.

Owns the formats and the many ways to write a number and a moment, without floats; must not fetch, round or judge a price.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from bridge.outbound import Reply

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# The bounds keep what a stranger may write small: an exact fraction of 1e999999999 would take all memory.
_NUMBER = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,2})?")
_WITH_COMMA = re.compile(r"[0-9]{1,40}(?:,[0-9]{1,80})?")
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A number of seconds stays below 10^11 until the year 5138, and from 1973 on milliseconds are above it; so on with the finer
# units: the magnitude alone says which unit it is.
_PER_SECOND = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))
_DAY_FIRST = re.compile(r"([0-3][0-9])\.([01][0-9])\.([0-9]{4})(?:[ T]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?))?")
# RFC 2822, and the three forms of an HTTP date, whose oldest names no zone because it is always GMT.
_MAIL_DATE = re.compile(
    r"(?:[A-Za-z]{3,9}, ?)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})? (?:GMT|UTC?|Z|[+-][0-9]{4})"
    r"|[A-Za-z]{3} [A-Za-z]{3} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"
)

# What stands at a pointer of an opened answer. Raises LookupError.
At = Callable[[str], object]


class Unreadable(Exception):
    """The answer does not hold what the rule says; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where in an answer the price stands, and how it is written there. Pointers may hold {currency} and {currency_lower}.

    In `json` they are JSON pointers (/data/{currency}/last), in `xml` paths of elements that may be chosen by a child or an
    attribute and end in an attribute (/ValCurs/Valute[CharCode='USD']/Value, /ValCurs/@Date). `time_pointer`, where the
    source tells when it saw the price, makes a stale source visible. `units_pointer` says for how many units the price is.
    `decimal_comma`: 78,2267 is a decimal. `time_zone` is of times that tell none; without it these are refused.
    """

    pointer: str
    time_pointer: str | None = None
    units_pointer: str | None = None
    format: str = "json"
    decimal_comma: bool = False
    time_zone: tzinfo | None = None

    def read(self, reply: Reply, currency: str) -> tuple[Fraction, datetime | None]:
        """The price, and when it was seen if the rule asks for that. Raises Unreadable."""
        try:
            at = FORMATS[self.format](reply)
        except ValueError:
            raise Unreadable(f"not {self.format.upper()}") from None
        try:
            price = self._number(at(filled(self.pointer, currency)))
            if self.units_pointer is not None:
                price = Fraction(price, self._number(at(filled(self.units_pointer, currency))))
        except (LookupError, ValueError, ZeroDivisionError):
            raise Unreadable("no decimal number where the pointer points") from None
        try:
            return price, self._seen_at(at, currency)
        except (LookupError, ValueError, OverflowError):
            # A source that stopped telling its time could be showing an old price for ever.
            raise Unreadable("no time where the time pointer points") from None

    def _number(self, value: object) -> Fraction:
        if self.decimal_comma and isinstance(value, str):
            # Here a point could only part the thousands.
            if not _WITH_COMMA.fullmatch(value):
                raise ValueError("not a number with a decimal comma")
            value = value.replace(",", ".")
        return Fraction(number_text(value))

    def _seen_at(self, at: At, currency: str) -> datetime | None:
        if self.time_pointer is None:
            return None
        return _moment(at(filled(self.time_pointer, currency)), self.time_zone)


def filled(template: str, currency: str) -> str:
    """A URL or pointer for one currency."""
    return template.replace("{currency}", currency).replace("{currency_lower}", currency.lower())


def number_text(value: object) -> str:
    """A number as its source wrote it, plain and no longer than a price can be: exact in little memory. Raises ValueError."""
    text = str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ValueError("not a decimal number")
    return text


def _moment(value: object, zone: tzinfo | None) -> datetime:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return _written_moment(value, zone)
    since = Fraction(number_text(value))
    for limit, per_second in _PER_SECOND:
        if since < limit:
            return _EPOCH + timedelta(microseconds=int(since * 10**6 / per_second))
    raise ValueError("a time out of range")


def _written_moment(text: str, zone: tzinfo | None) -> datetime:
    if _MAIL_DATE.fullmatch(text):
        moment = parsedate_to_datetime(text)
        zone = UTC  # -0000 and the oldest HTTP date come without one and mean it
    elif day_first := _DAY_FIRST.fullmatch(text):
        day, month, year, time = day_first.groups(default="00:00")
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{time}")
    else:
        moment = datetime.fromisoformat(re.sub(r" ?(?:UTC|GMT)$", "+00:00", text))
    if moment.tzinfo is None and zone is None:
        raise ValueError("a time without a zone")
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _opened_json(reply: Reply) -> At:
    return partial(_in_json, reply.json())


def _in_json(document: object, pointer: str) -> object:
    """RFC 6901."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document[part]
        elif isinstance(document, list) and _ARRAY_INDEX.fullmatch(part):
            document = document[int(part)]
        else:
            raise LookupError(part)
    return document


def _opened_xml(reply: Reply) -> At:
    """Elements and attributes without their prefixes. A document with a DOCTYPE is refused, and with it every entity of its
    own: nothing expands, nothing is fetched. The size is the outbound layer's limit.
    """
    # Most shops have no such source.
    from xml.etree.ElementTree import Element, TreeBuilder
    from xml.parsers.expat import ExpatError, ParserCreate

    builder, parser = TreeBuilder(), ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.StartElementHandler = lambda tag, given: builder.start(_bare(tag), {_bare(k): v for k, v in given.items()})
    parser.EndElementHandler = lambda tag: builder.end(_bare(tag))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(reply.body, True)
    except (ExpatError, LookupError) as wrong:  # not well-formed, or of an encoding that nobody knows
        raise ValueError("not XML") from wrong
    document = Element("document")
    document.append(builder.close())
    return partial(_in_xml, document)


def _in_xml(document: "Element", pointer: str) -> str:
    place, _, attribute = pointer.partition("/@")
    found = document.findall(place.removeprefix("/"))
    if len(found) != 1 or (len(found[0]) and not attribute):
        # Of two prices none is taken, and none that something stands in the middle of.
        raise LookupError(pointer)
    text = found[0].get(attribute) if attribute else found[0].text
    if text is None:
        raise LookupError(pointer)
    return text.strip()


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


def _no_doctype(*_: object) -> None:
    raise ValueError("a document type")


FORMATS: Mapping[str, Callable[[Reply], At]] = {"json": _opened_json, "xml": _opened_xml}
