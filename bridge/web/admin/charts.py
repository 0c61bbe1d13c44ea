"""Charts as plain SVG: bars or dashes over an axis with its values, coloured by the page's style sheet, which the security policy allows.

Owns the geometry in whole units of the drawing, and round values for an axis; every figure stands in a table beneath as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.core.money import btc_text, minor_text
from bridge.desk.desk import Day
from bridge.language import Texts
from bridge.web.admin.door import bridge, texts

# The drawing, and the room around the bars: names of values to the left, figures above, days beneath.
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 560, 210, 100, 26, 30
GAP, DASH = 6, 8
# What a letter of an axis takes where it is largest, on a phone.
LETTER = 13
FLOOR, ROOM = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
# Every so many days one is named, the last always.
DAYS_NAMED = 4

Point = tuple[str, int | None, str]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One rectangle; `shown` is the figure in words, for the tooltip and the table. The few that `is_told` have it in the drawing."""

    x: int
    y: int
    width: int
    height: int
    label: str
    shown: str
    is_told: bool = False
    is_named: bool = False


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A value of the axis, and how high it stands."""

    y: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing of one series with its name in the catalogue, and its unit where that differs from shop to shop."""

    name: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...] = ()
    unit: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT

    @property
    def is_empty(self) -> bool:
        return all(bar.height == 0 for bar in self.bars)


def bars(name: str, points: Sequence[Point], *, tick: Callable[[int], str] = str, per: int = 1) -> Chart:
    """A chart of (label, value, value in words) from zero up; None and negative values have no bar.

    `tick` says a value of the axis in words; its values are round in units of `per`.
    """
    highest = max((value for _, value, _ in points if value is not None), default=0)
    top = 2 * _round_up(-(-max(highest, 1) // (2 * per))) * per
    drawn = []
    for place, (_, value, _) in enumerate(points):
        height = max(value or 0, 0) * ROOM // top
        # A small figure is still seen.
        height = max(height, 2) if value is not None and value > 0 else 0
        drawn.append((place, FLOOR - height, height))
    return _chart(name, points, drawn, [(each, each * ROOM // top) for each in (0, top // 2, top)], tick)


def levels(name: str, points: Sequence[Point], *, unit: str = "", tick: Callable[[int], str] = str) -> Chart:
    """A dash for each value between the round ones around the lowest and the highest: for what is never near zero."""
    known = [value for _, value, _ in points if value is not None]
    lowest, highest = min(known, default=0), max(known, default=0)
    # What hardly moves is drawn so: a thousandth at least, for an axis of cents would say nothing.
    step = _round_up(max(-(-(highest - lowest) // 2), highest // 1_000, 1))
    bottom = lowest // step * step
    top = max(-(-highest // step) * step, bottom + step)
    drawn = []
    for place, (_, value, _) in enumerate(points):
        above = 0 if value is None else (value - bottom) * ROOM // (top - bottom)
        drawn.append((place, FLOOR - above - DASH // 2, DASH if value is not None else 0))
    ticks = [(each, (each - bottom) * ROOM // (top - bottom)) for each in range(bottom, top + 1, step)]
    return _chart(name, points, drawn, ticks, tick, unit=unit)


def _round_up(n: int) -> int:
    """The next of 1, 2, 3, 4, 5, 10, 20, 30 … that is no less."""
    power: int = 10 ** (len(str(n)) - 1)
    return next(each * power for each in (1, 2, 3, 4, 5, 10) if each * power >= n)


def _chart(
    name: str,
    points: Sequence[Point],
    drawn: Sequence[tuple[int, int, int]],
    ticks: Sequence[tuple[int, int]],
    tick: Callable[[int], str],
    *,
    unit: str = "",
) -> Chart:
    marks = tuple(Tick(y=FLOOR - above, text=tick(value)) for value, above in ticks)
    left = max(LEFT, LETTER * max((len(mark.text) for mark in marks), default=0))
    step, last = (WIDTH - left) // max(len(points), 1), len(points) - 1
    known = [(value, place) for place, (_, value, _) in enumerate(points) if value is not None and value > 0]
    highest = max(known, default=(0, last))[1]
    # Two figures side by side would run into each other.
    told = {highest, last} if last - highest > 3 else {last} if known and known[-1][1] == last else {highest}
    found = [
        Bar(
            x=left + place * step + GAP // 2,
            y=y,
            width=step - GAP,
            height=height,
            label=points[place][0],
            shown=points[place][2],
            is_told=height > 0 and place in told,
            is_named=(last - place) % DAYS_NAMED == 0,
        )
        for place, y, height in drawn
    ]
    return Chart(name=name, bars=tuple(found), ticks=marks, unit=unit, left=left)


def charts(days: list[Day]) -> list[Chart]:
    """The series people would rather look at."""
    t, currency = texts(), days[-1].currency

    def points(values: list[int | None], told: Callable[[int], str]) -> list[Point]:
        labels = [f"{day.day:%d.%m}" for day in days]
        return [
            (label, value, "–" if value is None else told(value)) for label, value in zip(labels, values, strict=True)
        ]

    def drawn(name: str, values: list[int | None], told: Callable[[int], str], per: int = 1) -> Chart:
        return bars(name, points(values, told), tick=lambda value: _short(told(value), t), per=per)

    def money(minor: int) -> str:
        return t.number(minor_text(minor, currency)) if currency else "–"

    rates = [day.tries_good * 1_000 // day.tries if day.tries else None for day in days]
    hot = "hot" if bridge().receiving.role == "hot" else "own"
    return [
        drawn("settled", [day.settled for day in days], lambda value: t.number(str(value))),
        drawn("lag", [day.lag_seconds for day in days], lambda value: t.number(str(value // 60)), per=60),
        drawn("delivery", rates, lambda value: t.number(f"{value // 10}.{value % 10}"), per=500),
        drawn(hot, [day.hot_sat for day in days], lambda value: btc_text(max(value, 0))),
        levels(
            "rate",
            points([day.price_minor for day in days], money),
            unit=currency,
            tick=lambda value: _short(money(value), t),
        ),
        drawn("spread", [day.spread_bps for day in days], lambda value: t.number(f"{value // 100}.{value % 100:02}")),
    ]


def _short(text: str, t: Texts) -> str:
    """Without idle zeros behind the point: an axis has little room."""
    for point in {".", str(t.section("number.point"))}:
        whole, found, fraction = text.rpartition(point)
        if found and fraction.isdecimal():
            kept = fraction.rstrip("0")
            return f"{whole}{point}{kept}" if kept else whole
    return text
