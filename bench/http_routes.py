"""Throughput of opening and of callbacks beside the bare and the reference route, at rising numbers of clients.

Owns these measurements; each is taken right after its yardstick, so that a noisy neighbour spoils both.
"""

import time
from datetime import UTC, datetime

from sqlalchemy import text

from bench import load
from bench.latency import token_maker
from bench.place import API_KEY, Bench, Place, open_place
from bench.stub import address_of
from bench.table import Report
from bridge.store import wallets

Clients = tuple[int, ...]
CLIENTS: Clients = (1, 4, 16, 64)
TOKENS = 200
POOL = 4_000
# How many times a route that commits one row durably.
OPEN_OF_REFERENCE = {"sqlite": 0.40, "postgresql": 0.35}
FROM_POOL_OF_REFERENCE = 0.50


def measure(bench: Bench, report: Report, engine: str, *, clients: Clients = CLIENTS) -> None:
    with open_place(bench, engine) as place:
        report.note(f"{engine}: raw durable commits", commits := raw_commits(place), f"{commits:.0f}/s")
        with place.yardstick() as yardstick:
            bridge = place.web()
            bare = load.wrk(f"{yardstick}/bare", clients=4, seconds=bench.seconds)
            report.note(f"{engine}: bare Flask route, 4 clients", bare.per_second, shown(bare))
            load.wrk(f"{bridge}/v1/invoices", clients=4, seconds=1, request=load.OPEN, key=API_KEY)
            gather_statistics(place)
            opened = _pairs(bench, report, engine, clients, yardstick, f"{bridge}/v1/invoices", "open", load.OPEN, "")
            _judge(report, f"{engine}: open", *opened, of_reference=OPEN_OF_REFERENCE[engine], worst=10)
            _from_pool(bench, report, place, yardstick, clients)
            ring = (bridge, "callback", load.CALLBACK, tokens_of(place))
            rung = _pairs(bench, report, engine, clients, yardstick, *ring)
            _judge(report, f"{engine}: callback", *rung, of_reference=0.85, worst=4)


def gather_statistics(place: Place) -> None:
    """What autovacuum does in the first minute: before that PostgreSQL takes any index and keeps to it, here all measurement long."""
    if place.engine == "postgresql":
        with place.store.write() as tx:
            tx.exec_driver_sql("ANALYZE")


Runs = dict[int, load.Measured]


def _pairs(
    bench: Bench,
    report: Report,
    engine: str,
    numbers: Clients,
    yardstick: str,
    url: str,
    name: str,
    request: str,
    head: str,
) -> tuple[Runs, Runs]:
    reference, measured = {}, {}
    for clients in numbers:
        reference[clients] = load.wrk(
            f"{yardstick}/reference", clients=clients, seconds=bench.seconds, request=load.REFERENCE
        )
        report.note(f"{engine}: reference, {clients} clients", reference[clients].per_second, shown(reference[clients]))
        measured[clients] = load.wrk(
            url, clients=clients, seconds=bench.seconds, request=request, key=API_KEY, head=head
        )
        report.note(f"{engine}: {name}, {clients} clients", measured[clients].per_second, shown(measured[clients]))
    return reference, measured


def _from_pool(bench: Bench, report: Report, place: Place, yardstick: str, numbers: Clients) -> None:
    """Opening from a pool of fresh addresses: no call to the gateway, one commit."""
    with place.store.write() as tx:
        for number in range(POOL):
            address = address_of(10**9 + number)
            wallets.add_spare(tx, address=address, wallet_id="wt_bench", network="test", now=datetime.now(UTC))
    url = place.web(subtc={"spare_addresses": 1})
    for clients in {1, 16}.intersection(numbers):
        reference = load.wrk(
            f"{yardstick}/reference", clients=clients, seconds=min(bench.seconds, 2), request=load.REFERENCE
        )
        opened = load.wrk(
            f"{url}/v1/invoices", clients=clients, seconds=min(bench.seconds, 2), request=load.OPEN, key=API_KEY
        )
        name = f"{place.engine}: open from the pool, {clients} clients"
        report.note(name, opened.per_second, shown(opened))
        report.at_least(f"{name} / reference", opened.per_second / reference.per_second, FROM_POOL_OF_REFERENCE)
    place.programs.pop().kill()


def _judge(report: Report, name: str, reference: Runs, measured: Runs, *, of_reference: float, worst: float) -> None:
    for clients in {1, 16}.intersection(measured):
        ratio = measured[clients].per_second / reference[clients].per_second
        report.at_least(f"{name} / reference, {clients} clients", ratio, of_reference)
    if {4, 64} <= measured.keys():
        report.at_least(f"{name}, 64 clients / 4", measured[64].per_second / measured[4].per_second, 0.95)
    tail = max(run.p99_us / run.p50_us for run in measured.values())
    report.at_most(f"{name}, worst p99 / p50", tail, worst)


def raw_commits(place: Place) -> float:
    """One row per durable commit through the driver alone, in one thread."""
    connection = place.store.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE bench_raw (id INTEGER PRIMARY KEY, note TEXT)")
    connection.commit()
    mark = "?" if place.engine == "sqlite" else "%s"
    started, count = time.monotonic(), 0
    while time.monotonic() - started < place.bench.seconds:
        count += 1
        if place.engine == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(f"INSERT INTO bench_raw VALUES ({mark}, {mark})", (count, "x"))
        connection.commit()
    elapsed = time.monotonic() - started
    connection.close()
    return count / elapsed


def tokens_of(place: Place) -> str:
    """Callback tokens of some of its invoices, as a table of Lua."""
    with place.store.read() as tx:
        ids = tx.execute(text(f"SELECT id FROM invoices LIMIT {TOKENS}")).scalars().all()
    return "tokens = {" + ",".join(f'"{token}"' for token in map(token_maker(place), ids)) + "}\n"


def shown(run: load.Measured) -> str:
    """A run of load in one line: requests a second and latencies in milliseconds."""
    return f"{run.per_second:.0f}/s p50 {run.p50_us / 1_000:.1f} p99 {run.p99_us / 1_000:.1f} ms"
