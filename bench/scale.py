"""What a million open invoices cost: the claim of due work, and the memory of a worker.

Owns these measurements; the invoices are those of `bench.claims`.
"""

import time
from pathlib import Path

from bench.claims import claim_ms, fill
from bench.place import Bench, Place, open_place
from bench.table import Report

FEW, MANY = 1_000, 1_000_000


def measure(bench: Bench, report: Report, engine: str, *, few: int = FEW, many: int = MANY) -> None:
    claims, memory = {}, {}
    with open_place(bench, engine) as place:
        have = 0
        for size in (few, many):
            fill(place.store, first=have, size=size)
            have = size
            claims[size], memory[size] = claim_ms(place.store), worker_memory_mb(place)
            report.note(f"{engine}: claim of 8 among {size:,} open", claims[size], f"{claims[size]:.2f} ms")
            report.note(f"{engine}: worker memory with {size:,} open", memory[size], f"{memory[size]:.0f} MB")
    report.at_most(f"{engine}: claim among a million / among a thousand", claims[many] / claims[few], 1.2)
    report.at_most(f"{engine}: worker memory with a million / a thousand", memory[many] / memory[few], 1.2)


def worker_memory_mb(place: Place) -> float:
    worker = place.worker()
    time.sleep(2)
    status = Path(f"/proc/{worker.pid}/status").read_text()
    worker.stop()
    place.programs.remove(worker)
    return int(status.split("VmRSS:")[1].split()[0]) / 1_024
