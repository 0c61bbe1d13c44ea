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

from change import Change, File, Refused, sweep

SOURCE = Path(__file__).resolve().parent
PACKAGE = "lib/python/subtc"
MANIFEST = f"{PACKAGE}/MANIFEST"
MODULES = [
    "__init__",
    "accounts",
    "bridge",
    "commands",
    "conf",
    "diagnose",
    "form",
    "identity",
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
    "solved",
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
SCRIPTS = ("paymethods/pmsubtc", "cgi/subtcpayment", "cgi/subtcresult")
# Nobody's variables, packages or start-up files: the programs run as root, and start sooner.
FLAGS = "-IS"


def version() -> str:
    text = (SOURCE / PACKAGE / "__init__.py").read_text("utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def install(base: Path, *, packaging: bool, python: str) -> bool:
    """Bring `base` to this version, run by `python`. True when something changed. Raises Refused."""
    contents = _read_sources(python)
    if not packaging and not (base / "sbin" / "mgrctl").is_file():
        raise Refused(f"BILLmanager is not installed in {base}; to fill a package directory use DESTDIR=")
    wanted = {base / name: File(content, FILES[name]) for name, content in contents.items()}
    listed = {base / MANIFEST: File(_manifest(contents), 0o644)}
    leftovers = [name for name in installed(base) if name not in (*FILES, MANIFEST)]
    with Change() as change:
        todo = {where: file for where, file in {**wanted, **listed}.items() if not _is_same(where, file)}
        change.put({where: file for where, file in todo.items() if where in wanted})
        for name in leftovers:
            change.remove(base / name)
        made = change.folder(base / STATE_DIRECTORY, 0o750)
        # Last: until all is in place the old list must name what there was, should this be killed.
        change.put({where: file for where, file in todo.items() if where in listed})
    _sweep(base)
    if todo and not packaging:
        _compile(base, python)
    return bool(todo or leftovers or made)


def _sweep(base: Path) -> None:
    """Drop what a run that was killed had kept or ready, also of files that are no longer ours."""
    stray = (where.with_name(where.name[1:-4]) for where in (base / PACKAGE).glob(".*.*"))
    sweep([*(base / name for name in (*FILES, MANIFEST)), *stray])


def _read_sources(python: str) -> dict[str, bytes]:
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
    for name in SCRIPTS:
        contents[name] = _beginning(python) + contents[name].partition(b"\n")[2]
    return contents


def _beginning(python: str) -> bytes:
    return f"#!{python} {FLAGS}\n".encode()


def _manifest(contents: dict[str, bytes]) -> bytes:
    rows = [f"{FILES[name]:o} {hashlib.sha256(content).hexdigest()} {name}" for name, content in contents.items()]
    return ("\n".join([f"# pmsubtc {version()}", *sorted(rows)]) + "\n").encode()


def _is_same(where: Path, file: File) -> bool:
    return where.is_file() and where.read_bytes() == file.content and where.stat().st_mode & 0o777 == file.mode


def _compile(base: Path, python: str) -> None:
    """Spare the first client the compiling; without it each program does so for itself."""
    argv = [python, "-m", "compileall", "-q", str(base / PACKAGE)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, check=False, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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
    with Change() as change:
        for name in reversed(names):
            change.remove(base / name)
    _sweep(base)
    shutil.rmtree(base / PACKAGE / "__pycache__", ignore_errors=True)
    with contextlib.suppress(OSError):
        (base / PACKAGE).rmdir()
    return bool(names)


def _other_pythons(base: Path, python: str) -> list[str]:
    """Scripts whose own Python is gone or too old: `python` was taken, which would have been theirs."""
    found = {name: (base / name).read_bytes().partition(b"\n")[0] for name in SCRIPTS if (base / name).is_file()}
    other = [(name, line.decode("utf-8", "replace")) for name, line in found.items() if not _is_run_by(python, line)]
    return [f"{name} begins with {line}, which will not do: run make install again" for name, line in other]


def _is_run_by(python: str, line: bytes) -> bool:
    return line + b"\n" == _beginning(python)


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


def check(base: Path, url: str, python: str) -> int:
    """Print what is good and what to do about the rest; the exit code is 0 when all is good."""
    problems = [*check_files(base), *_other_pythons(base, python)]
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
    extra = {name: SOURCE / name for name in ("Makefile", "install.py", "installer.py", "change.py")}
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


def run(chosen: argparse.Namespace, python: str) -> int:
    """Do what was chosen, for a module run by `python`; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a bridge's words in letters that this terminal does not have
    try:
        return _run(chosen, Path(chosen.destdir + chosen.base), python)
    except Refused as err:
        print(f"refused: {err}", file=sys.stderr)
    except OSError as err:
        print(f"refused: {err.filename}: {err.strerror}; nothing was changed", file=sys.stderr)
    return 1


def _run(chosen: argparse.Namespace, base: Path, python: str) -> int:
    if chosen.action == "tarball":
        print(tarball(Path(chosen.output or SOURCE / "dist")))
        return 0
    if chosen.action == "check":
        return check(base, chosen.bridge, python)
    before = installed_version(base)
    if chosen.action == "upgrade" and not before:
        raise Refused("there is nothing to upgrade; run make install")
    if chosen.action == "uninstall":
        changed, done = uninstall(base), f"removed; {STATE_DIRECTORY} and the logs stay"
    else:
        changed = install(base, packaging=bool(chosen.destdir), python=python)
        done = f"version {version()}" + (f" instead of {before}" if before not in ("", version()) else "")
    print(done if changed else "nothing to change")
    if changed and not chosen.destdir and not chosen.no_reload:
        print(reload_panel(base))
    return 0
