"""What its class no longer needs goes; ledger, quotes, transactions and audit never do."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import event

from bridge.books.keep_books import purge_due, purge_step
from bridge.books.verify import verify_audit
from bridge.core.books import RetentionDays
from bridge.desk.evidence import evidence
from bridge.invoices.inbox import receive_callback
from bridge.store.purge import CLASSES, purge
from bridge.store.tables import APPEND_ONLY, metadata
from tests.books.runs import codes, paid, reconcile, report_of, told

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
PAGE = Path(__file__).parents[2] / "docs" / "records.md"
DAY = 86_400
# Small tables of the machinery that hold no record of anything that happened.
MACHINERY = frozenset(
    {"unnumbered_events", "openings", "leases", "budgets", "budget_calls", "balance_marks", "chain_tips"}
    | {"login_tries", "spare_addresses", "address_counters", "wallet_balances", "modes", "audit_checks"}
    # Made of the journals, and proved by them.
    | {"account_balances", "turnovers", "unsummed_journals"}
)
KEPT = frozenset(metadata.tables) - {each.table.name for each in CLASSES if not each.emptied} - MACHINERY
NEVER = (
    "journals",
    "entries",
    "quotes",
    "payments",
    "audit",
    "audit_chain",
    "events",
    "deliveries",
    "delivery_attempts",
)


def everything(world, table):
    return [tuple(row) for row in world.rows(f"SELECT * FROM {table}")]


def a_past(world):
    invoice = paid(world, customer_email="a@example.com", return_url="https://shop.example/back")
    token = world.bridge.callback_token(invoice["id"])
    receive_callback(world.bridge, token=token, headers={"user-agent": "x"}, body=b'{"a": 1}', signature="unchecked")
    world.work()
    report_of(world, [told(invoice)])
    return invoice


def test_after_years_only_what_may_go_is_gone(world):
    invoice = a_past(world)
    kept = {table: everything(world, table) for table in KEPT - {"inbox", "invoices", "idempotency"}}
    world.advance(731 * DAY)
    assert set(purge_step(world.bridge)) == {*asdict(RetentionDays()), "answers"}
    assert purge_step(world.bridge) == {}
    assert {table: everything(world, table) for table in kept} == kept
    [rung] = world.rows("SELECT body, headers, state FROM inbox")
    assert (bytes(rung.body), rung.headers, rung.state) == (b"", "{}", "done")
    [row] = world.rows("SELECT customer_email, return_url, address, status FROM invoices")
    assert tuple(row) == ("", "", invoice["address"], "settled")
    assert everything(world, "observations") == everything(world, "billing_statuses") == []
    assert verify_audit(world.bridge).is_intact
    assert codes(reconcile(world.bridge)) == []
    assert evidence(world.bridge, invoice["id"])["txids"]


def test_nothing_goes_before_its_time(world):
    a_past(world)
    world.advance(29 * DAY)
    assert purge_step(world.bridge) == {"answers": 1}
    assert purge_step(world.bridge) == {}
    world.advance(2 * DAY)
    assert purge_step(world.bridge, dry_run=True) == {"callback_sessions": 1}
    assert purge_step(world.bridge) == {"callback_sessions": 1}


def test_who_asks_again_after_years_is_answered_to_the_letter(world):
    asked = {"description": 'a "quoted" name, "invoice": {} — ünïcode', "customer_id": "c-1"}
    first = world.ask("7", **asked)
    world.advance(3 * DAY)
    assert purge_step(world.bridge) == {"answers": 1}
    assert world.rows("SELECT answer, answer_status FROM idempotency") == [("", 201)]
    again = world.ask("7", **asked)
    assert (again.status, again.body, again.is_replay) == (201, first.body, True)


def test_an_answer_that_no_event_repeats_is_kept(world):
    """An invoice that was asked for again under another key was answered as it stood then."""
    world.open("7")
    world.advance(1_000)
    later = world.ask("7", key="another")
    world.advance(3 * DAY)
    assert purge_step(world.bridge) == {"answers": 1}
    kept = world.rows("SELECT answer FROM idempotency WHERE key = 'another'")
    assert kept == [(later.body,)]
    assert world.ask("7", key="another").body == later.body


@ONE_ENGINE
def test_an_answer_that_is_kept_is_not_looked_at_again(world):
    for number in range(3):
        world.open(str(number))
    world.advance(1_000)
    for number in range(3):
        assert world.ask(str(number), key=f"again-{number}").status == 200
    world.advance(3 * DAY)
    looked_at = []

    def cut_out(body, begin):
        looked_at.append(body)
        return body[begin - 1 :]

    [answers] = [each for each in CLASSES if each.name == "answers"]
    with world.bridge.store.write() as tx:
        # The end of its event is cut out for each answer that is compared.
        tx.connection.driver_connection.create_function("substr", 2, cut_out)
        purged = [purge(tx, answers, before=world.bridge.clock(), limit=500) for _ in range(2)]
    assert (purged, len(looked_at)) == ([3, 0], 3)


@ONE_ENGINE
def test_a_purge_goes_on_where_it_was(world, monkeypatch):
    """No more at once than a worker that is told to stop can wait for, and the next turn is soon."""
    monkeypatch.setattr("bridge.books.keep_books.PAGE", 2)
    monkeypatch.setattr("bridge.books.keep_books.MOST_AT_ONCE", 4)
    monkeypatch.setattr(purge_step, "__kwdefaults__", purge_step.__kwdefaults__ | {"limit": 2})
    for number in range(7):
        world.open(str(number))
    world.advance(3 * DAY)
    assert [purge_due(world.bridge), purge_due(world.bridge)] == [4, 0]
    world.advance(301)
    assert purge_due(world.bridge) == 3


@ONE_ENGINE
def test_a_doorbell_that_nobody_answered_is_kept_whole(world):
    invoice = world.open()
    world.ring(invoice, body=b"waiting")
    world.advance(900 * DAY)
    assert "callback_bodies" not in purge_step(world.bridge)


@ONE_ENGINE
def test_a_purge_writes_to_the_purgeable_tables_alone(world):
    a_past(world)
    world.advance(1_000 * DAY)
    written = set()

    def note(_connection, _cursor, statement, *_rest):
        if found := re.match(r"\s*(?:UPDATE|DELETE FROM|INSERT INTO)\s+(\w+)", statement):
            written.add(found[1])

    event.listen(world.bridge.store.engine, "before_cursor_execute", note)
    assert purge_due(world.bridge) > 0
    purged = {each.table.name for each in CLASSES}
    assert written == purged | {"leases"}
    assert not written & set(NEVER)
    assert purge_due(world.bridge) == 0


@ONE_ENGINE
def test_a_shop_chooses_its_own_days(worlds):
    world = worlds(retention_days={"callback_bodies": 1})
    a_past(world)
    world.advance(2 * DAY)
    assert purge_step(world.bridge) == {"callback_bodies": 1, "answers": 1}


def test_what_is_kept_can_not_be_purged_and_every_table_has_its_place():
    removed = {each.table.name for each in CLASSES if not each.emptied}
    assert removed | KEPT | MACHINERY == set(metadata.tables)
    assert not removed & set(APPEND_ONLY)
    assert not {each.table.name for each in CLASSES} & set(NEVER)
    assert set(APPEND_ONLY) | set(NEVER) <= KEPT


def test_the_page_lists_exactly_what_is_kept_and_what_goes():
    may_go, kept = PAGE.read_text().split("## What is kept for ever")
    tables = {
        name
        for line in kept.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    classes = set(re.findall(r"^\| `(\w+)`", may_go, re.MULTILINE))
    assert tables == KEPT
    assert classes == {each.name for each in CLASSES}
    for name, days in asdict(RetentionDays()).items():
        assert re.search(rf"^\| `{name}` \|.*\| {days} days \|$", may_go, re.MULTILINE), name
