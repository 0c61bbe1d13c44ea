"""Who may read the database's files: its owner, and the group where the folder is made for one.

Owns their modes from the first moment on; must not change those of a file that is there.
"""

import os
import sqlite3
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

# SQLite's locks on a file end when anything of the process closes it: nobody may open one while it is made here.
_making = threading.Lock()


def open_private(path: str | Path, flags: int) -> int:
    """As `os.open`. In a folder that hands its group on (setgid) the group has what the umask leaves it."""
    has_group = Path(path).parent.stat().st_mode & stat.S_ISGID
    return os.open(path, flags, 0o660 if has_group else 0o600)


class PrivateFile(sqlite3.Connection):
    """A connection before which its file is made: SQLite would make one that all may read. What lies beside it has its mode."""

    def __init__(self, database: str, *arguments: Any, **options: Any):
        # What cannot be made SQLite says in its own words.
        with _making, suppress(OSError):
            os.close(open_private(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        super().__init__(database, *arguments, **options)
