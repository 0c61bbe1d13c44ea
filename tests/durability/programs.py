"""The bridge's programs as real processes: started, watched, killed, stopped.

Owns processes that it started itself and no other; must not know what they do.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

START_SECONDS = 120
ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class Program:
    """One running command. Its process group has its own id, so that a web server's children go with it."""

    name: str
    pid: int
    log: Path
    zygote: "Zygote"
    port: int | None = None
    # Whether nothing of it is left: its number may be anybody's then.
    is_over: bool = False

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self.zygote.ask({"exit_of": self.pid})

    @property
    def was_killed(self) -> bool:
        """Whether it, or a process of the web server under it, died by SIGKILL."""
        return self.exit_code == -signal.SIGKILL or b"SIGKILL" in self.log.read_bytes()

    def kill(self) -> None:
        """SIGKILL to it and all its children: the power is gone."""
        if self.is_over:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        self.zygote.ask({"exit_of": self.pid, "is_over": True})
        self.is_over = True

    def stop(self, seconds: float = 120) -> int:
        """SIGTERM, as a service supervisor does; returns the exit code."""
        if not self.is_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 120) -> int:
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not end within {seconds} s:\n{self.tail()}")
            time.sleep(0.01)
        return code

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


class Zygote:
    """The process that forks programs; see `tests/durability/zygote.py`. `root` may be another checkout: then they are of its code."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root, self._lock = root, threading.Lock()
        own = root / ".venv" / "bin" / "python"
        self.python = str(own) if root != ROOT and own.exists() else sys.executable
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self._running = subprocess.Popen(
            [self.python, "-m", "tests.durability.zygote"],
            cwd=root,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, order: dict[str, Any]) -> Any:
        with self._lock:
            assert self._running.stdin is not None
            assert self._running.stdout is not None
            self._running.stdin.write(json.dumps(order) + "\n")
            self._running.stdin.flush()
            return json.loads(self._running.stdout.readline())

    def start(self, name: str, config: Path, *arguments: str, **options: Any) -> Program:
        """Starts `subtc-bridge --config CONFIG …`; its output goes to a file of its own beside the configuration."""
        log = config.parent / f"{name}-{time.monotonic_ns()}.log"
        order = {"start": ["--config", str(config), *arguments], "log": str(log), **options}
        pid = self.ask(order)
        while not log.exists():
            time.sleep(0.001)
        return Program(name=name, pid=pid, log=log, zygote=self)

    def close(self) -> None:
        """Ends it, and with it everything it started."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.close()
        self._running.wait(60)
        self._running.stdout.close()


@contextlib.contextmanager
def open_zygote(root: Path = ROOT) -> Iterator[Zygote]:
    zygote = Zygote(root)
    try:
        yield zygote
    finally:
        zygote.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answering(program: Program, port: int, path: str = "/healthz", *, patience_seconds: float = 5) -> None:
    """Asks again and again. A program may listen and be busy for longer than the patience of one question."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=patience_seconds)) as connection,
        ):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        if program.exit_code is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"{program.name} does not answer:\n{program.tail()}")
