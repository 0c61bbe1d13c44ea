"""Years of settled invoices in one database: what each of them keeps, and what it costs to read the books beside them.

Owns the generator and these measurements. Some invoices live through the programs of a checkout; all that they wrote is then copied,
with ids of its own and a day of its own, so that a base is measured over what it would have written itself.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, create_engine, event, inspect, text

from bench import readings
from bench.latency import living
from bench.place import Bench, Place, open_place, run_python
from bench.table import Report
from bridge.core.schedule import DONE
from bridge.store import archive
from bridge.store.purge import CLASSES, purge

LIVES = 20
FEW, MANY = 10_000, 1_000_000
# As many a day at every size: what grows is how far back the books go.
A_DAY = 3_000
BYTES = 5_000
# Of the desk's list: its totals stop at 20,000 invoices, twice the few.
BOUNDED = 2.5
DAY = 86_400_000_000
# What of a life is copied. Everything else is small, or made of these.
COPIED = (
    "invoices", "targets", "quotes", "payments", "observations", "journals", "entries", "audit", "audit_chain", "events",
    "event_positions", "deliveries", "delivery_attempts", "inbox", "idempotency", "spare_addresses",
)  # fmt: skip
# Text that stands for one row and is in others by that: the same new text everywhere.
_NAMES = {
    "invoice_id", "public_id", "billing_payment_id", "trace_id", "address", "text", "callback_token_sha256", "event_id",
    "delivery_id", "event_key", "key", "sha256", "body_sha256",
}  # fmt: skip
# Numbers of rows, by the table whose they are.
_NUMBERS = {
    "journal_id": "journals", "reverses_id": "journals", "audit_id": "audit", "target_id": "targets", "position": "event_positions",
}  # fmt: skip


def measure(bench: Bench, report: Report, engine: str, *, few: int = FEW, many: int = MANY) -> None:
    """Bytes of a settled invoice, and every reading at both sizes; beside the base where there is one."""
    for zygote, side in ((bench.zygote, "this"), *([(bench.base, "base")] if bench.base is not None else [])):
        is_ours = side == "this"
        with open_place(bench, engine, zygote=zygote) as place:
            template = lived(place)
            seconds: dict[int, dict[str, float]] = {}
            for first, size in ((0, few), (few, many)):
                began = time.perf_counter()
                copy(place, template, first=first, last=size)
                report.note(f"{engine}: {side}: {size:,} settled made", size, f"in {time.perf_counter() - began:.0f} s")
                if first == 0:
                    _tell_bytes(report, f"{engine}: {side}: bytes a settled invoice", place, count=size + LIVES)
                seconds[size] = ask(place)
                if first == 0 and is_ours:
                    _tell_old(report, f"{engine}: {side}: bytes a settled invoice", place, count=size + LIVES)
        for name, took in seconds[many].items():
            grown = took / max(seconds[few][name], 1e-6)
            shown = f"{grown:.2f} ({1_000 * took:.0f} ms)"
            row = f"{engine}: {side}: {name}, {many:,} / {few:,} settled"
            at_most = BOUNDED if name.startswith("the desk's list") else 1.3
            report.at_most(row, grown, at_most, shown=shown) if is_ours else report.note(row, grown, shown)


def _tell_bytes(report: Report, name: str, place: Place, *, count: int, at_most: int | None = None) -> None:
    sizes = bytes_of(place)
    each = sum(sizes.values()) // count
    report.note(name, each, f"{each:,}") if at_most is None else report.at_most(name, each, at_most, shown=f"{each:,}")
    for table, size in sorted(sizes.items(), key=lambda each: -each[1])[:6]:
        report.note(f"{name}: of them {table}", size / count, f"{size // count:,}")


def _tell_old(report: Report, name: str, place: Place, *, count: int) -> None:
    """The same after the days that records are kept, and then packed; a file as it is then, a server's tables rewritten."""
    later = datetime(2100, 1, 1, tzinfo=UTC)
    for each in CLASSES:
        while _in_one(place, partial(purge, each=each, before=later, limit=10_000)):
            pass
    _settle_down(place, "VACUUM FULL ANALYZE")
    _tell_bytes(report, f"{name}, old", place, count=count)
    _in_one(place, lambda tx: tx.execute(text(f"UPDATE invoices SET look_class = {DONE}")))
    began = time.perf_counter()
    while _in_one(place, partial(_packed, before=later)):
        pass
    report.note(f"{name}: packed", count, f"{count:,} in {time.perf_counter() - began:.0f} s")
    _settle_down(place, "VACUUM FULL ANALYZE")
    _tell_bytes(report, f"{name}, old and packed", place, count=count, at_most=BYTES)


def _packed(tx: Connection, *, before: datetime) -> int:
    ids = archive.due(tx, before=before, now=before, limit=100)
    for invoice_id in ids:
        archive.pack(tx, invoice_id, now=before)
    return len(ids)


def _in_one(place: Place, work: Callable[[Connection], Any]) -> Any:
    with _open(place) as tx:
        return work(tx)


def lived(place: Place) -> dict[str, list[str]]:
    """Invoices that went through the programs until nothing was left to do for them; the columns of what they wrote, by table."""
    with living(place) as live:
        live(LIVES)
        with place.store.engine.connect() as reader:
            for _ in range(600):
                left = reader.execute(
                    text(
                        "SELECT (SELECT count(*) FROM unnumbered_events) + (SELECT count(*) FROM audit a WHERE NOT EXISTS "
                        "(SELECT 1 FROM audit_chain c WHERE c.audit_id = a.id))"
                    )
                ).scalar_one()
                reader.rollback()
                if not left:
                    break
                time.sleep(0.1)
        place.stop_programs()
    with _open(place) as tx:
        there = set(inspect(tx).get_table_names())
        for table in COPIED:
            if table in there:
                tx.execute(text(f"CREATE TABLE life_{table} AS SELECT * FROM {table}"))
        return {table: [c["name"] for c in inspect(tx).get_columns(table)] for table in COPIED if table in there}


def copy(place: Place, template: dict[str, list[str]], *, first: int, last: int) -> None:
    """Copies number `first` to `last`, each of one of the lives, the first of all today and the others ever further back."""
    is_sqlite = place.engine == "sqlite"
    with _open(place) as tx:
        if not is_sqlite:
            # No triggers and no references: what is copied was checked when it was lived.
            tx.execute(text("SET session_replication_role = replica"))
        strides = {
            t: int(tx.execute(text(f"SELECT max({k}) FROM life_{t}")).scalar_one() or 0) + 1 for t, k in _keys(template)
        }
        ids = tx.execute(text("SELECT id FROM life_invoices ORDER BY id")).scalars().all()
        rounds = (first // len(ids) + 1, -(-last // len(ids)))
        for table in template:
            _copy(tx, table, template[table], strides, rounds, of=len(ids), is_sqlite=is_sqlite)
        _sum_up(tx, template)
        if not is_sqlite:
            for table, key in _keys(template):
                if tx.execute(text(f"SELECT pg_get_serial_sequence('{table}', '{key}')")).scalar():
                    tx.execute(
                        text(
                            f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), (SELECT max({key}) FROM {table}))"
                        )
                    )
    _settle_down(place)


def _keys(template: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    numbered = {
        "targets",
        "quotes",
        "payments",
        "observations",
        "journals",
        "entries",
        "audit",
        "delivery_attempts",
        "inbox",
    }
    for table in template:
        if table in numbered:
            yield table, "id"
        elif table in ("audit_chain", "event_positions"):
            yield table, "position"


def _copy(
    tx: Connection,
    table: str,
    columns: Sequence[str],
    strides: dict[str, int],
    rounds: tuple[int, int],
    *,
    of: int,
    is_sqlite: bool,
) -> None:
    kinds = {c["name"]: c["type"] for c in inspect(tx).get_columns(table)}
    values = [_value(table, name, kinds[name], strides, of=of, is_sqlite=is_sqlite) for name in columns]
    named = ", ".join(f'"{name}"' for name in columns)
    series = (
        f"WITH RECURSIVE s(n) AS (SELECT {rounds[0]} UNION ALL SELECT n + 1 FROM s WHERE n < {rounds[1]})"
        if is_sqlite
        else f"WITH s(n) AS (SELECT generate_series(CAST({rounds[0]} AS BIGINT), {rounds[1]}))"
    )
    order = f"ORDER BY s.n, l.{'id' if 'id' in columns else columns[0]}"
    sql = f"INSERT INTO {table} ({named}) {series} SELECT {', '.join(values)} FROM s, life_{table} l {order}"
    tx.exec_driver_sql(sql)


def _value(table: str, name: str, kind: Any, strides: dict[str, int], *, of: int, is_sqlite: bool) -> str:
    column = f'l."{name}"'
    if isinstance(kind, (BigInteger, Integer)):
        owner = _NUMBERS.get(name, table) if name in ("id", *_NUMBERS) else None
        owner = "audit_chain" if table == "audit_chain" and name == "position" else owner
        if owner is not None:
            return f"{column} + s.n * {strides[owner]}"
        is_time = name == "at" or name.endswith(("_at", "_until", "_from"))
        return f"{column} - s.n * {DAY * of // A_DAY}" if is_time else column
    if isinstance(kind, LargeBinary) or not (name in _NAMES or (name == "id" and table not in strides)):
        return column
    if name == "billing_payment_id" or (table, name) == ("idempotency", "key"):
        return f"{column} || '-' || s.n"
    scrambled = f"{'h' if is_sqlite else 'md5'}({column} || ':' || s.n)"
    # In the middle, so that what it begins and ends with says what it is.
    return f"substr({column}, 1, 4) || substr({scrambled}, 1, 20) || substr({column}, 25)"


def _sum_up(tx: Connection, template: dict[str, list[str]]) -> None:
    """What is made of the rows: the ledger's kept sums, and up to where the audit was walked."""
    tx.execute(text("DELETE FROM audit_checks"))
    tx.execute(
        text(
            "INSERT INTO audit_checks (kind, position, sha256, at, broken) SELECT k.kind, c.position, c.sha256, a.at, '' "
            "FROM (SELECT 'full' AS kind UNION SELECT 'recent') k, audit_chain c JOIN audit a ON a.id = c.audit_id "
            "WHERE c.position = (SELECT max(position) FROM audit_chain)"
        )
    )
    if "turnovers" not in inspect(tx).get_table_names():
        return
    from importlib import import_module

    made = import_module("bridge.store.migrations.versions.0011_kept_sums")
    for table in ("unsummed_journals", "turnovers", "account_balances"):
        tx.execute(text(f"DELETE FROM {table}"))
    tx.execute(text(made.TURNOVERS))
    tx.execute(text(made.BALANCES))


def _settle_down(place: Place, server: str = "VACUUM ANALYZE") -> None:
    engine = create_engine(place.database_url, isolation_level="AUTOCOMMIT")
    with closing(engine.connect()) as connection:
        connection.exec_driver_sql("ANALYZE" if place.engine == "sqlite" else server)
    engine.dispose()


@contextmanager
def _open(place: Place) -> Iterator[Connection]:
    engine = create_engine(place.database_url)
    if place.engine == "sqlite":
        event.listen(engine, "connect", _prepare)
    with engine.begin() as tx:
        yield tx
    engine.dispose()


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    connection.create_function("h", 1, _scrambled, deterministic=True)


def _scrambled(given: str | None) -> str | None:
    return hashlib.md5(given.encode()).hexdigest() if given is not None else None


def bytes_of(place: Place) -> dict[str, int]:
    """What each table takes with its indexes, without the copies' templates."""
    query = (
        "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name GROUP BY 1"
        if place.engine == "sqlite"
        else "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with _open(place) as tx:
        return {name: int(size) for name, size in tx.exec_driver_sql(query) if not name.startswith("life_")}


def ask(place: Place) -> dict[str, float]:
    """Seconds of each reading, by the code of the place's checkout."""
    told = run_python(place.zygote, "-P", readings.__file__, str(place.config()))
    return dict(json.loads(told))
