"""One price source over HTTP: a URL template, asked and read by a rule.

Owns the asking and what each failure is called; must not compare sources, `core.quote` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Protocol
from urllib.parse import urlsplit

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Sample
from bridge.core.money import price_to_minor
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply
from bridge.rates.reading import Unreadable, filled


class AnswerReader(Protocol):
    """The rule that finds price and time in an answer, such as a `Reading`."""

    def read(self, reply: Reply, currency: str) -> tuple[Fraction, datetime | None]:
        """Raises Unreadable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a source says, exactly. `observed_at` is its own time, never later than now; without one the time of asking."""

    price: Fraction
    observed_at: datetime


class HttpPriceSource:
    """`url_template` may hold {currency} (USD) and {currency_lower} (usd), as the pointers of `reading` may. With a `currency` it
    has a price in no other one.
    """

    def __init__(
        self,
        *,
        name: str,
        url_template: str,
        reading: AnswerReader,
        currency: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        outbound: Outbound | None = None,
    ):
        self.name = name
        self._url_template = url_template
        self._reading = reading
        self._currency = currency
        self._headers = dict(headers or {})
        limits = limits or Limits(connect_seconds=3, read_seconds=4, deadline_seconds=5)
        host = urlsplit(filled(url_template, "USD")).hostname or ""
        guard = Guard(allow_hosts=frozenset({host}), plain_http=True)
        self._outbound = outbound or Outbound(limits=limits, guard=guard)

    def price(self, currency: str, now: datetime) -> Sample:
        """What the source says one bitcoin costs. Raises Unavailable, or ProtocolError for an unusable answer."""
        if self._currency not in (None, currency):
            raise Unavailable("price_missing", f"{self.name} has no price in {currency}.")
        told = self.ask(currency, now)
        try:
            price_minor = price_to_minor(told.price, currency)
        except Refused as wrong:
            raise unusable(self.name, wrong.detail) from None
        return Sample(source=self.name, currency=currency, price_minor=price_minor, observed_at=told.observed_at)

    def ask(self, currency: str, now: datetime) -> Told:
        """The same, exactly: no unit is assumed and nothing rounded. Raises as `price` does."""
        reply = self._reply(currency)
        try:
            price, seen_at = self._reading.read(reply, currency)
        except Unreadable as wrong:
            raise unusable(self.name, str(wrong)) from None
        return Told(price=price, observed_at=min(now, seen_at or now))

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _reply(self, currency: str) -> Reply:
        try:
            reply = self._outbound.call("GET", filled(self._url_template, currency), headers=self._headers)
        except CallFailed as failure:
            raise Unavailable("price_unreachable", f"{self.name} could not be asked ({failure.reason}).") from None
        if reply.status != 200:
            wait = reply.retry_after_seconds()
            detail = f"{self.name} answered HTTP {reply.status}."
            raise Unavailable("price_unavailable", detail, retry_after_seconds=wait)
        return reply


def unusable(name: str, why: str) -> BridgeError:
    """The error of an answer that came and holds no price."""
    return ProtocolError("price_unreadable", f"{name} gave no usable price: {why}")
