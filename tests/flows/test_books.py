"""The feed's positions, the audit's chain and the gauges: kept by one worker at a time, skipping nothing."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from bridge.books.keep_books import number_events, refresh_gauges, seal_audit
from bridge.books.verify import verify_audit
from bridge.core.errors import Refused
from bridge.invoices.read_invoices import list_invoices, read_feed
from bridge.store import events, leases
from tests.builders import unguard
from tests.flows.world import World, until


def append(world: World, event_id: str, *, merchant: str = "shop") -> None:
    """One event of no invoice, as its own transaction."""
    with world.bridge.store.write() as tx:
        events.append(
            tx,
            event_id=event_id,
            delivery_id=None,
            invoice_id=None,
            merchant=merchant,
            type="test",
            sequence=1,
            body=f'{{"id":"{event_id}"}}',
            now=world.bridge.clock(),
        )


def test_a_reader_of_the_feed_skips_nothing_while_many_write(world: World) -> None:
    writers, each = 4, 15
    done = threading.Event()
    read: list[tuple[int, str]] = []

    def write(writer: int) -> None:
        for number in range(each):
            append(world, f"evt_{writer}_{number}")

    def number(owner: str) -> None:
        while not done.is_set():
            number_events(world.bridge, owner=owner, limit=3)

    def read_on() -> None:
        after = 0
        while len(read) < writers * each and not done.is_set():
            page = read_feed(world.bridge, "shop", after=after, limit=7)
            read.extend((event["position"], event["id"]) for event in page["events"])
            after = page["next_after"]

    with ThreadPoolExecutor(writers + 3) as pool:
        reading = pool.submit(read_on)
        numbering = [pool.submit(number, owner) for owner in ("w1", "w2")]
        writing = [pool.submit(write, writer) for writer in range(writers)]
        try:
            for each_writer in writing:
                each_writer.result(60)
            reading.result(60)
        finally:
            done.set()
        for each_number in numbering:
            each_number.result(60)
    positions = [position for position, _ in read]
    assert positions == sorted(set(positions))
    assert {event_id for _, event_id in read} == {f"evt_{w}_{n}" for w in range(writers) for n in range(each)}


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_an_event_committed_late_comes_later_in_the_feed_and_is_not_skipped(world: World) -> None:
    """A transaction that began first and commits last: a position taken at insert would be skipped by a quick reader."""
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with world.bridge.store.write() as tx:
            tx.execute(
                text(
                    "INSERT INTO events (id, merchant, type, sequence, created_at, body)"
                    " VALUES ('evt_slow', 'shop', 'test', 1, 1, '{\"id\":\"evt_slow\"}')"
                )
            )
            tx.execute(text("INSERT INTO unnumbered_events (event_id) VALUES ('evt_slow')"))
            begun.set()
            assert go_on.wait(10)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(slow)
        assert begun.wait(10)
        append(world, "evt_quick")
        first = world.feed()
        go_on.set()
        writing.result(10)
    assert [event["id"] for event in first] == ["evt_quick"]
    assert [event["id"] for event in world.feed(after=first[-1]["position"])] == ["evt_slow"]


def test_each_merchant_reads_only_its_own_events_page_by_page(world: World) -> None:
    for number in range(5):
        append(world, f"evt_a{number}")
        append(world, f"evt_b{number}", merchant="other")
    number_events(world.bridge, owner="w1")
    found, after, has_more = [], 0, True
    while has_more:
        page = read_feed(world.bridge, "shop", after=after, limit=2)
        found += [event["id"] for event in page["events"]]
        after, has_more = page["next_after"], page["has_more"]
    assert found == [f"evt_a{number}" for number in range(5)]
    empty = read_feed(world.bridge, "shop", after=after, limit=2)
    assert empty == {"events": [], "next_after": after, "has_more": False}


def test_only_the_holder_of_the_lease_numbers_until_it_runs_out_or_is_given_back(world: World) -> None:
    with world.bridge.store.write() as tx:
        now = world.bridge.clock()
        assert leases.take(tx, "number_events", owner="w1", now=now, lease_seconds=30)
        assert not leases.take(tx, "number_events", owner="w2", now=now, lease_seconds=30)
    append(world, "evt_1")
    assert number_events(world.bridge, owner="w2") == 0
    world.advance(31)
    assert number_events(world.bridge, owner="w2") == 1


def test_sealing_goes_on_in_portions_and_ends(world: World) -> None:
    for number in range(5):
        world.open(str(number))
    assert [seal_audit(world.bridge, owner="w1", limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert verify_audit(world.bridge).detail == "The audit is intact: 5 sealed rows."


def test_the_audit_names_who_what_and_by_which_rule(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    rows = world.rows("SELECT actor, action, from_status, to_status, rule, policy_version FROM audit ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("module", "opened", "new", "new", "default", "1"),
        ("worker", "observed", "new", "settled", "default", "1"),
    ]


def test_looks_that_bring_no_news_leave_no_audit(world: World) -> None:
    invoice = world.open()
    world.look(invoice)
    before = world.rows("SELECT * FROM audit")
    for _ in range(3):
        world.look(invoice)
    assert world.rows("SELECT * FROM audit") == before


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE id = (SELECT min(id) FROM audit)", "was altered"),
        ("UPDATE audit SET detail = '{}' WHERE id = (SELECT max(id) FROM audit)", "was altered"),
        ("DELETE FROM audit_chain WHERE position = 1", "position 1 is missing"),
    ],
)
def test_somebody_who_gets_past_the_triggers_is_found_by_the_chain(world: World, tampering: str, said: str) -> None:
    for number in range(3):
        world.open(str(number))
    seal_audit(world.bridge, owner="w1")
    assert verify_audit(world.bridge).is_intact
    with world.bridge.store.write() as tx:
        unguard(tx, "audit", "audit_chain")
        tx.execute(text(tampering))
    report = verify_audit(world.bridge)
    assert not report.is_intact
    assert said in report.detail


def test_a_gauge_of_what_is_gone_falls_to_nothing(world: World) -> None:
    invoice = world.open()
    refresh_gauges(world.bridge)
    assert b'bridge_open_invoices{status="new"} 1.0' in world.bridge.metrics.text()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    refresh_gauges(world.bridge)
    shown = world.bridge.metrics.text()
    assert b'bridge_open_invoices{status="settled"} 1.0' in shown
    assert b'bridge_open_invoices{status="new"} 1.0' not in shown


def test_a_list_of_invoices_is_paged_newest_first_and_never_shows_anothers(world: World) -> None:
    for number in range(5):
        world.open(str(number))
        world.open(f"o{number}", merchant="other")
    found, cursor = [], None
    for _ in range(3):
        page = list_invoices(world.bridge, "shop", match={}, limit=2, cursor=cursor)
        found += [invoice["billing_payment_id"] for invoice in page["invoices"]]
        cursor = page["next_cursor"]
    assert (found, cursor) == (["4", "3", "2", "1", "0"], None)
    only = list_invoices(world.bridge, "shop", match={"billing_payment_id": "3"}, limit=9, cursor=None)
    assert [invoice["billing_payment_id"] for invoice in only["invoices"]] == ["3"]


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("cursor", ["x", "%%%", "AAAA", "////", "fA==", "MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMHx4"])
def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        list_invoices(world.bridge, "shop", match={}, limit=2, cursor=cursor)
    assert (refused.value.code, refused.value.field) == ("invalid_cursor", "cursor")


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_cursor_without_a_time_zone_is_none_of_ours(world: World) -> None:
    cursor = base64.urlsafe_b64encode(b"2026-01-01T00:00:00|inv_x").decode()
    with pytest.raises(Refused, match="next_cursor"):
        list_invoices(world.bridge, "shop", match={}, limit=2, cursor=cursor)


def test_events_are_numbered_while_invoices_are_opened_in_parallel(world: World) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: world.open(str(number)), range(12)))
    until(lambda: len(world.feed()) == 12)
    assert [event["position"] for event in world.feed()] == list(range(1, 13))
