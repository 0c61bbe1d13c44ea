"""What `make setup` leaves behind: what is locked, whatever the index offers by then.

Owns the proof on the real environment and on a small made-up clone; works without a network.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.make_locks import DEV, LOCKS, OTEL, REQUIREMENTS, entries, name_of, pins

ROOT = Path(__file__).parents[2]
LATER = "9999.1"
# What this run's own pip, make and Python are told.
LEFT_OUT = ("PIP_", "MAKE", "MFLAGS", "PYTHON")


def wheel(folder: Path, name: str, version: str, *needs: str) -> str:
    """Puts a made-up release into a folder that serves as an index; returns its entry in a lock."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{module}.py": "",
        f"{info}/METADATA": head + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: made-up\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [(path, base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())) for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join(f"{path},sha256={digest.decode().rstrip('=')},\n" for path, digest in record)
    folder.mkdir(exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_inside, text in files.items():
            archive.writestr(name_inside, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def offered(index: Path, **more: str) -> dict[str, str]:
    """The environment of a machine whose pip finds that folder and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), **more}


def would_install(report: Path) -> dict[str, str]:
    found = json.loads(report.read_text())["install"]
    return {each["metadata"]["name"]: each["metadata"]["version"] for each in found}


def test_a_later_release_of_what_is_indirect_is_not_installed(tmp_path):
    environment_locks = [lock for lock in LOCKS if lock.path in (REQUIREMENTS, OTEL, DEV)]
    direct = {name_of(pin) for lock in environment_locks for pin in pins(lock)}
    locked = {each.name for lock in environment_locks for each in entries((ROOT / lock.path).read_text())}
    for name in locked - direct - {"pip"}:
        wheel(tmp_path / "later", name, LATER)
    # Even told to bring everything to the newest release there is.
    newest = {"PIP_DRY_RUN": "1", "PIP_UPGRADE": "1", "PIP_UPGRADE_STRATEGY": "eager"}
    report = tmp_path / "report.json"
    environment = offered(tmp_path / "later", **newest, PIP_REPORT=str(report))

    install = ["sh", "scripts/install_locked.sh", tmp_path / "mark", REQUIREMENTS, OTEL, DEV]
    subprocess.run(install, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120)
    assert would_install(report) == {}

    needs_blinker = next(pin for pin in pins(environment_locks[0]) if name_of(pin) == "flask")
    without = [sys.executable, "-m", "pip", "install", needs_blinker]
    subprocess.run(without, env=environment, check=True, capture_output=True, timeout=120)
    assert would_install(report)["blinker"] == LATER


BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/clone-1.0-py3-none-any.whl", "w") as archive:
        for name, text in (("METADATA", "Metadata-Version: 2.1\\nName: clone\\nVersion: 1.0\\nRequires-Dist: direct\\n"),
                           ("WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"), ("RECORD", "")):
            archive.writestr(f"clone-1.0.dist-info/{name}", text)
    return "clone-1.0-py3-none-any.whl"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A made-up program with this repository's Makefile and scripts: `direct` needs `indirect`, `tool` is for its tests."""
    place = tmp_path / "clone"
    for path in ("Makefile", "scripts/make_venv.sh", "scripts/install_locked.sh", "scripts/install_debian.sh"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, place / path)
    classifier = "Programming Language :: Python :: "
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    (place / "setup.cfg").write_text(f"[metadata]\nclassifiers =\n    {classifier}3.1\n    {classifier}{here}\n")
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (place / "backend.py").write_text(BACKEND)
    index = tmp_path / "index"
    (place / "deploy").mkdir()
    (place / "locks").mkdir()
    lines = wheel(index, "direct", "1.0", "indirect[more]"), wheel(index, "indirect", "1.0")
    (place / REQUIREMENTS).write_text("".join(lines))
    (place / OTEL).write_text(wheel(index, "spans", "1.0"))
    (place / DEV).write_text(wheel(index, "tool", "1.0") + wheel(index, "once", "1.0"))
    wheel(index, "indirect", LATER)
    return place


def make_setup(place: Path, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    command = ["make", "setup", f"PYTHON={python}"]
    environment = offered(place.parent / "index")
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False)


def installed(place: Path) -> dict[str, str]:
    code = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    command = [place / ".venv/bin/python", "-I", "-c", code]
    done = subprocess.run(command, env=offered(place), capture_output=True, text=True, check=True)
    return {name: each for name, each in json.loads(done.stdout).items() if name not in ("pip", "setuptools")}


def test_a_clone_is_set_up_as_locked_and_follows_its_locks(clone):
    done = make_setup(clone)
    assert done.returncode == 0, done.stderr
    as_locked = {"clone": "1.0", "direct": "1.0", "indirect": "1.0", "spans": "1.0", "tool": "1.0", "once": "1.0"}
    assert installed(clone) == as_locked
    # Nothing is compiled before it is used.
    assert list(clone.glob(".venv/lib/*/site-packages/__pycache__/direct.*")) == []
    report = clone / "report.json"
    without = [clone / ".venv/bin/pip", "install", "--dry-run", "--ignore-installed", "--report", report, "direct"]
    subprocess.run(without, env=offered(clone.parent / "index"), check=True, capture_output=True)
    assert would_install(report)["indirect"] == LATER

    marks = {path: path.stat().st_mtime_ns for path in (clone / ".venv").glob(".[rt]*")}
    assert len(marks) == 2
    again = make_setup(clone)
    assert (again.returncode, "Setting up" in again.stdout) == (0, False)
    assert {path: path.stat().st_mtime_ns for path in marks} == marks

    before = (clone / REQUIREMENTS).read_text()
    changed = before.splitlines(keepends=True)[0] + wheel(clone.parent / "index", "indirect", "2.0")
    (clone / REQUIREMENTS).write_text(changed)
    (clone / DEV).write_text((clone / DEV).read_text().splitlines(keepends=True)[0])
    assert make_setup(clone).returncode == 0
    assert installed(clone) == {name: each for name, each in as_locked.items() if name != "once"} | {"indirect": "2.0"}

    (clone / REQUIREMENTS).write_text(before[:-9] + "00000000\n")
    refused = make_setup(clone)
    assert (refused.returncode, "DO NOT MATCH THE HASHES" in refused.stderr) == (2, True)
    assert installed(clone)["indirect"] == "2.0"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("echo 3.10", "Python 3.1 or {here} is needed; {python} is 3.10."),
        ("exit 127", "Python 3.1 or {here} is needed; {python} is no Python that starts."),
    ],
)
def test_another_python_is_refused_with_a_clear_sentence(clone, answers, said):
    python = clone.parent / "python"
    python.write_text(f"#!/bin/sh\n{answers}\n")
    python.chmod(0o755)
    done = make_setup(clone, str(python))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, said.format(here=here, python=python))
    assert not (clone / ".venv").exists()


def test_an_environment_of_another_python_is_told_apart(clone):
    python = clone / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    for name in ("python", "pip"):
        (python.parent / name).write_text("#!/bin/sh\necho 3.10\n")
        (python.parent / name).chmod(0o755)
    done = make_setup(clone)
    assert done.returncode == 2
    assert ".venv has 3.10. Remove it with make clean, then try again." in done.stderr
