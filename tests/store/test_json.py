"""Columns of JSON: what is stored is the text that earlier releases stored, and a copy keeps every byte of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from bridge.store.backup import copy_all
from bridge.store.db import Store, migrate, open_store
from bridge.store.tables import journals, reconciliations, reviews

AT = datetime(2026, 7, 1, tzinfo=UTC)
VALUE = {"b": [1, "é"], "a": {"z": None, "y": True}}


def review(**values: Any) -> dict[str, Any]:
    times = {"opened_at": AT, "last_seen_at": AT, "due_at": AT}
    what = {"id": "rev_1", "merchant": "m", "kind": "recon_diff", "severity": "normal", "state": "open"}
    return times | what | values


@pytest.mark.parametrize(
    ("table", "column", "written"),
    [
        (reviews, "blocks", '{"a": {"y": true, "z": null}, "b": [1, "é"]}'),
        (journals, "memo", '{"a": {"y": true, "z": null}, "b": [1, "\\u00e9"]}'),
    ],
)
def test_json_is_stored_as_the_text_that_it_always_was(store: Store, table: Any, column: str, written: str) -> None:
    values = review() if table is reviews else {"merchant": "m", "kind": "over", "family": "receipts", "at": AT}
    with store.write() as tx:
        tx.execute(insert(table).values(**values, **{column: VALUE}))
        assert tx.execute(text(f"SELECT {column} FROM {table.name}")).scalar_one() == written
        assert tx.execute(select(table.c[column])).scalar_one() == VALUE


def test_what_the_first_release_left_empty_reads_as_an_empty_object(store: Store) -> None:
    with store.write() as tx:
        tx.execute(insert(journals).values(merchant="m", kind="over", family="receipts", at=AT))
        assert tx.execute(text("SELECT memo FROM journals")).scalar_one() == ""
        assert tx.execute(select(journals.c.memo)).scalar_one() == {}
        times = {"from_at": AT, "to_at": AT, "started_at": AT, "stepped_at": AT}
        tx.execute(insert(reconciliations).values(id="r", actor="a", is_scheduled=False, phase="p", **times))
        assert tx.execute(select(reconciliations.c.counts)).scalar_one() == {}


def test_a_copy_keeps_json_as_it_was_spelled(store: Store, tmp_path: Path) -> None:
    spelled = '{"b":1,   "a": "\\u00e9"}'
    migrate(url := f"sqlite:///{tmp_path / 'copy.db'}")
    target = open_store(url)
    try:
        with store.write() as tx:
            tx.execute(insert(reviews).values(**review()))
            tx.execute(text("UPDATE reviews SET blocks = :blocks"), {"blocks": spelled})
        copy_all(store, target, progress=lambda _table, _rows: None)
        with target.read() as tx:
            assert tx.execute(text("SELECT blocks FROM reviews")).scalar_one() == spelled
    finally:
        target.close()
