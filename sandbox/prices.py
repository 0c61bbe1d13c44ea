"""Price sources that agree within a hair, each with its own shape, JSON or XML, each able to go wrong on its own.

Must not compute a median or judge a price. The shapes resemble public price services in general and copy none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from sandbox import wire
from sandbox.faults import Fault

if TYPE_CHECKING:
    from sandbox.world import World

START = {
    "USD": "65000.00",
    "EUR": "60000.00",
    "GBP": "51500.00",
    "RUB": "5200000.00",
    "JPY": "9800000",
    "KWD": "20000.000",
    "UAH": "2700000.00",
    "KZT": "33500000.00",
    "BYN": "212000.00",
    "PLN": "258000.00",
    "TRY": "2210000.00",
    "CNY": "468000.00",
}
EXPONENT = {"JPY": 0, "KWD": 3}
# Parts of 130,000: at USD 65,000.00 they give 65,000.00, 65,010.50 and 64,990.00, whose median is the plain price.
OFFSETS = {"alpha": 0, "beta": 21, "gamma": -20, "delta": 0, "epsilon": 10, "bank": 0}
MOSCOW = timezone(timedelta(hours=3))


class Prices:
    """One BTC in each currency, as Decimal. `before` is what held until the last change, for the fault `stale`."""

    def __init__(self) -> None:
        self.now = {currency: Decimal(text) for currency, text in START.items()}
        self.before = dict(self.now)
        self.own: dict[tuple[str, str], Decimal] = {}

    def set(self, currency: str, price: Decimal, source: str | None = None) -> None:
        """Change the price of one BTC, everywhere or at one `source` only; raises ValueError."""
        if source is not None and source not in OFFSETS:
            raise ValueError(f"no such source: {source}")
        if not price.is_finite() or price <= 0 or not (currency.isalpha() and len(currency) == 3):
            raise ValueError("a three-letter currency and a positive price, please")
        if source is not None:
            self.own[source, currency.upper()] = price
            return
        self.before = dict(self.now)
        self.now[currency.upper()] = price
        self.own = {key: value for key, value in self.own.items() if key[1] != currency.upper()}

    def at(self, source: str, *, stale: bool = False) -> dict[str, Decimal]:
        """What `source` says about every currency, to the currency's exponent (ISO 4217)."""
        table = self.before if stale else self.now
        return {c: self._rounded(c, self.own.get((source, c)), p, OFFSETS[source]) for c, p in table.items()}

    @staticmethod
    def _rounded(currency: str, own: Decimal | None, price: Decimal, offset: int) -> Decimal:
        exact = price + price * offset / 130_000 if own is None else own
        return exact.quantize(Decimal(1).scaleb(-EXPONENT.get(currency, 2)))


def blueprint(world: World) -> Blueprint:
    """`GET /prices/{alpha|beta|gamma|delta|epsilon}?currency=USD`; without a currency, all of them. `?time=` chooses how delta
    writes the moment: ms, us, ns, s, iso, mail, http. `GET /prices/bank`: what currencies cost in roubles.
    """
    routes = Blueprint("prices", __name__, url_prefix="/prices")

    @routes.get("/<source>")
    def price(source: str) -> Response:
        if source not in OFFSETS:
            return Response("no such source", 404, mimetype="text/plain")
        with world.lock:
            faults = world.faults.take(f"price:{source}")
        if (early := wire.before(world, faults)) is not None:
            return early
        with world.lock:
            prices, at = _quoted(world, source, faults)
        if source == "bank":
            return wire.after(world, faults, Response(_bank(prices, at), mimetype="text/xml"))
        wanted = request.args.get("currency", "").upper()
        if wanted:
            prices = {currency: value for currency, value in prices.items() if currency == wanted}
        if not prices:
            return Response('{"error":"unknown currency"}', 404, mimetype="application/json")
        mimetype = "text/xml" if source == "epsilon" else "application/json"
        return wire.after(world, faults, Response(_SHAPES[source](prices, at), mimetype=mimetype))

    return routes


def _quoted(world: World, source: str, faults: list[Fault]) -> tuple[dict[str, Decimal], int]:
    by_kind = {fault.kind: fault for fault in faults}
    stale = by_kind.get("stale")
    prices = world.prices.at(source, stale=stale is not None)
    if wild := by_kind.get("wild"):
        factor = Decimal(str(wild.params.get("factor", "10")))
        prices = {c: (p * factor).quantize(Decimal(1).scaleb(-EXPONENT.get(c, 2))) for c, p in prices.items()}
    if missing := by_kind.get("missing"):
        prices = {c: p for c, p in prices.items() if c != missing.params.get("currency", c)}
    age_s = int(stale.params.get("age_s", 3600)) if stale else 0
    return prices, int(world.clock.now()) - age_s


def _alpha(prices: dict[str, Decimal], at: int) -> str:
    return wire.encode({"data": {c: {"last": f"{p:f}", "time": at} for c, p in prices.items()}})


def _beta(prices: dict[str, Decimal], at: int) -> str:
    """Prices as JSON numbers, written from the decimal text so that no digit is invented; no time at all."""
    members = ",".join(f'"{c.lower()}":{p:f}' for c, p in sorted(prices.items()))
    return '{"bitcoin":{' + members + "}}"


def _gamma(prices: dict[str, Decimal], at: int) -> str:
    return wire.encode({"result": [{"pair": f"BTC{c}", "price": f"{p:f}"} for c, p in sorted(prices.items())]})


def _delta(prices: dict[str, Decimal], at: int) -> str:
    """After a byte order mark, prices as text with an exponent; the moment in the unit that `?time=` names."""
    moment = _MOMENTS[request.args.get("time", "ms")](at)
    return "\ufeff" + wire.encode({"t": moment, "btc": {c: f"{p:E}" for c, p in prices.items()}})


def _epsilon(prices: dict[str, Decimal], at: int) -> str:
    """XML, the price as an attribute of an element that another attribute names."""
    rows = "".join(f'<rate pair="BTC{c}" last="{p:f}"/>' for c, p in sorted(prices.items()))
    return f'<?xml version="1.0" encoding="utf-8"?><rates><updated>{format_datetime(_utc(at))}</updated>{rows}</rates>'


def _bank(prices: dict[str, Decimal], at: int) -> bytes:
    """The daily rates of a central bank, in its own encoding: per 1, or per 100 of what is worth less than a rouble. They
    are set on working days for the day after, so that Saturday's hold until Tuesday.
    """
    day = datetime.fromtimestamp(at, MOSCOW).date()
    while day.weekday() in (6, 0):
        day -= timedelta(days=1)
    rouble, rows = prices.get("RUB"), []
    for code, price in sorted(prices.items()):
        if rouble is None or code == "RUB":
            continue
        nominal = 1 if rouble >= price else 100
        value = (rouble / price * nominal).quantize(Decimal("0.0001"))
        told = f"<CharCode>{code}</CharCode><Nominal>{nominal}</Nominal><Name>валюта</Name><Value>{value}</Value>"
        rows.append(f'<Valute ID="R{code}">{told}</Valute>'.replace(".", ","))
    head = (
        f'<?xml version="1.0" encoding="windows-1251"?><ValCurs Date="{day:%d.%m.%Y}" name="Foreign Currency Market">'
    )
    return f"{head}{''.join(rows)}</ValCurs>".encode("cp1251")


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


_MOMENTS: dict[str, Callable[[int], object]] = {
    "s": lambda at: at,
    "ms": lambda at: at * 10**3 + 123,
    "us": lambda at: at * 10**6 + 123_456,
    "ns": lambda at: at * 10**9 + 123_456_789,
    "iso": lambda at: _utc(at).isoformat(),
    "mail": lambda at: format_datetime(_utc(at).astimezone(MOSCOW)),
    "http": lambda at: format_datetime(_utc(at), usegmt=True),
}
_SHAPES: dict[str, Callable[[dict[str, Decimal], int], str]] = {
    "alpha": _alpha,
    "beta": _beta,
    "gamma": _gamma,
    "delta": _delta,
    "epsilon": _epsilon,
}
