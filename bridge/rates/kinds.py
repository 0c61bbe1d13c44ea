"""Every kind of price source, by the name of its setting under `prices`, made from what stands there.

Owns the way from settings to sources: a new kind is a row here and its settings; must not check them, the settings do.
"""

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from bridge.rates.cross import CrossPart, CrossPrice
from bridge.rates.fixed import FixedPrice
from bridge.rates.http_source import HttpPriceSource
from bridge.rates.reader import Source
from bridge.rates.reading import Reading

# Puts the secrets that a URL refers to in their place.
Resolved = Callable[[str], str]


def sources_of(prices: Any, resolved: Resolved) -> list[Source]:
    """The sources of checked settings, in the order of the table. Raises Refused for a written price that is none."""
    return [source for setting, make in KINDS.items() for source in make(getattr(prices, setting), resolved)]


def _asked(wanted: Any, resolved: Resolved) -> HttpPriceSource:
    zone = wanted.time_zone
    reading = Reading(
        pointer=wanted.pointer,
        time_pointer=wanted.time_pointer,
        units_pointer=wanted.units_pointer,
        format=wanted.format,
        decimal_comma=wanted.decimal_comma,
        time_zone=ZoneInfo(zone) if zone is not None else None,
    )
    url, currency = resolved(wanted.url), getattr(wanted, "currency", None)
    return HttpPriceSource(name=wanted.name, url_template=url, reading=reading, currency=currency)


def _cross(wanted: Any, resolved: Resolved) -> CrossPrice:
    parts = [
        CrossPart(
            pair=part.pair,
            source=_asked(part, resolved),
            max_age_seconds=part.max_age_seconds,
            keep_seconds=part.keep_seconds,
        )
        for part in wanted.parts
    ]
    return CrossPrice(name=wanted.name, parts=parts)


KINDS: Mapping[str, Callable[[Any, Resolved], list[Source]]] = {
    "sources": lambda wanted, resolved: [_asked(each, resolved) for each in wanted],
    "cross": lambda wanted, resolved: [_cross(each, resolved) for each in wanted],
    "fixed": lambda wanted, _: [FixedPrice(wanted)] if wanted else [],
}
