"""Looks for secrets where none may ever be: answers, logs, the whole database, the process list.

Owns the places and how each is read; what is secret is said by the caller.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests
from sqlalchemy import inspect, text

from bridge.store.db import Store


@dataclass
class Answers:
    """Everything that was answered so far, heads and bodies, for one look at the end."""

    path: Path
    count: int = 0

    def keep(self, reply: requests.Response) -> requests.Response:
        heads = "".join(f"{name}: {value}\n" for name, value in reply.headers.items())
        with self.path.open("ab") as kept:
            kept.write(f"{reply.request.method} {reply.status_code}\n{heads}".encode() + reply.content + b"\n")
        self.count += 1
        return reply


@dataclass
class ProcessList:
    """The argument lists of all processes, as anybody on the machine reads them; looked at again and again."""

    seen: set[bytes] = field(default_factory=set)

    def look(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.seen.add(path.read_bytes())
            except OSError:
                continue  # that process is over

    @property
    def content(self) -> bytes:
        return b"\n".join(sorted(self.seen))


def leaks(
    secrets: Mapping[str, str], *, store: Store, logs: Path, answers: Answers, processes: ProcessList
) -> list[str]:
    """Each secret with each place where it shows, in words that do not repeat it."""
    places = [("an answer", answers.path.read_bytes()), ("the process list", processes.content), *in_database(store)]
    places += [(f"the log {path.name}", path.read_bytes()) for path in sorted(logs.glob("*.log"))]
    names = {secret.encode(): name for name, secret in secrets.items()}
    return [f"{names[secret]} shows in {place}" for place, content in places for secret in _found(names, content)]


def _found(secrets: Collection[bytes], content: bytes) -> list[bytes]:
    """Those of `secrets` that stand in `content`. Looks up each piece of a word that is as long as a secret, so that
    ten thousand secrets cost what one costs. Raises ValueError for a secret that is not one word.
    """
    if broken := [secret for secret in secrets if not re.fullmatch(rb"[\w-]+", secret)]:
        raise ValueError(f"{len(broken)} secrets are not letters, digits, - and _ alone")
    lengths = {len(secret) for secret in secrets}
    words = {match.group() for match in re.finditer(rb"[\w-]{%d,}" % min(lengths), content)}
    pieces = (
        word[start : start + length] for word in words for length in lengths for start in range(len(word) - length + 1)
    )
    return sorted({piece for piece in pieces if piece in secrets})


def in_database(store: Store) -> Iterator[tuple[str, bytes]]:
    """Every value of every table, whatever tables there are."""
    with store.read() as tx:
        for table in sorted(inspect(tx).get_table_names()):
            rows = tx.execute(text(f"SELECT * FROM {table}"))
            values = (value for row in rows for value in row if isinstance(value, str | bytes | memoryview))
            texts = (value.encode() if isinstance(value, str) else bytes(value) for value in values)
            yield f"the table {table}", b"\n".join(texts)
