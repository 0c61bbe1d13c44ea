"""The upgrade drill: a database of every released version is taken over whole, and goes on at the work it was in."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Inspector, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from bridge.books.verify import balances, book_differences, verify_audit
from bridge.store import db, tables
from bridge.store.db import migrate
from tests.flows.world import World, until
from tests.upgrade import days, stored

Rows = dict[str, Counter[tuple[Any, ...]]]


@pytest.fixture(params=stored.names())
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without a schema."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path}/upgraded.db"
        return
    cluster = request.getfixturevalue("postgresql_cluster")
    cluster.create_database("upgraded")
    yield cluster.url("upgraded")
    cluster.drop_database("upgraded")


@pytest.fixture
def old_url(empty_url: str, release: str, engine_name: str) -> str:
    """The database of a release as it was stored."""
    stored.run(empty_url, stored.script(release, engine_name))
    return empty_url


@pytest.fixture
def world(old_url: str, release: str, engine_name: str, tmp_path: Path) -> Iterator[World]:
    """This version over the upgraded database, in the outside world of that day."""
    migrate(old_url)
    with days.shop(old_url, tmp_path) as shop:
        stored.put_back(shop.sandbox.world, release, engine_name)
        yield shop


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def columns_of(inspector: Inspector) -> dict[str, list[str]]:
    names = set(inspector.get_table_names()) - {"alembic_version"}
    return {name: [column["name"] for column in inspector.get_columns(name)] for name in sorted(names)}


def rows_of(connection: Connection, columns: dict[str, list[str]]) -> Rows:
    """Every row of the named columns, however the engine orders them."""
    quoted = {name: ", ".join(f'"{column}"' for column in wanted) for name, wanted in columns.items()}
    return {
        name: Counter(tuple(r) for r in connection.execute(text(f"SELECT {quoted[name]} FROM {name}")))
        for name in columns
    }


def test_a_stored_release_has_rows_in_every_table_it_knows(old_url: str) -> None:
    with connected(old_url) as connection:
        rows = rows_of(connection, columns_of(inspect(connection)))
    assert [name for name, found in rows.items() if not found] == []


def test_every_row_is_kept_as_it_was(old_url: str) -> None:
    with connected(old_url) as connection:
        columns = columns_of(inspect(connection))
        before = rows_of(connection, columns)
    migrate(old_url)
    with connected(old_url) as connection:
        assert rows_of(connection, columns) == before


def test_the_ledger_balances_and_the_audit_is_whole(world: World) -> None:
    assert verify_audit(world.bridge).is_intact
    assert book_differences(world.bridge) == []
    totals = balances(world.bridge)
    assert totals and [asset for asset, accounts in totals.items() if sum(accounts.values())] == []


def test_what_was_open_settles_and_everything_is_told_once(world: World) -> None:
    names = world.rows("SELECT id, billing_payment_id FROM invoices WHERE merchant = 'shop'")
    invoice = {row.billing_payment_id: world.invoice({"id": row.id}) for row in names}
    assert {invoice[name]["status"] for name in days.OPEN} == {"new", "processing"}
    for name in days.OPEN:
        if remaining_sat := invoice[name]["remaining_sat"]:
            world.pay(invoice[name], remaining_sat)
    world.mine(6)
    for _ in range(5):
        world.advance(3_601)
        world.work()
    settled = [
        event["invoice"]["billing_payment_id"] for _, event in world.billing.told if event["type"] == "invoice.settled"
    ]
    assert sorted(settled) == sorted([*days.OPEN, "not_told"])
    assert {world.invoice(invoice[name])["status"] for name in days.OPEN} == {"settled"}
    # What a person must look at still waits for that person; what was over stays over.
    assert world.invoice(invoice["listed"])["hold"] == "review"
    over = [name for name in invoice if name not in (*days.OPEN, "listed", "not_told", "young")]
    assert {name: world.invoice(invoice[name])["status"] for name in over} == {
        name: invoice[name]["status"] for name in over
    }
    assert verify_audit(world.bridge).is_intact and book_differences(world.bridge) == []


def test_who_was_cut_off_asks_again_and_gets_an_invoice(world: World) -> None:
    world.advance(3_600)
    answered = world.ask("died")
    assert answered.status == 201
    assert world.ask("died").body == answered.body


def test_nodes_that_start_together_migrate_once(old_url: str) -> None:
    command = [sys.executable, "-c", "import sys; from bridge.store.db import migrate; migrate(sys.argv[1])", old_url]
    nodes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(node.communicate(timeout=60)[1], node.returncode) for node in nodes] == [(b"", 0)] * 3


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_node_of_the_old_version_ends_what_it_has_begun_first(old_url: str) -> None:
    """It has an invoice, and comes to every other table later."""
    with ThreadPoolExecutor(1) as beside:
        with connected(old_url) as node:
            others = sorted(set(inspect(node).get_table_names()) - {"invoices", "alembic_version"})
            node.execute(text("SELECT id FROM invoices FOR UPDATE"))
            migrated = beside.submit(migrate, old_url)
            waits = text(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert until(lambda: node.execute(waits).first(), seconds=60)
            node.execute(text(f"LOCK TABLE {', '.join(others)} IN ROW EXCLUSIVE MODE"))
        migrated.result(timeout=60)


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_migration_that_is_given_up_for_a_node_begins_again(old_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = []

    def give_up(tx: Connection, name: str) -> None:
        if len(given_up) < 2:
            given_up.append(name)
            tx.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"))

    monkeypatch.setattr(db, "queue_up", give_up)
    migrate(old_url)
    assert given_up == ["migrate"] * 2
    with connected(old_url) as connection:
        assert "generation" in inspect(connection).get_table_names()


def test_history_can_still_neither_be_changed_nor_removed(old_url: str) -> None:
    migrate(old_url)
    for table in tables.APPEND_ONLY:
        with connected(old_url) as connection:
            if not connection.execute(text(f"SELECT count(*) FROM {table}")).scalar():
                continue
        key = tables.metadata.tables[table].primary_key.columns.keys()[0]
        for statement in (f"UPDATE {table} SET {key} = {key}", f"DELETE FROM {table}"):
            with pytest.raises(DBAPIError, match="append-only"), connected(old_url) as connection:
                connection.execute(text(statement))


def test_what_nodes_of_the_old_version_write_is_still_accepted(empty_url: str, release: str, engine_name: str) -> None:
    """Old and new nodes work side by side while an upgrade rolls: the old ones' own INSERTs go into the new schema."""
    migrate(empty_url)
    stored.run(empty_url, stored.rows_alone(release, engine_name))
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM invoices")).scalar()


def test_migrations_only_expand(old_url: str) -> None:
    """No table, column, type or default that the old version knows goes, and nothing that it writes is newly refused."""
    with connected(old_url) as connection:
        before = shape(inspect(connection))
    migrate(old_url)
    with connected(old_url) as connection:
        after = shape(inspect(connection))
    for table, (columns, rules) in before.items():
        kept, new_rules = after[table]
        for name, old in columns.items():
            assert kept[name]["type"] == old["type"], f"{table}.{name}"
            assert kept[name]["nullable"] or not old["nullable"], f"{table}.{name} is NULL in old rows"
            assert kept[name]["default"] or not old["default"], f"{table}.{name} has lost its default"
        added = {name: column for name, column in kept.items() if name not in columns}
        assert [n for n, c in added.items() if not (c["nullable"] or c["default"])] == [], (
            f"{table}: old nodes do not write it"
        )
        assert {rule for rule in new_rules - rules if not set(rule[1]) & set(added)} == set(), f"{table}: a new rule"


Column = dict[str, Any]
Shape = dict[str, tuple[dict[str, Column], set[tuple[str, tuple[str, ...]]]]]


def shape(inspector: Inspector) -> Shape:
    """Columns of every table, and the rules that can refuse a row: what must be unique or be there elsewhere."""
    found: Shape = {}
    for table in columns_of(inspector):
        columns = {
            c["name"]: {
                "type": str(c["type"]),
                "nullable": c["nullable"],
                "default": c["default"] or c.get("autoincrement") is True,
            }
            for c in inspector.get_columns(table)
        }
        unique = [index["column_names"] for index in inspector.get_indexes(table) if index["unique"]]
        unique += [rule["column_names"] for rule in inspector.get_unique_constraints(table)]
        elsewhere = [rule["constrained_columns"] for rule in inspector.get_foreign_keys(table)]
        rules = {("unique", tuple(names)) for names in unique} | {("foreign", tuple(names)) for names in elsewhere}
        found[table] = (columns, rules)
    return found
