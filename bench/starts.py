"""How soon a command is there: `--help`, which a person waits for, and `check`, which a timer starts every few minutes.

Owns the commands and their yardstick, a Python that does nothing; processor time, which the neighbours of a loaded machine change
least. Where there is another checkout, its commands take turns with these.
"""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench.module import processor_ms
from bench.place import API_KEY, SECRET, Bench, new_directory, run_python
from bench.table import Report
from tests.durability.programs import Zygote

STARTS = 15
# At most so many times the yardstick.
TARGETS = {"--help": 2.5, "check": 5.0}
TARGET_BASE = 0.95
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One checkout with an idle bridge on SQLite, whose outside worlds refuse at once."""

    zygote: Zygote
    config: str

    def start_ms(self, *arguments: str) -> float:
        command = (self.zygote.python, *arguments)
        return processor_ms(command, self.zygote.environment, cwd=self.zygote.root)

    def command_ms(self, name: str) -> float:
        # Nobody names a file for the list of commands.
        named = () if name == "--help" else ("--config", self.config)
        return self.start_ms("-m", "bridge.cli", *named, name)


def measure(bench: Bench, report: Report, *, starts: int = STARTS) -> None:
    """Each command and its yardstick, and the base's command, in turns."""
    sides = [_side(bench, zygote) for zygote in (bench.zygote, bench.base) if zygote is not None]
    for name, target in TARGETS.items():
        idle, found = list[float](), [list[float]() for _ in sides]
        for _ in range(starts):
            idle.append(sides[0].start_ms("-c", "pass"))
            for side, taken in zip(sides, found, strict=True):
                taken.append(side.command_ms(name))
        ours, *theirs = map(statistics.median, found)
        report.note(f"start of {name}, processor ms", ours, f"{ours:.1f}")
        report.at_most(f"start of {name} / a Python that does nothing", ours / statistics.median(idle), target)
        for base in theirs:
            shown = f"{base / ours:.2f} (this {ours:.0f} ms, base {base:.0f} ms)"
            report.at_least(f"start of {name}, new/base", base / ours, TARGET_BASE, shown=shown)


def _side(bench: Bench, zygote: Zygote) -> _Side:
    place = new_directory(bench)
    config = place / "config.yaml"
    config.write_text(json.dumps(_settings(f"sqlite:///{place}/bridge.db")))
    run_python(zygote, "-m", "bridge.cli", "--config", str(config), "migrate")
    return _Side(zygote=zygote, config=str(config))


def _settings(database_url: str) -> Mapping[str, object]:
    return {
        "network": "test",
        "database_url": database_url,
        "public_url": NOBODY,
        "token_secret": "t" * 32,
        "subtc": {"base_url": NOBODY, "key": "SUBTC-KEY-bench", "wallet_id": "wt_bench"},
        "chain": {"esplora": [NOBODY]},
        "prices": {
            "sources": [{"name": n, "url": f"{NOBODY}/{n}?c={{currency}}", "pointer": "/price"} for n in ("a", "b")]
        },
        "merchants": [{"id": "shop", "api_keys": [API_KEY], "currencies": ["USD"], "notify_secrets": [SECRET]}],
    }
