"""A cross rate: one price made of several sources, such as RUB per BTC = USD/RUB of a central bank × BTC/USD of an exchange.

Owns the product and what is kept of its parts; must not say how old a part may be, `core.quote` does.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from fractions import Fraction
from math import prod

from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import PricePart, Sample
from bridge.core.money import price_to_minor
from bridge.core.quote import end_of
from bridge.rates.http_source import HttpPriceSource, unusable
from bridge.rates.reading import filled


class CrossPart:
    """One factor: `source` says what one unit of the first currency of `pair` costs in its second.

    `max_age_seconds` is its own allowed age where the common one is not meant for it. An answer is given again for
    `keep_seconds`, with its own time: what a central bank says once a day need not be asked for each quote.
    """

    def __init__(
        self, *, pair: str, source: HttpPriceSource, max_age_seconds: int | None = None, keep_seconds: int = 0
    ):
        self.pair = pair
        self._source = source
        self._max_age_seconds = max_age_seconds
        self._keep = timedelta(seconds=keep_seconds)
        self._kept: dict[str, tuple[datetime, PricePart]] = {}

    def ask(self, currency: str, now: datetime) -> PricePart:
        kept = self._kept.get(currency)
        if kept is not None and timedelta(0) <= now - kept[0] < self._keep:
            return kept[1]
        told = self._source.ask(currency, now)
        part = PricePart(
            source=self._source.name,
            pair=filled(self.pair, currency),
            price=told.price,
            observed_at=told.observed_at,
            max_age_seconds=self._max_age_seconds,
        )
        self._kept[currency] = (now, part)
        return part

    def close(self) -> None:
        self._source.close()


class CrossPrice:
    """The exact product of its parts, rounded once. Their pairs say in which currency: one, or any when they end in {currency}.

    Raises Refused("broken_chain") for pairs that lead nowhere.
    """

    def __init__(self, *, name: str, parts: Sequence[CrossPart]):
        self.name = name
        self._parts = tuple(parts)
        self._currency = end_of([part.pair for part in parts])

    def price(self, currency: str, now: datetime) -> Sample:
        """As old as its oldest part. Raises Unavailable, or ProtocolError naming the part whose answer is unusable."""
        if filled(self._currency, currency) != currency:
            raise Unavailable("price_missing", f"{self.name} has no price in {currency}.")
        parts = self._asked(currency, now)
        try:
            price_minor = price_to_minor(prod((part.price for part in parts), start=Fraction(1)), currency)
        except Refused as wrong:
            raise unusable(self.name, wrong.detail) from None
        return Sample(
            source=self.name,
            currency=currency,
            price_minor=price_minor,
            observed_at=min(part.observed_at for part in parts),
            parts=parts,
        )

    def close(self) -> None:
        """Drop the connections of every part."""
        for part in self._parts:
            part.close()

    def _asked(self, currency: str, now: datetime) -> tuple[PricePart, ...]:
        # At once, because one after the other two slow parts would take longer than a source may.
        with ThreadPoolExecutor(max_workers=len(self._parts), thread_name_prefix="cross") as executor:
            asked = [executor.submit(copy_context().run, part.ask, currency, now) for part in self._parts]
            return tuple(each.result() for each in asked)
