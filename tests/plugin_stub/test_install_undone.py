"""An installer that fails at any step puts back what was there; after one that was killed, the next run makes it whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.clock import TURNED
from tests.parts import one_in
from tests.plugin_stub.panel import HERE, STUB

Tree = dict[str, tuple[int, bytes]]
MOST_STEPS = 300


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A panel that never had the module."""
    where = tmp_path / "mgr5"
    (where / "sbin").mkdir(parents=True)
    (where / "sbin/mgrctl").write_text("#!/bin/sh\n")
    (where / "sbin/mgrctl").chmod(0o755)
    return where


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package with three modules: each kind of step is there, and there are not too many of them."""
    copy = tmp_path / "package"
    shutil.copytree(STUB, copy, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    installer = (copy / "installer.py").read_text()
    names = installer[installer.index("MODULES = [") : installer.index("]", installer.index("MODULES = ["))]
    (copy / "installer.py").write_text(installer.replace(names, 'MODULES = ["__init__", "log", "refund"'))
    return copy


@pytest.fixture
def newer(package: Path, tmp_path: Path) -> Path:
    """The same with other contents of its files, and one file less."""
    copy = tmp_path / "newer"
    shutil.copytree(package, copy)
    for where in [*copy.rglob("*.py"), *copy.glob("cgi/*"), *copy.glob("paymethods/*")]:
        where.write_text(where.read_text() + "# newer\n")
    (copy / "lib/python/subtc/refund.py").unlink()
    installer = copy / "installer.py"
    installer.write_text(installer.read_text().replace(', "refund"', ""))
    return copy


def run(package: Path, base: Path, action: str, *before: str) -> subprocess.CompletedProcess[str]:
    """The installer as make calls it, below what `before` says; its Python is the one of the tests."""
    program = [*before, str(package / "install.py"), action, "--base", str(base), "--no-reload"]
    argv = [sys.executable, "-B", *program, "--chosen", sys.executable]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **TURNED})


def stumble(how: str, number: int, base: Path) -> tuple[str, ...]:
    return (str(HERE / "stumble.py"), how, str(number), str(base))


def tree(base: Path) -> Tree:
    """Everything below `base` but what Python compiled for itself: folders with their modes, files with their bytes too."""
    return {
        str(where.relative_to(base)): (where.stat().st_mode & 0o777, where.read_bytes() if where.is_file() else b"")
        for where in base.rglob("*")
        if "__pycache__" not in where.parts
    }


def fresh(package: Path, newer: Path, base: Path) -> tuple[Path, str]:
    return package, "install"


def upgrade(package: Path, newer: Path, base: Path) -> tuple[Path, str]:
    assert run(package, base, "install").returncode == 0
    (base / "var/subtc").rmdir()
    return newer, "upgrade"


def removal(package: Path, newer: Path, base: Path) -> tuple[Path, str]:
    assert run(package, base, "install").returncode == 0
    return package, "uninstall"


@pytest.mark.parametrize("scene", [fresh, upgrade, removal])
def test_whichever_step_fails_the_previous_state_is_there_again(
    scene: Callable[[Path, Path, Path], tuple[Path, str]], package: Path, newer: Path, base: Path, tmp_path: Path
) -> None:
    source, action = scene(package, newer, base)
    before = tree(base)
    for number in one_in(2, range(1, MOST_STEPS)):
        done = run(source, base, action, *stumble("fail", number, base))
        if done.returncode == 0:
            break
        assert tree(base) == before, (number, done.stderr)
        assert "No space left on device; the previous state was put back" in done.stderr
        assert "Traceback" not in done.stderr
    assert 8 < number < MOST_STEPS
    after = tree(base)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(base, undisturbed)
    assert run(source, undisturbed, action).returncode == 0
    assert after != before
    assert {name for name in tree(undisturbed) if "/." in name} == set()


@pytest.mark.parametrize("scene", [fresh, upgrade])
@pytest.mark.parametrize("size", [1, 2000])
def test_a_disk_that_fills_in_the_middle_of_a_file_changes_nothing(
    scene: Callable[[Path, Path, Path], tuple[Path, str]], size: int, package: Path, newer: Path, base: Path
) -> None:
    source, action = scene(package, newer, base)
    before = tree(base)
    argv = ["prlimit", f"--fsize={size}", "--", sys.executable, "-B", str(source / "install.py"), action]
    argv += ["--base", str(base), "--no-reload", "--chosen", sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, tree(base)) == (1, before)
    assert "the previous state was put back" in done.stderr


@pytest.mark.parametrize("scene", [fresh, upgrade])
def test_an_installer_that_was_killed_is_made_good_by_the_next_run(
    scene: Callable[[Path, Path, Path], tuple[Path, str]], package: Path, newer: Path, base: Path, tmp_path: Path
) -> None:
    source, action = scene(package, newer, base)
    before = tmp_path / "before"
    shutil.copytree(base, before)
    wanted: Tree = {}
    for number in one_in(2, range(1, MOST_STEPS, 4)):
        again = tmp_path / f"run{number}"
        shutil.copytree(before, again)
        done = run(source, again, action, *stumble("kill", number, again))
        assert run(source, again, "install").returncode == 0
        wanted = wanted or tree(again)
        assert tree(again) == wanted
        assert run(source, again, "install").stdout == "nothing to change\n"
        if done.returncode == 0:
            return
    pytest.fail("the installer never came to its end")


def test_what_cannot_be_put_back_is_named(package: Path, newer: Path, base: Path) -> None:
    """The disk fails for good in the middle: then it is not said that all is as before."""
    assert run(package, base, "install").returncode == 0
    done = run(newer, base, "upgrade", *stumble("fail from", 18, base))
    assert done.returncode == 1
    assert "these could not be put back: " in done.stderr and "was put back" not in done.stderr
    assert run(newer, base, "install").returncode == 0
    assert {name for name in tree(base) if "/." in name} == set()
