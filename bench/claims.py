"""A crowd of open invoices in a database, and what it costs to claim those that are due.

Owns these rows and that time; run by its path with the PYTHONPATH of any checkout, it measures that one:
`python -P bench/claims.py URL HAVE INVOICES` prints milliseconds.
"""

import statistics
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from bridge.store import invoices
from bridge.store.db import Store, open_store
from bridge.store.tables import invoices as table

DUE = 400
CLAIM = 8


def fill(store: Store, *, first: int, size: int) -> None:
    """Open invoices number `first` up to `size`, none of them due for a long time."""
    if first == size:
        return
    series = (
        f"WITH RECURSIVE s(n) AS (SELECT {first + 1} UNION ALL SELECT n + 1 FROM s WHERE n < {size})"
        if store.engine.dialect.name == "sqlite"
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
    fixed |= {name: "'{}'" for name in ("rule_terms",) if name in table.c}
    columns, values = ", ".join(fixed), ", ".join(fixed.values())
    with store.write() as tx:
        tx.execute(text(f"INSERT INTO invoices ({columns}) {series} SELECT {values} FROM s"))
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE invoices")


def claim_ms(store: Store) -> float:
    """The median time to claim eight due invoices, each claim with others due and the rest not."""
    now = datetime.now(UTC)
    took = []
    with store.write() as tx:
        _make_due(tx, now)
    for _ in range(DUE // CLAIM):
        with store.write() as tx:
            started = time.perf_counter()
            claimed = invoices.claim_due(tx, now=now, owner="bench", lease_seconds=60, limit=CLAIM)
            took.append(1_000 * (time.perf_counter() - started))
            assert len(claimed) == CLAIM
    with store.write() as tx:
        later = _microseconds(now + timedelta(days=12))
        tx.execute(text(f"UPDATE invoices SET next_look_at = {later}, lease_until = NULL WHERE lease_owner = 'bench'"))
    return statistics.median(took)


def _make_due(tx: Connection, now: datetime) -> None:
    tx.execute(text(f"UPDATE invoices SET next_look_at = {_microseconds(now)} - 1 WHERE id IN ({_some()})"))


def _some() -> str:
    return ", ".join(f"'id_{number * 2}'" for number in range(1, DUE + 1))


def _microseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


if __name__ == "__main__":
    with closing(open_store(sys.argv[1])) as opened:
        fill(opened, first=int(sys.argv[2]), size=int(sys.argv[3]))
        print(claim_ms(opened))
