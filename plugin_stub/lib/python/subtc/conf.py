"""The lines of etc/subtc.conf and the root of the panel, for whoever must answer before anything is imported.

Owns reading the lines; must not import what costs time: BILLmanager waits for `config` when it starts.
"""

from __future__ import annotations

import os


def root() -> str:
    """The root of the panel. Only a sandbox sets MGR5_BASE."""
    return os.environ.get("MGR5_BASE") or "/usr/local/mgr5"


def found() -> dict[str, str]:
    """What the `name = value` lines say, nothing without the file."""
    try:
        with open(f"{root()}/etc/subtc.conf", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is dear
            parts = [line.split("#")[0].partition("=") for line in file]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in parts}


def is_refunding(lines: dict[str, str]) -> bool:
    """Whether refunds are declared to BILLmanager."""
    return lines.get("refund") == "on"
