"""What the module remembers between runs: one small JSON file per payment, feed and method, and its locks.

Owns var/subtc with atomic writes and file locks; must not hold a secret, and must not be needed to find money:
with an empty directory everything is rebuilt from BILLmanager and the bridge's feed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from subtc import place

_STRIPES = 64


class Busy(Exception):
    """Another process holds the lock for longer than we wait."""


class Record(NamedTuple):
    """What we know of one billing payment beyond BILLmanager itself.

    `source` names the settings that opened the invoice. `told` is the last billing change the bridge heard of.
    `paid_by_us` and `cancelled_by_us` are written before the call they speak of, so that a status somebody else set can
    be told from ours (003-28). `noted` is what BILLmanager's info was last told of what goes on.
    `address` is what the client was to pay to: a bridge that lost it is told.
    """

    elid: str
    invoice: str
    source: str
    method: str
    charge: str
    currency: str
    told: str = ""
    paid_by_us: bool = False
    cancelled_by_us: bool = False
    closed: bool = False
    noted: str = ""
    address: str = ""


@contextlib.contextmanager
def payment_lock(elid: str) -> Iterator[None]:
    """Nobody else of the module works on this payment meanwhile. Raises Busy, or OSError when the disk is full."""
    with _lock(f"payment-{int(elid) % _STRIPES:02d}", place.switches().lock_wait_seconds):
        yield


@contextlib.contextmanager
def checkpay_lock(*, wait_seconds: int = 0) -> Iterator[None]:
    """One checkpay at a time: BILLmanager may start the next tick before this one is done. Raises Busy."""
    with _lock("checkpay", wait_seconds):
        yield


@contextlib.contextmanager
def _lock(name: str, wait_seconds: int) -> Iterator[None]:
    where = _dir("lock") / name
    _make(where.parent)
    fd = os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy(name) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)  # closing gives the lock back


def _dir(name: str) -> Path:
    return place.state_dir() / name


def _make(where: Path) -> None:
    if not where.is_dir():
        place.state_dir().mkdir(mode=0o750, parents=True, exist_ok=True)
        where.mkdir(mode=0o700, exist_ok=True)


def write_json(where: Path, content: Any) -> None:
    """Whole or not at all: a new file, flushed to the disk, renamed over the old one. Raises OSError."""
    _make(where.parent)
    fresh = where.with_name(f".{where.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            # A kept event of a later bridge may hold a fraction, which was read as Decimal.
            json.dump(content, file, ensure_ascii=False, sort_keys=True, default=str)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, where)  # noqa: PTH105 - os.replace says what it does
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def read_json(where: Path) -> dict[str, Any]:
    """The object in the file; nothing when there is none or it is damaged, because all state can be rebuilt."""
    try:
        found = json.loads(where.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def load_record(elid: str) -> Record | None:
    found = read_json(_dir("payments") / f"{elid}.json")
    try:
        # A record of an earlier version lacks what came after it.
        return Record(**{name: found[name] for name in Record._fields if name in found}) if found else None
    except TypeError:
        return None


def save_record(record: Record) -> None:
    """Keep the record and whether it is still open. Raises OSError."""
    mark = _dir("open") / record.elid
    if not record.closed:
        _make(mark.parent)
        mark.touch(mode=0o600)  # first the mark: an open payment without one would not be watched
    write_json(_dir("payments") / f"{record.elid}.json", record._asdict())
    if record.closed and mark.exists():
        mark.unlink()


def close_record(record: Record) -> None:
    if not record.closed:
        save_record(record._replace(closed=True))


def open_elids() -> list[str]:
    """Payments whose invoice is open as far as we know, oldest first."""
    return sorted((mark.name for mark in _dir("open").glob("*") if mark.name.isdigit()), key=int)


def records() -> Iterator[Record]:
    """Every payment that is remembered."""
    for where in _dir("payments").glob("*.json"):
        record = load_record(where.stem)
        if record is not None:
            yield record


def forget_old_records(*, now: int, days: int = 400) -> None:
    """Drop closed records nobody touched for `days`, so that the directory does not grow for ever."""
    for where in _dir("payments").glob("*.json"):
        if now - where.stat().st_mtime > days * 86400 and not (_dir("open") / where.stem).exists():
            where.unlink()


def load_feed(account: str) -> dict[str, Any]:
    """Position, retry list and parked list of one account (see identity)."""
    return {"position": 0, "retry": [], "parked": [], **read_json(_dir("feeds") / f"{account}.json")}


def save_feed(account: str, feed: dict[str, Any]) -> None:
    write_json(_dir("feeds") / f"{account}.json", feed)


def feed_names() -> list[str]:
    return sorted(where.stem for where in _dir("feeds").glob("*.json"))


def merge_feed(source: str, *, into: str) -> None:
    """What was kept under `source` is kept under `into`. What was read twice is read; what waits waits once."""
    if source == into:
        return
    told = _dir("reports") / f"{source}.json"
    if told.exists():
        told.replace(told.with_name(f"{into}.json"))
    former = _dir("feeds") / f"{source}.json"
    if not former.exists():
        return
    one, other = load_feed(into), load_feed(source)
    merged = {
        name: [*one[name], *(kept for kept in other[name] if kept not in one[name])] for name in ("retry", "parked")
    }
    newest = {name: max(int(one.get(name) or 0), int(other.get(name) or 0)) for name in ("position", "pulled_at")}
    save_feed(into, {**merged, **newest})
    former.unlink()


def remember_sample(method: str, elid: str) -> None:
    """A payment through which this method's settings can be read again; a lost update costs nothing."""
    where = _dir("methods") / f"{method}.json"
    samples = [one for one in read_json(where).get("samples", []) if one != elid]
    write_json(where, {"samples": [elid, *samples[:4]]})


def samples() -> dict[str, list[str]]:
    """Known methods and the payments that show their settings."""
    found = sorted(_dir("methods").glob("*.json"))
    return {where.stem: [str(one) for one in read_json(where).get("samples", [])] for where in found}
