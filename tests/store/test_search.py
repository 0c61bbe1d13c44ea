"""Every way to look for an invoice, to narrow the list and to page through it is a range of an index, on both engines."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from bench.claims import fill
from bridge.core.reference import Ask
from bridge.store import invoice_pages
from bridge.store.db import Store
from bridge.store.invoice_pages import Narrowed
from bridge.store.search import Search

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


@contextmanager
def explained(store: Store, tx: Any, *without: str, is_told: bool = True) -> Iterator[list[str]]:
    """The plans of what is asked inside. PostgreSQL takes an index for so few rows only where it `is_told` to."""
    plans: list[str] = []
    asked: list[tuple[str, Any]] = []

    def keep(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    for way in ("seqscan", *without) if store.is_postgresql and is_told else ():
        tx.execute(text(f"SET LOCAL enable_{way} = off"))
    event.listen(store.engine, "before_cursor_execute", keep)
    yield plans
    event.remove(store.engine, "before_cursor_execute", keep)
    how = "EXPLAIN" if store.is_postgresql else "EXPLAIN QUERY PLAN"
    for statement, parameters in asked:
        found = tx.exec_driver_sql(f"{how} {statement}", parameters)
        plans.append("\n".join(str(row[-1]) for row in found))
    assert plans


def check_no_scan(plans: list[str], *, ordered: bool = False) -> None:
    for plan in plans:
        # SQLite calls a walk along an index a scan too: that ends with the page.
        scans = re.findall(r"Seq Scan.*|SCAN (?!.*USING (?:COVERING )?INDEX).*", plan)
        assert scans == [], plan
        # The last column of an order, the id, is sorted within equal ones. PostgreSQL sorts anew what it takes for one row.
        assert not ordered or "USE TEMP B-TREE FOR ORDER BY" not in plan, plan


@pytest.mark.parametrize(
    "ask",
    [
        Ask(kind="reference", text="inv_1"),
        Ask(kind="transaction", text="abcdef"),
        Ask(kind="client", text="42"),
        Ask(kind="email", text="A@b.example"),
        Ask(kind="document", text="pay/7"),
        Ask(kind="amount", units=1_000, currency="USD"),
        Ask(kind="sat", units=15_924),
    ],
    ids=lambda ask: ask.kind,
)
def test_no_search_reads_a_whole_table(store: Store, ask: Ask) -> None:
    with store.read() as tx, explained(store, tx) as plans:
        Search(tx=tx, merchants=("shop", "other"), most=51).by(ask)
    check_no_scan(plans)


@pytest.mark.parametrize("order", ["largest", "smallest"])
@pytest.mark.parametrize("is_first", [True, False])
def test_no_page_by_sum_reads_or_sorts_a_whole_table(store: Store, order: str, is_first: bool) -> None:
    cursor = None if is_first else ("USD", 1_000, NOW, "inv_1")
    with store.read() as tx, explained(store, tx, "bitmapscan", "sort") as plans:
        invoice_pages.listing(tx, Narrowed(), order=order, cursor=cursor, limit=51)
        invoice_pages.listing(tx, Narrowed(match={"currency": "USD"}), order=order, cursor=cursor, limit=51)
    check_no_scan(plans, ordered=True)
    assert all("ix_invoices_amount" in plan for plan in plans), plans


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "match",
    [
        {},
        {"status": "invalid"},
        {"status": "settled"},
        {"exception": "paid_over"},
        {"hold": "review"},
        {"currency": "KZT"},
        {"merchant": "shop"},
    ],
    ids=lambda match: next(iter(match.values()), "all"),
)
def test_no_page_of_the_list_reads_or_sorts_a_whole_table(store, match, is_first, order) -> None:
    cursor = None if is_first else (NOW, "inv_1")
    with store.read() as tx, explained(store, tx, "bitmapscan", "sort") as plans:
        invoice_pages.listing(tx, Narrowed(match=match), order=order, cursor=cursor, limit=51)
    check_no_scan(plans, ordered=True)
    for name, value in match.items():
        index = "ix_invoices_created" if value == "settled" else f"ix_invoices_{name}"
        assert index in plans[0], plans[0]


def test_a_page_of_the_books_is_read_by_keys_while_nothing_is_known_of_the_tables(store: Store) -> None:
    fill(store, first=0, size=300)
    with store.read() as tx, explained(store, tx, is_told=False) as plans:
        assert len(invoice_pages.page(tx, after="", limit=200)) == 200
    plans = [plan for plan in plans if "set_config" not in plan]
    check_no_scan(plans)
    assert not [plan for plan in plans if re.search("Hash Join|Merge Join|Gather|JIT", plan)]
