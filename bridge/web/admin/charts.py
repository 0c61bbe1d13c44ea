"""Bar charts as plain SVG: a few rectangles, coloured by the page's style sheet, which the security policy allows.

Owns the geometry in whole units of the drawing; the figures themselves stand in a table beneath.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
