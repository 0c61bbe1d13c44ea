"""Price sources that agree within a hair, each with its own JSON shape, each able to go wrong on its own.

Must not compute a median or judge a price. The shapes resemble public price services in general and copy none.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from bridge.sandbox import wire
from bridge.sandbox.faults import Fault

if TYPE_CHECKING:
    from bridge.sandbox.world import World

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
OFFSETS = {"alpha": 0, "beta": 21, "gamma": -20}


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
    """`GET /prices/{alpha|beta|gamma}?currency=USD`; without a currency, all of them."""
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
        wanted = request.args.get("currency", "").upper()
        if wanted:
            prices = {currency: value for currency, value in prices.items() if currency == wanted}
        if not prices:
            return Response('{"error":"unknown currency"}', 404, mimetype="application/json")
        return wire.after(world, faults, Response(_SHAPES[source](prices, at), mimetype="application/json"))

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


_SHAPES: dict[str, Callable[[dict[str, Decimal], int], str]] = {"alpha": _alpha, "beta": _beta, "gamma": _gamma}
