"""What a demo leaves, says and opens: its folder, its ports, the people of its desk."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bridge.config import load_settings
from bridge.people.login import log_in
from bridge.runtime import build
from sandbox import demo, desk_people


def test_the_people_of_the_demo_log_in_with_the_codes_that_are_told(place) -> None:
    people = desk_people.make_people([sys.executable, "-m", "bridge.cli", "--config", str(place.config)])
    assert [(each.name, each.role) for each in people] == [("root", "admin"), ("fay", "finance"), ("ann", "approver")]
    bridge = build(load_settings(place.config))
    try:
        for person in people[1:]:
            # The second code is one of the next half minute, which counts already: the first one is used up.
            for _ in range(2):
                now = bridge.clock().timestamp()
                code = person.code(now)
                assert log_in(bridge, name=person.name, password=desk_people.PASSWORD, code=code).identity.role
    finally:
        bridge.close()


def test_a_code_is_told_once_and_the_next_ones_time_is_said() -> None:
    fay = desk_people.Person(name="fay", role="finance", secret=b"s" * 20)
    first, second, third = (desk_people.entries([fay], 1_000_000_005.0)[0] for _ in range(3))
    assert len({line.rpartition("code  ")[2] for line in (first, second)}) == 2
    assert third.endswith("code  (the next one in 15 s)")
    assert desk_people.PASSWORD in first and "proposes" in first


def test_a_moved_port_is_said() -> None:
    assert demo.moved_ports(demo.PORTS) == []
    (said,) = demo.moved_ports(demo.PORTS | {"bridge": 40_001})
    assert said == "Port 8733 is taken, maybe by another demo: bridge is at 40001."


def test_what_a_killed_demo_left_is_named_and_a_running_one_is_let_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed, running, empty = (tmp_path / f"{demo.PREFIX}{name}" for name in ("killed", "running", "empty"))
    for folder in (killed, running, empty):
        folder.mkdir()
    dead, alive = demo.note_of(gone.pid), demo.note_of(os.getpid())
    (killed / demo.PROGRAMS).write_text(f"{dead}\n{alive}\n{dead}")
    (running / demo.PROGRAMS).write_text(f"{alive}\n{dead}")
    (said,) = demo.leftovers()
    assert f"has left {killed}: its programs still run, end them: kill {os.getpid()}; then rm -r {killed}" in said
    with monkeypatch.context() as blind:
        # What was only just started has no command line yet.
        blind.setattr(demo, "_command", lambda _: "")
        assert demo.note_of(1, ["python", "-m", "x"]) == "1 python -m x"
    (killed / demo.PROGRAMS).write_text(dead)
    assert demo.leftovers() == [f"A demo that was not ended has left {killed}: rm -r {killed}"]


def test_what_is_told_to_be_run_ends_no_other_program_and_runs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    odd = tmp_path / f"{demo.PREFIX}a; touch b"
    odd.mkdir()
    # Its number was given to another program since.
    (odd / demo.PROGRAMS).write_text(f"{gone.pid} python\n{os.getpid()} python -m sandbox bitcoin")
    assert demo.leftovers() == [f"A demo that was not ended has left '{odd}': rm -r '{odd}'"]
    monkeypatch.setattr(os, "getuid", lambda: odd.stat().st_uid + 1)
    assert demo.leftovers() == []


def test_a_folder_that_nobody_named_goes_with_its_demo_unless_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with demo.demo_place(None) as place:
        assert place.is_dir()
    assert not place.exists() and f"its files in {place} are removed" in capsys.readouterr().out
    with pytest.raises(SystemExit), demo.demo_place(None) as ended:
        sys.exit(143)
    assert not ended.exists()
    with pytest.raises(demo.DemoFailed), demo.demo_place(None) as failed:
        raise demo.DemoFailed("no")
    assert failed.is_dir() and f"stay in {failed}" in capsys.readouterr().out
    with demo.demo_place(tmp_path / "mine") as named:
        pass
    assert named.is_dir()
