"""Wakes between the programs that work on one SQLite file, by a socket beside it: what PostgreSQL tells them by itself.

Owns the socket; must not be needed: who hears nothing finds the work when his pause is over.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path


class WakeUps:
    """The socket of one database. Of several workers over one file the one that started last is woken."""

    def __init__(self, database: str):
        self._path = Path(f"{database}.wake")

    def ring(self) -> None:
        """Waits for nobody: where none listens, or many rings wait to be heard, there is nothing to do."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(b"1", str(self._path))

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], bool]]:
        """A function that waits so many seconds, or less when somebody rang (then True). Where no socket can be, it only waits."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
            try:
                # One that was killed has left its own.
                self._path.unlink(missing_ok=True)
                ears.bind(str(self._path))
                bound = self._path.stat().st_ino
            except OSError:  # a directory without the right to write, a path longer than a socket may have
                yield just_wait
                return
            try:
                yield partial(_is_rung, ears)
            finally:
                with suppress(OSError):
                    # A worker that started later listens there.
                    if self._path.stat().st_ino == bound:
                        self._path.unlink()


def just_wait(seconds: float) -> bool:
    """For who cannot be woken."""
    time.sleep(seconds)
    return False


def _is_rung(ears: socket.socket, seconds: float) -> bool:
    ears.settimeout(seconds)
    try:
        ears.recv(1)
    except (TimeoutError, BlockingIOError):
        return False
    ears.setblocking(False)
    with suppress(BlockingIOError):
        while ears.recv(1):  # what came meanwhile says the same
            pass
    return True
