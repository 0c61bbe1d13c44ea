"""One bridge under load: a fresh database on an engine that really flushes, the stub world, and the programs.

Owns processes and files of one measurement; everything is gone afterwards.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from bridge.store.db import Store, migrate, open_store
from tests.durability.programs import ROOT, Program, Zygote, free_port, open_zygote, wait_until_answering
from tests.postgres import Cluster, start_cluster

API_KEY = "k" * 30
SECRET = "whsec_" + "A" * 32
ENGINES = ("sqlite", "postgresql")
_numbers = iter(range(1, 1_000_000))


@dataclass(kw_only=True)
class Bench:
    """What all measurements of one run share. `base` starts the programs of another checkout."""

    zygote: Zygote
    base: Zygote | None = None
    cluster: Cluster
    directory: Path
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """One round of load on one place: what was done a second, how much in all, and the processor's milliseconds for it."""

    rate: float
    count: int
    cpu_ms: float


@dataclass(kw_only=True)
class Place:
    """One database with the programs over it, which are of the zygote's checkout."""

    bench: Bench
    zygote: Zygote
    engine: str
    directory: Path
    database_url: str
    stub: str
    store: Store
    programs: list[Program]

    def config(self, **changes: Any) -> Path:
        path = self.directory / f"config-{next(_numbers)}.yaml"
        settings: dict[str, Any] = {
            "network": "test",
            "database_url": self.database_url,
            "public_url": "http://127.0.0.1:1",
            "token_secret": "t" * 32,
            "log_level": "error",
            "subtc": {
                "base_url": self.stub,
                "key": "SUBTC-KEY-bench",
                "wallet_id": "wt_bench",
                "calls_per_minute": 10**7,
            },
            "chain": {"esplora": [self.stub]},
            "prices": {
                "sources": [
                    {"name": n, "url": f"{self.stub}/prices/{n}?c={{currency}}", "pointer": "/price"} for n in "ab"
                ]
            },
            "merchants": [
                {"id": "shop", "api_keys": [API_KEY], "currencies": ["USD"], "notify_secrets": [SECRET]}
                | changes.pop("merchant", {})
            ],
        }
        settings["subtc"] |= changes.pop("subtc", {})
        path.write_text(json.dumps(settings | changes))
        return path

    def web(self, **changes: Any) -> str:
        """Starts a web node of two processes with eight threads and returns its address."""
        port = free_port()
        changes |= {"listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"}
        program = self.zygote.start("web", self.config(**changes), "serve")
        self.programs.append(program)
        wait_until_answering(program, port)
        return f"http://127.0.0.1:{port}"

    def worker(self, **changes: Any) -> Program:
        program = self.zygote.start("worker", self.config(**changes), "worker")
        self.programs.append(program)
        return program

    @contextmanager
    def yardstick(self) -> Iterator[str]:
        """The bare and the reference route under the bridge's own server settings, over this place's database."""
        from bench.yardstick import metadata

        with self.store.write() as tx:
            metadata.create_all(tx)
        port = free_port()
        config = self.config(listen=f"127.0.0.1:{port}")
        command = [sys.executable, "-m", "bench.serve", "reference", str(config)]
        with subprocess.Popen(command) as running:
            try:
                wait_for(port, "/bare")
                yield f"http://127.0.0.1:{port}"
            finally:
                running.terminate()

    def processor_ms(self) -> float:
        """What its programs and its sessions at PostgreSQL have used of the processor so far. Neighbours hardly change it."""
        groups, session, ticks = (
            {program.pid for program in self.programs},
            f" {make_url(self.database_url).database} ",
            0,
        )
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                title = (process / "cmdline").read_bytes().decode(errors="replace")
                stat = (process / "stat").read_text().rpartition(")")[2].split()
                if int(stat[2]) in groups or (title.startswith("postgres:") and session in title):
                    ticks += int(stat[11]) + int(stat[12])
        return 1_000 * ticks / os.sysconf("SC_CLK_TCK")

    def stop_programs(self) -> None:
        for program in self.programs:
            program.kill()
        self.programs.clear()


@contextmanager
def open_bench(*, seconds: float, base: Path | None = None, cluster: Cluster | None = None) -> Iterator[Bench]:
    """Without a `cluster` it starts one that really flushes. `base` is the folder of another checkout."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd())))
        if cluster is None:
            cluster = start_cluster(durable=True)
            stack.callback(cluster.stop)
        zygote = stack.enter_context(open_zygote())
        other = stack.enter_context(open_zygote(base)) if base is not None else None
        yield Bench(zygote=zygote, base=other, cluster=cluster, directory=directory, seconds=seconds)


@contextmanager
def open_place(bench: Bench, engine: str, *, zygote: Zygote | None = None) -> Iterator[Place]:
    """A migrated database and a stub world of its own."""
    port, zygote = free_port(), zygote or bench.zygote
    command = [sys.executable, "-m", "bench.stub", str(port)]
    with (
        open_database(bench, engine, zygote=zygote) as url,
        subprocess.Popen(command) as stub,
        closing(open_store(url)) as store,
    ):
        place = Place(
            bench=bench,
            zygote=zygote,
            engine=engine,
            directory=new_directory(bench),
            database_url=url,
            stub=f"http://127.0.0.1:{port}",
            store=store,
            programs=[],
        )
        try:
            wait_for(port, "/blocks/tip/hash")
            yield place
        finally:
            place.stop_programs()
            stub.terminate()


@contextmanager
def open_database(bench: Bench, engine: str, *, zygote: Zygote | None = None) -> Iterator[str]:
    """The URL of an empty database, migrated by the code of the zygote's checkout."""
    if engine == "sqlite":
        url = f"sqlite:///{new_directory(bench) / 'bridge.db'}"
        _migrate(zygote or bench.zygote, url)
        yield url
        return
    name = f"bench_{next(_numbers)}"
    bench.cluster.create_database(name)
    _migrate(zygote or bench.zygote, bench.cluster.url(name))
    yield bench.cluster.url(name)
    bench.cluster.drop_database(name)


def _migrate(zygote: Zygote, url: str) -> None:
    if zygote.root == ROOT:
        migrate(url)
        return
    run_python(zygote, "-c", "import sys; from bridge.store.db import migrate; migrate(sys.argv[1])", url)


def run_python(zygote: Zygote, *arguments: str) -> str:
    """What a short program prints that imports the code of the zygote's checkout."""
    command, where = [zygote.python, *arguments], zygote.root
    done = subprocess.run(command, cwd=where, env=zygote.environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def new_directory(bench: Bench) -> Path:
    """An empty folder of the run's."""
    directory = bench.directory / f"place_{next(_numbers)}"
    directory.mkdir()
    return directory


def wait_for(port: int, path: str) -> None:
    """Until anything answers there."""
    import time

    for _ in range(1_000):
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", path)
                connection.getresponse().read()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"nothing answers on port {port}")
