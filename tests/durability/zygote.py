"""One process that has imported everything and forks the bridge's programs from itself, so that a start costs no second.

Owns their life: when its standard input closes, every program it started is killed. Run as `python -m tests.durability.zygote`.
"""

import contextlib
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """One JSON order per line in, one JSON answer per line out."""

    import bridge.cli.web_server
    import bridge.wsgi  # noqa: F401
    from bridge.cli.group import main as command

    # Every command is imported now, and not by each program anew.
    dict(command.commands)
    # Each program looks itself through for garbage once when it starts: what it was forked with need not be looked at.
    gc.collect()
    gc.freeze()
    started: dict[int, int | None] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            answer: Any = _start(order["start"], order["log"], order.get("file_size_limit"))
            started[answer] = None
        else:
            answer = _exit_code(started, order["exit_of"], is_over=order.get("is_over", False))
        print(json.dumps(answer), flush=True)
    for pid, code in started.items():
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _start(arguments: list[str], log: str, file_size_limit: int | None) -> int:
    pid = os.fork()
    if pid:
        # Both sides set it: whoever is first, the group exists before anybody kills it.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        _redirect(log)
        if file_size_limit is not None:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, file_size_limit))
        _run(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str]) -> None:
    import traceback

    from bridge.cli.group import main as command

    try:
        command(arguments)
    except Exception:
        traceback.print_exc()
        raise SystemExit(70) from None


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    for number in (1, 2):
        os.dup2(written, number)
    Path(log).touch()


def _exit_code(started: dict[int, int | None], pid: int, *, is_over: bool) -> int | None:
    """The exit code, negative for a signal; None while it runs.

    Until its whole group `is_over` it is not waited for: its number would be given to somebody else's process, which is killed then
    in its place. Each session of PostgreSQL is a group of its own.
    """
    if started[pid] is not None:
        return started[pid]
    done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | (0 if is_over else os.WNOWAIT))
    if done is None:
        return None
    code = done.si_status if done.si_code == os.CLD_EXITED else -done.si_status
    if is_over:
        started[pid] = code
    return code


if __name__ == "__main__":
    main()
