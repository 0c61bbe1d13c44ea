"""What a million open invoices cost: the claim of due work, and the memory of a worker.

Owns these measurements; the invoices are written straight into the table.
"""

import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from bench.place import Bench, Place, open_place
from bench.table import Report
from bridge.store import invoices

FEW, MANY = 1_000, 1_000_000
DUE = 400
CLAIM = 8


def measure(bench: Bench, report: Report, engine: str) -> None:
    claims, memory = {}, {}
    with open_place(bench, engine) as place:
        have = 0
        for size in (FEW, MANY):
            fill(place, first=have, size=size)
            have = size
            claims[size], memory[size] = claim_ms(place), worker_memory_mb(place)
            report.note(f"{engine}: claim of 8 among {size:,} open", claims[size], f"{claims[size]:.2f} ms")
            report.note(f"{engine}: worker memory with {size:,} open", memory[size], f"{memory[size]:.0f} MB")
    report.at_most(f"{engine}: claim among a million / among a thousand", claims[MANY] / claims[FEW], 1.5)
    report.at_most(f"{engine}: worker memory with a million / a thousand", memory[MANY] / memory[FEW], 1.2)


def fill(place: Place, *, first: int, size: int) -> None:
    """Open invoices number `first` up to `size`, none of them due for a long time."""
    series = (
        f"WITH RECURSIVE s(n) AS (SELECT {first + 1} UNION ALL SELECT n + 1 FROM s WHERE n < {size})"
        if place.engine == "sqlite"
        else f"WITH s(n) AS (SELECT generate_series({first + 1}, {size}))"
    )
    now = _microseconds(datetime.now(UTC))
    fixed = {
        "merchant": "'shop'", "amount_minor": "1000", "currency": "'USD'", "network": "'test'", "wallet_id": "'wt'",
        "rule": "'default'", "policy_version": "'1'", "status": "'new'", "exception": "'none'", "reason": "'awaiting_payment'",
        "remaining_sat": "15000", "created_at": str(now), "updated_at": str(now), "sequence": "1", "version": "1",
        "expires_at": str(now + 10**12), "monitor_until": str(now + 10**13), "watched_until": str(now + 10**13),
        "next_look_at": f"{now + 10**12} + n",
    }  # fmt: skip
    named = ("id", "public_id", "billing_payment_id", "trace_id", "address", "callback_token_sha256")
    fixed |= {name: f"'{name[:3]}_' || n" for name in named}
    fixed |= {name: "'{}'" for name in ("rule_terms",) if name in invoices.invoices.c}
    columns, values = ", ".join(fixed), ", ".join(fixed.values())
    with place.store.write() as tx:
        tx.execute(text(f"INSERT INTO invoices ({columns}) {series} SELECT {values} FROM s"))
    if place.engine == "postgresql":
        with place.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE invoices")


def claim_ms(place: Place) -> float:
    """The median time to claim eight due invoices, each claim with others due and the rest not."""
    now = datetime.now(UTC)
    took = []
    with place.store.write() as tx:
        _make_due(tx, now)
    for _ in range(DUE // CLAIM):
        with place.store.write() as tx:
            started = time.perf_counter()
            claimed = invoices.claim_due(tx, now=now, owner="bench", lease_seconds=60, limit=CLAIM)
            took.append(1_000 * (time.perf_counter() - started))
            assert len(claimed) == CLAIM
    with place.store.write() as tx:
        later = _microseconds(now + timedelta(days=12))
        tx.execute(text(f"UPDATE invoices SET next_look_at = {later}, lease_until = NULL WHERE lease_owner = 'bench'"))
    return statistics.median(took)


def worker_memory_mb(place: Place) -> float:
    worker = place.worker()
    time.sleep(2)
    status = Path(f"/proc/{worker.pid}/status").read_text()
    worker.stop()
    place.programs.remove(worker)
    return int(status.split("VmRSS:")[1].split()[0]) / 1_024


def _make_due(tx: Connection, now: datetime) -> None:
    tx.execute(text(f"UPDATE invoices SET next_look_at = {_microseconds(now)} - 1 WHERE id IN ({_some()})"))


def _some() -> str:
    return ", ".join(f"'id_{number * 2}'" for number in range(1, DUE + 1))


def _microseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000
