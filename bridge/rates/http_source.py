"""One price source over HTTP: a URL template and JSON pointers into its answer.

Owns the reading of one source's shape, without floats; must not compare sources, `core.quote` does.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Sample
from bridge.core.money import price_to_minor
from bridge.outbound import CallFailed, Guard, Limits, Outbound

_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,18})?")
_LATEST_SECONDS = 10**11
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")


class HttpPriceSource:
    """`url_template` and `pointer` may hold {currency} (USD) and {currency_lower} (usd).

    `pointer` is a JSON pointer such as /data/{currency}/last or /result/0/price. `time_pointer`, where the source tells
    when it saw the price (unix seconds or RFC 3339), makes a stale source visible; else the time of asking counts.
    """

    def __init__(
        self,
        *,
        name: str,
        url_template: str,
        pointer: str,
        time_pointer: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        outbound: Outbound | None = None,
    ):
        self.name = name
        self._url_template = url_template
        self._pointer = pointer
        self._time_pointer = time_pointer
        self._headers = dict(headers or {})
        limits = limits or Limits(connect_seconds=3, read_seconds=4, deadline_seconds=5)
        host = urlsplit(_filled(url_template, "USD")).hostname or ""
        guard = Guard(allow_hosts=frozenset({host}), plain_http=True)
        self._outbound = outbound or Outbound(limits=limits, guard=guard)

    def price(self, currency: str, now: datetime) -> Sample:
        """What the source says one bitcoin costs. Raises Unavailable, or ProtocolError for an unusable answer."""
        answer = self._answer(currency)
        try:
            price_minor = price_to_minor(_decimal(_at(answer, _filled(self._pointer, currency))), currency)
        except Refused as wrong:
            raise self._unusable(wrong.detail) from None
        except (LookupError, ValueError, InvalidOperation):
            raise self._unusable("no decimal number where the pointer points") from None
        observed_at = min(now, self._observed_at(answer, currency) or now)
        return Sample(source=self.name, currency=currency, price_minor=price_minor, observed_at=observed_at)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _answer(self, currency: str) -> object:
        try:
            reply = self._outbound.call("GET", _filled(self._url_template, currency), headers=self._headers)
        except CallFailed as failure:
            raise Unavailable("price_unreachable", f"{self.name} could not be asked ({failure.reason}).") from None
        if reply.status != 200:
            wait = reply.retry_after_seconds()
            detail = f"{self.name} answered HTTP {reply.status}."
            raise Unavailable("price_unavailable", detail, retry_after_seconds=wait)
        try:
            return reply.json()
        except ValueError:
            raise self._unusable("not JSON") from None

    def _observed_at(self, answer: object, currency: str) -> datetime | None:
        if self._time_pointer is None:
            return None
        try:
            return _time(_at(answer, _filled(self._time_pointer, currency)))
        except (LookupError, ValueError, OverflowError, OSError):
            # A source that stopped telling its time could be showing an old price for ever.
            raise self._unusable("no time where the time pointer points") from None

    def _unusable(self, why: str) -> BridgeError:
        return ProtocolError("price_unreadable", f"{self.name} gave no usable price: {why}")


def _filled(template: str, currency: str) -> str:
    return template.replace("{currency}", currency).replace("{currency_lower}", currency.lower())


def _at(document: object, pointer: str) -> object:
    """RFC 6901, errors as LookupError."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document[part]
        elif isinstance(document, list) and _ARRAY_INDEX.fullmatch(part):
            document = document[int(part)]
        else:
            raise LookupError(part)
    return document


def _decimal(value: object) -> Decimal:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError("not a decimal number")


def _time(value: object) -> datetime:
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise ValueError("a time without a zone")
        return parsed
    seconds = _decimal(value)
    if not 0 <= seconds < _LATEST_SECONDS:
        raise ValueError("a time out of range")
    return datetime.fromtimestamp(int(seconds), UTC)
