"""How soon the module's programs are ready: BILLmanager starts a Python for each command, page and notification.

Owns the table of programs and the imports that each cannot do without, which are its yardstick; processor time, which the
neighbours of a loaded machine change least. Each start ends as early as it may: nothing is asked of BILLmanager or a bridge.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.place import Bench, new_directory
from bench.table import Report
from tests.durability.programs import ROOT

RATIO = 1.3
STARTS = 20
_CALLS = (
    "base64, contextlib, decimal, fcntl, functools, hmac, json, pathlib, re, subprocess, time, typing, urllib.parse, "
    "xml.etree.ElementTree"
)
_BRIDGE = f"{_CALLS}, http.client, ssl, threading"
# What is started, with which variables, and what it needs from the standard library.
PROGRAMS = {
    "config": (("paymethods/pmsubtc", "--command", "config"), {}, "sys"),
    "pmvalidate": (("paymethods/pmsubtc", "--command", "pmvalidate"), {}, f"{_BRIDGE}, email.utils"),
    "checkpay": (("paymethods/pmsubtc", "--command", "checkpay"), {}, f"{_BRIDGE}, datetime"),
    "pay page": (("cgi/subtcpayment",), {"QUERY_STRING": "elid=none"}, f"{_BRIDGE}, html"),
    "notification": (("cgi/subtcresult",), {"REQUEST_METHOD": "GET"}, _CALLS),
}


def measure(bench: Bench, report: Report, *, starts: int = STARTS) -> None:
    """Each program and its yardstick in turns."""
    base = _installed(new_directory(bench))
    for name, (argv, variables, imports) in PROGRAMS.items():
        yardstick = (sys.executable, "-c", f"import {imports}")
        program = (str(base / argv[0]), *argv[1:])
        ours, theirs = [], []
        for _ in range(starts):
            theirs.append(processor_ms(yardstick, _variables()))
            ours.append(processor_ms(program, _variables(MGR5_BASE=str(base), **variables)))
        ratio = statistics.median(ours) / statistics.median(theirs)
        report.note(f"module: start of {name}, processor ms", statistics.median(ours), f"{statistics.median(ours):.1f}")
        report.at_most(f"module: start of {name} / python3 and its imports", ratio, RATIO)


def _installed(base: Path) -> Path:
    """The module as its installer leaves it, with the Python of the bench."""
    (base / "sbin").mkdir(parents=True)
    (base / "sbin/mgrctl").write_text("#!/bin/false\n")
    (base / "sbin/mgrctl").chmod(0o755)
    installer = [sys.executable, "-B", str(ROOT / "plugin_stub/install.py"), "install", "--no-reload"]
    subprocess.run([*installer, "--base", str(base), "--chosen", sys.executable], check=True, stdout=subprocess.DEVNULL)
    return base


def _variables(**variables: str) -> dict[str, str]:
    return {"PATH": os.defpath, **variables}


def processor_ms(argv: tuple[str, ...], environment: Mapping[str, str], *, cwd: Path | None = None) -> float:
    """What a program that ends by itself takes of the processor."""
    child = subprocess.Popen(
        argv,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return 1_000 * (used.ru_utime + used.ru_stime)
