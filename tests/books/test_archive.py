"""An old invoice takes little room, and whoever reads it, changes it or proves it finds what there was, to the letter."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from bridge.books.export import KINDS, beancount, export
from bridge.books.keep_books import add_up, archive_due, check_may_thaw, purge_step, thaw_step
from bridge.books.verify import book_differences, verify_audit
from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.desk.claims import open_claim
from bridge.desk.day_report import period_report
from bridge.desk.desk import audit_page, deliveries_page, invoice_dossier, series
from bridge.desk.evidence import evidence, receipt
from bridge.desk.explain import explain
from bridge.desk.find import find, list_narrowed
from bridge.invoices.deliver import list_deliveries, redeliver, show_delivery
from bridge.invoices.inbox import list_events, show_event
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.pay import pay_view
from bridge.invoices.read_invoices import list_invoices
from bridge.receipts import new_key
from bridge.store import archive, deliveries
from bridge.store.backup import copy_all
from bridge.store.db import migrate, open_store
from tests.books.runs import change, codes, paid, reconcile
from tests.flows.world import World, open_world
from tests.payouts.desk import PAYER, Desk, settings, staffed

DAY = 86_400
EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
HISTORY = (
    "events",
    "audit",
    "audit_chain",
    "quotes",
    "payments",
    "targets",
    "deliveries",
    "delivery_attempts",
    "journals",
)
HISTORY += ("entries", "inbox", "idempotency", "reviews", "payouts", "event_positions", "turnovers", "account_balances")
PEM = new_key()


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    given = settings(archive_after_days=30, receipt_key=PEM, lnbits={}, policy={"default": {"late": "accept"}})
    with open_world(database_url, **given) as world:
        yield staffed(world)


def old(invoices: dict[str, dict[str, Any]]) -> list[str]:
    """Those that are over. What a person declared invalid is looked at on, for money may still come."""
    return sorted(each["id"] for name, each in invoices.items() if name != "invalid")


def work(world: World) -> None:
    world.work()
    add_up(world.bridge, owner="w1")


def lived(desk: Desk) -> dict[str, dict[str, Any]]:
    """One invoice of every end, by the name of its end; all so old that nobody looks at them any more."""
    world = desk.world
    desk.fund(500_000)
    every = {"settled": desk.settled("1"), "refunded": desk.settled("2"), "over": desk.settled("3", sat=200_000)}
    lightning = world.open("4", customer_id="c4", service_ref="vps-4", description="VPS, invoice 2026-4")
    world.advance(1)
    offered = offer_beside(world.bridge, lightning["payment_url"].rpartition("/")[2], "lightning")
    world.control("ln_pay", bolt11=offered.text)
    world.look(lightning)
    invalid = world.open("5", amount_text="100.00")
    world.pay(invalid, 90_000, confirmations=6)
    late = world.open("6")
    unpaid = world.open("7")
    world.ring(every["settled"], body=b'{"n": 1}')
    work(world)
    desk.approved(every["refunded"], destination=PAYER)
    assert desk.send() == 1
    desk.confirm()
    world.advance(DAY + 3_600)
    world.poll()
    world.pay(late, confirmations=6)
    world.look(late)
    world.advance(9 * DAY)
    work(world)
    for kind, decision in (("partial", "refund"), ("over", "acknowledge"), ("late", "accept_late")):
        desk.rule(decision, kind=kind)
    for _ in range(4):
        world.advance(15 * DAY)
        work(world)
    assert codes(reconcile(world.bridge, actor="fay")) == []
    work(world)
    return every | {"lightning": lightning, "invalid": invalid, "late": late, "unpaid": unpaid}


def readings(world: World, invoices: dict[str, dict[str, Any]], *, now: datetime) -> dict[str, Any]:
    """Everything that anybody reads, at one moment."""
    bridge = replace(world.bridge, clock=lambda: now, days_over={})
    period = {"from_at": EARLY, "to_at": LATE}
    told = {
        "feed": world.feed(),
        "listed": [list_invoices(bridge, "shop", match={}, limit=50, cursor=None), list_narrowed(bridge, {})],
        "events": list_events(bridge, direction="out", match={}, since=None, until=None, limit=500),
        "audit": audit_page(bridge, match={}, limit=500),
        "deliveries": [deliveries_page(bridge, match={}), list_deliveries(bridge, match={}, limit=500)],
        "chain": verify_audit(bridge),
        "books": book_differences(bridge),
        "report": period_report(bridge, **period),
        "days": series(bridge),
        "beancount": "".join(beancount(bridge, **period)),
    }
    for kind in KINDS:
        told[kind] = "".join(export(bridge, kind=kind, format="jsonl", **period))
    for each in told["events"]:
        told[each["id"]] = show_event(bridge, each["id"])
    for each in told["deliveries"][1]:
        told[each["id"]] = show_delivery(bridge, each["id"])
    for name, invoice in invoices.items():
        page = invoice["payment_url"].rpartition("/")[2]
        bundle = evidence(bridge, invoice["id"])
        told[name] = {
            "dossier": invoice_dossier(bridge, invoice["id"]),
            "story": [explain(bridge, invoice["id"], lang=lang) for lang in ("en", "ru")],
            "evidence": bundle,
            "receipt": _answer(lambda page=page: receipt(bridge, page)),
            "page": pay_view(bridge, page),
            "invoice": world.invoice(invoice),
            "found": [find(bridge, what) for what in (invoice["address"], invoice["billing_payment_id"], *bundle["txids"])],
        }  # fmt: skip
    return told


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except BridgeError as error:
        return error.code


def tables(world: World) -> dict[str, list[Any]]:
    """What the tables of history hold, and of the invoices all but what packing leaves on them."""
    found = {}
    for name in HISTORY:
        found[name] = sorted(tuple(row) for row in world.rows(f"SELECT * FROM {name}"))
    names = [c.name for c in archive.invoices.columns if c.name not in ("packed_at",)]
    found["invoices"] = sorted(map(repr, world.rows(f"SELECT {', '.join(names)} FROM invoices")))
    return found


def packed(world: World) -> list[str]:
    world.advance(61)
    while archive_due(world.bridge):
        world.advance(61)
    return sorted(row.invoice_id for row in world.rows("SELECT invoice_id FROM archives"))


def test_everybody_reads_the_same_before_and_after_packing_and_thawing(desk: Desk) -> None:
    world, invoices = desk.world, lived(desk)
    purge_step(world.bridge)
    now = world.bridge.clock()
    rows, before = tables(world), readings(world, invoices, now=now)
    assert packed(world) == old(invoices)
    assert parts(readings(world, invoices, now=now)) == parts(before)
    for told in (world.ask("1", amount_text="100.00"), world.ask("7")):
        assert told.is_replay
    last = ""
    while (page := thaw_step(world.bridge, after=last))[0]:
        assert not page[1]
        last = page[0][-1]
    assert not world.rows("SELECT 1 FROM archives")
    assert parts(tables(world)) == parts(rows)
    assert parts(readings(world, invoices, now=now)) == parts(before)


def one_packed(world: World) -> dict[str, Any]:
    invoice = paid(world)
    world.work()
    world.advance(40 * DAY)
    for _ in range(2):
        world.advance(DAY)
        work(world)
    assert packed(world) == [invoice["id"]]
    return invoice


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with open_world(database_url, archive_after_days=30) as opened:
        yield opened


def test_what_a_shop_was_told_last_is_known_however_old_it_is(world: World) -> None:
    one_packed(world)
    with world.bridge.store.read() as tx:
        last = deliveries.newest_attempt(tx, "shop")
        assert last is not None and last.outcome == "delivered"
        assert deliveries.newest_attempt(tx, "puller") is None


def test_the_books_agree_about_what_is_packed(world: World) -> None:
    one_packed(world)
    assert codes(reconcile(world.bridge)) == []
    assert book_differences(world.bridge) == []
    assert verify_audit(world.bridge).is_intact


def test_late_money_thaws_an_old_invoice_and_what_it_was_paid_before_counts(world: World) -> None:
    invoice = one_packed(world)
    [before] = world.rows("SELECT * FROM payments")
    assert before.source == ""
    world.pay(invoice, 7_000, confirmations=6)
    world.ring(invoice)
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["received_sat"] == 15_539 + 7_000
    assert "over" in world.reviews()
    assert not world.rows("SELECT 1 FROM archives") and world.rows("SELECT packed_at FROM invoices") == [(None,)]
    assert all(row.body for row in world.rows("SELECT body FROM events"))
    assert all(row.source for row in world.rows("SELECT source FROM payments"))
    world.work()
    assert verify_audit(world.bridge).is_intact and codes(reconcile(world.bridge)) == []
    assert packed(world) == []


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_was_tried_since_stands_beside_what_is_thawed(world: World) -> None:
    """A file gives the number of a row that is gone to the next one, where it was the highest."""
    invoice = one_packed(world)
    paid(world, "8")
    world.work()
    world.pay(invoice, 7_000, confirmations=6)
    world.ring(invoice)
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["received_sat"] == 15_539 + 7_000
    world.work()
    assert [row.id for row in world.rows("SELECT id FROM delivery_attempts ORDER BY id")] == [1, 2, 3]


def test_a_packed_invoice_is_refunded_and_claimed_as_any_other(desk: Desk) -> None:
    world = desk.world
    desk.fund(500_000)
    invoice = desk.settled()
    work(world)
    for days in (40, 1, 1):
        world.advance(days * DAY)
        work(world)
    assert packed(world) == [invoice["id"]]
    open_claim(world.bridge, invoice["id"], said="I paid twice", actor="sam", reason="a letter")
    payout = desk.approved(invoice, destination=PAYER)
    assert desk.send() == 1
    desk.confirm()
    work(world)
    assert desk.now(payout)["state"] == "confirmed"
    told = evidence(world.bridge, invoice["id"])
    assert [each["type"] for each in told["events"]][:2] == ["invoice.created", "invoice.settled"]
    assert all(each["body"] for each in told["events"]) and all(each["detail"] for each in told["audit"])
    assert told["payouts"] and told["claims"] and verify_audit(world.bridge).is_intact
    assert book_differences(world.bridge) == [] and codes(reconcile(world.bridge, actor="fay")) == []


def test_a_look_that_finds_what_there_was_changes_no_fact(world: World) -> None:
    invoice = one_packed(world)
    told = world.invoice(invoice)
    world.look(invoice)
    assert world.invoice(invoice) == told
    assert {row.block_hash is not None for row in world.rows("SELECT block_hash FROM payments")} == {True}


def test_an_event_that_is_sent_again_is_sent_as_it_was(world: World) -> None:
    invoice = one_packed(world)
    [told] = [event for _, event in world.billing.told if event["type"] == "invoice.settled"]
    [delivery] = [row.id for row in world.rows("SELECT id FROM deliveries WHERE state = 'delivered' AND sequence = 2")]
    assert show_delivery(world.bridge, delivery)["attempts_log"]
    assert redeliver(world.bridge, delivery, actor="anna", reason="they lost it")
    assert world.deliver() == 1
    assert world.billing.told[-1][1] == told
    assert len(show_delivery(world.bridge, delivery)["attempts_log"]) == 2
    assert packed(world) == [] and series(world.bridge)[-1].tries == 1
    assert world.invoice(invoice)["status"] == "settled"


def test_packing_again_finds_nothing_to_do(world: World) -> None:
    one_packed(world)
    rows = tables(world), world.rows("SELECT invoice_id, form, sha256, body FROM archives")
    assert packed(world)
    assert rows == (tables(world), world.rows("SELECT invoice_id, form, sha256, body FROM archives"))


def test_nothing_is_packed_unless_the_settings_say_so(database_url: str) -> None:
    with open_world(database_url) as world:
        paid(world)
        world.work()
        for _ in range(3):
            world.advance(100 * DAY)
            work(world)
        assert packed(world) == []


@pytest.mark.parametrize(
    "waits",
    [
        "UPDATE deliveries SET state = 'parked'",
        "UPDATE invoices SET hold = 'review'",
        "UPDATE invoices SET look_class = 3",
        "UPDATE invoices SET updated_at = updated_at + 86400000000 * 20",
        "UPDATE inbox SET state = 'new'",
    ],
)
def test_what_waits_for_anybody_is_not_packed(world: World, waits: str) -> None:
    invoice = one_packed(world)
    with world.bridge.store.write() as tx:
        archive.thaw(tx, invoice["id"])
    world.ring(invoice)
    world.answer_doorbells()
    with world.bridge.store.write() as tx:
        assert archive.due(tx, before=LATE, now=world.bridge.clock(), limit=10) == [invoice["id"]]
        tx.execute(text(waits))
        before = world.bridge.clock() - timedelta(days=30)
        assert archive.due(tx, before=before, now=world.bridge.clock(), limit=10) == []


def test_history_is_guarded_while_nobody_moves_it(world: World) -> None:
    one_packed(world)
    for statement in (
        "UPDATE events SET body = 'x'",
        "DELETE FROM events",
        "UPDATE audit SET detail = '{}'",
        "UPDATE quotes SET samples = '[]'",
        "UPDATE archives SET sha256 = body",
        "DELETE FROM archives",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            change(world, statement)


def test_what_moves_is_guarded_where_it_must_not_change(world: World) -> None:
    one_packed(world)
    for statement in (
        "UPDATE events SET sequence = 9",
        "UPDATE audit SET actor = 'x'",
        "UPDATE quotes SET due_sat = 1",
    ):
        with pytest.raises(DBAPIError, match="append-only"), world.bridge.store.write() as tx:
            tx.execute(text("UPDATE archives SET is_open = TRUE"))
            tx.execute(text(statement))


def test_a_copy_on_another_engine_reads_the_same_and_thaws(world: World, tmp_path: Path) -> None:
    invoice = one_packed(world)
    told, url = invoice_dossier(world.bridge, invoice["id"]), f"sqlite:///{tmp_path}/copy.db"
    migrate(url)
    with closing(open_store(url)) as target:
        copy_all(world.bridge.store, target, progress=lambda *_: None)
        copy = replace(world.bridge, store=target)
        assert invoice_dossier(copy, invoice["id"]) == told
        assert verify_audit(copy).is_intact
        assert thaw_step(copy) == ([invoice["id"]], [])
        assert invoice_dossier(copy, invoice["id"]) == told
    # Where it was copied from all goes on.
    paid(world, "8")


def test_a_damaged_archive_is_noticed_and_named(world: World) -> None:
    invoice = one_packed(world)
    damage(world, invoice)
    with pytest.raises(Unavailable, match="damaged") as refused:
        explain(world.bridge, invoice["id"], lang="en")
    assert refused.value.code == "archive_damaged"
    found = verify_audit(world.bridge)
    assert not found.is_intact and invoice["id"] in found.detail


def test_a_damaged_archive_keeps_no_other_from_being_thawed(world: World) -> None:
    invoices = [one_packed(world)]
    invoices.append(paid(world, "8"))
    world.work()
    world.advance(42 * DAY)
    work(world)
    first, second = packed(world)
    assert {first, second} == {each["id"] for each in invoices}
    damage(world, {"id": first})
    assert thaw_step(world.bridge) == ([first, second], [first])
    assert thaw_step(world.bridge, after=second) == ([], [])
    left = world.rows("SELECT invoice_id, is_open FROM archives")
    assert [(row.invoice_id, bool(row.is_open)) for row in left] == [(first, False)]


def damage(world: World, invoice: dict[str, Any]) -> None:
    """As the runbook brings a row back from a copy, but not the same one."""
    its = {"its": invoice["id"]}
    with world.bridge.store.write() as tx:
        row = tx.execute(text("SELECT * FROM archives WHERE invoice_id = :its"), its).one()
        tx.execute(text("UPDATE archives SET is_open = TRUE WHERE invoice_id = :its"), its)
        tx.execute(text("DELETE FROM archives WHERE invoice_id = :its"), its)
        told = dict(row._mapping) | {"body": bytes(row.body)[:-9]}
        tx.execute(archive.archives.insert().values(told | {"is_open": False}))


@pytest.mark.parametrize("name", [table.name for table in archive.EMPTIED])
def test_what_is_thawed_behind_a_readers_back_is_read_all_the_same(world: World, name: str) -> None:
    invoice, table = one_packed(world), archive.invoices.metadata.tables[name]
    order = select(table).order_by(table.c.id)
    with world.bridge.store.write() as tx:
        emptied = tx.execute(order).all()
        archive.thaw(tx, invoice["id"])
        whole = tx.execute(order).all()
        at = [row._fields.index(column) for row in whole[:1] for column in archive.EMPTIED[table]]
        told = [[row[place] for place in at] for row in archive.filled(tx, table, emptied)]
    assert told == [[row[place] for place in at] for row in whole]


def test_what_came_since_is_not_thawed_over(world: World) -> None:
    invoice = one_packed(world)
    change(world, "UPDATE payments SET source = 'node', block_hash = 'another'")
    with world.bridge.store.write() as tx:
        assert archive.thaw(tx, invoice["id"])
        assert not archive.thaw(tx, invoice["id"])
    assert world.rows("SELECT source, block_hash FROM payments") == [("node", "another")]


def test_what_archives_were_made_with_never_changes() -> None:
    """Else none of them could be read: what is known of the text, and what stands where, has the number of its form."""
    stands = {table.name: ["id", *left] for table, left in archive.EMPTIED.items()}
    assert (archive.FORM, stands) == (
        1,
        {
            "events": ["id", "body"],
            "audit": ["id", "detail", "from_status", "to_status", "reason", "rule", "policy_version"],
            "quotes": ["id", "samples"],
            "payments": ["id", "source", "block_hash", "spends"],
            "journals": ["id", "memo"],
            "invoices": ["id", "rule_terms"],
        },
    )
    assert set(archive._TRIED) == set(archive.delivery_attempts.columns.keys())
    said = "be2cc81e331c5268bc5c0d4b207223c31f67f35eaeacba92c532f39bcf017c7d"
    path = Path(archive.__file__).with_name("archive_form_1.txt")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == said


def test_a_person_thaws_all_only_while_nobody_packs(desk: Desk) -> None:
    with pytest.raises(Conflict):
        check_may_thaw(desk.world.bridge, actor="root", reason="back to the release before")
    off = replace(desk.world.bridge, archive_after_days=None)
    check_may_thaw(off, actor="root", reason="back to the release before")
    with pytest.raises(Refused):
        check_may_thaw(off, actor="vic", reason="back to the release before")


def parts(told: Any, path: str = "") -> dict[str, Any]:
    """What was read by where it stands, so that a difference is found."""
    if not isinstance(told, dict | list):
        return {path: repr(told)}
    pairs = told.items() if isinstance(told, dict) else enumerate(told)
    return {where: it for name, each in pairs for where, it in parts(each, f"{path}/{name}").items()}
