"""LNbits with its fake wallet beside the bridge: how many invoices each opens a second, on one engine, in one run.

Owns installing, starting and asking LNbits; the bridge's own figures are taken here too, each right before its pair.

What is compared: LNbits signs a lightning invoice for satoshi and asks nobody; the bridge converts dollars and asks a gateway
for an address. LNbits runs as its authors advise, one uvicorn process on uvloop, and against its defaults it may leave out what
costs it time: the rate limit, the price look-up, log files and uvicorn's access log, the catalogue of extensions.
"""

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from urllib.request import Request, urlopen

import click

from bench import load
from bench.http_routes import CLIENTS, shown
from bench.place import API_KEY, Bench, Place, open_place
from bench.table import Report
from tests.durability.programs import free_port

LOCK = Path(__file__).with_name("peer.lock")
VERSION = re.findall(r"^lnbits==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)[0]
TIMES = 6
PAIRS = 3
SETTINGS = {
    "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
    "LNBITS_DATA_FOLDER": "data",
    "LNBITS_EXTENSIONS_PATH": "extensions",
    # Settings from here, not from a first visit to its pages.
    "LNBITS_ADMIN_UI": "false",
    "LNBITS_RATE_LIMIT_NO": "1000000000",
    "LNBITS_RATE_LIMIT_UNIT": "second",
    "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
    "LNBITS_EXCHANGE_RATE_PROVIDERS": "[]",
    "LNBITS_EXTENSIONS_MANIFESTS": "[]",
    "LNBITS_WASM_EXTENSIONS_MANIFESTS": "[]",
    "ENABLE_LOG_TO_FILE": "false",
}
# 15,385 satoshi are about the ten dollars that the bridge is asked for.
INVOICE = """local body = '{"out":false,"unit":"sat","amount":15385,"memo":"VPS Start ' .. id .. '"}'
  return wrk.format("POST", nil, {["Content-Type"]="application/json", ["X-Api-Key"]=key}, body)"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A running LNbits and the key of a wallet in it that may open invoices."""

    url: str
    key: str


def install(directory: Path = Path("build")) -> Path:
    """The Python that has LNbits, in an environment of its own; instant when it is there.

    Raises ClickException when the package index can't be reached or has no LNbits for this Python.
    """
    home = (directory / f"lnbits-{VERSION}").resolve()
    python, ready = home / "bin" / "python", home / "ready"
    if ready.exists():
        return python
    print(f"installing LNbits {VERSION} from PyPI into {home}, which takes a minute and 300 MB", flush=True)
    venv.create(home, with_pip=True, clear=True)
    # What is to be had as source only is built without fetching anything: so what builds it has to be there first.
    build = home / "build.lock"
    build.write_text("".join(re.findall(r"^setuptools==.*(?:\n +--hash.*)+\n", LOCK.read_text(), re.MULTILINE)))
    quietly = ("--quiet", "--disable-pip-version-check", "--retries", "1")
    for lock in (build, LOCK):
        locked = ("--require-hashes", "--no-deps", "--no-build-isolation", "--requirement", str(lock))
        command = [str(python), "-m", "pip", "install", *quietly, *locked]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            break
    if done.returncode:
        said = [line[7:] for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["pip gave no reason"]
        raise click.ClickException(
            f"LNbits {VERSION} can't be installed from PyPI ({said[-1]}). Is the package index reachable, and is this"
            f" Python ({sys.version.split()[0]}) one of 3.11 and 3.12? Without PEER=1 the bench needs neither."
        )
    ready.touch()
    return python


def measure(bench: Bench, report: Report, engine: str, python: Path) -> None:
    """Judges opening an invoice against LNbits at every number of clients, over the same kind of database."""
    with open_place(bench, engine) as place, _beside(place, python) as peer:
        url = f"{place.web()}/v1/invoices"
        for _ in range(2):
            load.wrk(url, clients=4, seconds=1, request=load.OPEN, key=API_KEY)
            _opened_by(peer, clients=4, seconds=1)
        for clients in CLIENTS:
            ours, theirs = _pair(bench, url, peer, clients)
            for name, run in (("open", ours), (f"LNbits {VERSION}, one process", theirs)):
                report.note(f"{engine}: {name}, {clients} clients", run.per_second, shown(run))
            report.at_least(f"{engine}: open / LNbits, {clients} clients", ours.per_second / theirs.per_second, TIMES)


def _pair(bench: Bench, url: str, peer: Peer, clients: int) -> tuple[load.Measured, load.Measured]:
    """The middle one of several pairs by their ratio: a neighbour that wakes up spoils one half of a pair."""
    pairs = []
    for _ in range(PAIRS):
        ours = load.wrk(url, clients=clients, seconds=bench.seconds, request=load.OPEN, key=API_KEY)
        pairs.append((ours, _opened_by(peer, clients=clients, seconds=bench.seconds)))
    return sorted(pairs, key=lambda pair: pair[0].per_second / pair[1].per_second)[PAIRS // 2]


def _opened_by(peer: Peer, *, clients: int, seconds: float) -> load.Measured:
    return load.wrk(f"{peer.url}/api/v1/payments", clients=clients, seconds=seconds, request=INVOICE, key=peer.key)


@contextmanager
def _beside(place: Place, python: Path) -> Iterator[Peer]:
    """LNbits over a database of its own on the engine of `place`, with one wallet."""
    with _database(place) as settings, running(place.directory / "lnbits", python, settings) as url:
        yield Peer(url=url, key=_open_wallet(url))


@contextmanager
def running(home: Path, python: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of an LNbits in the folder `home`, with `settings` besides SETTINGS. What it has there already it goes on with.

    Raises RuntimeError with the end of its log when it does not answer.
    """
    for folder in ("data", "extensions"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    if not (home / "lnbits").exists():
        # It looks for its pages below the working directory, as in a checkout.
        (home / "lnbits").symlink_to(next(python.parent.parent.glob("lib/python*/site-packages/lnbits")))
    port = free_port()
    command = [str(python), "-m", "uvicorn", "lnbits.__main__:app", "--loop", "uvloop", "--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | SETTINGS | dict(settings)
    with (
        (home / "log").open("ab") as log,
        subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT) as program,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(program, url, home / "log")
            yield url
        finally:
            program.kill()


@contextmanager
def _database(place: Place) -> Iterator[dict[str, str]]:
    """SQLite is its default, in its data folder, with the journal it chooses."""
    if place.engine == "sqlite":
        yield {}
        return
    cluster, name = place.bench.cluster, f"{place.directory.name}_lnbits"
    cluster.create_database(name)
    try:
        yield {"LNBITS_DATABASE_URL": f"postgres://postgres@/{name}?host={cluster.directory}"}
    finally:
        cluster.drop_database(name)


def _wait(program: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Its first start makes the tables, which takes seconds. Raises RuntimeError with the end of its log."""
    for _ in range(600):
        if program.poll() is not None:
            break
        try:
            call(f"{url}/api/v1/health", "GET")
        except OSError:
            sleep(0.1)
        else:
            return
    raise RuntimeError(f"LNbits does not answer: {log.read_text(errors='replace')[-2_000:]}")


def _open_wallet(url: str) -> str:
    wallet = call(f"{url}/api/v1/account", "POST", {"name": "bench"})
    # A wallet that reckons in dollars looks up their price for every invoice, and logs an error where there is none.
    call(f"{url}/api/v1/wallet", "PATCH", {"currency": ""}, key=wallet["adminkey"])
    return str(wallet["inkey"])


def call(url: str, method: str, body: dict[str, str] | None = None, *, key: str = "") -> Any:
    headers = {"Content-Type": "application/json", "X-Api-Key": key}
    content = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, method=method, headers=headers, data=content), timeout=10) as answer:
        return json.load(answer)
