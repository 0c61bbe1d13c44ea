"""Owns the library's log files. It must not write to stdout."""

from __future__ import annotations

import logging
from pathlib import Path

BASE = Path(__file__).resolve().parents[3]


def init_logging(name: str) -> None:
    """Log to `var/NAME.log` in the house format (BILLmanager contract 11)."""
    form = logging.Formatter(f"%(asctime)s [%(process)d] {name} %(levelname)s %(message)s", "%b %e %H:%M:%S")
    target = logging.FileHandler(BASE / "var" / f"{name}.log", encoding="utf-8")
    target.setFormatter(form)
    logging.getLogger().addHandler(target)
    logging.getLogger().setLevel(logging.DEBUG)


def get_logger(name: str) -> logging.Logger:
    """A named logger."""
    return logging.getLogger(name)
