"""Owns planned misfortune for mgrctl, modules and CGI scripts (contract 15.6). It must not act by itself."""

from __future__ import annotations

import random
import threading
from dataclasses import asdict, dataclass
from typing import Any

KINDS = {
    "mgrctl": {"slow", "dead", "killed", "error", "exit", "truncated", "non_utf8", "lost", "empty"},
    "module": {"slow", "killed", "garbage", "exit", "disk_full", "restart"},
    "cgi": {"slow", "dead", "lost", "duplicate", "disk_full"},
}


@dataclass(kw_only=True)
class Fault:
    """One planned fault: it strikes `times` times (-1: for ever), each time with `chance`."""

    target: str
    kind: str
    name: str = "*"
    times: int = 1
    chance: float = 1.0
    seconds: float = 0.0
    error_type: str = "value"
    error_object: str = ""
    after_effect: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS.get(self.target, set()):
            raise ValueError(f"no fault {self.kind!r} for {self.target!r}")


class FaultPlan:
    """The faults still to come."""

    def __init__(self, *, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)

    def add(self, **parts: Any) -> Fault:
        """Plan a fault. Raises ValueError for an unknown target or kind, TypeError for an unknown part."""
        fault = Fault(**parts)
        with self._lock:
            self._faults.append(fault)
        return fault

    def seed(self, number: int) -> None:
        """Make the chances repeatable."""
        self._random.seed(number)

    def strike(self, target: str, name: str) -> Fault | None:
        """The fault that hits this run, if any; counts it down."""
        with self._lock:
            for fault in self._faults:
                if fault.target != target or fault.name not in ("*", name) or not fault.times:
                    continue
                if self._random.random() >= fault.chance:
                    continue
                fault.times -= 1 if fault.times > 0 else 0
                return fault
        return None

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """The faults still to come, as plain JSON values."""
        with self._lock:
            return [asdict(fault) for fault in self._faults if fault.times]
