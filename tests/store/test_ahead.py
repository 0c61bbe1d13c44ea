"""Times ahead of now: every column that somebody waits for is known, and each has its way of not waiting for days."""

from datetime import timedelta

import pytest

from bridge.core.clock import CLOCK_TOLERANCE, behind_chain, believed, still_holds
from bridge.store import leases, reconciliations, wallets
from bridge.store.ahead import WAITS
from bridge.store.tables import UtcTime, metadata
from tests.fakes import START

MINUTE, FAR = timedelta(minutes=1), timedelta(days=3)
# What keeps a wait short although a clock that was ahead has written its end.
WAYS = {
    "invoices.next_look_at": "brought back",
    "deliveries.next_try_at": "brought back",
    "payouts.next_try_at": "brought back",
    "reviews.due_at": "brought back",
    "invoices.lease_until": "whoever takes it knows how long it lasts",
    "invoices.watched_until": "whoever takes it knows how long it lasts",
    "deliveries.lease_until": "whoever takes it knows how long it lasts",
    "payouts.lease_until": "whoever takes it knows how long it lasts",
    "leases.lease_until": "whoever takes it knows how long it lasts",
    "openings.lease_until": "whoever takes it knows how long it lasts",
    "idempotency.lease_until": "whoever takes it knows how long it lasts",
    "operators.locked_until": "whoever logs in knows how long it lasts",
    "operator_sessions.expires_at": "a session that was seen ahead of now is over",
    "invoices.expires_at": "put right at the next look",
    "invoices.monitor_until": "put right at the next look",
    "quotes.expires_at": "put right at the next look, by another version",
    "invoices.covered_until": "not believed",
    "payouts.covered_until": "not believed, and no later than the newest block",
    "targets.expires_at": "nobody waits for it: a target that is over is read as long as its invoice",
    "invoices.grace_until": "a person's word",
    "grace_grants.ends_at": "a person's word",
    "receipt_mails.next_try_at": "a letter that was written or tried ahead of now is due",
    "claims.due_at": "nobody waits for it: past it somebody is called",
    "operators.expires_at": "a person's word",
    "operator_tokens.starts_at": "a person's word",
    "operator_tokens.ends_at": "a person's word",
}
_ENDS = ("_until", "due_at", "expires_at", "starts_at", "ends_at")


def test_every_time_that_somebody_waits_for_has_a_way_not_to_be_waited_for_in_vain() -> None:
    times = [c for table in metadata.sorted_tables for c in table.columns if isinstance(c.type, UtcTime)]
    waited_for = {str(c) for c in times if c.name.endswith(_ENDS) or c.name.startswith("next_")}
    assert waited_for == set(WAYS)
    assert {str(wait.at) for wait in WAITS} == {name for name, way in WAYS.items() if way == "brought back"}


@pytest.mark.parametrize("ahead", [timedelta(hours=5), FAR])
def test_a_lease_is_free_when_it_ends_later_than_it_can(store, ahead) -> None:
    with store.write() as tx:
        assert leases.take(tx, "job", owner="wrong", now=START + ahead, lease_seconds=60)
        assert leases.is_free(tx, "job", now=START, lease_seconds=60)
        assert leases.take_free(tx, "job", owner="right", now=START, lease_seconds=60)
        assert not leases.take(tx, "job", owner="other", now=START, lease_seconds=60)
        assert not leases.is_free(tx, "job", now=START, lease_seconds=60)


def test_a_clock_that_differs_as_clocks_do_keeps_its_lease(store) -> None:
    with store.write() as tx:
        assert leases.take(tx, "job", owner="other", now=START + MINUTE, lease_seconds=60)
        assert not leases.take(tx, "job", owner="mine", now=START, lease_seconds=60)
        assert not leases.take_free(tx, "job", owner="mine", now=START, lease_seconds=60)
        assert not leases.is_free(tx, "job", now=START, lease_seconds=60)


def test_a_balance_that_was_noted_ahead_of_now_has_stood_since_now(store) -> None:
    with store.write() as tx:
        wallets.mark_balance(tx, "wt", balance_sat=5, asked_at=START + FAR)
        wallets.mark_balance(tx, "wt", balance_sat=5, asked_at=START)
        wallets.mark_balance(tx, "wt", balance_sat=5, asked_at=START + MINUTE)
        assert wallets.balance_mark(tx, "wt").changed_at == START


def test_what_was_read_ahead_of_now_gives_way_to_what_is_read_now(store) -> None:
    def put(tx, sat: int, at) -> None:
        values = {"wallet_id": "wt", "confirmed_sat": sat, "unconfirmed_sat": 0, "fee_bps": 300, "min_send_sat": 50_000}
        wallets.put_balance(tx, "hot", values | {"read_at": at})

    with store.write() as tx:
        for sat, at in ((1, START + FAR), (2, START), (3, START - MINUTE)):
            put(tx, sat, at)
        assert (wallets.balance_of(tx, "hot").confirmed_sat, wallets.balance_of(tx, "hot").read_at) == (2, START)


def test_a_reconciliation_of_a_clock_ahead_is_not_the_last_one(store) -> None:
    def run(tx, name: str, at) -> None:
        span = {"from_at": START, "to_at": START, "phase": "invoices", "counts": {}}
        reconciliations.start(tx, reconciliation_id=name, actor="worker", is_scheduled=True, now=at, **span)
        reconciliations.advance(tx, name, phase="wallet", cursor="", counts={}, now=at, is_over=True)

    with store.write() as tx:
        run(tx, "right", START)
        run(tx, "wrong", START + FAR)
        assert reconciliations.last_scheduled_at(tx, now=START) == START
        assert reconciliations.newest_finished(tx, now=START).id == "right"


def test_a_time_is_believed_as_far_as_clocks_may_differ() -> None:
    assert believed(START + CLOCK_TOLERANCE, now=START) == START + CLOCK_TOLERANCE
    assert believed(START + CLOCK_TOLERANCE + timedelta(microseconds=1), now=START) is None
    assert believed(None, now=START) is None


def test_a_lock_holds_for_as_long_as_it_can_last_and_no_longer() -> None:
    for after, holds in ((-1, False), (1, True), (60, True), (60 + 121, False), (3 * 86_400, False)):
        until = START + timedelta(seconds=after)
        assert still_holds(until, now=START, lasts_seconds=60) == holds, after
    assert not still_holds(None, now=START, lasts_seconds=60)


def test_only_what_no_miner_may_be_ahead_shows_that_our_clock_is_behind() -> None:
    assert behind_chain(START + timedelta(hours=2), now=START) == timedelta(0)
    assert behind_chain(START + timedelta(hours=3), now=START) == timedelta(hours=3)
    assert behind_chain(None, now=START) == timedelta(0)
