"""The container files: checked without an engine.

Owns the checks of deploy/container; must not build an image.
"""

import subprocess
import sys
from pathlib import Path

import yaml

PLACE = Path(__file__).parents[2] / "deploy" / "container"
BIN = Path(sys.executable).parent


def compose() -> dict:
    return yaml.safe_load((PLACE / "compose.yaml").read_text())


def test_the_container_file_has_no_known_fault():
    done = subprocess.run([BIN / "hadolint", PLACE / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_checker_finds_a_planted_fault(tmp_path):
    (tmp_path / "Containerfile").write_text("FROM python:latest\nRUN cd /tmp && pip install flask\nUSER root\n")
    assert subprocess.run([BIN / "hadolint", tmp_path / "Containerfile"], capture_output=True).returncode == 1


def test_the_compose_file_follows_its_schema():
    check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", PLACE / "compose.yaml"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_ends_as_an_unprivileged_user():
    users = [line for line in (PLACE / "Containerfile").read_text().splitlines() if line.startswith("USER ")]
    assert users == ["USER 10001:10001"]


def test_every_part_of_the_bridge_runs_read_only_without_privileges_from_one_image():
    parts = {name: part for name, part in compose()["services"].items() if name != "database"}
    assert set(parts) == {"migrate", "web", "worker"}
    for part in parts.values():
        assert (part["read_only"], part["cap_drop"], part["user"]) == (True, ["ALL"], "10001:10001")
        assert part["security_opt"] == ["no-new-privileges:true"]
    assert len({part["image"] for part in parts.values()}) == 1


def test_nothing_is_published_beyond_the_host_itself():
    published = [port for part in compose()["services"].values() for port in part.get("ports", [])]
    assert published == ["127.0.0.1:8080:8080"]
    assert compose()["networks"]["inside"] == {"internal": True}
    assert compose()["services"]["database"]["networks"] == ["inside"]


def test_no_secret_is_written_into_a_container_file():
    for path in PLACE.iterdir():
        assert "SUBTC-KEY-" not in path.read_text()
        assert "whsec_" not in path.read_text()
    assert all("file" in source for source in compose()["secrets"].values())
