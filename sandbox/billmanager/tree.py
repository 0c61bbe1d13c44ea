"""Owns the throwaway copy of /usr/local/mgr5 and what is in it. It must not write outside its base directory."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys
import zlib
from pathlib import Path

from sandbox.billmanager.errors import TreeRefused
from sandbox.clock import opened

REAL_BASE = "/usr/local/mgr5"
FOLDERS = (
    "sbin",
    "paymethods",
    "cgi",
    "etc/xml",
    "etc/paymethods",
    "lib/python",
    "include/php",
    "libexec",
    "skins/common/plugin-logo",
    "var/run/lock",
    "var/.xmlcache/billmgr",
)
# `src` is where sources stand that the scripts may be links to.
MIRRORED = ("paymethods", "cgi", "etc", "skins", "lib", "include", "libexec", "src")
DEBUG_CONF = "# level per component: 9 debug, 6 extinfo, 5 info, 4 warning, 3 error, 2 critical\n*.* 9\n"
_HERE = Path(__file__).resolve().parent
# The vendor-style Python library: its files, and the names under which modules import them.
_LIBRARY = ("__init__", "calls", "database", "exception", "logger", "payment", "session", "paymethod", "paymentcgi")
_ALIASES = {"misc": "calls", "db": "database", "modules/paymethod": "paymethod", "modules/paymentcgi": "paymentcgi"}


def build_tree(base: Path, module_trees: list[Path]) -> Path:
    """Make or complete a tree in `base`, then copy each module tree over it; returns the absolute base."""
    base = base.resolve()
    if str(base) in ("/", REAL_BASE):
        raise TreeRefused(f"{base} is not a throwaway directory")
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    write_once(base / "etc/debug.conf", DEBUG_CONF)
    write_mgrctl(base)
    _write_cash_picture(base / "skins/userdata/img/cash.png")
    _install_library(base)
    for module_tree in module_trees:
        copy_module_tree(module_tree, base)
    return base


def _write_cash_picture(path: Path) -> None:
    # What BILLmanager shows for a method without a logo; here one grey pixel.
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\xc0")),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_once(path: Path, text: str) -> None:
    """Write a file unless it is there."""
    if not path.exists():
        path.write_text(text, "utf-8")


def write_mgrctl(base: Path) -> None:
    """Put the executable mgrctl into the tree; it finds the core by `var/run/core.address` beside it."""
    source = (_HERE / "mgrctl_stub.py").read_text("utf-8")
    target = base / "sbin/mgrctl"
    target.write_text(f"#!{Path(sys.executable).resolve()} -IS\n{source}", "utf-8")
    target.chmod(0o755)


def write_address(base: Path, *, port: int, token: str) -> None:
    """Tell this tree's mgrctl where the core listens; only the owner may read it."""
    path = base / "var/run/core.address"
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(f"{port}\n{token}\n")
    fresh.replace(path)


def _install_library(base: Path) -> None:
    home = base / "lib/python/billmgr"
    (home / "modules").mkdir(parents=True, exist_ok=True)
    write_once(home / "modules/__init__.py", "")
    for name in _LIBRARY:
        place(base, _HERE / f"vendor_python/{name}.py", f"lib/python/billmgr/{name}.py", mode=0o644)
    for alias, name in _ALIASES.items():
        write_once(home / f"{alias}.py", f"from billmgr.{name} import *\n")


def copy_module_tree(module_tree: Path, base: Path) -> list[str]:
    """Copy the mirrored folders of a module tree with their modes; returns the relative names copied."""
    copied = []
    for folder in MIRRORED:
        for source in sorted((module_tree / folder).rglob("*")):
            if (source.is_file() or source.is_symlink()) and "__pycache__" not in source.parts:
                name = str(source.relative_to(module_tree))
                place(base, source, name)
                copied.append(name)
    return copied


def place(base: Path, source: Path, name: str, *, mode: int | None = None) -> Path:
    """Copy one file to `name` in the tree, with its mode or a given one. Raises TreeRefused when it would leave.

    A link stays one when it leads to a place in the tree: a script finds what lies beside the file that it really is.
    """
    target = base / name
    if not target.parent.resolve().is_relative_to(base):
        raise TreeRefused(f"{name} leaves the tree")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # never through a link of an earlier build
    goal = _rebased(os.fsencode(source.readlink()), base).decode() if source.is_symlink() else ""
    if goal and (target.parent / goal).resolve().is_relative_to(base):
        target.symlink_to(goal)
        return target
    target.write_bytes(opened(_rebased(source.read_bytes(), base)))
    target.chmod(stat.S_IMODE(source.stat().st_mode) if mode is None else mode)
    return target


def _rebased(content: bytes, base: Path) -> bytes:
    # A module with the fixed path of a real installation works in the copy only if the copy names the copy. One that
    # knows MGR5_BASE is left as it is, byte for byte.
    if b"MGR5_BASE" in content or b"\0" in content:
        return content
    return content.replace(REAL_BASE.encode(), str(base).encode())


def remove_tree(base: Path) -> None:
    """Delete a tree this module made; anything else is refused."""
    if not (base / "sbin/mgrctl").exists() or str(base.resolve()) == REAL_BASE:
        raise TreeRefused(f"{base} was not made by the sandbox")
    shutil.rmtree(base)
