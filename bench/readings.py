"""What people read of the books, timed: run by its path with the PYTHONPATH of any checkout, it asks that one.

Owns these readings; `python -P bench/readings.py CONFIG` prints JSON of seconds, the median of several for what is quick.
"""

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any


def _of(name: str, *rooms: str) -> Any:
    """A function of whichever room has it: earlier releases had other rooms."""
    for room in rooms:
        try:
            return getattr(import_module(f"bridge.{room}"), name)
        except (ImportError, AttributeError):
            continue
    raise AttributeError(name)


def seconds(work: Callable[[], Any], *, most: float = 3) -> float:
    """The median of up to five, fewer of what takes long."""
    took: list[float] = []
    while not took or (len(took) < 5 and sum(took) < most):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main(config: str) -> dict[str, float]:
    settings = import_module("bridge.config").load_settings(Path(config))
    bridge = import_module("bridge.runtime").build(settings)
    series, report = _of("series", "desk.desk", "flows.desk"), _of("report", "desk.day_report", "flows.day_report")
    treasury, alerts = (
        _of("treasury_view", "payouts.treasury", "flows.treasury"),
        _of("alerts", "upkeep.check", "flows.check"),
    )
    export = _of("export", "books.export", "flows.export")
    now = bridge.clock()
    ends = {"from_at": now - timedelta(days=31), "to_at": now}
    yesterday = (now - timedelta(days=1)).date()
    asked: dict[str, Callable[[], Any]] = {
        "page Today": lambda: series(bridge),
        "treasury": lambda: treasury(bridge),
        "day report": lambda: report(bridge, yesterday),
        "check": lambda: alerts(bridge),
        "journal of a month": lambda: deque(export(bridge, kind="journal", format="csv", **ends), maxlen=0),
    }
    asked |= _sought(bridge)
    # Days that are over are counted once: the first page of a process is told apart.
    took = {"page Today, at first": seconds(asked["page Today"], most=0)}
    took |= {name: seconds(work) for name, work in asked.items()}
    bridge.store.close()
    return took


def _sought(bridge: Any) -> dict[str, Callable[[], Any]]:
    """How the oldest invoice is found, words that nobody wrote, and the desk's list, whose totals stop at 20,000."""
    with bridge.store.read() as tx:
        oldest = tx.exec_driver_sql("SELECT id, address FROM invoices ORDER BY created_at LIMIT 1").one()
    find = _of("find", "desk.find", "flows.explain")
    sought: dict[str, Callable[[], Any]] = {
        "find by id": lambda: find(bridge, oldest.id),
        "find by address": lambda: find(bridge, oldest.address),
    }
    with suppress(AttributeError):  # no earlier release had them
        listed = _of("list_narrowed", "desk.find")
        sought |= {
            "find by words among 10,000": lambda: find(bridge, "nobody wrote this", among=10_000),
            "the desk's list": lambda: listed(bridge, {}),
            "the desk's list of what settled": lambda: listed(bridge, {"status": "settled"}),
            "the desk's list, largest first": lambda: listed(bridge, {"order": "largest"}),
        }
    return sought


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
