"""Owns the list of everything that was run. It must not hide anything: tests look here for leaked secrets."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

KEEP = 5000
BODY_LIMIT = 65536


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run, with what went in and what came out."""

    number: int
    kind: str  # module, cgi or mgrctl
    name: str
    argv: tuple[str, ...]
    started_at: str
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    rc: int | None = None
    seconds: float = 0.0
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)


class Records:
    """The last runs, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: deque[Record] = deque(maxlen=KEEP)
        self._next = 1

    def add(self, **parts: Any) -> Record:
        """Append one run; texts are cut at 64 KiB each."""
        for name in ("stdin", "stdout", "stderr"):
            parts[name] = parts.get(name, "")[:BODY_LIMIT]
        with self._lock:
            record = Record(number=self._next, **parts)
            self._next += 1
            self._rows.append(record)
        return record

    def select(self, *, kind: str = "", name: str = "", after: int = 0) -> list[Record]:
        """Runs of a kind (module, cgi, mgrctl) and name, numbered above `after`."""
        with self._lock:
            rows = list(self._rows)
        return [r for r in rows if r.number > after and kind in ("", r.kind) and name in ("", r.name)]

    def clear(self) -> None:
        """Forget all runs; the numbers go on."""
        with self._lock:
            self._rows.clear()
