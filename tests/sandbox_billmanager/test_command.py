"""The command, the wall-clock tick, and the control surface's own rules."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.sandbox_billmanager.driver import Billing

MODULES = Path(__file__).parent / "modules"
REPOSITORY = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_ticks_by_the_wall_clock_and_ends_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "sandbox.billmanager",
        "--port",
        str(port),
        "--base",
        str(tmp_path / "mgr5"),
    ]
    command += ["--module-tree", str(MODULES / "python"), "--tick-seconds", "0.2"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert f"http://127.0.0.1:{port}/" in running.stdout.readline()
        url, runs = f"http://127.0.0.1:{port}/_control/records?kind=module", []
        for _ in range(100):
            runs = [r for r in requests.get(url, timeout=5).json()["records"] if "checkpay" in r["argv"]]
            if len(runs) > 1:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=10) == 0
    assert len(runs) > 1


def test_a_reset_forgets_and_starts_numbers_where_asked(ready: Billing) -> None:
    ready.order()
    ready.knobs(version=5)
    ready.control("POST", "reset", next_payment_id=7)
    assert ready.control("GET", "payments")["payments"] == []
    assert ready.control("GET", "knobs")["version"] == 6
    ready.setup(currencies=["RUB"])
    assert ready.order()["payment_id"] == 7


def test_a_refusal_of_the_core_is_a_422_with_its_words(billing: Billing) -> None:
    made = billing.control("POST", "setup", module="pmtoken", settings={"api_url": "nowhere", "api_key": "k"})
    assert (made["http"], made["error"]["type"], made["error"]["object"]) == (422, "value", "api_url")
    assert billing.control("POST", "setup", module="pmnothing")["error"]["object"] == "module"


def test_the_clock_jumps_and_comes_back(billing: Billing) -> None:
    moved = billing.control("POST", "clock", set="2030-01-02T03:04:05+00:00")["now"]
    assert moved.startswith("2030-01-02T03:04:05")
    assert billing.control("POST", "clock", advance_s=3600)["now"].startswith("2030-01-02T04:04:05")
    assert not billing.control("POST", "clock", reset=True)["now"].startswith("2030")
