"""Runs a Python program and lets its n-th change of a file below a directory fail, or all from there on, or ends it there.

Usage: stumble.py fail|"fail from"|kill N DIRECTORY PROGRAM [ARGUMENT ...]. Owns the failing; must not know the program.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys
from pathlib import Path
from typing import Any

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.chmod", "os.chown")


def main(how: str, number: int, directory: str, program: str) -> None:
    left = number

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if not (event in CHANGES or writes) or not str(arguments[0]).startswith(directory):
            return
        left -= 1
        if left == 0 and how == "kill":
            os._exit(9)
        if left == 0 or (left < 0 and how == "fail from"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.argv = sys.argv[4:]
    sys.path[0] = str(Path(program).parent)
    sys.dont_write_bytecode = True
    sys.addaudithook(watch)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
