"""Installs, upgrades, removes, checks and packs the module: whole or not at all, and never touching state or logs.

Owns the list of files and their modes; must not configure BILLmanager, which an administrator does on its screens.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
PACKAGE = "lib/python/subtc"
MANIFEST = f"{PACKAGE}/MANIFEST"
MODULES = [
    "__init__",
    "accounts",
    "bridge",
    "commands",
    "diagnose",
    "form",
    "invoice",
    "log",
    "mgrctl",
    "pay",
    "payment",
    "place",
    "pull",
    "refund",
    "report",
    "result",
    "settings",
    "settle",
    "signature",
    "state",
    "texts",
    "validate",
    "watch",
    "webio",
]
# Libraries first, the description last: whoever sees the new description finds everything behind it.
FILES: dict[str, int] = {
    **{f"{PACKAGE}/{name}.py": 0o644 for name in MODULES},
    "paymethods/pmsubtc": 0o744,
    "cgi/subtcpayment": 0o744,
    "cgi/subtcresult": 0o744,
    "skins/common/plugin-logo/billmanager-plugin-pmsubtc.png": 0o644,
    "etc/xml/billmgr_mod_pmsubtc.xml": 0o644,
}
STATE_DIRECTORY = "var/subtc"


class Refused(Exception):
    """Nothing was changed; the text says what to do."""


def version() -> str:
    text = (SOURCE / PACKAGE / "__init__.py").read_text("utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def install(base: Path, *, packaging: bool) -> bool:
    """Bring `base` to this version. True when something changed. Raises Refused before or after, never in between."""
    contents = _read_sources()
    _look_at_target(base, packaging)
    contents[MANIFEST] = _manifest(contents)
    modes = {**FILES, MANIFEST: 0o644}
    todo = [name for name in contents if not _is_same(base / name, contents[name], modes[name])]
    leftovers = [name for name in installed(base) if name not in contents]
    try:
        _put(base, {name: contents[name] for name in todo}, modes)
        for name in leftovers:
            (base / name).unlink()
        made = _make_state_directory(base)
    except OSError as err:
        raise Refused(f"{err.filename}: {err.strerror}; the previous state was put back") from err
    return bool(todo or leftovers or made)


def _read_sources() -> dict[str, bytes]:
    missing = [name for name in FILES if not (SOURCE / name).is_file()]
    if missing:
        raise Refused("this package is not complete, get it again; missing: " + ", ".join(missing))
    contents = {name: (SOURCE / name).read_bytes() for name in FILES}
    try:
        for name, content in contents.items():
            if name.endswith(".xml"):
                ET.fromstring(content)
            elif not name.endswith(".png"):
                compile(content, name, "exec")
    except (SyntaxError, ValueError, ET.ParseError) as err:
        raise Refused(f"this package is damaged, get it again: {err}") from err
    return contents


def _look_at_target(base: Path, packaging: bool) -> None:
    if packaging:
        return
    if not (base / "sbin" / "mgrctl").is_file():
        raise Refused(f"BILLmanager is not installed in {base}; to fill a package directory use DESTDIR=")
    answer = "import sys; sys.exit(sys.version_info < (3, 8))"
    try:
        old = subprocess.run(["/usr/bin/python3", "-c", answer], check=False).returncode
    except OSError:
        old = 1
    if old:
        raise Refused("/usr/bin/python3 is missing or older than 3.8; install the python3 package")


def _manifest(contents: dict[str, bytes]) -> bytes:
    rows = [f"{FILES[name]:o} {hashlib.sha256(content).hexdigest()} {name}" for name, content in contents.items()]
    return ("\n".join([f"# pmsubtc {version()}", *sorted(rows)]) + "\n").encode()


def _is_same(where: Path, content: bytes, mode: int) -> bool:
    return where.is_file() and where.read_bytes() == content and where.stat().st_mode & 0o777 == mode


def _put(base: Path, contents: dict[str, bytes], modes: dict[str, int]) -> None:
    """Write everything beside its place first, then rename; on any error put back what was there."""
    fresh: list[tuple[Path, Path]] = []
    before: list[tuple[Path, bytes, int]] = []
    new: list[Path] = []
    try:
        for name, content in contents.items():
            where = base / name
            where.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            beside = where.with_name(f".{where.name}.new")
            fresh.append((beside, where))
            _write(beside, content, modes[name])
        for beside, where in fresh:
            if where.exists():
                before.append((where, where.read_bytes(), where.stat().st_mode & 0o777))
            else:
                new.append(where)
            beside.replace(where)
    except OSError:
        for where in new:
            with contextlib.suppress(OSError):
                where.unlink()
        for where, content, mode in before:
            with contextlib.suppress(OSError):
                _write(where, content, mode)
        for beside, _ in fresh:
            with contextlib.suppress(OSError):
                beside.unlink()
        raise


def _write(where: Path, content: bytes, mode: int) -> None:
    where.write_bytes(content)
    where.chmod(mode)
    if os.geteuid() == 0:
        os.chown(where, 0, 0)


def _make_state_directory(base: Path) -> bool:
    where = base / STATE_DIRECTORY
    if where.is_dir():
        return False
    where.mkdir(parents=True)
    where.chmod(0o750)
    return True


def installed(base: Path) -> list[str]:
    """Files an installed version wrote, by its own list; nothing when none is installed."""
    try:
        rows = (base / MANIFEST).read_text("utf-8").splitlines()
    except OSError:
        return []
    names = [row.split(" ", 2)[2] for row in rows if row.count(" ") >= 2 and not row.startswith("#")]
    inside = [name for name in names if not name.startswith("/") and ".." not in name.split("/")]
    return [name for name in [*inside, MANIFEST] if (base / name).is_file()]


def installed_version(base: Path) -> str:
    try:
        return (base / MANIFEST).read_text("utf-8").splitlines()[0].split()[-1]
    except (OSError, IndexError):
        return ""


def uninstall(base: Path) -> bool:
    """Remove the files, keep var/subtc, etc/subtc.conf and the logs. True when something was there."""
    names = installed(base) or [name for name in FILES if (base / name).is_file()]
    for name in reversed(names):
        (base / name).unlink()
    shutil.rmtree(base / PACKAGE / "__pycache__", ignore_errors=True)
    with contextlib.suppress(OSError):
        (base / PACKAGE).rmdir()
    return bool(names)


def check_files(base: Path) -> list[str]:
    """What is missing or differs from the installed version's own list."""
    if not installed_version(base):
        return ["the module is not installed: run make install"]
    bad = []
    for row in (base / MANIFEST).read_text("utf-8").splitlines()[1:]:
        mode, digest, name = row.split(" ", 2)
        where = base / name
        if not where.is_file():
            bad.append(f"{name} is missing: run make install again")
        elif hashlib.sha256(where.read_bytes()).hexdigest() != digest:
            bad.append(f"{name} was changed after installation: run make install again")
        elif where.stat().st_mode & 0o777 != int(mode, 8):
            bad.append(f"{name} has mode {where.stat().st_mode & 0o777:o} instead of {mode}: run make install again")
    return bad


def check(base: Path, url: str) -> int:
    """Print what is good and what to do about the rest; the exit code is 0 when all is good."""
    problems = check_files(base)
    for problem in problems:
        print("FAIL  " + problem)
    os.environ["MGR5_BASE"] = str(base)
    sys.path.insert(0, str(SOURCE / "lib/python"))
    from subtc import diagnose

    bad: int = diagnose.main(url)
    return max(bad, 1 if problems else 0)


def tarball(target: Path) -> Path:
    """A package with everything needed to install, the same bytes every time, and its checksum beside it."""
    name = f"pmsubtc-{version()}"
    guides = SOURCE.parent / "docs"
    extra = {"Makefile": SOURCE / "Makefile", "install.py": SOURCE / "install.py"}
    for language in ("en", "ru"):
        guide = guides / f"install-module.{language}.md"
        extra[guide.name] = guide if guide.is_file() else SOURCE / guide.name
    sources = {**{one: SOURCE / one for one in FILES}, **extra}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for one in sorted(sources):
            content = sources[one].read_bytes()
            entry = tarfile.TarInfo(f"{name}/{one}")
            entry.size, entry.mode = len(content), FILES.get(one, 0o644)
            tar.addfile(entry, io.BytesIO(content))
    target.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(raw.getvalue(), 9, mtime=0)
    where = target / f"{name}.tar.gz"
    where.write_bytes(packed)
    (target / f"{where.name}.sha256").write_text(f"{hashlib.sha256(packed).hexdigest()}  {where.name}\n")
    return where


def reload_panel(base: Path) -> str:
    """BILLmanager reads descriptions and features at its start, so it is restarted."""
    argv = [str(base / "sbin/mgrctl"), "-m", "billmgr", "exit"]
    try:
        code = subprocess.run(argv, check=False, timeout=60, stdout=subprocess.DEVNULL).returncode
    except (OSError, subprocess.TimeoutExpired):
        code = 1
    return "BILLmanager restarts" if not code else f"restart BILLmanager yourself: {' '.join(argv)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="The Bitcoin payment module for BILLmanager")
    parser.add_argument("action", choices=("install", "upgrade", "uninstall", "check", "tarball"))
    parser.add_argument("--destdir", default="")
    parser.add_argument("--base", default="/usr/local/mgr5")
    parser.add_argument("--bridge", default="")
    parser.add_argument("--no-reload", action="store_true")
    parser.add_argument("--output", default=str(SOURCE / "dist"))
    chosen = parser.parse_args()
    base = Path(chosen.destdir + chosen.base)
    try:
        return _run(chosen, base)
    except Refused as err:
        print(f"refused: {err}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace, base: Path) -> int:
    if chosen.action == "tarball":
        print(tarball(Path(chosen.output)))
        return 0
    if chosen.action == "check":
        return check(base, chosen.bridge)
    before = installed_version(base)
    if chosen.action == "upgrade" and not before:
        raise Refused("there is nothing to upgrade; run make install")
    if chosen.action == "uninstall":
        changed, done = uninstall(base), f"removed; {STATE_DIRECTORY} and the logs stay"
    else:
        changed = install(base, packaging=bool(chosen.destdir))
        done = f"version {version()}" + (f" instead of {before}" if before not in ("", version()) else "")
    print(done if changed else "nothing to change")
    if changed and not chosen.destdir and not chosen.no_reload:
        print(reload_panel(base))
    return 0


if __name__ == "__main__":
    sys.exit(main())
