"""A network of a test's own with one cable to it, so that the cable can be pulled: then packets are lost, and nobody says so.

Owns the namespace and both ends; must not know what runs there.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FAR_END = "far"
# Its neighbour is not asked for where it is: else the kernel itself would say after three seconds that nobody is there.
FAR_MAC = "02:00:00:00:00:02"


class NoNetwork(Exception):
    """This machine gives no networks of one's own."""


@dataclass(frozen=True, kw_only=True)
class Cable:
    """What runs behind `inside` is at the far end, which has the address `far`."""

    far: str
    inside: tuple[str, ...]

    def pull(self) -> None:
        _run(*self.inside, "ip", "link", "set", FAR_END, "down")

    def plug(self) -> None:
        _run(*self.inside, "ip", "link", "set", FAR_END, "up")


@contextmanager
def open_cable() -> Iterator[Cable]:
    """The near end is in this network. Both end with this process, however it ends, once nothing runs at the far end.

    Raises NoNetwork.
    """
    # Numbers that belong to nobody (RFC 2544), and two of them to this process.
    third, fourth = divmod(os.getpid() * 4 % 2**16, 256)
    near, far = (f"198.18.{third}.{fourth + end}" for end in (1, 2))
    name = f"cable{os.getpid()}"
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=-1, stdout=-1, stderr=-1)
    try:
        if not holder.stdout.readline():  # type: ignore[union-attr]
            raise NoNetwork(f"no network namespace: {holder.communicate()[1].decode().strip()}")
        inside = ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--")
        try:
            peer = ("peer", "name", FAR_END, "address", FAR_MAC, "netns", str(holder.pid))
            _run("ip", "link", "add", name, "type", "veth", *peer)
        except (OSError, RuntimeError) as missing:
            raise NoNetwork(f"no cable between two networks: {missing}") from missing
        for command in (
            ("ip", "address", "add", f"{near}/30", "dev", name),
            ("ip", "link", "set", name, "up"),
            ("ip", "neighbour", "add", far, "lladdr", FAR_MAC, "dev", name, "nud", "permanent"),
            (*inside, "ip", "address", "add", f"{far}/30", "dev", FAR_END),
            (*inside, "ip", "link", "set", "lo", "up"),
            (*inside, "ip", "link", "set", FAR_END, "up"),
        ):
            _run(*command)
        yield Cable(far=far, inside=inside)
    finally:
        holder.communicate()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
