"""Every alert rule, tripped by the thing it is there for.

Owns one way to trip each rule; the table at the end holds the list to the code.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from bridge.books.reconcile import start_reconciliation, step
from bridge.context import Bridge
from bridge.core.errors import Unavailable
from bridge.core.kinds import REVIEW_OWNERS, REVIEWS
from bridge.core.policy import Stage
from bridge.desk import claims
from bridge.invoices.deliver import deliver_due
from bridge.invoices.observe import look
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.open_invoice import open_invoice
from bridge.invoices.record import open_loose_review
from bridge.payouts.treasury import read_balance
from bridge.permit import set_mode
from bridge.store import leases, policies
from bridge.upkeep.check import OWNERS, Thresholds, Watching, alerts
from bridge.upkeep.watch import WatchedClock, watch_clock
from tests.builders import World, build_bridge, build_request, gateway_rail, unguard, with_rail
from tests.fakes import answer
from tests.rails.toy import ToyNode, toy_rail

Case = tuple[Bridge, World]


@pytest.fixture
def case(sqlite_url: str) -> Iterator[Case]:
    world = World()
    rails = (gateway_rail(world.wallet), toy_rail(ToyNode()))
    bridge = build_bridge(sqlite_url, world=world, rails=rails)
    world.wallet.server_time = world.clock.now
    with closing(bridge.store):
        yield bridge, world


def opened(bridge: Bridge) -> dict:
    done = open_invoice(bridge, merchant=bridge.merchants["shop"], request=build_request(), key="k", body_sha256="b")
    return json.loads(done.body)


def review(bridge: Bridge, kind: str) -> None:
    with bridge.store.write() as tx:
        open_loose_review(tx, bridge, merchant="shop", kind=kind, what={}, now=bridge.clock())


def overdue(bridge: Bridge, world: World) -> None:
    review(bridge, "over")
    world.clock.advance(bridge.review_due_seconds + 1)


def many_reviews(bridge: Bridge, _world: World) -> None:
    with bridge.store.write() as tx:
        for number in range(21):
            merchant = f"shop{number}"
            open_loose_review(tx, bridge, merchant=merchant, kind="over", what={"n": number}, now=bridge.clock())


def settled(bridge: Bridge, world: World) -> dict:
    invoice = opened(bridge)
    world.money.pay(invoice["address"], invoice["remaining_sat"], confirmations=1)
    look(bridge, invoice["id"])
    return invoice


def parked(bridge: Bridge, world: World) -> None:
    settled(bridge, world)
    world.billing.answers = [answer("parked", 422)]
    deliver_due(bridge, owner="w", limit=1, submit=lambda work: work())


def late_delivery(bridge: Bridge, world: World) -> None:
    settled(bridge, world)
    world.clock.advance(901)


def late_look(bridge: Bridge, world: World) -> None:
    opened(bridge)
    world.clock.advance(1_800)


def stuck(bridge: Bridge, world: World) -> None:
    invoice = opened(bridge)
    world.money.pay(invoice["address"], invoice["remaining_sat"])
    look(bridge, invoice["id"])
    world.clock.advance(21_601)


def forgotten_mode(bridge: Bridge, world: World) -> None:
    set_mode(bridge, scope="bridge", mode="read_only", actor="anna", reason="a test")
    world.clock.advance(3_601)


def broken_chain(bridge: Bridge, world: World) -> None:
    from bridge.books.keep_books import seal_audit

    settled(bridge, world)
    seal_audit(bridge, owner="w")
    with bridge.store.write() as tx:
        unguard(tx, "audit")
        tx.execute(text("UPDATE audit SET actor = 'somebody' WHERE id = (SELECT min(audit_id) FROM audit_chain)"))


def unwalked_chain(bridge: Bridge, world: World) -> None:
    settled(bridge, world)
    world.clock.advance(172_801)


def used_up_day(bridge: Bridge, _world: World) -> None:
    on_trial = {name: replace(m, stage=Stage(name="pilot", invoices_per_day=1)) for name, m in bridge.merchants.items()}
    bridge.merchants.update(on_trial)  # type: ignore[attr-defined]
    opened(bridge)


def no_database(bridge: Bridge, _world: World) -> None:
    with bridge.store.write() as tx:
        tx.execute(text("DROP TABLE modes"))


def no_gateway(_bridge: Bridge, world: World) -> None:
    world.wallet.fails_with = Unavailable("provider_unavailable", "It does not answer.")


def no_chain(_bridge: Bridge, world: World) -> None:
    world.chain.fails_with = Unavailable("chain_unavailable", "It does not answer.")


def blind_chain(bridge: Bridge, world: World) -> None:
    invoice = opened(bridge)
    no_chain(bridge, world)
    look(bridge, invoice["id"])
    world.clock.advance(3_601)


def no_price(_bridge: Bridge, world: World) -> None:
    del world.rates.prices["RUB"]


def rich(_bridge: Bridge, world: World) -> None:
    world.money.pay("tb1qanywhere", 10_000_001, confirmations=1)


def unreadable_wallet(bridge: Bridge, world: World) -> None:
    world.money.pay("tb1qanywhere", 10_000, confirmations=1)
    read_balance(bridge, "hot")
    world.clock.advance(bridge.treasury.balance_age_alert_seconds + 60)


def renamed_wallet(bridge: Bridge, _world: World) -> None:
    opened(with_rail(bridge, wallet_id="wt_another"))


def wrong_clock(_bridge: Bridge, world: World) -> None:
    world.wallet.server_time = world.clock.now - timedelta(minutes=10)


def no_reconciliation(bridge: Bridge, world: World) -> None:
    run_id = start_reconciliation(bridge, actor="anna", reason="drill")
    for _ in range(20):
        if step(bridge, run_id).is_over:
            break
    world.clock.advance(2 * bridge.reconciliation.every_seconds + 1)


def unapproved_policy(bridge: Bridge, _world: World) -> None:
    now = bridge.clock()
    row = {"sha256": "a", "document": "{}", "proposed_by": "config", "proposed_at": now, "reason": "edited"}
    with bridge.store.write() as tx:
        policies.add_first(tx, row | {"status": "superseded", "approvals_needed": 0})
        policies.add(tx, row | {"status": "proposed", "approvals_needed": 2})


def node_of(bridge: Bridge) -> ToyNode:
    """What stands behind the other way to pay."""
    return bridge.beside[0].evidence  # type: ignore[return-value]


def asked_for(bridge: Bridge, invoice: dict) -> None:
    with suppress(Unavailable):
        offer_beside(bridge, invoice["payment_url"].rpartition("/")[2], "lightning")


def unreadable_way(bridge: Bridge, world: World) -> None:
    invoice = opened(bridge)
    asked_for(bridge, invoice)
    node_of(bridge).is_silent = True
    look(bridge, invoice["id"])
    world.clock.advance(601)


def narrow_way(bridge: Bridge, _world: World) -> None:
    node_of(bridge).stands = replace(node_of(bridge).stands, inbound_sat=99_999)


def failed_offers(bridge: Bridge, world: World) -> None:
    node_of(bridge).spoils = {"text": "two words"}
    invoice = opened(bridge)
    for _ in range(6):
        asked_for(bridge, invoice)
        world.clock.advance(31)


def forgotten_claim(bridge: Bridge, world: World) -> None:
    claims.open_claim(bridge, opened(bridge)["id"], said="I paid", actor="sam", reason="called us")
    world.clock.advance(bridge.claims.inquiry_seconds + 1)


def soon_ending_claim(bridge: Bridge, world: World) -> None:
    claims.open_claim(bridge, opened(bridge)["id"], said="I paid", actor="sam", reason="called us")
    world.clock.advance(bridge.claims.inquiry_seconds - 14_400)


def full_disk(bridge: Bridge, _world: World) -> None:
    bridge.store.free_bytes = lambda: 199_999_999  # type: ignore[method-assign]


def nothing(_bridge: Bridge, _world: World) -> None:
    """The rule trips by what the command hands in."""


TRIPS: dict[str, Callable[[Bridge, World], object]] = {
    "reviews_overdue": overdue,
    "reviews_open": many_reviews,
    "claims_overdue": forgotten_claim,
    "claims_due": soon_ending_claim,
    "deliveries_parked": parked,
    "deliveries_waiting": settled,
    "deliveries_late": late_delivery,
    "looks_late": late_look,
    "invoices_stuck": stuck,
    "evidence_gaps": blind_chain,
    "mode_changed": forgotten_mode,
    "signature_failures": lambda bridge, _world: review(bridge, "bad_signature"),
    "books_differ": lambda bridge, _world: review(bridge, "recon_diff"),
    "reconciliation_old": no_reconciliation,
    "audit_chain_broken": broken_chain,
    "audit_unverified": unwalked_chain,
    "stage_reached": used_up_day,
    "policy_waiting": unapproved_policy,
    "rail_silent": unreadable_way,
    "rail_inbound": narrow_way,
    "offers_failed": failed_offers,
    "disk_low": full_disk,
    "backup_old": nothing,
    "database_down": no_database,
    "provider_down": no_gateway,
    "chain_down": no_chain,
    "price_down": no_price,
    "hot_balance": rich,
    "balance_old": unreadable_wallet,
    "wallet_missing": renamed_wallet,
    "clock_skew": wrong_clock,
}


def tripped(bridge: Bridge, **options: Any) -> dict[str, str]:
    return {alert.rule: alert.owner for alert in alerts(bridge, Watching(**options), ask_outside=True)}


def test_when_all_is_well_no_rule_is_tripped(case):
    assert tripped(case[0]) == {}


@pytest.mark.parametrize("rule", TRIPS)
def test_the_rule_trips_and_names_its_owner(case, rule):
    bridge, world = case
    TRIPS[rule](bridge, world)
    limits = Thresholds(deliveries_waiting=0) if rule == "deliveries_waiting" else Thresholds()
    assert tripped(bridge, thresholds=limits, watch_backups=rule == "backup_old").get(rule) == OWNERS[rule]


def test_a_database_that_is_read_and_takes_no_writes_is_said(case):
    bridge, world = case
    overdue(bridge, world)
    # Whatever connection is in hand for the next transaction.
    with bridge.store.write() as tx:
        tx.exec_driver_sql("PRAGMA query_only = ON")
    assert {"database_down", "reviews_overdue"} <= tripped(bridge).keys()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_ten_minutes_off_either_way_is_noticed(case, minutes):
    bridge, world = case
    world.wallet.server_time = world.clock.now + timedelta(minutes=minutes)
    assert "clock_skew" in tripped(bridge)


def said(bridge: Bridge, **options: Any) -> str:
    """What the rule about clocks says of what is stored; nobody outside is asked."""
    return "".join(alert.detail for alert in alerts(bridge, Watching(**options)) if alert.rule == "clock_skew")


def test_a_jump_of_a_clock_is_said_for_a_day(case):
    bridge, world = case
    watched = WatchedClock()
    bridge = replace(bridge, monotonic=lambda: 1_000.0)
    for ahead in (timedelta(0), timedelta(days=3), -timedelta(days=3)):
        world.clock.now += ahead
        watch_clock(bridge, watched, owner="wrk_a")
    assert "by 3 days, 0:00:00 back, noticed 2026-03-14 12:00 UTC by wrk_a" in said(bridge)
    assert said(bridge, thresholds=Thresholds(clock_jumps=2)) == ""
    world.clock.advance(86_401)
    assert said(bridge) == ""


def test_a_worker_elsewhere_whose_clock_is_ahead_is_said(case):
    bridge, world = case
    watch_clock(replace(bridge, clock=lambda: world.clock.now + timedelta(hours=5)), WatchedClock(), owner="elsewhere")
    assert "a worker's clock stood 5:00:00 ahead of this one" in said(bridge)


@pytest.mark.parametrize(("hours", "is_said"), [(1, False), (2, False), (3, True), (72, True)])
def test_a_clock_behind_the_chains_is_said_beyond_what_a_miner_may_be_ahead(case, hours, is_said):
    bridge, world = case
    with bridge.store.write() as tx:
        block_time = world.clock.now + timedelta(hours=hours)
        leases.set_tip(tx, bridge.network, height=900_000, block_time=block_time, now=world.clock.now)
    assert ("this machine's clock is behind the chain's by " in said(bridge)) == is_said


def test_what_is_stored_and_what_the_gateway_says_are_told_together(case):
    bridge, world = case
    wrong_clock(bridge, world)
    watch_clock(replace(bridge, clock=lambda: world.clock.now + timedelta(hours=5)), WatchedClock(), owner="elsewhere")
    (alert,) = [each for each in alerts(bridge, ask_outside=True) if each.rule == "clock_skew"]
    assert "ahead of this one" in alert.detail and "600 s against the gateway" in alert.detail


def test_a_claim_is_said_before_its_deadline_and_then_as_overdue(case):
    bridge, world = case
    soon_ending_claim(bridge, world)
    assert "claims_due" not in tripped(bridge, thresholds=Thresholds(claims_due_seconds=14_399))
    assert tripped(bridge).keys() & {"claims_due", "claims_overdue"} == {"claims_due"}
    world.clock.advance(14_401)
    assert tripped(bridge).keys() & {"claims_due", "claims_overdue"} == {"claims_overdue"}


def test_every_rule_has_a_way_to_trip_it():
    assert set(TRIPS) == set(OWNERS)


def test_every_review_kind_has_an_owner():
    assert set(REVIEW_OWNERS) == REVIEWS.keys()


def test_an_old_backup_trips_and_a_fresh_one_does_not(case):
    bridge, world = case
    now = world.clock.now
    assert "backup_old" in tripped(bridge, newest_backup_at=now - timedelta(hours=4), watch_backups=True)
    assert "backup_old" not in tripped(bridge, newest_backup_at=now - timedelta(hours=2), watch_backups=True)


def test_an_operator_may_give_a_rule_to_somebody_else(case):
    bridge, world = case
    rich(bridge, world)
    assert tripped(bridge, owners={"hot_balance": "treasurer"})["hot_balance"] == "treasurer"


def test_thresholds_are_the_operators(case):
    bridge, world = case
    rich(bridge, world)
    assert tripped(bridge, thresholds=replace(Thresholds(), hot_balance_sat=20_000_000)) == {}


def test_without_the_outside_nobody_is_called(case):
    bridge, world = case
    world.wallet.fails_with = RuntimeError("somebody called")
    assert alerts(bridge) == []
