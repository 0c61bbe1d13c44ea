"""`python -m tests.install --base DIR`: the walk, from the empty system to the paid order, with a time for every step.

Owns the order of things; started by scripts/install_drill.sh, which gives it namespaces of its own.
"""

import argparse
import ast
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.demo import DemoFailed
from tests.install import order, servers, world
from tests.install.guide import AFTER, CONNECT, DOCS, LOSS, NAMES, ORDER, RUN, SERVERS, Step, steps, with_values
from tests.install.machine import Machine, WalkFailed, boot, empty_root, new_network

LONGEST_SECONDS = 900
HOST_STORE = Path("/etc/ssl/certs/ca-certificates.crt")
# Of pip's settings on this machine only what leads to a registry: a machine of its own has no folders of ours.
REGISTRY_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.install", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="an empty Debian 12 made by debootstrap")
    base = parser.parse_args().base.resolve()
    if os.getpid() != 1:
        parser.error("start this by scripts/install_drill.sh: it needs namespaces of its own")
    place = base.with_name("place")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "install-drill", place], check=True)
    kept = base.with_name("last.log")
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(LONGEST_SECONDS)
    machine = Machine(root=place / "root", log=place / "commands.log")
    try:
        walk(base, place, machine)
    except (WalkFailed, DemoFailed) as failure:
        print(f"FAILED  {failure}", flush=True)
        if machine.leader:
            machine.run(
                "systemctl list-units --no-pager 'subtc-bridge*'; journalctl --no-pager --lines=500", check=False
            )
        print(f"Every command with what it wrote, and the machine's journal: {kept}", flush=True)
        return 1
    finally:
        if machine.log.exists():
            shutil.copy(machine.log, kept)
    return 0


def out_of_time(*_: object) -> None:
    raise WalkFailed(f"the walk is not over after {LONGEST_SECONDS} s")


def walk(base: Path, place: Path, machine: Machine) -> None:
    """Everything, in order. Raises WalkFailed or DemoFailed."""
    say = Clock()
    guide, growth = steps(DOCS / "operator-guide.en.md"), steps(DOCS / "grow-to-postgresql.md")
    names = dict(re.findall(r'^(\w+)="?([^"\s]*)', guide[0].commands, re.MULTILINE))
    given = with_values(guide[0].commands, {"MORE": world.more_options(names)})
    say.timed("empty Debian 12 booted", lambda: start(machine, base, place, names))
    site = say.timed("gateway and BILLmanager up", lambda: surround(machine, place / "world", names))
    for step in guide:
        if step.kind == RUN:
            say.follow(step, machine, given)
        elif step.kind == CONNECT:
            hard = say.timed(f"guide: {step.heading}", lambda: connect(machine, site, names))
        elif step.kind == ORDER:
            say("order placed", hard.begin())
    hard.run()
    say("a stranger", order.closed_doors(names, hard.invoice["payment_url"]))
    say("supervision", order.supervised(machine))
    say("timers", order.timers(machine))
    for step in guide:
        if step.kind == AFTER:
            say.follow(step, machine, given)
    for step in growth[1:]:
        say.follow(step, machine, growth[0].commands)
    two_servers(say, machine, guide, names["INSIDE_ADDRESS"])
    say("off and on", order.up_again(machine, names, hard.invoice["payment_url"]))
    order.NextOrder(site).run()
    say("journal", order.clean_journal(machine))
    say(
        "done",
        "the guides' commands lead from an empty Debian 12 to paid orders, on SQLite, on PostgreSQL and on two servers of it",
    )


def two_servers(say: "Clock", machine: Machine, guide: list[Step], address: str) -> None:
    """A standby takes over that has all, then one that may lack something. Both are on this machine."""
    _, names = (step for step in guide if step.kind == NAMES)
    given = with_values(names.commands, {"FIRST": address, "SECOND": address, "PASSWORD": secrets.token_hex(12)})
    number, mode = servers.standing(machine, port=5432)
    for step in guide:
        if step.kind == SERVERS:
            say.follow(step, machine, given)
    say("taken over", servers.must_stand(machine, port=5433, as_told=(number + 1, mode)))
    servers.lose(machine)
    say("taken over with a loss", servers.must_stand(machine, port=5432, as_told=(number + 2, "read_only")))
    for step in guide:
        if step.kind == LOSS:
            say.follow(step, machine, given)
    say("in order again", servers.must_stand(machine, port=5432, as_told=(number + 2, "normal")))


def surround(machine: Machine, place: Path, names: dict[str, str]) -> world.Site:
    """The world around the machine; the machine's administrator trusts its certificates, as the guide says of one's own."""
    place.mkdir()
    world.join(machine, names)
    world.furnish(place, names)
    trusted = machine.root / "usr/local/share/ca-certificates"
    trusted.mkdir(parents=True, exist_ok=True)
    for name in (names["BILLING"], world.GATEWAY):
        shutil.copy(place / f"{name}.pem", trusted / f"{name}.crt")
    return world.start(place, names)


def start(machine: Machine, base: Path, place: Path, names: dict[str, str]) -> None:
    """The empty system, booted, with the names of the walk and this machine's way to the package registries."""
    root = empty_root(base, place)
    (root / "etc/hosts").write_text(world.hosts_file(names))
    if HOST_STORE.is_file():
        shutil.copy(HOST_STORE, root / "root/registry-ca.pem")
        machine.variables["PIP_CERT"] = "/root/registry-ca.pem"
    machine.variables |= registry_settings()
    (root / "etc/apt/apt.conf.d/80this-machine").write_text(apt_settings())
    machine.network = new_network()
    boot(machine)


def registry_settings() -> dict[str, str]:
    """Where this machine's pip finds packages, as variables. Nothing of it is kept."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chosen = {}
    for key, value in re.findall(r"^\S+?\.([\w-]+)=(.+)$", found, re.MULTILINE):
        urls = " ".join(part for part in ast.literal_eval(value).split() if not part.startswith("file:"))
        if key in REGISTRY_SETTINGS and urls:
            chosen["PIP_" + key.upper().replace("-", "_")] = urls
    proxies = {
        name: value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}
    }
    return chosen | proxies


def apt_settings() -> str:
    """How this machine's apt reaches its mirror. A mirror that stumbles is asked again."""
    dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    chosen = [line for line in dump.splitlines() if re.match(r"Acquire::(https?::Proxy|Check-)", line)]
    return "\n".join([*chosen, 'Acquire::Retries "3";', ""])


def connect(machine: Machine, site: world.Site, names: dict[str, str]) -> order.HardWalk:
    """What BILLmanager's administrator does: trust the two certificates, add the payment method with key and secret."""
    for name in (names["PAY"], names["INSIDE"]):
        world.trust(name, machine.read(f"/etc/ssl/subtc-bridge/{name}.pem"))
    for name in ("api_key", "notify_secret"):
        site.secrets[name] = machine.read(f"/etc/subtc-bridge/secrets/{name}").strip()
    hard = order.HardWalk(site, machine)
    hard.add_method()
    return hard


class Clock:
    """One line per step, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, name: str, seen: str) -> None:
        print(f"{time.monotonic() - self._started:6.1f} s  {name:34} {seen}", flush=True)

    def follow(self, step: Step, machine: Machine, names: str) -> None:
        """One block of commands, after the names that it takes."""
        self.timed(f"guide: {step.heading}", lambda: machine.run(f"{names}\n{step.commands}", stdin="\n"))

    def timed(self, name: str, step: Callable[[], Any]) -> Any:
        before = time.monotonic()
        result = step()
        self(name, f"took {time.monotonic() - before:.1f} s")
        return result


if __name__ == "__main__":
    sys.exit(main())
