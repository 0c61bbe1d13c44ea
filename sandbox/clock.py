"""The sandbox's clock: real time plus an offset that a test may move.

Must not sleep or schedule; whoever waits asks again after being woken.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

# By these libfaketime turns the clock of all of a machine's programs, and a Python among them sleeps by what scripts/test_later.sh
# put first on the path: one that gets an environment of its own needs the same.
TURNED = {name: value for name, value in os.environ.items() if name == "LD_PRELOAD" or name.startswith("FAKETIME")}
if "FAKETIME" in TURNED:
    TURNED["PYTHONPATH"] = os.environ.get("PYTHONPATH", "").partition(os.pathsep)[0]


def opened(program: bytes) -> bytes:
    """A program as it is; where the clock is turned, one that shuts Python off (-IS) without that, for the mend to reach it."""
    return program.replace(b"python3 -IS\n", b"python3\n", 1) if TURNED else program


def turn(file: Path, seconds: int) -> None:
    """Writes into the bridge's `clock_offset_file` how far ahead it is, at once: who read an empty file would be back in the present."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds}\n")
    fresh.replace(file)


class Clock:
    """Unix seconds, shifted. Moving it backwards is allowed: clock errors are worth testing too."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now(self) -> float:
        """The simulated time in Unix seconds."""
        return time.time() + self.offset_s

    def advance(self, seconds: float) -> None:
        """Shift the simulated time by `seconds`."""
        self.offset_s += seconds

    def set(self, unix_seconds: float) -> None:
        """Let the simulated time be `unix_seconds` now; it runs on from there."""
        self.offset_s = unix_seconds - time.time()
