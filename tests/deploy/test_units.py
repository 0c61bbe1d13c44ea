"""The systemd units: they parse without a word, leave little to attack, and start commands that exist.

Owns the checks of deploy/systemd; must not need a booted systemd.
"""

import re
import subprocess
from pathlib import Path

import pytest

from bridge.cli.group import main

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
MOST_EXPOSURE_TENTHS = 20


def planted(tmp_path: Path, name: str) -> Path:
    """The unit with an executable that is there: `verify` wants one, and nothing of ours is installed."""
    text = (UNITS / name).read_text().replace("/opt/subtc-bridge/bin/subtc-bridge", "/bin/true")
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_the_web_the_worker_and_three_timers_are_there():
    assert [f"subtc-bridge-{name}.service" for name in ("backup", "check", "reconcile", "web", "worker")] == SERVICES
    assert [f"subtc-bridge-{name}.timer" for name in ("backup", "check", "reconcile")] == TIMERS


def test_systemd_has_nothing_to_say_about_any_unit(tmp_path):
    units = [str(planted(tmp_path, name)) for name in (*SERVICES, *TIMERS)]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    # An unknown key only warns and exits with 0, so any output at all is a failure.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_does_speak_up_about_a_wrong_key(tmp_path):
    unit = planted(tmp_path, "subtc-bridge-web.service")
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoem="))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert "ProtectHoem" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_leaves_little_to_attack(tmp_path, name):
    unit = planted(tmp_path, name)
    command = ["systemd-analyze", "security", "--offline=true", str(unit)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    whole, tenths = re.search(r"Overall exposure level for \S+: (\d+)\.(\d)", shown).groups()
    assert int(whole) * 10 + int(tenths) <= MOST_EXPOSURE_TENTHS


@pytest.mark.parametrize("name", SERVICES)
def test_every_command_of_a_unit_exists(name):
    commands = re.findall(r"/bin/subtc-bridge --config \S+ ([a-z-]+)(?: ([a-z]+))?", (UNITS / name).read_text())
    assert commands
    for first, second in commands:
        command = main.commands[first]
        assert not second or second in command.commands


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_runs_as_root_or_keeps_a_capability(name):
    lines = (UNITS / name).read_text().splitlines()
    assert {"User=subtc-bridge", "CapabilityBoundingSet=", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(lines)


@pytest.mark.parametrize("name", SERVICES)
def test_every_unit_says_itself_what_a_dynamic_user_would_imply(name):
    # Why there is none: deploy/systemd/subtc-bridge.sysusers.
    lines = (UNITS / name).read_text().splitlines()
    implied = {"ProtectSystem=strict", "PrivateTmp=yes", "RemoveIPC=yes", "NoNewPrivileges=yes", "RestrictSUIDSGID=yes"}
    assert {*implied, "ProtectHome=yes", "StateDirectory=subtc-bridge"} <= set(lines)


@pytest.mark.parametrize("name", TIMERS)
def test_every_timer_has_its_service_and_catches_up_after_a_pause(name):
    text = (UNITS / name).read_text()
    assert name.replace(".timer", ".service") in SERVICES
    assert "Persistent=yes" in text
    when = re.search(r"OnCalendar=(.*)", text)[1]
    assert subprocess.run(["systemd-analyze", "calendar", when], capture_output=True).returncode == 0
