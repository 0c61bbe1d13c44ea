"""One bridge under load: a fresh database on an engine that really flushes, the stub world, and the programs.

Owns processes and files of one measurement; everything is gone afterwards.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bridge.store.db import Store, migrate, open_store
from tests.durability.programs import Program, Zygote, free_port, open_zygote, wait_until_answering
from tests.postgres import Cluster, start_cluster

API_KEY = "k" * 30
SECRET = "whsec_" + "A" * 32
ENGINES = ("sqlite", "postgresql")
_numbers = iter(range(1, 1_000_000))


@dataclass(kw_only=True)
class Bench:
    """What all measurements of one run share."""

    zygote: Zygote
    cluster: Cluster
    directory: Path
    seconds: float


@dataclass(kw_only=True)
class Place:
    """One database with the programs over it."""

    bench: Bench
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
            "chain": {"esplora": [self.stub], "max_tip_age_seconds": 0},
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
        program = self.bench.zygote.start("web", self.config(**changes), "serve")
        self.programs.append(program)
        wait_until_answering(program, port)
        return f"http://127.0.0.1:{port}"

    def worker(self, **changes: Any) -> Program:
        program = self.bench.zygote.start("worker", self.config(**changes), "worker")
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
                _wait(port, "/bare")
                yield f"http://127.0.0.1:{port}"
            finally:
                running.terminate()

    def stop_programs(self) -> None:
        for program in self.programs:
            program.kill()
        self.programs.clear()


@contextmanager
def open_bench(*, seconds: float) -> Iterator[Bench]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd())))
        cluster = start_cluster(durable=True)
        stack.callback(cluster.stop)
        zygote = stack.enter_context(open_zygote())
        yield Bench(zygote=zygote, cluster=cluster, directory=directory, seconds=seconds)


@contextmanager
def open_place(bench: Bench, engine: str) -> Iterator[Place]:
    """A migrated database and a stub world of its own."""
    port = free_port()
    command = [sys.executable, "-m", "bench.stub", str(port)]
    with (
        open_database(bench, engine) as url,
        subprocess.Popen(command) as stub,
        closing(open_store(url)) as store,
    ):
        place = Place(
            bench=bench,
            engine=engine,
            directory=_directory(bench),
            database_url=url,
            stub=f"http://127.0.0.1:{port}",
            store=store,
            programs=[],
        )
        try:
            _wait(port, "/blocks/tip/hash")
            yield place
        finally:
            place.stop_programs()
            stub.terminate()


@contextmanager
def open_database(bench: Bench, engine: str) -> Iterator[str]:
    """The URL of a migrated, empty database."""
    if engine == "sqlite":
        url = f"sqlite:///{_directory(bench) / 'bridge.db'}"
        migrate(url)
        yield url
        return
    name = f"bench_{next(_numbers)}"
    bench.cluster.create_database(name)
    migrate(bench.cluster.url(name))
    yield bench.cluster.url(name)
    bench.cluster.drop_database(name)


def _directory(bench: Bench) -> Path:
    directory = bench.directory / f"place_{next(_numbers)}"
    directory.mkdir()
    return directory


def _wait(port: int, path: str) -> None:
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
