"""The units' own commands, run as a user who may do nothing, without capabilities and with an empty environment.

Owns the dropping of privileges; what a booted systemd adds to that is `systemd-analyze security`'s to judge.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.deploy.site import free_port
from tests.drills.place import Place, new_place
from tests.flows.world import until

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NOBODY = 65_534
DROPPED = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")
DROPPED += ("--bounding-set=-all", "--inh-caps=-all")


def commands(unit: str, place: Place) -> list[list[str]]:
    """What the unit starts, first to last, with this installation's program and configuration."""
    text = (UNITS / unit).read_text()
    found = re.findall(r"^Exec(?:StartPre|Start)=\S*subtc-bridge --config \S+ (.*)$", text, re.MULTILINE)
    dropped = DROPPED if os.geteuid() == 0 else ("setpriv", "--no-new-privs")
    program = [*dropped, sys.executable, "-m", "bridge.cli", "--config", str(place.config)]
    words = [
        line.replace("/var/lib/subtc-bridge", str(place.directory)).replace("/run/subtc-bridge", str(place.directory))
        for line in found
    ]
    return [[*program, *line.split()] for line in words]


@pytest.fixture
def installed() -> Iterator[tuple[Place, int]]:
    # Not pytest's own folder: nobody may enter that.
    root = Path(tempfile.mkdtemp(prefix="bridge-unit-", dir="/tmp"))
    root.chmod(0o755)
    port = free_port()
    try:
        with new_place(root) as place:
            assert place.init("--listen", f"127.0.0.1:{port}").exit_code == 0
            if os.geteuid() == 0:
                for path in (place.directory, *place.directory.rglob("*")):
                    os.chown(path, NOBODY, NOBODY)
            yield place, port
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def started(unit: str, place: Place, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The unit's last command running, after those before it."""
    *before, last = commands(unit, place)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"} | variables
    for command in before:
        subprocess.run(command, cwd=place.directory, env=environment, check=True, capture_output=True)
    with (place.directory / f"{unit}.log").open("wb") as log_file:
        program = subprocess.Popen(last, cwd=place.directory, env=environment, stdout=log_file, stderr=log_file)
    try:
        yield program
    finally:
        program.terminate()
        assert program.wait(timeout=30) == 0, (place.directory / f"{unit}.log").read_text()


def answers(port: int) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    return False


def identity(pid: int) -> tuple[str, str]:
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^Uid:\t(\d+)", status, re.M)[1], re.search(r"^CapBnd:\t(\w+)", status, re.M)[1]


def test_the_web_and_the_worker_run_as_nobody_and_answer(installed):
    place, port = installed
    with (
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify,
        started("subtc-bridge-worker.service", place),
    ):
        notify.bind(str(place.directory / "notify"))
        (place.directory / "notify").chmod(0o777)
        with started("subtc-bridge-web.service", place, NOTIFY_SOCKET=str(place.directory / "notify")) as web:
            until(lambda: answers(port), seconds=60)
            # Type=notify: systemd waits for this word.
            assert b"READY=1" in notify.recv(1000)
            if os.geteuid() == 0:
                assert identity(web.pid) == (str(NOBODY), "0" * 16)
        until(lambda: "worker.started" in (place.directory / "subtc-bridge-worker.service.log").read_text(), seconds=60)


@pytest.mark.parametrize("unit", ["subtc-bridge-backup.service", "subtc-bridge-check.service"])
def test_the_timers_commands_do_their_work_as_nobody(installed, unit):
    place, _ = installed
    (place.directory / "backups").mkdir(mode=0o777, exist_ok=True)
    (place.directory / "backups").chmod(0o777)
    [command] = commands(unit, place)
    done = subprocess.run(command, cwd=place.directory, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    # The check may find something to say (exit code 2), such as no backup yet; it must not fail.
    assert done.returncode in ({0, 2} if "check" in unit else {0}), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(place.directory.glob("check.prom")) or list((place.directory / "backups").glob("bridge-*.db"))
