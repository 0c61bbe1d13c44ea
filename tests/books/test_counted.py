"""What a scrape of the metrics costs where a shop has sold for years: not more than on its first day."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from bridge.books import counted
from bridge.books.keep_books import refresh_gauges
from bridge.context import Bridge
from bridge.invoices.deliver import deliver_due
from bridge.invoices.observe import look
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.open_invoice import open_invoice
from bridge.metrics import Metrics
from bridge.store import deliveries, invoices, targets
from bridge.store.db import Store
from bridge.store.tables import metadata
from tests.builders import World, build_bridge, build_request, gateway_rail
from tests.rails.toy import WALLET, ToyNode, toy_rail
from tests.store.test_search import explained

Case = tuple[Bridge, World]
# What a copy of a row must not share with it.
OWN = {
    "invoices": ("id", "public_id", "address", "callback_token_sha256", "billing_payment_id"),
    "deliveries": ("id", "invoice_id"),
    "targets": ("invoice_id", "text", "key"),
}


@pytest.fixture
def case(database_url: str) -> Iterator[Case]:
    world = World()
    rails = (gateway_rail(world.wallet), toy_rail(ToyNode()))
    bridge = build_bridge(database_url, world=world, rails=rails, metrics=Metrics())
    with closing(bridge.store):
        yield bridge, world


def settled(bridge: Bridge, world: World, number: int = 1) -> None:
    """Paid, told, and with an offer beside it that nobody took."""
    request = build_request(billing_payment_id=str(number))
    done = open_invoice(bridge, merchant=bridge.merchants["shop"], request=request, key=f"k{number}", body_sha256="b")
    invoice = json.loads(done.body)
    offer_beside(bridge, invoice["payment_url"].rpartition("/")[2], "lightning")
    world.money.pay(invoice["address"], invoice["remaining_sat"], confirmations=1)
    look(bridge, invoice["id"])
    deliver_due(bridge, owner="w", limit=9, submit=lambda work: work())


def grow(store: Store, count: int) -> None:
    """So many more like the newest one that is over, which is not looked at for long."""
    series = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    with store.write() as tx:
        for table, own in OWN.items():
            names = [column.name for column in metadata.tables[table].c if str(column) != "targets.id"]
            values = [f"'{name}' || s.n" if name in own else f"t.{name}" for name in names]
            values = [value.replace("'invoice_id'", "'id'") for value in values]
            values = [value.replace("t.next_look_at", f"t.next_look_at + {10**15}") for value in values]
            one = f"(SELECT * FROM {table} ORDER BY created_at DESC, id DESC LIMIT 1)"
            tx.execute(
                text(f"INSERT INTO {table} ({', '.join(names)}) {series} SELECT {', '.join(values)} FROM s, {one} t")
            )


def gauge(bridge: Bridge, name: str, **labels: str) -> float:
    refresh_gauges(bridge)
    return bridge.metrics.registry.get_sample_value(name, labels) or 0


def steps(bridge: Bridge) -> int:
    """How many instructions SQLite carries out for a scrape, in tens."""
    counted: list[int] = []
    with bridge.store.read() as tx:
        driver: Any = tx.connection.driver_connection
    driver.set_progress_handler(lambda: counted.append(1), 10)  # the connection that is used again next
    refresh_gauges(bridge)
    driver.set_progress_handler(None, 0)
    return len(counted)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_scrape_costs_the_same_whatever_has_been_settled(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "MANY", 1)
    monkeypatch.setattr(counted, "ROWS_PER_SECOND", 1)
    bridge, world = case
    settled(bridge, world)
    world.clock.advance(86_400)
    refresh_gauges(bridge)
    before = steps(bridge)
    grow(bridge.store, 5_000)
    bridge.counted.clear()
    assert gauge(bridge, "bridge_open_invoices", status="settled") == 5_001
    assert 0 < before <= steps(bridge) <= before + 10


def test_what_is_open_or_waits_is_found_by_an_index(case: Case) -> None:
    bridge, world = case
    settled(bridge, world)
    now = bridge.clock()
    with bridge.store.read() as tx, explained(bridge.store, tx) as plans:
        invoices.count_by_status(tx, ("new", "processing"))
        deliveries.count_by_state(tx, ("pending", "parked"))
        targets.count_waiting(tx, (WALLET,), now=now)
    for plan in plans:
        if bridge.store.is_postgresql:
            assert "Index Cond" in plan and "Seq Scan" not in plan, plan
        else:
            assert "SEARCH" in plan and not re.search(r"\bSCAN\b", plan), plan


def test_where_much_is_over_it_is_counted_again_after_a_while_and_what_is_open_each_time(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, world = case
    settled(bridge, world, 1)
    assert gauge(bridge, "bridge_open_invoices", status="settled") == 1
    settled(bridge, world, 2)
    assert gauge(bridge, "bridge_open_invoices", status="settled") == 2, "few are counted each time"
    monkeypatch.setattr(counted, "MANY", 2)
    monkeypatch.setattr(counted, "ROWS_PER_SECOND", 1)
    settled(bridge, world, 3)
    assert gauge(bridge, "bridge_open_invoices", status="settled") == 2
    assert gauge(bridge, "bridge_deliveries_by_state", state="pending") == 0
    open_invoice(bridge, merchant=bridge.merchants["shop"], request=build_request(), key="open", body_sha256="b")
    assert gauge(bridge, "bridge_open_invoices", status="new") == 1
    world.clock.advance(2)
    assert gauge(bridge, "bridge_open_invoices", status="settled") == 3
