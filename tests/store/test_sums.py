"""The kept sums of the ledger: the same as the journals at every moment, whoever posts and whoever adds up."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import insert, select, text

from bridge.core.ledger import Entry, Journal
from bridge.store import ledger, sums
from bridge.store.db import Store, open_store
from bridge.store.tables import account_balances, entries, journals, turnovers, unsummed_journals

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def post(store: Store, *, at: datetime = NOON, sat: int = 10, kind: str = "detect", merchant: str = "shop") -> None:
    legs = (Entry(account="inflight:unconfirmed", units=sat), Entry(account="customer:unallocated", units=-sat))
    with store.write() as tx:
        posted = [Journal(kind=kind, entries=legs)]
        ledger.post(tx, posted, invoice_id=None, merchant=merchant, service_ref="", at=at, memo={})


def add_up(store: Store, *, limit: int = 100) -> int:
    with store.write() as tx:
        return sums.add_up(tx, limit=limit)


def differences(store: Store) -> list[object]:
    with store.read() as tx:
        since, last = sums.first_and_last(tx) or (0, 0)
        since -= since % sums.HOUR
        return [*sums.differing_balances(tx), *sums.differing(tx, since=since, until=last + 1)]


def read(store: Store) -> list[object]:
    """Every kind of sum that is read."""
    with store.read() as tx:
        ends = {"from_at": NOON + 20 * MINUTE, "to_at": NOON + 150 * MINUTE}
        return [
            ledger.totals(tx),
            ledger.totals(tx, merchant="shop"),
            ledger.sums(tx, ("inflight:unconfirmed", "wallet:hot")),
            *(ledger.balances_at(tx, NOON + minutes * MINUTE) for minutes in (0, 30, 60, 61, 300)),
            ledger.balances_at(tx, NOON + 30 * MINUTE, merchant="other"),
            ledger.moved(tx, **ends),
            ledger.moved(tx, merchant="other", **ends),
            ledger.moved(tx, from_at=NOON + 61 * MINUTE, to_at=NOON + 62 * MINUTE),
            ledger.wallet_moves(tx, ("inflight:unconfirmed",), **ends),
        ]


def test_a_sum_is_the_same_before_and_after_it_was_added_up(store: Store) -> None:
    luck = Random(7)
    for number in range(60):
        kind, merchant = luck.choice(("detect", "detect_reverse")), luck.choice(("shop", "other"))
        post(store, at=NOON + number * 3 * MINUTE, sat=luck.choice((-7, 5, 11)), kind=kind, merchant=merchant)
    before = read(store)
    assert add_up(store, limit=25) == 25
    assert read(store) == before
    assert (add_up(store), add_up(store)) == (35, 0)
    assert read(store) == before
    assert differences(store) == []


def test_a_sum_says_what_was_booked(store: Store) -> None:
    post(store, at=NOON, sat=10)
    post(store, at=NOON + 59 * MINUTE, sat=20)
    add_up(store)
    post(store, at=NOON + 61 * MINUTE, sat=40, merchant="other")
    account = "inflight:unconfirmed"
    with store.read() as tx:
        assert ledger.sums(tx, (account, "wallet:hot")) == {account: 70, "wallet:hot": 0}
        assert ledger.totals(tx, merchant="other")[account, "BTC"] == 40
        assert ledger.balances_at(tx, NOON + 30 * MINUTE)[account, "BTC"] == 10
        assert ledger.balances_at(tx, NOON + 60 * MINUTE)[account, "BTC"] == 30
        moved = ledger.moved(tx, from_at=NOON + MINUTE, to_at=NOON + 120 * MINUTE)
        assert moved == {("detect", account, "BTC"): 60, ("detect", "customer:unallocated", "BTC"): -60}


def test_what_somebody_posts_by_other_ways_is_added_up_too(store: Store) -> None:
    with store.write() as tx:
        row = {"merchant": "shop", "kind": "detect", "family": "receipts", "at": NOON, "memo": {}}
        ids = [tx.execute(insert(journals).values(row).returning(journals.c.id)).scalar_one() for _ in range(2)]
        legs = {"account": "opening", "asset": "BTC", "units": 3}
        tx.execute(insert(entries), [{"journal_id": each} | legs for each in ids])
    assert add_up(store) == 2
    with store.read() as tx:
        assert ledger.sums(tx, ("opening",)) == {"opening": 6}


def test_nothing_of_a_transaction_that_was_undone_is_added_up(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        tx.execute(insert(journals).values(merchant="shop", kind="detect", family="receipts", at=NOON, memo={}))
        raise ZeroDivisionError
    assert add_up(store) == 0


def test_many_who_post_and_two_who_add_up_lose_and_double_nothing(database_url: str) -> None:
    failures: list[BaseException] = []

    def attempt(work: Iterator[None]) -> None:
        try:
            for _ in work:
                pass
        except BaseException as failure:
            failures.append(failure)

    with closing(open_store(database_url)) as store:
        over = threading.Event()

        def posting(number: int) -> Iterator[None]:
            for each in range(15):
                yield post(store, at=NOON + each * 7 * MINUTE, sat=number + 1, kind=f"kind{number % 3}")

        def adding() -> Iterator[None]:
            while not over.is_set():
                yield add_up(store, limit=4) and None

        adders = [threading.Thread(target=attempt, args=(adding(),)) for _ in range(2)]
        posters = [threading.Thread(target=attempt, args=(posting(number),)) for number in range(6)]
        for thread in (*adders, *posters):
            thread.start()
        for thread in posters:
            thread.join()
        over.set()
        for thread in adders:
            thread.join()
        while add_up(store):
            pass
        assert failures == [] and differences(store) == []
        with store.read() as tx:
            assert ledger.sums(tx, ("inflight:unconfirmed",)) == {"inflight:unconfirmed": 15 * (1 + 2 + 3 + 4 + 5 + 6)}
            assert tx.execute(select(unsummed_journals)).all() == []


@pytest.mark.parametrize("table", [account_balances, turnovers])
def test_a_kept_sum_that_is_wrong_is_found(store: Store, table: object) -> None:
    post(store)
    add_up(store)
    changed = "units = units + 1" if table is account_balances else "debit = debit + 1"
    with store.write() as tx:
        tx.execute(text(f"UPDATE {table} SET {changed} WHERE account = 'inflight:unconfirmed'"))
    assert differences(store)


def test_the_ends_of_the_calendar_are_no_trouble(store: Store) -> None:
    post(store)
    late = datetime.max.replace(tzinfo=UTC)
    with store.read() as tx:
        assert ledger.balances_at(tx, late)["inflight:unconfirmed", "BTC"] == 10
        assert ledger.moved(tx, from_at=datetime.min.replace(tzinfo=UTC), to_at=late)
