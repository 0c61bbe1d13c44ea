"""The machine of the walk: an empty Debian in memory with a booted systemd, and its own network.

Owns its root, its start and the commands run in it; must not know what the guide says.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "build", "node_modules", "__pycache__", "*.egg-info", ".*_cache"
)
SOURCES = "/root/subtc-bridge"
BOOT_SECONDS = 60
ROOT_SHELL = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
NAMESERVER = "10.0.2.3"  # slirp4netns's own


class WalkFailed(Exception):
    """A step of the walk did not come true; the text says which and what was seen instead."""


@dataclass(kw_only=True)
class Machine:
    """`leader` is the machine's process 1 as seen from here; `network` is the program that holds its network namespace,
    `nspawn` the one that holds the machine; `variables` is what its root shell finds set."""

    root: Path
    log: Path
    variables: dict[str, str] = field(default_factory=lambda: dict(ROOT_SHELL))
    network: Any = None
    nspawn: Any = None
    leader: int = 0

    def run(self, commands: str, *, stdin: str = "", check: bool = True) -> str:
        """What the commands wrote, run by root's shell in the sources. Raises WalkFailed unless told not to."""
        enter = [
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
        ]
        shell = ["/bin/bash", "-euo", "pipefail", "-c", f"cd {SOURCES}\n{commands}"]
        done = subprocess.run(
            [*enter, *shell],
            input=stdin,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with self.log.open("a") as log:
            log.write(f"# {commands}\n{done.stdout}\n# → {done.returncode}\n")
        if check and done.returncode != 0:
            raise WalkFailed(f"exit code {done.returncode} of:\n{commands}\n{done.stdout[-6000:]}")
        return done.stdout

    def shown(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run(f"systemctl show --property={name} --value {unit}").strip()

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")


def empty_root(base: Path, place: Path) -> Path:
    """The empty system below a layer in memory: `base` itself stays untouched."""
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    layers = f"lowerdir={base},upperdir={place}/upper,workdir={place}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, place / "root"], check=True)
    shutil.copytree(ROOT, place / "root" / SOURCES.lstrip("/"), symlinks=True, ignore=LEFT_OUT)
    (place / "root/etc/resolv.conf").unlink(missing_ok=True)
    (place / "root/etc/resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
    return place / "root"


def new_network() -> subprocess.Popen[bytes]:
    """A network namespace held by a sleeping program, with a way out to the package registries and nothing else."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    ours, its = Path("/proc/self/ns/net").readlink(), Path(f"/proc/{holder.pid}/ns/net")
    until(lambda: its.readlink() != ours, "no network namespace was made")
    way_out = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", str(holder.pid), "tap0"]
    subprocess.Popen(way_out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    look = ["nsenter", f"--target={holder.pid}", "--net", "ip", "-4", "-o", "address", "show", "tap0"]
    until(lambda: b"10.0.2." in subprocess.run(look, capture_output=True).stdout, "slirp4netns did not start")
    return holder


def boot(machine: Machine) -> None:
    """Starts systemd as the machine's process 1 and waits until it has come up. Raises WalkFailed."""
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={machine.root}"]
    command += [f"--network-namespace-path=/proc/{machine.network.pid}/ns/net", "--hostname=bridge"]
    command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    with machine.log.with_name("boot.log").open("wb") as log:
        variables = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        nspawn = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")

    def leader() -> int:
        if nspawn.poll() is not None:
            raise WalkFailed(f"systemd-nspawn ended:\n{machine.log.with_name('boot.log').read_text()}")
        return next((pid for pid in map(int, children.read_text().split()) if _name(pid) == "systemd"), 0)

    machine.leader = until(leader, "systemd did not start")
    machine.nspawn = nspawn
    until(lambda: "running" in machine.run("systemctl is-system-running", check=False), "the machine did not come up")


def off_and_on(machine: Machine) -> None:
    """Shut down in good order, then booted again. Raises WalkFailed."""
    machine.run("systemctl poweroff", check=False)
    until(lambda: machine.nspawn.poll() is not None, "the machine did not go down")
    boot(machine)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def until(look: Callable[[], Any], otherwise: str, *, seconds: float = BOOT_SECONDS) -> Any:
    """What `look` returns once it is something. Raises WalkFailed after a bounded time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.1)
    raise WalkFailed(f"{otherwise} within {seconds:.0f} s")
