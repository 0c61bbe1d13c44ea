"""A price an operator wrote down, for demonstrations and for currencies without a market source.

Owns nothing but that table; must not be mixed with market sources, whose spread it would distort.
"""

from collections.abc import Mapping
from datetime import datetime

from bridge.core.errors import Unavailable
from bridge.core.evidence import Sample
from bridge.core.money import price_to_minor


class FixedPrice:
    """`prices` maps a currency to the price of one bitcoin as decimal text. Raises Refused for a price that is none."""

    def __init__(self, prices: Mapping[str, str], *, name: str = "fixed"):
        self.name = name
        self._prices = {currency: price_to_minor(text, currency) for currency, text in prices.items()}

    def price(self, currency: str, now: datetime) -> Sample:
        """The written price as of now. Raises Unavailable `price_missing`."""
        if currency not in self._prices:
            raise Unavailable("price_missing", f"{self.name} has no price in {currency}.")
        return Sample(source=self.name, currency=currency, price_minor=self._prices[currency], observed_at=now)

    def close(self) -> None:
        """Nothing was opened."""
