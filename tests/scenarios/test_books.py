"""Books and history: rebuilt from facts, summed for whoever asks, and no row changed, removed or slipped in unseen."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bridge.books.verify import balances, book_differences, verify_audit
from bridge.desk.find import find
from bridge.desk.resolve_review import list_reviews, resolve, show_review
from bridge.store import invoices
from sandbox.bitcoin import Served, serve_in_thread
from sandbox.scenario import Player, Scenario
from tests.scenarios.play import KEY, START, WALLET, FlowBridge, SandboxHttp, build

STEPS: list[dict[str, Any]] = [
    {"open": {"as": "a", "service_ref": "vps-1"}},
    {"open": {"as": "b", "service_ref": "vps-2", "customer": "c1"}},
    {"at": "+1m", "pay": {"invoice": "a", "sat": "due * 2"}},
    {"at": "+2m", "pay": {"invoice": "b", "sat": 9_000}},
    {"at": "+9m", "mine": 1},
    {"at": "+8d 1h"},
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = serve_in_thread(api_key=KEY, wallet_id=WALLET, seed=5)
    yield running
    running.stop()


@pytest.fixture
def played(database_url: str, served: Served) -> Iterator[FlowBridge]:
    """Two invoices of one merchant: one paid twice over, one in part and waiting for a person."""
    scenario = Scenario(path=Path("two invoices"), title="two invoices", steps=STEPS)
    served.world.reset(at=START.timestamp())
    with closing(SandboxHttp(served.url)) as outside:
        inside = build(database_url, scenario, served.url)
        with closing(inside.bridge.store):
            Player(scenario, outside=outside, inside=inside, say=lambda line: None).play()
            yield inside


def past_the_triggers(inside: FlowBridge, *statements: str) -> None:
    """What somebody with the database's own password could do, foreign keys or not."""
    store = inside.bridge.store
    if store.is_postgresql:
        with store.write() as tx:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                tx.execute(text(statement))
        return
    with closing(sqlite3.connect(str(store.engine.url.database))) as file, file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            file.execute(statement)


def test_balances_can_be_had_of_everything_an_invoice_a_merchant_and_a_service(played: FlowBridge) -> None:
    bridge = played.bridge
    first = balances(bridge, invoice_id=played.ids["a"])["BTC"]
    assert first["wallet:hot"] == 2 * 15_539
    assert first["customer:overpayment"] == -15_539
    assert balances(bridge, service_ref="vps-1")["BTC"] == first
    second = balances(bridge, service_ref="vps-2")["BTC"]
    assert second["customer:unallocated"] == -second["wallet:hot"] == -9_000
    whole = balances(bridge)["BTC"]
    assert whole["wallet:hot"] == 2 * 15_539 + 9_000
    assert sum(whole.values()) == 0
    assert balances(bridge, merchant="shop")["BTC"] == whole
    assert balances(bridge, merchant="another") == {}


def test_books_rebuilt_from_facts_are_the_books_that_are_kept(played: FlowBridge) -> None:
    assert book_differences(played.bridge) == []


def test_a_changed_entry_is_named_by_the_books_rebuilt_from_facts(played: FlowBridge) -> None:
    past_the_triggers(
        played,
        "UPDATE entries SET units = units + 7 WHERE account = 'wallet:hot' AND units = 9000",
        "UPDATE entries SET units = units - 7 WHERE account = 'inflight:unconfirmed' AND units = -9000",
    )
    figures = {(d.figure, d.booked - d.rebuilt) for d in book_differences(played.bridge)}
    assert figures == {("confirmed_sat", 7), ("unconfirmed_sat", -7)}


def test_a_payment_changed_behind_our_back_is_named_by_the_books(played: FlowBridge) -> None:
    past_the_triggers(played, "UPDATE payments SET amount_sat = 8000 WHERE amount_sat = 9000")
    (difference,) = book_differences(played.bridge)
    assert (difference.invoice_id, difference.figure) == (played.ids["b"], "confirmed_sat")
    assert (difference.booked, difference.rebuilt) == (9_000, 8_000)


@pytest.mark.parametrize("table", ["journals", "entries", "audit", "quotes", "events"])
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_the_database_refuses_to_change_history(played: FlowBridge, table: str, verb: str) -> None:
    column = {"audit": "actor", "events": "type", "quotes": "kind", "journals": "kind", "entries": "account"}[table]
    statement = f"DELETE FROM {table}" if verb == "DELETE" else f"UPDATE {table} SET {column} = 'x'"
    with pytest.raises(Exception, match="append-only"), played.bridge.store.write() as tx:
        tx.execute(text(statement))


SECOND = "(SELECT audit_id FROM audit_chain WHERE position = 2)"
COLUMNS = "invoice_id, at, actor, action, from_status, to_status, reason, rule, policy_version, detail"


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((f"UPDATE audit SET reason = 'settled' WHERE id = {SECOND}",), "position 2 was altered"),
        ((f"UPDATE audit SET at = at + 1 WHERE id = {SECOND}",), "position 2 was altered"),
        (
            (f"DELETE FROM audit WHERE id = {SECOND}",),
            "the audit row at position 2 was removed",
        ),
        (
            ("DELETE FROM audit_chain WHERE position = 2",),
            "position 2 is missing",
        ),
        (
            (
                f"INSERT INTO audit (id, {COLUMNS}) SELECT 990001, {COLUMNS} FROM audit WHERE id = {SECOND}",
                "UPDATE audit_chain SET audit_id = 990001 WHERE position = 2",
            ),
            "position 2 was altered",
        ),
    ],
    ids=["altered", "redated", "removed", "unchained", "slipped in"],
)
def test_the_chain_finds_what_was_done_to_the_audit(played: FlowBridge, statements: Any, said: str) -> None:
    assert verify_audit(played.bridge).is_intact
    past_the_triggers(played, *statements)
    report = verify_audit(played.bridge)
    assert not report.is_intact
    assert said in report.detail


def test_an_invoice_is_found_by_whatever_support_is_given(played: FlowBridge) -> None:
    bridge, invoice_id = played.bridge, played.ids["a"]
    shown = played.invoice("a")
    with bridge.store.read() as tx:
        (payment,) = invoices.payments_of(tx, invoice_id)
    txid = payment.key.partition(":")[0]
    page = shown["payment_url"]
    for reference in (invoice_id, "bill-a", shown["address"], txid, payment.key, page, page.rpartition("/")[2]):
        assert [found["id"] for found in find(bridge, reference).invoices] == [invoice_id], reference
    for nothing in ("", "%", "bill", "_" * 64, "inv_0"):
        assert find(bridge, nothing).invoices == []


def test_a_review_item_shows_everything_needed_to_rule_on_it(played: FlowBridge) -> None:
    (item,) = list_reviews(played.bridge, match={"kind": "partial", "state": "open"}, limit=5)
    shown = show_review(played.bridge, item["id"])
    assert {"kind", "severity", "opened_at", "last_seen_at", "times_seen", "due_at", "is_overdue"} <= shown.keys()
    blocks = shown["blocks"]
    assert blocks.keys() >= {
        *("what", "quote", "wallet_history", "session", "service_impact", "money", "actions", "outcome"),
    }
    (quote,) = blocks["quote"]
    assert quote["due_sat"] == 15_539
    assert "alpha" in quote["samples"]
    history = blocks["wallet_history"]
    assert history["address"].startswith("tb1q")
    assert [p["amount_sat"] for p in history["payments"]] == [9_000]
    assert history["snapshots"]
    assert {"earlier_reviews", "other_invoices", "provider_sat", "wallet_id"} <= history.keys()
    assert {"trace_id", "locale", "callbacks", "idempotency_keys"} <= blocks["session"].keys()
    impact = blocks["service_impact"]
    assert impact["service_ref"] == "vps-2"
    assert impact["access"] == "not started by this invoice"
    assert {"billing_payment_id", "billing_told", "client_told", "expires_at", "cancelled_if_empty_at"} <= impact.keys()
    money = blocks["money"]
    assert money["received_worth"]["at_quote"] == "5.85"
    assert money["balances"]["customer:unallocated"] == -9_000
    assert {a["decision"] for a in blocks["actions"]} >= {"credit", "ask_remainder", "refund", "mark_settled"}
    assert all(action["consequence"] and action["approvals"] >= 1 for action in blocks["actions"])
    assert blocks["outcome"] is None


def test_a_resolved_item_names_person_reason_journals_and_events(played: FlowBridge) -> None:
    (item,) = list_reviews(played.bridge, match={"kind": "partial", "state": "open"}, limit=5)
    resolve(played.bridge, item["id"], decision="refund", actor="olga", reason="the client asked")
    outcome = show_review(played.bridge, item["id"])["blocks"]["outcome"]
    assert (outcome["decision"], outcome["people"], outcome["reason"]) == ("refund", ["olga"], "the client asked")
    assert "refund_due" in outcome["journals"]
    assert outcome["events"][-1] == "invoice.invalid"
