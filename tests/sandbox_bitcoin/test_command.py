"""The command line: a free port, the nets, and the refusal of main."""

import subprocess
import sys
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]


def start(*arguments):
    command = [sys.executable, "-m", "sandbox.bitcoin", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_on_loopback_and_keeps_quiet():
    with start("--port", "0", "--net", "regtest") as sandbox:
        url = sandbox.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        assert requests.get(f"{url}/health", timeout=5).json()["ok"] is True
        assert requests.get(f"{url}/_control/state", timeout=5).json()["net"] == "regtest"
        sandbox.terminate()
        rest, errors = sandbox.communicate(timeout=5)
    assert (rest, errors) == ("", "")


def test_main_without_its_switch_is_a_usage_error():
    with start("--port", "0", "--net", "main") as sandbox:
        _, errors = sandbox.communicate(timeout=10)
    assert sandbox.returncode == 2
    assert "allow_main" in errors
