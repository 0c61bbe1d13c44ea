"""Owns starting real executables with a timeout and writing down what happened. It must not interpret their answers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.billmanager.clock import Clock, monotonic
from sandbox.billmanager.faults import FaultPlan
from sandbox.billmanager.knobs import Knobs
from sandbox.billmanager.records import Records
from sandbox.clock import TURNED

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run gave back; `rc` is None after a timeout."""

    rc: int | None
    stdout: bytes
    stderr: bytes
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Starts things in the tree."""

    base: Path
    clock: Clock
    knobs: Knobs
    records: Records
    faults: FaultPlan
    on_restart: Callable[[], None] = lambda: None

    def module(self, name: str, *arguments: str, stdin: bytes = b"") -> Outcome:
        """Run `paymethods/NAME` with arguments (BILLmanager contract 4)."""
        argv = [str(self.base / "paymethods" / name), *arguments]
        cwd = self.base if self.knobs.module_cwd == "base" else Path("/")
        fault = self.faults.strike("module", name)
        if fault is not None and fault.kind == "restart":
            self.on_restart()
        return self.run(
            kind="module",
            name=name,
            argv=argv,
            stdin=stdin,
            environment={},
            cwd=cwd,
            timeout=self.knobs.module_timeout_s,
            fault=fault.kind if fault else "",
            delay=fault.seconds if fault else 0.0,
        )

    def run(
        self,
        *,
        kind: str,
        name: str,
        argv: list[str],
        stdin: bytes,
        environment: Mapping[str, str],
        cwd: Path,
        timeout: float,
        fault: str = "",
        delay: float = 0.0,
    ) -> Outcome:
        """Run one executable in its own session, kill the whole group on timeout, and record the run."""
        extra = self.knobs.extra_environment
        full = {"PATH": PATH, "MGR5_BASE": str(self.base), **TURNED, **extra, **environment}
        started, begun = self.clock.stamp(), monotonic()
        outcome = _fake(fault) or _run(_wrapped(argv, fault, delay), stdin, full, cwd, timeout, fault)
        self.records.add(
            kind=kind,
            name=name,
            argv=tuple(argv),
            stdin=stdin.decode("utf-8", "replace"),
            stdout=outcome.stdout.decode("utf-8", "replace"),
            stderr=outcome.stderr.decode("utf-8", "replace"),
            rc=outcome.rc,
            seconds=round(monotonic() - begun, 4),
            started_at=started,
            note=fault or ("timeout" if outcome.rc is None else ""),
            environment=dict(environment),
        )
        return outcome


def _fake(fault: str) -> Outcome | None:
    answers = {"garbage": (0, b"Traceback (most recent call last):\n"), "exit": (1, b""), "killed": (-9, b"")}
    if fault not in answers:
        return None
    rc, stdout = answers[fault]
    return Outcome(rc=rc, stdout=stdout, stderr=b"", fault=fault)


def _wrapped(argv: list[str], fault: str, delay: float) -> list[str]:
    if fault == "disk_full":  # a file size limit of zero is a full disk for everything but pipes
        return ["prlimit", "--fsize=0", "--", *argv]
    if fault == "slow":
        return ["sh", "-c", 'sleep "$1"; shift; exec "$@"', "sh", str(delay), *argv]
    return argv


def _run(
    argv: list[str], stdin: bytes, environment: Mapping[str, str], cwd: Path, timeout: float, fault: str
) -> Outcome:
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(rc=127, stdout=b"", stderr=str(error).encode())
    with child:
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            stdout, stderr = child.communicate()
            return Outcome(rc=None, stdout=stdout, stderr=stderr, fault=fault)
    return Outcome(rc=child.returncode, stdout=stdout, stderr=stderr, fault=fault)
