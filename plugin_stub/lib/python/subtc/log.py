"""The module's log files: var/pmsubtc.log, var/subtcpayment.log, var/subtcresult.log (BILLmanager contract 11).

Owns line shape, levels and redaction; must not raise, and must not write to stdout, which belongs to BILLmanager.
"""

from __future__ import annotations

import os
import re
import time

from subtc import place

_NUMBERS = {"ERROR": 3, "WARNING": 4, "INFO": 5, "EXTINFO": 6, "DEBUG": 9}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_TRACE = re.compile(r"[0-9a-f]{32}")
_hidden: set[str] = set()
_script = "pmsubtc"
_trace = ""


def begin(script: str) -> None:
    """Name the file this script writes to."""
    global _script
    _script = script


def script() -> str:
    """The name this script logs under; BILLmanager's history shows it too."""
    return _script


def follow(trace: str) -> None:
    """From here on every line names this trace (32 hex digits, W3C); any other text names none."""
    global _trace
    _trace = trace if _TRACE.fullmatch(trace) else ""


def trace() -> str:
    """The trace that is followed, or nothing."""
    return _trace


def hide(secret: str) -> None:
    """Never let this text reach a log line, whoever puts it there."""
    if len(secret) >= 6:
        _hidden.add(secret)


def error(action: str, **ids: object) -> None:
    _write("ERROR", action, ids)


def warning(action: str, **ids: object) -> None:
    _write("WARNING", action, ids)


def info(action: str, **ids: object) -> None:
    _write("INFO", action, ids)


def extinfo(action: str, **ids: object) -> None:
    _write("EXTINFO", action, ids)


def debug(action: str, **ids: object) -> None:
    _write("DEBUG", action, ids)


def _write(level: str, action: str, ids: dict[str, object]) -> None:
    try:
        if _NUMBERS[level] > threshold():
            return
        stamp = time.strftime("%b %e %H:%M:%S")
        text = f"{stamp} [{os.getpid()}] {_script} {level} {_line(action, ids)}\n"
        where = place.base() / "var" / f"{_script}.log"
        # One write to an O_APPEND file: lines of parallel processes do not mix.
        fd = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(fd, text.encode("utf-8", "backslashreplace"))
        finally:
            os.close(fd)
    except OSError:
        return  # a full disk must not stop a payment


def _line(action: str, ids: dict[str, object]) -> str:
    ids = {**ids, **({"trace": _trace} if _trace else {})}
    text = " ".join([f"action={action}", *(f"{name}={_value(value)}" for name, value in ids.items())])
    for secret in _hidden:
        text = text.replace(secret, "[hidden]")
    return text


def _value(value: object) -> str:
    text = _CONTROL.sub("?", str(value))[:300]
    return '"' + text.replace('"', "'") + '"' if " " in text or not text else text


def threshold() -> int:
    """The level debug.conf gives this script: lines end in a number, `*` speaks for all, a named line wins."""
    level = 5
    try:
        lines = (place.base() / "etc" / "debug.conf").read_text("utf-8", "replace").splitlines()
    except OSError:
        return level
    named = None
    for line in lines:
        words = line.split()
        if len(words) < 2 or not words[-1].isdigit():
            continue
        last = words[0].split(".")[-1]
        if last == _script:
            named = int(words[-1])
        elif last == "*" and words[0] in ("*", "*.*", "billmgr.*"):
            level = int(words[-1])
    return level if named is None else named
