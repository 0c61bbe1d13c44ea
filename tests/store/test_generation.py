"""The fence: a database of the past, another one, or one that lacks something is told apart by every program of a machine."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.core.errors import Unavailable
from bridge.store import audit, fence, generation, leases
from bridge.store.db import Store, migrate, open_store
from bridge.store.fence import Fence, Found, Known
from tests.pooler import open_pooler
from tests.postgres import Cluster

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
FOUND = Found(
    number=3,
    mark="a",
    timeline=2,
    system_id="7",
    is_synchronous=False,
    seen=40,
    timeline_now=2,
    system_id_now="7",
    is_standby=False,
)
KNOWN = Known(number=3, mark="a", seen=40)


@pytest.fixture
def kept(store: Store, database_url: str, tmp_path: Path) -> Iterator[Store]:
    """A store whose fence is kept in a folder of this machine, after a worker has run."""
    with closing(open_store(database_url, state_directory=tmp_path)) as opened:
        generation.keep(opened)
        yield opened


def write(store: Store, action: str = "noted") -> None:
    with store.write() as tx:
        audit.write(tx, at=NOW, actor="anna", action=action)


def code(store: Store) -> str:
    try:
        write(store)
    except Unavailable as trouble:
        return trouble.code
    return ""


@pytest.fixture
def silent_url(postgresql_url: str) -> Iterator[str]:
    """URL of a user whom the server does not tell which cluster it is."""
    with closing(open_store(postgresql_url)) as owner, owner.write() as tx:
        tx.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        tx.exec_driver_sql("CREATE ROLE stranger LOGIN")
        tx.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO stranger")
        tx.exec_driver_sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO stranger")
    yield postgresql_url.replace("postgres@", "stranger@")
    with closing(open_store(postgresql_url)) as owner, owner.write() as tx:
        tx.exec_driver_sql("DROP OWNED BY stranger")
        tx.exec_driver_sql("DROP ROLE stranger")


def begin(store: Store, *, is_lossy: bool = True) -> None:
    with store.write() as tx:
        told = {"actor": "anna", "reason": "a test", "action": "failed_over"}
        begun = generation.begin(tx, store.fence, merchants=["shop"], now=NOW, is_lossy=is_lossy, **told)
    store.fence.learn(begun.known)


def put_back(store: Store, number: int) -> None:
    """As a former primary would be that comes back: nothing in it but its own past."""
    with closing(open_store(store.engine.url.render_as_string(), is_open=True)) as former, former.write() as tx:
        tx.execute(generation.generation.update().values(number=number))
    store.engine.dispose()


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        (FOUND, KNOWN, ""),
        (FOUND, Known(), ""),
        (replace(FOUND, number=4, mark="b"), KNOWN, ""),
        (replace(FOUND, number=2), KNOWN, "database_fenced"),
        (replace(FOUND, number=0, mark=""), KNOWN, "database_fenced"),
        (replace(FOUND, mark="b"), KNOWN, "database_fenced"),
        (replace(FOUND, system_id_now="8"), KNOWN, "database_fenced"),
        (replace(FOUND, timeline_now=1), KNOWN, "database_fenced"),
        (replace(FOUND, seen=39), KNOWN, "database_fenced"),
        (replace(FOUND, timeline_now=3), KNOWN, "database_failed_over"),
        (replace(FOUND, timeline_now=3, seen=39), KNOWN, "database_failed_over"),
        (replace(FOUND, timeline_now=3, number=2), KNOWN, "database_fenced"),
        (replace(FOUND, timeline=None, timeline_now=3, system_id=""), KNOWN, ""),
    ],
)
def test_which_database_is_taken_for_which(found: Found, known: Known, expected: str) -> None:
    fence = Fence()
    fence.heeds_failover = True
    try:
        fence.check(found, known)
    except Unavailable as trouble:
        assert trouble.code == expected
    else:
        assert expected == ""


def test_a_generation_is_written_down_once_and_known_to_every_program_of_the_machine(
    kept: Store, database_url: str, tmp_path: Path
) -> None:
    generation.keep(kept)
    with kept.read() as tx:
        row = generation.find(tx)
    assert (row.number, row.recheck) == (1, "")
    assert (row.timeline is not None) is kept.is_postgresql
    write(kept)
    generation.keep(kept)
    with closing(open_store(database_url, state_directory=tmp_path)) as other:
        assert other.fence.known == kept.fence.known == Known(number=1, mark=row.mark, seen=1)
        begin(other)
        # Without asking the database again.
        assert kept.fence.known.number == 2


def test_an_older_generation_is_refused_by_what_is_open_and_by_what_is_started(
    kept: Store, database_url: str, tmp_path: Path
) -> None:
    begin(kept, is_lossy=False)
    with kept.read() as tx:
        assert leases.mode_of(tx) == "normal"
    assert code(kept) == ""
    put_back(kept, 1)
    assert code(kept) == "database_fenced"
    with closing(open_store(database_url, state_directory=tmp_path)) as started:
        assert code(started) == "database_fenced"
        with pytest.raises(Unavailable, match="generation 1, and this machine has worked with 2"), started.read():
            pass
    put_back(kept, 2)
    assert code(kept) == ""


def test_a_connection_from_before_is_compared_again_once_more_is_known(kept: Store) -> None:
    """One thread has met the new primary; the others are still connected to the former one."""
    assert code(kept) == ""
    known = kept.fence.known
    kept.fence.learn(replace(known, number=known.number + 1, mark="new"))
    assert code(kept) == "database_fenced"


def test_a_person_may_say_that_this_is_the_database_from_now_on(kept: Store, database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        begin(kept, is_lossy=False)
    put_back(kept, 1)
    with closing(open_store(database_url, state_directory=tmp_path, is_open=True)) as opened:
        begin(opened)
    assert code(kept) == ""
    with kept.read() as tx:
        assert generation.find(tx).number == 4
        assert leases.mode_of(tx) == "read_only"


def test_what_ends_before_what_was_seen_is_refused(kept: Store, database_url: str, tmp_path: Path) -> None:
    """A log that was lost, or an older copy in the place of the database."""
    write(kept)
    kept.fence.learn(replace(kept.fence.known, seen=5))
    with closing(open_store(database_url, state_directory=tmp_path)) as started:
        assert code(started) == "database_fenced"


def test_a_record_that_a_power_failure_has_cut_bars_nobody(kept: Store, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "generation" if kept.is_postgresql else Path(f"{kept.engine.url.database}.generation")
    path.write_bytes(b'{"number": 7, "ma')
    with closing(open_store(database_url, state_directory=tmp_path)) as started:
        assert code(started) == ""


def test_without_a_folder_it_is_kept_in_memory(database_url: str, tmp_path: Path) -> None:
    with closing(open_store(database_url)) as opened:
        generation.keep(opened)
        assert opened.fence.known.number == 1
        assert opened.fence.is_kept is not opened.is_postgresql


def test_a_server_that_does_not_say_which_it_is_has_its_generations_compared(silent_url: str, tmp_path: Path) -> None:
    with closing(open_store(silent_url, state_directory=tmp_path)) as kept:
        generation.keep(kept)
        write(kept)
        begin(kept, is_lossy=False)
        assert kept.fence.known.number == 2
        with kept.read() as tx:
            assert generation.find(tx).timeline is None
        put_back(kept, 1)
        assert code(kept) == "database_fenced"


def test_a_person_may_say_it_of_a_server_that_does_not_say_which_it_is(silent_url: str, tmp_path: Path) -> None:
    with closing(open_store(silent_url, state_directory=tmp_path, is_open=True)) as restored:
        begin(restored)
    with closing(open_store(silent_url, state_directory=tmp_path)) as started, started.read() as tx:
        assert (generation.find(tx).number, leases.mode_of(tx)) == (1, "read_only")


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_behind_a_pooler_each_transaction_is_compared(database_url: str, tmp_path: Path) -> None:
    with (
        open_pooler(database_url) as pooler,
        closing(open_store(database_url)) as straight,
        closing(open_store(pooler.url, state_directory=tmp_path)) as pooled,
    ):
        generation.keep(pooled)
        begin(pooled)
        assert code(pooled) == ""
        # The pooler's address leads elsewhere from now on, and its clients do not notice.
        with straight.write() as tx:
            tx.execute(generation.generation.update().values(number=1))
        assert code(pooled) == "database_fenced"


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(
    ("row_waited", "machine_saw_it", "more_seen", "is_lossy"),
    [(True, True, 0, False), (True, False, 0, True), (False, True, 0, True), (True, True, 1, True)],
)
def test_nothing_is_missing_only_where_both_remember_that_commits_waited(
    kept: Store, row_waited: bool, machine_saw_it: bool, more_seen: int, is_lossy: bool
) -> None:
    """A standby that was cut off before the primary went on alone still says that commits wait for it."""
    write(kept)
    generation.keep(kept)
    known = kept.fence.known
    kept.fence.learn(replace(known, is_synchronous=machine_saw_it, seen=known.seen + more_seen))
    with closing(open_store(kept.engine.url.render_as_string(), is_open=True)) as server, server.write() as tx:
        # As on a standby that has taken over: the row is of an earlier timeline.
        tx.execute(generation.generation.update().values(timeline=0, is_synchronous=row_waited))
        begun = generation.go_over(tx, kept.fence, merchants=["shop"], now=NOW)
        assert begun is not None and begun.is_lossy is is_lossy
        assert leases.mode_of(tx) == ("read_only" if is_lossy else "normal")
        assert generation.find(tx).recheck == ("owed" if is_lossy else "")
        assert generation.go_over(tx, kept.fence, merchants=["shop"], now=NOW) is None, (
            "another program was there before"
        )


def test_a_machine_that_tried_another_server_begins_with_an_empty_one(
    kept: Store, postgresql_cluster: Cluster, engine_name: str, tmp_path: Path
) -> None:
    """A file is no server: an empty one may stand where the database is missing."""
    if kept.is_postgresql:
        postgresql_cluster.create_database("begun_with")
        url = postgresql_cluster.url("begun_with")
    else:
        write(kept)
        generation.keep(kept)
        kept.close()
        url, path = kept.engine.url.render_as_string(), Path(kept.engine.url.database or "")
        for name in (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))):
            name.unlink(missing_ok=True)
    migrate(url, state_directory=tmp_path)
    with closing(open_store(url, state_directory=tmp_path)) as started:
        assert code(started) == ("" if kept.is_postgresql else "database_fenced")
    if not kept.is_postgresql:
        return
    # With its schema it is a database like any other: no second forgetting.
    with closing(open_store(url, state_directory=tmp_path)) as started:
        generation.keep(started)
        started.fence.learn(replace(started.fence.known, number=9))
        with pytest.raises(Unavailable):
            migrate(url, state_directory=tmp_path)
    postgresql_cluster.drop_database("begun_with")


@pytest.fixture
def beside(kept: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A machine without a worker, beside `kept` over a primary whose commits wait for its standby."""
    monkeypatch.setattr(generation, "_is_synchronous", lambda _: True)
    generation.keep(kept)
    (other := tmp_path / "other").mkdir()
    with closing(open_store(database_url, state_directory=other)) as opened:
        assert code(opened) == ""
        yield opened


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_machine_without_a_worker_remembers_too_that_commits_waited(kept: Store, beside: Store) -> None:
    assert beside.fence.known == kept.fence.known and beside.fence.known.is_synchronous
    with closing(open_store(kept.engine.url.render_as_string(), is_open=True)) as server, server.write() as tx:
        tx.execute(generation.generation.update().values(timeline=0))
        begun = generation.go_over(tx, beside.fence, merchants=["shop"], now=NOW)
        assert begun is not None and not begun.is_lossy
        assert leases.mode_of(tx) == "normal"


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_machine_at_work_hears_that_commits_wait_no_more(
    kept: Store, beside: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_is_synchronous", lambda _: False)
    generation.keep(kept)
    monkeypatch.setattr(fence, "COMPARED_SECONDS", 0)
    assert code(beside) == ""
    assert not beside.fence.known.is_synchronous


def test_what_a_person_has_ended_is_not_owed_again(kept: Store) -> None:
    """A worker began the comparison while the person looked at another one."""
    begin(kept)
    with kept.write() as tx:
        generation.note_recheck(tx, "rec_1")
        assert generation.find(tx).recheck == "rec_1"
        generation.end_recheck(tx)
        generation.note_recheck(tx, "rec_2")
        assert generation.find(tx).recheck == ""


def test_what_a_standby_says_of_its_primary_is_not_learnt() -> None:
    found = replace(FOUND, is_synchronous=True, timeline_now=3)
    assert not found.known(KNOWN).is_synchronous
    assert found.known(replace(KNOWN, is_synchronous=True)).is_synchronous
