"""How much memory a web server of two processes and a worker need together, idle and after many invoices.

Owns the programs, started as a unit of systemd does, and the count: each page by its share (PSS), so that what processes share counts
once. Where there is another checkout, its programs are measured beside these.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import load
from bench.place import API_KEY, Bench, Place, open_place, wait_for
from bench.table import Report
from tests.durability.programs import free_port

TARGET = 0.6
# What is still being set up when the first answer comes is done by then.
SETTLED_AFTER_SECONDS = 2
PROGRAMS = {"serve": "web", "worker": "worker"}


def measure(bench: Bench, report: Report, engine: str) -> None:
    found: list[dict[str, float]] = []
    for name, zygote in (("this", bench.zygote), ("base", bench.base)):
        if zygote is None:
            continue
        with open_place(bench, engine, zygote=zygote) as place, _running(place) as (url, groups):
            found.append({"idle": _megabytes(groups)})
            load.wrk(f"{url}/v1/invoices", clients=16, seconds=bench.seconds, request=load.OPEN, key=API_KEY)
            found[-1]["after invoices"] = _megabytes(groups)
        for when, megabytes in found[-1].items():
            report.note(f"{engine}: {name}: memory of web and worker, {when}", megabytes, f"{megabytes:.0f} MB")
    if len(found) > 1:
        ours, theirs = found
        for when, megabytes in ours.items():
            report.at_most(f"{engine}: memory {when}, new/base", megabytes / theirs[when], TARGET)


@contextmanager
def _running(place: Place) -> Iterator[tuple[str, set[int]]]:
    """Each a process of its own that has imported for itself: what the zygote's share would not count."""
    port = free_port()
    config = str(place.config(listen=f"127.0.0.1:{port}", public_url=f"http://127.0.0.1:{port}"))
    zygote, started = place.zygote, list[subprocess.Popen[bytes]]()
    with (place.directory / "memory.log").open("wb") as log:
        try:
            for name, unit in PROGRAMS.items():
                command = [zygote.python, "-m", "bridge.cli", "--config", config, name]
                started.append(
                    subprocess.Popen(
                        command,
                        cwd=zygote.root,
                        env=zygote.environment | _environment(zygote.root, unit),
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            wait_for(port, "/readyz")
            time.sleep(SETTLED_AFTER_SECONDS)
            yield f"http://127.0.0.1:{port}", {program.pid for program in started}
        finally:
            for program in started:
                with suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                program.wait()


def _environment(root: Path, unit: str) -> dict[str, str]:
    """What the unit of this name sets."""
    lines = (root / "deploy" / "systemd" / f"subtc-bridge-{unit}.service").read_text().splitlines()
    told = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    return dict(each.split("=", 1) for line in told for each in line.split())


def _megabytes(groups: set[int]) -> float:
    """The shares of all processes of these groups."""
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(process.name)) in groups:
                told = (process / "smaps_rollup").read_text()
                kilobytes += sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024
