"""Changes of files of which all stay or none does.

Owns putting back: every step first says how it is undone, in renames, which need no room on a full disk. Must not know
which files these are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Callable, Iterable, Mapping, NamedTuple

FRESH, KEPT = ".new", ".old"


class File(NamedTuple):
    """What shall stand at a place."""

    content: bytes
    mode: int


class Refused(Exception):
    """Nothing was changed, unless the text says so; it says what to do too."""


class Change:
    """A `with` block of changes. An OSError in it puts everything back and becomes Refused."""

    def __init__(self) -> None:
        self._undo: list[tuple[Path, Callable[[Path], None]]] = []

    def folder(self, where: Path, mode: int = 0o755) -> bool:
        """Make a directory and what is missing above it; True when it was not there."""
        missing = [one for one in (where, *where.parents) if not one.is_dir()]
        for one in reversed(missing):
            self._undo.append((one, _remove_folder))
            wanted = mode if one == where else 0o755
            one.mkdir(wanted)
            one.chmod(wanted)  # whatever the umask
        return bool(missing)

    def put(self, files: Mapping[Path, File]) -> None:
        """Write everything beside its place first, so that it is exchanged within a moment."""
        for where, file in files.items():
            self.folder(where.parent)
            self._undo.append((_beside(where, FRESH), _remove))
            _write(_beside(where, FRESH), file)
        for where in files:
            kept = _beside(where, KEPT)
            _remove(kept)  # of a run that was killed
            self._undo.append((where, _put_back if where.exists() else _remove))
            if where.exists():
                os.link(where, kept)
            _beside(where, FRESH).replace(where)

    def remove(self, where: Path) -> None:
        """Take a file away."""
        self._undo.append((where, _put_back))
        where.replace(_beside(where, KEPT))

    def __enter__(self) -> Change:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            sweep(where for where, _ in self._undo)
            return
        lost = []
        for where, undo in reversed(self._undo):
            try:
                undo(where)
            except OSError as err:
                lost.append(f"{where} ({err.strerror})")
        if isinstance(error, OSError):
            state = "these could not be put back: " + ", ".join(lost) if lost else "the previous state was put back"
            raise Refused(f"{error.filename}: {error.strerror}; {state}") from error


def sweep(places: Iterable[Path]) -> None:
    """Drop what stands beside the places; what cannot go is hidden and in nobody's way."""
    for where in places:
        for ending in (FRESH, KEPT):
            with contextlib.suppress(OSError):
                _beside(where, ending).unlink()


def _beside(where: Path, ending: str) -> Path:
    return where.with_name(f".{where.name}{ending}")


def _write(where: Path, file: File) -> None:
    where.write_bytes(file.content)
    where.chmod(file.mode)
    if os.geteuid() == 0:
        os.chown(where, 0, 0)


def _remove(where: Path) -> None:
    if where.is_file() or where.is_symlink():
        where.unlink()


def _remove_folder(where: Path) -> None:
    if where.is_dir():
        where.rmdir()


def _put_back(where: Path) -> None:
    kept = _beside(where, KEPT)
    if kept.is_file() or kept.is_symlink():
        kept.replace(where)
        _remove(kept)  # renaming one of two names of the same file leaves both
