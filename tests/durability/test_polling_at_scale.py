"""Ten thousand open invoices, sixty calls a minute, no callback: the young are seen in time and the budget holds."""

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from sqlalchemy import text

from bridge.store import ahead, counts, deliveries, idempotency, inbox, invoices, leases, targets, together
from bridge.store.db import driver_of
from tests.durability.crowd import gather

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
LASTS = ahead.Lasts(now=NOW, cooling_seconds=3_600)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_money_for_young_invoices_is_seen_within_two_minutes_among_ten_thousand(database_url):
    crowd = gather(database_url, open_invoices=10_000, calls_per_minute=60, seed=7)
    try:
        crowd.run(1_200, paid_per_minute=2)
        still = [crowd.world.clock().timestamp() - paid_at for paid_at, age in crowd.unseen.values() if age == "young"]
    finally:
        crowd.bridge.store.close()
    delays = sorted(crowd.delays["young"] + [seconds for seconds in still if seconds > 120])
    assert len(delays) > 20
    assert delays[len(delays) * 95 // 100] < 120, delays
    assert crowd.most_calls_in_a_minute() <= 60


def test_the_budget_holds_in_every_sliding_minute_over_several_nodes(store):
    granted: list[tuple[float, int]] = []
    for half_second in range(0, 600):
        now = NOW + timedelta(seconds=half_second / 2)
        for wanted in (1, 3):
            with store.write() as tx:
                calls = leases.spend(tx, "provider", now=now, limit=10, calls=wanted)
            granted.append((now.timestamp(), calls))
    for end, _ in granted:
        assert sum(calls for at, calls in granted if end - 60 < at <= end) <= 10
    assert sum(calls for _, calls in granted) == 50


def test_a_clock_that_was_set_back_does_not_close_the_budget_for_long(store):
    with store.write() as tx:
        assert leases.spend(tx, "provider", now=NOW + timedelta(minutes=10), limit=5, calls=9) == 5
        assert leases.spend(tx, "provider", now=NOW, limit=5, calls=9) == 5


CLAIMS = {
    "due looks": lambda tx: invoices.claim_due(tx, now=NOW, owner="w", lease_seconds=60, limit=8),
    "what is due": lambda tx: counts.due(tx, now=NOW, lease_seconds=60),
    "any look due": lambda tx: invoices.any_due(tx, now=NOW),
    "watches due": lambda tx: invoices.watch_due(tx, wallet_ids=["wt_1"], now=NOW, watch_seconds=600, limit=2),
    "what lies ahead, each minute": lambda tx: ahead.furthest(tx, LASTS, also_seldom=False),
    "what lies ahead, each hour": lambda tx: ahead.furthest(tx, LASTS, also_seldom=True),
    "what is brought back": lambda tx: [ahead.bring_back(tx, wait, LASTS, limit=500) for wait in ahead.WAITS],
    "doorbells": lambda tx: inbox.waiting(tx, limit=8),
    "a callback": lambda tx: inbox.put(
        tx, token_sha256="t", source="subtc", event_key="e", headers="{}", body=b"", state="new", now=NOW
    ),
    "any delivery due": lambda tx: deliveries.any_due(tx, now=NOW),
    "before an opening": lambda tx: invoices.before_opening(
        tx, merchant="shop", billing_payment_id="7", customer_id="c7", wallet_id="w"
    ),
    "keys of an invoice": lambda tx: idempotency.keys_of(tx, "inv_7"),
    "invoices asking for a sum": lambda tx: invoices.unpaid_asking_for(tx, 15_000),
    "young invoices": lambda tx: invoices.young_unpaid(tx, limit=100),
}


@contextmanager
def among_many(store, database_url):
    """A transaction among three thousand open invoices."""
    crowd = gather(database_url, open_invoices=3_000, calls_per_minute=60, seed=1)
    crowd.bridge.store.close()
    with store.write() as tx:
        if store.is_postgresql:
            tx.execute(text("ANALYZE"))
            # A table of a few thousand rows may well be read whole; what is asked here is whether it must be.
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        yield tx


@pytest.mark.parametrize("claim", CLAIMS)
def test_due_work_is_found_by_an_index(store, database_url, claim):
    with among_many(store, database_url) as tx:
        plans = explained(tx, CLAIMS[claim])
    assert plans
    for plan in plans:
        assert "Seq Scan on invoices" not in plan, plan
        whole = [step for step in plan.split("\n") if step.startswith("SCAN ") and "USING" not in step]
        assert set(whole) <= {"SCAN CONSTANT ROW"}, plan


def test_what_still_waits_by_wallet_is_counted_in_the_index_however_many_ended_unpaid(store, database_url):
    crowd = gather(database_url, open_invoices=3_000, calls_per_minute=60, seed=1)
    crowd.bridge.store.close()
    with store.write() as tx:
        kept = "SELECT id FROM invoices ORDER BY id LIMIT 30"
        tx.execute(text(f"UPDATE invoices SET status = 'expired', closed_at = 1 WHERE id NOT IN ({kept})"))
        if store.is_postgresql:
            tx.execute(text("ANALYZE"))
        assert sum(targets.open_by_wallet(tx).values()) == 30
        (plan,) = explained(tx, targets.open_by_wallet)
    assert "ix_invoices_open" in plan
    assert "closed_at" in plan


def test_watches_of_the_young_are_found_however_many_old_invoices_are_open(store, database_url):
    with among_many(store, database_url) as tx:
        wallet_id = tx.execute(text("SELECT max(wallet_id) FROM invoices")).scalar_one()
        watch = {"wallet_ids": [wallet_id], "watch_seconds": 600, "limit": 2}
        (plan,) = explained(tx, lambda tx: invoices.watch_due(tx, now=NOW + timedelta(hours=1), **watch))
    assert re.search(r"INDEX ix_invoices_status \(status=. AND created_at>|Index Cond: \(.*created_at > ", plan), plan


def explained(tx, claim) -> list[str]:
    """The engine's plan of every statement that the claim executes."""
    from sqlalchemy import event

    seen = []

    def note(_connection, _cursor, statement, parameters, *_):
        seen.append((statement, parameters))

    @contextmanager
    def noted(of):
        with driver_of(of) as driver:

            def execute(statement, given):
                seen.append((statement, given if isinstance(given, dict) else tuple(given)))
                return driver.execute(statement, given)

            yield SimpleNamespace(execute=execute)

    event.listen(tx.engine, "before_cursor_execute", note)
    try:
        # Some statements go past SQLAlchemy.
        with patch.object(together, "driver_of", noted):
            claim(tx)
    finally:
        event.remove(tx.engine, "before_cursor_execute", note)
    prefix = "EXPLAIN " if tx.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    rows = [tx.exec_driver_sql(prefix + statement, parameters).all() for statement, parameters in seen]
    return ["\n".join(str(row[-1]) for row in plan) for plan in rows]
