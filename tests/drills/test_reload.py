"""SIGHUP: running programs take a new file, and a bad one changes nothing.

Owns two real programs; must not look inside them.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.deploy.site import free_port
from tests.drills.place import Place
from tests.flows.world import until


class Program:
    """One `subtc-bridge` command with its log in a file."""

    def __init__(self, place: Place, command: str):
        self.log_path = place.directory / f"{command}.log"
        with self.log_path.open("wb") as log_file:
            arguments = [sys.executable, "-m", "bridge.cli", "--config", str(place.config), command]
            self.running = subprocess.Popen(arguments, stdout=log_file, stderr=log_file)

    def actions(self) -> list[dict]:
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def saw(self, action: str, *, times: int = 1) -> dict | None:
        found = [line for line in self.actions() if line["action"] == action]
        return found[times - 1] if len(found) >= times else None

    def hang_up(self) -> None:
        self.running.send_signal(signal.SIGHUP)


@contextmanager
def program(place: Place, command: str) -> Iterator[Program]:
    started = Program(place, command)
    try:
        yield started
    finally:
        started.running.terminate()
        assert started.running.wait(timeout=20) == 0
        assert "Traceback" not in started.log_path.read_text()


def change(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


@pytest.fixture
def small_place(place: Place) -> Place:
    change(place.config, "network: test", "network: test\nweb_processes: 1\nworker_threads: 2")
    return place


def test_the_worker_takes_new_settings_and_refuses_a_bad_file(small_place):
    with program(small_place, "worker") as worker:
        until(lambda: worker.saw("worker.started"), seconds=60)
        change(small_place.config, "worker_threads: 2", "worker_threads: 3")
        worker.hang_up()
        assert until(lambda: worker.saw("config.reloaded"), seconds=60)["changes"] == ["worker_threads: 2 → 3"]
        until(lambda: worker.saw("worker.started", times=2), seconds=60)
        change(small_place.config, "worker_threads: 3", "worker_threads: many")
        worker.hang_up()
        assert "worker_threads" in until(lambda: worker.saw("config.refused"), seconds=60)["faults"][0]
        until(lambda: worker.saw("worker.started", times=3), seconds=60)
        assert worker.running.poll() is None


def test_the_web_takes_a_new_api_key_and_refuses_a_bad_file(small_place):
    """The rotation of an API key without a restart: both keys are good, then only the new one."""
    port = free_port()
    change(small_place.config, "127.0.0.1:0", f"127.0.0.1:{port}")
    secrets = small_place.directory / "secrets"
    old = (secrets / "api_key").read_text().strip()
    new = "a-second-key-of-the-shop-0123456789"
    (secrets / "api_key_new").write_text(new)

    def status(key: str) -> int | None:
        try:
            headers = {"Authorization": f"Bearer {key}"}
            return requests.get(f"http://127.0.0.1:{port}/v1/events", headers=headers, timeout=5).status_code
        except requests.ConnectionError:
            return None

    with program(small_place, "serve") as web:
        until(lambda: status(old) == 200, seconds=60)
        assert status(new) == 401
        keys = f'api_keys: ["${{file:{secrets}/api_key}}"]'
        change(small_place.config, keys, keys.replace('"]', f'", "${{file:{secrets}/api_key_new}}"]'))
        web.hang_up()
        until(lambda: (status(old), status(new)) == (200, 200), seconds=60)
        change(small_place.config, "network: test", "network: moon")
        web.hang_up()
        until(lambda: web.saw("config.refused"), seconds=60)
        assert (until(lambda: status(old), seconds=60), status(new)) == (200, 200)
        change(small_place.config, "network: moon", "network: test")
        change(small_place.config, f'"${{file:{secrets}/api_key}}", ', "")
        web.hang_up()
        until(lambda: (status(old), status(new)) == (401, 200), seconds=60)


def test_an_edit_about_money_waits_for_people_after_a_reload_and_after_a_restart(small_place):
    """Two real programs: the edit is proposed once, and neither of them ever goes by it."""
    change(small_place.config, "network: test\n", "network: test\npolicy_changes: {approvals: 1}\n")
    change(small_place.config, "127.0.0.1:0", f"127.0.0.1:{free_port()}")

    def goes_by(running: Program) -> bool:
        return [each["number"] for each in running.actions() if each["action"] == "policy.in_force"][-1:] == [2]

    with program(small_place, "serve") as web, program(small_place, "worker") as worker:
        until(lambda: goes_by(web) and goes_by(worker), seconds=60)
        until(lambda: "Booting worker" in web.log_path.read_text(), seconds=60)
        change(small_place.config, "network: test\n", "network: test\npayouts: {cooling_seconds: 0}\n")
        web.hang_up()
        worker.hang_up()
        until(lambda: web.saw("policy.proposed") or worker.saw("policy.proposed"), seconds=60)
        until(lambda: worker.saw("worker.started", times=2) and goes_by(worker), seconds=60)
    with program(small_place, "worker") as again:
        until(lambda: goes_by(again), seconds=60)
        assert not again.saw("policy.proposed")
    seen = [each["number"] for run in (web, worker, again) for each in run.actions() if "policy.in" in each["action"]]
    assert max(seen) == 2
    state = json.loads(small_place.run("policy", "show").output)
    assert (state["active"]["number"], state["file"], len(state["proposed"])) == (2, "proposed", 1)
