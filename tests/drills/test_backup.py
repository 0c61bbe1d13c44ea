"""Backups on both engines, and the drill: yesterday's copy comes back and does no harm.

Owns the drill; must not know how a copy is made.
"""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.invoices.check_again import check_all_again
from bridge.permit import come_up_read_only
from bridge.store import backup, leases
from bridge.store.db import migrate, open_store
from tests.flows.world import World, open_world, until

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


@pytest.fixture
def empty_url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the same engine, without a schema."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path}/restored/bridge.db"
        return
    cluster = request.getfixturevalue("postgresql_cluster")
    name = f"restored_{tmp_path.name.lower().replace('-', '_')[-40:]}"
    cluster.create_database(name)
    yield cluster.url(name)
    cluster.drop_database(name)


def restored(copy: Path, url: str) -> None:
    backup.restore(copy, url)
    migrate(url)


def test_a_copy_holds_every_row_and_is_nobody_elses_to_read(database_url, empty_url, tmp_path):
    with open_world(database_url) as world:
        invoices = [world.open(f"b{n}")["id"] for n in range(3)]
        copy = backup.back_up(database_url, tmp_path / "copies", now=AT)
        assert stat.filemode(copy.stat().st_mode) == "-rw-------"
        assert stat.filemode(copy.parent.stat().st_mode) == "drwx------"
    restored(copy, empty_url)
    with closing(open_store(empty_url)) as store, store.read() as tx:
        assert sorted(row.id for row in tx.exec_driver_sql("SELECT id FROM invoices")) == sorted(invoices)


def test_a_copy_that_finds_no_room_or_no_folder_says_so_and_leaves_nothing(place, tmp_path):
    command = f"{sys.executable} -m bridge.cli --config {place.config} backup --directory"
    copies = tmp_path / "copies"
    for limit, directory, said in ((200, copies, "disk I/O error"), (100_000, "/dev/null/copies", "Not a directory")):
        words = ["sh", "-c", f"ulimit -f {limit}; exec {command} {directory}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.startswith("Error: backup_failed: ")) == (1, True), done.stderr
        assert said in done.stderr
    assert list(copies.iterdir()) == []


def test_a_copy_is_taken_while_others_write(database_url, empty_url, tmp_path):
    with open_world(database_url) as world, world.bridge.store.write() as tx:
        tx.exec_driver_sql("INSERT INTO budgets (name, window_start, spent) VALUES ('unfinished', 0, 1)")
        copy = backup.back_up(database_url, tmp_path, now=AT)
    restored(copy, empty_url)
    with closing(open_store(empty_url)) as store, store.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM budgets WHERE name = 'unfinished'").scalar() == 0


def test_nothing_is_restored_over_a_database_that_holds_something(database_url, tmp_path):
    copy = backup.back_up(database_url, tmp_path, now=AT)
    with pytest.raises(Conflict, match=r"already|there"):
        backup.restore(copy, database_url)


def test_a_database_that_is_not_there_is_no_backup(tmp_path):
    for url in (f"sqlite:///{tmp_path}/none.db", f"postgresql+psycopg://nobody@/none?host={tmp_path}"):
        with pytest.raises(Unavailable):
            backup.back_up(url, tmp_path / "copies", now=AT)
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_damaged_copy_is_refused(sqlite_url, tmp_path):
    copy = backup.back_up(sqlite_url, tmp_path / "copies", now=AT)
    content = bytearray(copy.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    copy.write_bytes(content)
    with pytest.raises(Unavailable, match="damaged"):
        backup.restore(copy, f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("name", ["bridge-20261120T030000Z.dump", "notes.db", "bridge-20261120T030000Z.db.old"])
def test_a_file_that_is_no_copy_of_this_engine_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(Refused):
        backup.restore(tmp_path / name, f"sqlite:///{tmp_path}/new.db")


def test_old_copies_go_and_the_newest_stay(sqlite_url, tmp_path):
    for hour in range(5):
        backup.back_up(sqlite_url, tmp_path / "copies", now=AT + timedelta(hours=hour))
    assert len(backup.prune(tmp_path / "copies", keep=2)) == 3
    assert [at for at, _ in backup.listing(tmp_path / "copies")] == [AT + timedelta(hours=h) for h in (3, 4)]
    backup.prune(tmp_path / "copies", keep=0)
    assert len(backup.listing(tmp_path / "copies")) == 1


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_server_that_asks_for_a_password_is_copied_and_restored(
    database_url, empty_url, postgresql_cluster, tmp_path
):
    rules = postgresql_cluster.directory / "db/pg_hba.conf"
    before = rules.read_text()
    postgresql_cluster.execute("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'hidden-word'")
    try:
        rules.write_text(f"local all keeper scram-sha-256\n{before}")
        postgresql_cluster.execute("SELECT pg_reload_conf()")
        asked, target = (
            make_url(url).set(username="keeper", password="hidden-word").render_as_string(hide_password=False)
            for url in (database_url, empty_url)
        )
        restored(backup.back_up(asked, tmp_path, now=AT), target)
        with pytest.raises(Unavailable, match="password"):
            backup.back_up(asked.replace("hidden-word", "other-word"), tmp_path, now=AT + timedelta(hours=1))
    finally:
        rules.write_text(before)
        postgresql_cluster.execute("SELECT pg_reload_conf()")


def test_a_password_never_stands_in_an_argument_list(monkeypatch, tmp_path):
    seen: list[list[str]] = []
    real = subprocess.run

    def recorded(command, **options):
        seen.append(list(command))
        return real(["false"], **{k: v for k, v in options.items() if k != "env"})

    monkeypatch.setattr(subprocess, "run", recorded)
    with pytest.raises(Unavailable):
        backup.back_up("postgresql+psycopg://u:hidden-word@127.0.0.1:1/d", tmp_path, now=AT)
    assert seen
    assert "hidden-word" not in str(seen)


class Receiver:
    """The billing system's memory, which no restore of ours turns back: paid once is paid."""

    def __init__(self) -> None:
        self.times_set_paid: dict[str, int] = {}

    def hear(self, told: list[tuple[str, dict]]) -> None:
        for _, event in told:
            invoice = event.get("invoice") or {}
            if event["type"] == "invoice.settled" and invoice["billing_payment_id"] not in self.times_set_paid:
                self.times_set_paid[invoice["billing_payment_id"]] = 1


def test_yesterdays_copy_loses_no_invoice_pays_nothing_twice_and_reuses_no_address(database_url, empty_url, tmp_path):
    """The restore drill, T-24."""
    receiver = Receiver()
    with ExitStack() as stack:
        world = stack.enter_context(open_world(database_url, subtc={"spare_addresses": 3}))
        paid_before, pays_later, waits = (world.open(name) for name in ("before", "later", "waits"))
        world.pay(paid_before)
        world.mine()
        settle(world, paid_before)
        fill_spares(world)
        copy = backup.back_up(database_url, tmp_path, now=AT)

        # The day that will be lost: one more is paid and delivered, a new one is opened on a spare address.
        world.pay(pays_later)
        lost = world.open("lost")
        world.pay(lost)
        world.mine()
        settle(world, pays_later)
        settle(world, lost)
        receiver.hear(world.billing.told)
        assert receiver.times_set_paid == {"before": 1, "later": 1, "lost": 1}
        last_position = world.feed()[-1]["position"]

        restored(copy, empty_url)
        back = restored_world(stack, world, empty_url)
        assert come_up_read_only(back.bridge, detail={"copy": copy.name}, actor="anna", reason="drill") >= 1
        with back.bridge.store.read() as tx:
            assert leases.mode_of(tx) == "read_only"

        # Read only: neither a look of the worker's nor a delivery leaves the house, and nothing new is opened.
        told = len(back.billing.told)
        back.work()
        assert len(back.billing.told) == told
        with pytest.raises(Unavailable, match="switched this off"):
            back.open("new")

        # Our own reads bring the copy up to date: what was paid meanwhile is settled again.
        moves = check_all_again(back.bridge, actor="anna", reason="drill")
        assert moves["new → settled"] == 1
        assert [back.invoice(i)["status"] for i in (paid_before, pays_later, waits)] == ["settled", "settled", "new"]
        assert len(back.billing.told) == told

        back.switch("normal")
        back.work()
        back.deliver()
        receiver.hear(back.billing.told)
        assert receiver.times_set_paid == {"before": 1, "later": 1, "lost": 1}

        # What the module asks for again gets a fresh address, never one that was shown to somebody in the lost day.
        again = back.open("lost")
        fresh = back.open("fresh")
        shown = {i["address"] for i in (paid_before, pays_later, waits, lost)}
        assert not shown & {again["address"], fresh["address"]}
        assert all(event["position"] > last_position for event in back.feed(after=last_position))
        assert {e["invoice"]["id"] for e in back.feed(after=last_position) if "invoice" in e} >= {pays_later["id"]}


def settle(world: World, invoice: dict) -> None:
    assert world.seen(invoice)[0] == "settled"
    world.deliver()


def fill_spares(world: World) -> None:
    from bridge.invoices.targets import fill_spare_addresses

    until(lambda: fill_spare_addresses(world.bridge, owner="w1") == 0)


def restored_world(stack: ExitStack, world: World, url: str) -> World:
    """The same worlds outside; only the database is yesterday's."""
    store = stack.enter_context(closing(open_store(url)))
    return replace(world, bridge=replace(world.bridge, store=store, last_rates={}))


def test_the_commands_back_up_and_restore(place):
    made = place.run("backup")
    assert made.exit_code == 0, made.output
    copy = Path(made.output.split(" (")[0])
    assert copy.parent == place.directory / "backups"
    database = Path(make_url(f"sqlite:///{place.directory}/bridge.db").database)
    assert place.run("restore", str(copy), "--actor", "anna", "--reason", "drill").exit_code == 1
    database.rename(place.directory / "lost.db")
    done = place.run("restore", str(copy), "--actor", "anna", "--reason", "drill")
    assert done.exit_code == 0, done.output
    assert "read_only" in done.output
    assert "warn mode: mode read_only" in place.run("doctor").output
    assert place.run("recheck", "--actor", "anna", "--reason", "drill").exit_code == 0
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT actor, detail FROM audit WHERE action = 'restored'").one()
    engine.dispose()
    assert (row.actor, json.loads(row.detail)["copy"]) == ("anna", copy.name)
