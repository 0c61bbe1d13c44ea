"""Installing, upgrading, removing: whole or not at all, twice is once, state and logs stay."""

from __future__ import annotations

import ast
import gzip
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from sandbox.clock import TURNED
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import STUB, Panel

BASE = "usr/local/mgr5"
SCRIPTS = {"paymethods/pmsubtc": 0o744, "cgi/subtcpayment": 0o744, "cgi/subtcresult": 0o744}
OTHERS = {
    "etc/xml/billmgr_mod_pmsubtc.xml": 0o644,
    "skins/common/plugin-logo/billmanager-plugin-pmsubtc.png": 0o644,
    "lib/python/subtc/MANIFEST": 0o644,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package that a test may damage."""
    copy = tmp_path / "package"
    shutil.copytree(STUB, copy, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    return copy


def make(source: Path, target: str, **variables: object) -> subprocess.CompletedProcess[str]:
    settings = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "-s", "-C", str(source), target, *settings]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **TURNED})


def files(base: Path) -> dict[str, tuple[int, str, int]]:
    """Path, mode, digest and time of change of everything below `base`."""
    return {
        str(where.relative_to(base)): (
            where.stat().st_mode & 0o777,
            hashlib.sha256(where.read_bytes()).hexdigest(),
            where.stat().st_mtime_ns,
        )
        for where in base.rglob("*")
        if where.is_file()
    }


def test_an_empty_directory_gets_exactly_the_stated_files_and_modes(source: Path, tmp_path: Path) -> None:
    """BILLmanager contract 2, row 003-07"""
    assert make(source, "install", DESTDIR=tmp_path / "root").returncode == 0
    base = tmp_path / "root" / BASE
    package = {f"lib/python/subtc/{where.name}": 0o644 for where in (STUB / "lib/python/subtc").glob("*.py")}
    assert {name: mode for name, (mode, _, _) in files(base).items()} == {**SCRIPTS, **OTHERS, **package}
    assert (base / "var/subtc").stat().st_mode & 0o777 == 0o750
    assert not (base / "pm").exists()


def test_a_second_install_changes_nothing(source: Path, tmp_path: Path) -> None:
    make(source, "install", DESTDIR=tmp_path / "root")
    before = files(tmp_path / "root")
    again = make(source, "install", DESTDIR=tmp_path / "root")
    assert (again.returncode, again.stdout, files(tmp_path / "root")) == (0, "nothing to change\n", before)


def test_an_upgrade_replaces_removes_and_keeps_what_is_not_ours(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    init = source / "lib/python/subtc/__init__.py"
    old_text = init.read_text()
    init.write_text(old_text.replace('__version__ = "', '__version__ = "0.'))
    make(source, "install", DESTDIR=root)
    base = root / BASE
    gone = base / "lib/python/subtc/retired.py"
    gone.write_text("")
    manifest = base / "lib/python/subtc/MANIFEST"
    manifest.write_text(manifest.read_text() + f"644 {'0' * 64} lib/python/subtc/retired.py\n")
    kept = {
        base / "var/subtc/feeds.json": "{}",
        base / "var/pmsubtc.log": "line\n",
        base / "etc/subtc.conf": "refund = on\n",
    }
    for where, text in kept.items():
        where.write_text(text)
    init.write_text(old_text)
    done = make(source, "upgrade", DESTDIR=root)
    assert (done.returncode, " instead of 0." in done.stdout, gone.exists()) == (0, True, False)
    assert {where: where.read_text() for where in kept} == kept


def test_an_upgrade_of_nothing_is_refused(source: Path, tmp_path: Path) -> None:
    done = make(source, "upgrade", DESTDIR=tmp_path / "root")
    assert (done.returncode != 0, "run make install" in done.stderr, files(tmp_path)) != (False, False, {})
    assert not (tmp_path / "root").exists()


def test_uninstall_removes_the_files_and_keeps_state_and_logs(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(source, "install", DESTDIR=root)
    base = root / BASE
    (base / "var/subtc/feeds.json").write_text("{}")
    (base / "var/pmsubtc.log").write_text("line\n")
    (base / "cgi/otherpayment").write_text("of another module")
    (base / "lib/python/subtc/__pycache__").mkdir()
    (base / "lib/python/subtc/__pycache__/log.cpython-38.pyc").write_text("")
    assert make(source, "uninstall", DESTDIR=root).returncode == 0
    assert set(files(base)) == {"var/subtc/feeds.json", "var/pmsubtc.log", "cgi/otherpayment"}
    assert not (base / "lib/python/subtc").exists()
    assert make(source, "uninstall", DESTDIR=root).stdout == "nothing to change\n"


@pytest.mark.parametrize("name", ["cgi/subtcresult", "lib/python/subtc/settle.py", "etc/xml/billmgr_mod_pmsubtc.xml"])
def test_a_package_with_a_file_missing_installs_nothing(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).unlink()
    done = make(source, "install", DESTDIR=tmp_path / "root")
    assert (done.returncode != 0, name in done.stderr, (tmp_path / "root").exists()) == (True, True, False)


@pytest.mark.parametrize("name", ["lib/python/subtc/settle.py", "etc/xml/billmgr_mod_pmsubtc.xml"])
def test_a_damaged_package_installs_nothing(source: Path, tmp_path: Path, name: str) -> None:
    content = (source / name).read_bytes()
    (source / name).write_bytes(content[: len(content) // 2] + b"\n<(")
    done = make(source, "install", DESTDIR=tmp_path / "root")
    assert (done.returncode != 0, "damaged" in done.stderr, (tmp_path / "root").exists()) == (True, True, False)


def test_a_target_that_fails_half_way_is_put_back(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(source, "install", DESTDIR=root)
    base = root / BASE
    before = {name: (mode, digest) for name, (mode, digest, _) in files(base).items()}
    log = source / "lib/python/subtc/log.py"
    log.write_text(log.read_text() + "# newer\n")
    description = source / "etc/xml/billmgr_mod_pmsubtc.xml"
    description.write_text(description.read_text() + "<!-- newer -->\n")
    (base / "etc/xml/.billmgr_mod_pmsubtc.xml.new").mkdir()  # in the way of the last file
    done = make(source, "install", DESTDIR=root)
    assert done.returncode != 0
    assert {name: (mode, digest) for name, (mode, digest, _) in files(base).items()} == before


def test_a_host_without_billmanager_is_refused(source: Path, tmp_path: Path) -> None:
    done = make(source, "install", BASE=tmp_path / "mgr5")
    assert (done.returncode != 0, "BILLmanager is not installed" in done.stderr) == (True, True)
    assert not (tmp_path / "mgr5").exists()


def test_the_panel_is_restarted_when_something_changed_and_only_then(
    source: Path, panel: Panel, bridge: FakeBridge
) -> None:
    assert make(source, "install", BASE=panel.base).returncode == 0
    assert [call["argv"][1:] for call in panel.calls()] == [["-m", "billmgr", "exit"]]
    make(source, "install", BASE=panel.base)
    make(source, "upgrade", BASE=panel.base)
    assert len(panel.calls()) == 1


def test_check_says_what_is_wrong_and_what_to_do(source: Path, panel: Panel, bridge: FakeBridge) -> None:
    make(source, "install", BASE=panel.base, RELOAD="no")
    panel.add_payment("7")
    panel.pay("7")
    panel.checkpay()
    good = make(source, "check", BASE=panel.base, BRIDGE=bridge.url)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "all good"), good.stdout + good.stderr
    assert "address, key, clock and secret are good" in good.stdout
    (panel.base / "cgi/subtcresult").chmod(0o777)
    (panel.base / "lib/python/subtc/texts.py").unlink()
    bridge.clock_offset = 900
    bad = make(source, "check", BASE=panel.base, BRIDGE="http://127.0.0.1:9")
    assert bad.returncode != 0
    for words in ("chmod 744", "texts.py is missing", "time synchronisation", "check address, firewall"):
        assert words in bad.stdout
    panel.fail("*", "down", times=99)
    assert "is BILLmanager running?" in make(source, "check", BASE=panel.base).stdout


def test_the_tarball_installs_and_is_the_same_every_time(source: Path, tmp_path: Path) -> None:
    first = make(STUB, "tarball", OUTPUT=tmp_path / "one").stdout.strip()
    second = make(STUB, "tarball", OUTPUT=tmp_path / "two").stdout.strip()
    assert Path(first).read_bytes() == Path(second).read_bytes()
    checked = subprocess.run(["sha256sum", "-c", f"{Path(first).name}.sha256"], cwd=tmp_path / "one", check=False)
    assert checked.returncode == 0
    assert gzip.decompress(Path(first).read_bytes())
    with tarfile.open(first) as tar:
        assert not [one for one in tar.getnames() if "pycache" in one]
        tar.extractall(tmp_path / "unpacked", filter="data")
    (package,) = (tmp_path / "unpacked").iterdir()
    assert {where.name for where in package.glob("*.md")} == {"install-module.en.md", "install-module.ru.md"}
    assert make(package, "install", DESTDIR=tmp_path / "root").returncode == 0
    assert make(package, "tarball", OUTPUT=tmp_path / "three").returncode == 0


def test_the_list_of_files_is_the_tree() -> None:
    found = {where.stem for where in (STUB / "lib/python/subtc").glob("*.py")}
    text = (STUB / "installer.py").read_text()
    names = next(
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES"
    )
    assert set(names) == found


def test_make_alone_tells_what_it_can_do(source: Path) -> None:
    told = subprocess.run(["make", "-s", "-C", str(source)], capture_output=True, text=True, check=True).stdout
    for word in ("install", "upgrade", "uninstall", "check", "tarball", "DESTDIR", "BRIDGE"):
        assert word in told
