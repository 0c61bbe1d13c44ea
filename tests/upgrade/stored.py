"""A stored release: its database as SQL text for one engine, and the outside world of that moment as JSON.

Owns the files, writing and reading them back; must not know what is in the tables.
"""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from sandbox.chain import Block, Input, Output, Transaction
from sandbox.world import World as Sandbox

RELEASES = Path(__file__).parent / "releases"
# The package of BILLmanager's module, as it was published; 0.1.0 did not keep its own.
MODULE = "module.tar.gz"


def names() -> list[str]:
    """Every stored release, oldest first."""
    return sorted((path.name for path in RELEASES.iterdir()), key=lambda name: [int(n) for n in name.split(".")])


def save(release: str, engine: str, *, database_url: str, outside: Sandbox) -> None:
    place = RELEASES / release
    place.mkdir(parents=True, exist_ok=True)
    dump = _sqlite_dump if engine == "sqlite" else _postgresql_dump
    lines = list(dump(database_url))
    # A row is a line: whoever reads the file relies on it.
    assert not [line for line in lines if line.startswith("INSERT") and (not line.endswith(");") or "\n" in line)]
    (place / f"{engine}.sql").write_text("\n".join(lines) + "\n")
    (place / f"{engine}.outside.json").write_text(json.dumps(_outside(outside), indent=1) + "\n")


def script(release: str, engine: str) -> str:
    """Everything that makes the database of a release: schema, rows, triggers."""
    return (RELEASES / release / f"{engine}.sql").read_text()


def rows_alone(release: str, engine: str) -> str:
    """The release's own INSERTs, without the schema's version; keys between tables are not looked at on the way."""
    lines = script(release, engine).splitlines()
    rows = [line for line in lines if line.startswith("INSERT INTO ") and "alembic_version" not in line]
    return "\n".join([*(["SET session_replication_role = replica;"] if engine == "postgresql" else []), *rows])


def run(database_url: str, script: str) -> None:
    """Runs a whole script over the engine's own driver, without the bridge."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(url.database or "")) as connection:
            connection.executescript(f"BEGIN; {script}; COMMIT;")
        return
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute(script.encode())


def put_back(outside: Sandbox, release: str, engine: str) -> None:
    """Chain, wallet and clock as they were when the release was stored."""
    saved = json.loads((RELEASES / release / f"{engine}.outside.json").read_text())
    with outside.lock:
        outside.clock.set(saved["at"])
        chain, gateway = outside.chain, outside.gateway
        for each in saved["transactions"]:
            inputs = tuple(Input(**coin) for coin in each.pop("inputs"))
            outputs = tuple(Output(**output) for output in each.pop("outputs"))
            chain._add(Transaction(inputs=inputs, outputs=outputs, **each))
        chain.blocks = [Block(**{**block, "txids": tuple(block["txids"])}) for block in saved["blocks"]]
        chain.heights = {txid: block.height for block in chain.blocks for txid in block.txids}
        chain.mempool = dict.fromkeys(txid for txid in chain.transactions if txid not in chain.heights)
        (wallet,) = (wallet for account in gateway.accounts.values() for wallet in account.wallets.values())
        for kind in ("received_on", "inboxes", "change"):
            getattr(wallet, kind).extend(saved[kind])
        gateway.owner_of.update(dict.fromkeys(wallet.addresses, wallet))


def _outside(outside: Sandbox) -> dict[str, Any]:
    with outside.lock:
        (wallet,) = (w for account in outside.gateway.accounts.values() for w in account.wallets.values())
        return {
            "at": round(outside.clock.now()),
            "transactions": [asdict(each) for each in outside.chain.transactions.values()],
            "blocks": [asdict(block) for block in outside.chain.blocks],
            "received_on": wallet.received_on,
            "inboxes": wallet.inboxes,
            "change": wallet.change,
        }


def _sqlite_dump(database_url: str) -> Iterator[str]:
    """Tables, rows, then indexes and triggers, so that a trigger never stands in the way of its own rows."""
    with closing(sqlite3.connect(make_url(database_url).database or "")) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        tables = [(name, text) for kind, name, text in made if kind == "table"]
        yield from (f"{text};" for _, text in tables)
        for name, _ in sorted(tables):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            quoted = " || ', ' || ".join(f"quote({column})" for column in columns)
            head = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ("
            for (values,) in connection.execute(f"SELECT {quoted} FROM {name} ORDER BY rowid"):
                yield f"{head}{values});"
        yield from (f"{text};" for kind, _, text in made if kind != "table")


def _postgresql_dump(database_url: str) -> Iterator[str]:
    """pg_dump's own text without comments, settings of the session and what only psql understands."""
    url = make_url(database_url)
    command = ["pg_dump", "--column-inserts", "--no-owner", "--no-privileges", "--no-comments"]
    place = url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = subprocess.run([*command, place], env=dict(os.environ), capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.strip() and not re.match(r"(--|\\|SET |SELECT pg_catalog\.set_config)", line):
            yield line
