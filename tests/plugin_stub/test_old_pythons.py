"""Which Python runs the module: others than the usual one are tried and named, and one that is too old says so itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.clock import TURNED
from tests.plugin_stub.panel import STUB
from tests.plugin_stub.test_install import make

USUAL = "/usr/bin/python3"
SCRIPTS = ("paymethods/pmsubtc", "cgi/subtcpayment", "cgi/subtcresult")
# Answers as a Python of that version would; a script it says it cannot read.
PRETENDING = """#!/bin/sh
[ "$1" = -c ] && {{ printf '%s %s' {version} "$0"; exit 0; }}
exec {python} -c 'import runpy, sys; sys.version_info = {numbers}
sys.argv = [word for word in sys.argv[1:] if word != "-B"]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    where = tmp_path / "mgr5"
    (where / "sbin").mkdir(parents=True)
    (where / "sbin/mgrctl").write_text("#!/bin/sh\n")
    return where


def pretended(where: Path, version: str) -> Path:
    """A program that says it is Python of this version."""
    major, minor = version.split(".")
    where.write_text(PRETENDING.format(version=version, numbers=f"({major}, {minor}, 0)", python=sys.executable))
    where.chmod(0o755)
    return where


def older(version: str) -> Path | None:
    """A real Python of that version, where pyenv has it."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
    return next(iter(sorted(Path(root).glob(f"versions/{version}.*/bin/python{version}"))), None)


def install(base: Path, python: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [str(python), "-B", str(STUB / "install.py"), "install", "--base", str(base), "--no-reload", *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **TURNED})


def first_lines(base: Path) -> set[str]:
    return {(base / name).read_text().splitlines()[0] for name in SCRIPTS}


def test_the_usual_python_runs_the_module_where_it_will_do(base: Path) -> None:
    assert make(STUB, "install", BASE=base, RELOAD="no").returncode == 0
    assert first_lines(base) == {f"#!{USUAL} -IS"}


def test_another_python_can_be_named_and_upgrades_keep_it(base: Path, tmp_path: Path) -> None:
    named = Path(sys.executable).resolve()
    done = make(STUB, "install", BASE=base, RELOAD="no", PYTHON=named)
    assert (done.returncode, first_lines(base)) == (0, {f"#!{named} -IS"}), done.stderr
    again = make(STUB, "upgrade", BASE=base, RELOAD="no")
    assert (again.stdout, first_lines(base)) == ("nothing to change\n", {f"#!{named} -IS"})
    assert "begins with" not in make(STUB, "check", BASE=base).stdout
    assert make(STUB, "install", BASE=base, RELOAD="no", PYTHON=USUAL).returncode == 0
    assert first_lines(base) == {f"#!{USUAL} -IS"}


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_a_python_that_is_too_old_is_refused_by_its_version(base: Path, tmp_path: Path, version: str) -> None:
    python = older(version) or pretended(tmp_path / f"python{version}", version)
    done = install(base, python, "--python", str(python))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{python} is Python {version}; install a newer one" in done.stderr and "Traceback" not in done.stderr
    assert not (base / "cgi").exists()


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_begun_by_an_old_python_it_goes_on_with_one_that_will_do(base: Path, tmp_path: Path, version: str) -> None:
    python = older(version) or pretended(tmp_path / f"python{version}", version)
    done = install(base, python)
    assert (done.returncode, done.stdout, done.stderr) == (0, "version 1.0.0\n", "")
    assert first_lines(base) == {f"#!{USUAL} -IS"}


def test_where_the_usual_one_is_old_the_newest_of_the_others_is_taken_and_told(base: Path, tmp_path: Path) -> None:
    usual, other = pretended(tmp_path / "python3", "3.6"), Path(sys.executable).resolve()
    code = f"""import sys; sys.path.insert(0, {str(STUB)!r}); import install
install.USUAL, install.OTHERS = {str(usual)!r}, [{str(tmp_path / "missing")!r}, {str(other)!r}]
sys.argv = ["install.py", "install", "--base", {str(base)!r}, "--no-reload"]
sys.exit(install.main())"""
    done = subprocess.run([str(other), "-B", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"the module runs with {other}: {usual} is Python 3.6\nversion 1.0.0\n", done.stderr
    assert first_lines(base) == {f"#!{other} -IS"}


def test_a_program_that_looks_for_a_python_is_not_what_runs_the_module(base: Path, tmp_path: Path) -> None:
    """A shim asks the variables of whoever calls it, and BILLmanager has none of them."""
    shim = tmp_path / "python3"
    shim.write_text(f'#!/bin/sh\nexec {USUAL} "$@"\n')
    shim.chmod(0o755)
    assert make(STUB, "install", BASE=base, RELOAD="no", PYTHON=shim).returncode == 0
    assert first_lines(base) == {f"#!{USUAL} -IS"}


def test_a_python_that_others_may_change_is_not_made_root(base: Path, tmp_path: Path) -> None:
    python = pretended(tmp_path / "python3.11", "3.11")
    python.chmod(0o777)
    done = install(base, python, "--python", str(python))
    assert (done.returncode, "can be changed by others" in done.stderr) == (1, True)


def test_without_any_python_make_says_what_to_install(base: Path) -> None:
    done = make(STUB, "install", BASE=base, PYTHON="/nowhere/python3")
    assert done.returncode != 0
    assert "there is no /nowhere/python3; install Python 3.8 or newer" in done.stderr


def test_check_names_scripts_whose_python_is_gone(base: Path) -> None:
    make(STUB, "install", BASE=base, RELOAD="no")
    script = base / SCRIPTS[0]
    script.write_text(script.read_text().replace(USUAL, "/nowhere/python3.9", 1))
    told = make(STUB, "check", BASE=base).stdout
    assert f"{SCRIPTS[0]} begins with #!/nowhere/python3.9 -IS, which will not do: run make install again" in told


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_run_by_an_old_python_says_so_in_one_sentence(base: Path, version: str, name: str) -> None:
    """The files were copied by hand, or the distribution went back to an older Python."""
    python = older(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    make(STUB, "install", BASE=base, RELOAD="no")
    argv = [str(python), "-B", str(base / name), "--command", "config"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"MGR5_BASE": str(base)})
    sentence = f"pmsubtc needs Python 3.8 or newer, this is {version}: make install finds one\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_what_was_installed_is_compiled_for_the_first_client(base: Path) -> None:
    make(STUB, "install", BASE=base, RELOAD="no")
    package = base / "lib/python/subtc"
    compiled = {where.name.split(".")[0] for where in (package / "__pycache__").glob("*.pyc")}
    assert compiled == {where.stem for where in package.glob("*.py")}
