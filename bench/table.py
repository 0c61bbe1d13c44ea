"""What a run found: one line per figure, with its target and whether it was reached.

Owns printing and the JSON; must not measure.
"""

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure. `target` is what it is held to, empty when it is a yardstick or only told."""

    name: str
    shown: str
    value: float
    target: str = ""
    is_reached: bool = True

    @property
    def verdict(self) -> str:
        return ("pass" if self.is_reached else "short") if self.target else ""


@dataclass
class Report:
    """Grows while the run goes on; every figure is printed as soon as it is known."""

    figures: list[Figure] = field(default_factory=list)

    def note(self, name: str, value: float, shown: str) -> None:
        self._add(Figure(name=name, value=value, shown=shown))

    def at_least(self, name: str, value: float, target: float, *, shown: str = "") -> None:
        text = f">= {target:g}"
        self._add(
            Figure(name=name, value=value, shown=shown or f"{value:.2f}", target=text, is_reached=value >= target)
        )

    def at_most(self, name: str, value: float, target: float, *, shown: str = "") -> None:
        text = f"<= {target:g}"
        self._add(
            Figure(name=name, value=value, shown=shown or f"{value:.2f}", target=text, is_reached=value <= target)
        )

    def write(self, path: Path, *, seconds: float) -> None:
        told = {
            "machine": {"python": platform.python_version(), "system": platform.platform()},
            "seconds_per_measurement": seconds,
            "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in self.figures],
        }
        path.write_text(json.dumps(told, indent=2) + "\n")

    def _add(self, figure: Figure) -> None:
        self.figures.append(figure)
        print(f"{figure.name:58} {figure.shown:>34}   {figure.target:>8}  {figure.verdict}", flush=True)
