"""SQLite's log is removed, or the file is copied alone: nothing that was answered goes without a word."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bridge.core.errors import Unavailable
from bridge.store import audit, generation
from bridge.store.db import Store, open_store
from bridge.store.tables import audit as rows

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.fixture
def filled(store: Store, file: Path) -> Iterator[Store]:
    """Nine rows that were answered, all of them still in the log."""
    generation.keep(store)
    write(store, 9)
    assert log_of(file).stat().st_size > 0
    yield store


def log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def write(store: Store, count: int = 1) -> None:
    for _ in range(count):
        with store.write() as tx:
            audit.write(tx, at=NOW, actor="anna", action="noted")


def count(store: Store) -> int:
    with store.read() as tx:
        return int(tx.execute(select(func.count()).select_from(rows)).scalar_one())


def copied(file: Path, tmp_path: Path, *endings: str) -> str:
    """As a machine finds it that starts after its power was cut."""
    for ending in endings:
        shutil.copyfile(f"{file}{ending}", tmp_path / f"{file.name}{ending}")
    return f"sqlite:///{tmp_path}/{file.name}"


def code_at(url: str) -> str:
    with closing(open_store(url)) as started:
        try:
            write(started)
        except Unavailable as trouble:
            return trouble.code
    return ""


def test_a_start_without_the_log_is_refused(filled: Store, file: Path, tmp_path: Path) -> None:
    assert code_at(copied(file, tmp_path, "", ".generation")) == "database_fenced"


def test_a_start_with_the_log_goes_on(filled: Store, file: Path, tmp_path: Path) -> None:
    url = copied(file, tmp_path, "", "-wal", ".generation")
    assert code_at(url) == ""
    with closing(open_store(url)) as started:
        assert count(started) == 10


def test_an_older_file_in_its_place_is_refused(filled: Store, file: Path, tmp_path: Path) -> None:
    assert file.stat().st_size > 0
    while not filled.write_back():
        pass
    copied(file, tmp_path, "")
    write(filled)
    assert code_at(copied(file, tmp_path, ".generation")) == "database_fenced"


def test_while_nobody_writes_the_file_holds_everything(filled: Store, file: Path, tmp_path: Path) -> None:
    assert not filled.write_back(), "somebody has just written"
    assert filled.write_back()
    assert not filled.write_back(), "there is nothing new"
    url = copied(file, tmp_path, "", ".generation")
    assert code_at(url) == ""
    with closing(sqlite3.connect(tmp_path / file.name)) as copy:
        assert copy.execute("SELECT count(*) FROM audit").fetchone() == (10,)


def test_a_log_that_is_removed_under_the_program_is_written_back(filled: Store, file: Path) -> None:
    with ThreadPoolExecutor(3) as pool:  # more than one connection has it open
        assert set(pool.map(lambda _: count(filled), range(12))) == {9}
    log_of(file).unlink()
    write(filled)
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: count(filled), range(12))) == {10}
    with closing(open_store(f"sqlite:///{file}")) as other:
        assert count(other) == 10
        write(other)
    assert count(filled) == 11
    with filled.read() as tx:
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


OTHER = """
import sys
sys.path[:0] = sys.argv[2:]
from tests.store.test_log_file import count, open_store, write
store = open_store(sys.argv[1])
for line in sys.stdin:
    write(store)
    print(count(store), flush=True)
"""


def test_a_log_that_is_removed_with_its_index_is_written_back_and_nothing_more(filled: Store, file: Path) -> None:
    """Two connections with two indexes of one log would ruin the file: the program has to be started again."""
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: count(filled), range(12))) == {9}
    log_of(file).unlink()
    file.with_name(file.name + "-shm").unlink()
    for attempt in (write, count, write):
        with pytest.raises(Unavailable) as refused:
            attempt(filled)
        assert refused.value.code == "database_log_missing"
    filled.close()
    with closing(open_store(f"sqlite:///{file}")) as again:
        write(again)
        assert count(again) == 10
        with again.read() as tx:
            assert tx.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


@pytest.mark.parametrize("who", ["here", "there"])
def test_two_programs_whose_log_is_removed_lose_nothing(filled: Store, file: Path, who: str) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", OTHER, f"sqlite:///{file}", root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None

        def there() -> int:
            print(file=other.stdin, flush=True)
            return int(other.stdout.readline())

        def here() -> int:
            write(filled)
            return count(filled)

        assert there() == 10
        log_of(file).unlink()
        turns = [here, there] if who == "here" else [there, here]
        assert [turn() for turn in 3 * turns] == [11, 12, 13, 14, 15, 16]
        other.stdin.close()
        assert other.wait(20) == 0
    with filled.read() as tx:
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert count(filled) == 16


def test_a_file_that_is_replaced_under_the_program_is_named(filled: Store, file: Path) -> None:
    shutil.copyfile(file, other := file.with_name("other.db"))
    other.replace(file)
    with pytest.raises(Unavailable) as refused:
        write(filled)
    assert refused.value.code == "database_fenced"
