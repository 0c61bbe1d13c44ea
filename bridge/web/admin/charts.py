"""Bar charts as plain SVG: a few rectangles, coloured by the page's style sheet, which the security policy allows.

Owns the geometry in whole units of the drawing; the figures themselves stand in a table beneath.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.core.money import btc_text, minor_text
from bridge.desk.desk import Day
from bridge.language import Texts
from bridge.web.admin.door import bridge, texts

WIDTH, HEIGHT, GAP, DASH = 560, 120, 6, 8


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One rectangle; `shown` is the figure in words, for the tooltip and the table."""

    x: int
    y: int
    width: int
    height: int
    label: str
    shown: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing of one series with its name in the catalogue, and its unit where that differs from shop to shop."""

    name: str
    bars: tuple[Bar, ...]
    unit: str = ""
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def is_empty(self) -> bool:
        return all(bar.height == 0 for bar in self.bars)


def bars(name: str, points: Sequence[tuple[str, int | None, str]]) -> Chart:
    """A chart of (label, value, value in words); None and negative values have no bar, the rest share one scale."""
    highest = max((value for _, value, _ in points if value is not None), default=0)
    step = WIDTH // max(len(points), 1)
    drawn = []
    for place, (label, value, shown) in enumerate(points):
        height = max(value or 0, 0) * HEIGHT // highest if highest > 0 else 0
        # A small figure is still seen.
        height = max(height, 2) if value is not None and value > 0 else 0
        x = place * step + GAP // 2
        drawn.append(Bar(x=x, y=HEIGHT - height, width=step - GAP, height=height, label=label, shown=shown))
    return Chart(name=name, bars=tuple(drawn))


def levels(name: str, points: Sequence[tuple[str, int | None, str]], *, unit: str = "") -> Chart:
    """A dash for each value, as high as it stands between the lowest and the highest: for what is never near zero."""
    known = [value for _, value, _ in points if value is not None]
    lowest, highest = min(known, default=0), max(known, default=0)
    step, room = WIDTH // max(len(points), 1), HEIGHT - DASH
    drawn = []
    for place, (label, value, shown) in enumerate(points):
        above = room // 2 if highest == lowest else ((value or lowest) - lowest) * room // (highest - lowest)
        height = DASH if value is not None else 0
        x = place * step + GAP // 2
        drawn.append(Bar(x=x, y=room - above, width=step - GAP, height=height, label=label, shown=shown))
    return Chart(name=name, bars=tuple(drawn), unit=unit)


def charts(days: list[Day]) -> list[Chart]:
    """The series people would rather look at."""
    t = texts()

    def points(values: list[int | None], shown: list[str]) -> list[tuple[str, int | None, str]]:
        return list(zip([f"{day.day:%d.%m}" for day in days], values, shown, strict=True))

    def drawn(name: str, values: list[int | None], shown: list[str]) -> Chart:
        return bars(name, points(values, shown))

    lags = [day.lag_seconds for day in days]
    rates = [day.tries_good * 1_000 // day.tries if day.tries else None for day in days]
    return [
        drawn("settled", [day.settled for day in days], [t.number(str(day.settled)) for day in days]),
        drawn("lag", lags, ["–" if lag is None else t.number(str(lag // 60)) for lag in lags]),
        drawn("delivery", rates, ["–" if rate is None else f"{rate // 10}.{rate % 10}" for rate in rates]),
        drawn(
            "hot" if bridge().receiving.role == "hot" else "own",
            [day.hot_sat for day in days],
            [btc_text(max(day.hot_sat, 0)) for day in days],
        ),
        levels(
            "rate", points([day.price_minor for day in days], [_price(t, day) for day in days]), unit=days[-1].currency
        ),
        drawn("spread", [day.spread_bps for day in days], [_percent(day.spread_bps) for day in days]),
    ]


def _price(t: Texts, day: Day) -> str:
    return t.number(minor_text(day.price_minor, day.currency)) if day.price_minor is not None else "–"


def _percent(bps: int | None) -> str:
    return f"{bps // 100}.{bps % 100:02}" if bps is not None else "–"
