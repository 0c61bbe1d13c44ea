"""The price sources: every kind by the name of its setting under `prices`, made from what stands there, and all of them asked at once.
One is asked over HTTP and read by a rule, one is a cross rate made of several, such as RUB per BTC = USD/RUB of a central bank × BTC/USD of
an exchange, one is written down by an operator, for demonstrations and for currencies without a market source.

Owns the asking, its time limit and short memory, what each failure is called, and the product of a cross rate: a new kind is a row of
KINDS and its settings. Must not check settings, compare sources or say how old a price may be, `core.quote` does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from fractions import Fraction
from math import prod
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import PricePart, Sample
from bridge.core.money import price_to_minor
from bridge.core.quote import end_of
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply
from bridge.rates.reading import Reading, Unreadable, filled

log = logging.getLogger(__name__)


class Source(Protocol):
    """One place that knows a price."""

    @property
    def name(self) -> str: ...

    def price(self, currency: str, now: datetime) -> Sample: ...

    def close(self) -> None: ...


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
        limits: Limits | None = None,
        outbound: Outbound | None = None,
    ):
        self.name = name
        self._url_template = url_template
        self._reading = reading
        self._currency = currency
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
            reply = self._outbound.call("GET", filled(self._url_template, currency))
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


class FixedPrice:
    """`prices` maps a currency to the price of one bitcoin as decimal text. Raises Refused for a price that is none."""

    name = "fixed"

    def __init__(self, prices: Mapping[str, str]):
        self._prices = {currency: price_to_minor(text, currency) for currency, text in prices.items()}

    def price(self, currency: str, now: datetime) -> Sample:
        """The written price as of now. Raises Unavailable `price_missing`."""
        if currency not in self._prices:
            raise Unavailable("price_missing", f"{self.name} has no price in {currency}.")
        return Sample(source=self.name, currency=currency, price_minor=self._prices[currency], observed_at=now)

    def close(self) -> None:
        """Nothing was opened."""


# Puts the secrets that a URL refers to in their place.
Resolved = Callable[[str], str]


def sources_of(prices: Any, resolved: Resolved) -> list[Source]:
    """The sources of checked settings, in the order of the table. Raises Refused for a written price that is none."""
    return [source for setting, make in KINDS.items() for source in make(getattr(prices, setting), resolved)]


def _asked(wanted: Any, resolved: Resolved) -> HttpPriceSource:
    told = {each.name: getattr(wanted, each.name) for each in fields(Reading)}
    zone = wanted.time_zone
    reading = Reading(**told | {"time_zone": ZoneInfo(zone) if zone is not None else None})
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


class RateReader:
    """Threads may share it: those that ask for one currency at the same time get one round of questions.

    `keep_seconds` is how long an answer is given again; a sample keeps its own time, so its age stays honest.
    """

    def __init__(self, sources: Sequence[Source], *, keep_seconds: int = 15, timeout_seconds: float = 6):
        if len({source.name for source in sources}) != len(sources):
            raise ValueError("price sources need different names")
        self._sources = tuple(sources)
        self._keep = timedelta(seconds=keep_seconds)
        self._timeout_seconds = timeout_seconds
        self._kept: dict[str, tuple[datetime, tuple[Sample, ...]]] = {}
        self._locks: dict[str, Lock] = {}

    def sample(self, currency: str, now: datetime) -> tuple[Sample, ...]:
        """What the sources say now, in their configured order. Sources that fail are missing and logged."""
        with self._locks.setdefault(currency, Lock()):
            kept = self._kept.get(currency)
            if kept is not None and timedelta(0) <= now - kept[0] < self._keep:
                return kept[1]
            samples = self._ask(currency, now)
            if samples:
                self._kept[currency] = (now, samples)
            return samples

    def close(self) -> None:
        """Drop every source's connections."""
        for source in self._sources:
            source.close()

    def _ask(self, currency: str, now: datetime) -> tuple[Sample, ...]:
        if not self._sources:
            return ()
        # An executor per round, because one made at import would not survive the fork of a web server.
        executor = ThreadPoolExecutor(max_workers=len(self._sources), thread_name_prefix="rates")
        asked = [(source, executor.submit(copy_context().run, source.price, currency, now)) for source in self._sources]
        wait([future for _, future in asked], timeout=self._timeout_seconds)
        executor.shutdown(wait=False, cancel_futures=True)
        answers = [self._answer(source, future, currency) for source, future in asked]
        return tuple(answer for answer in answers if answer is not None)

    def _answer(self, source: Source, future: Future[Sample], currency: str) -> Sample | None:
        code, detail = "price_timeout", ""
        if future.done():
            try:
                return future.result()
            except BridgeError as error:
                code, detail = error.code, error.detail
        if code != "price_missing":  # that source was never meant for this currency
            fields = {"action": "price_source_failed", "source": source.name, "currency": currency, "code": code}
            log.warning("a price source failed", extra=fields | {"detail": detail})
        return None
