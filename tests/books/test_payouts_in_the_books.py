"""Money that left: fees are lines of their own, the treasury hands over, the wallet reconciles to the satoshi."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bridge.books.export import rows_of
from bridge.books.keep_books import refresh_gauges
from bridge.desk.day_report import period_report
from bridge.desk.evidence import evidence
from bridge.payouts.treasury import treasury_rows
from tests.books.runs import change, codes, reconcile
from tests.flows.world import open_world
from tests.payouts.desk import Desk, settings, staffed

EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    with open_world(database_url, **settings()) as world:
        yield staffed(world)


def rows(desk: Desk, kind: str):
    return [row for page in rows_of(desk.world.bridge, kind=kind, from_at=EARLY, to_at=LATE) for row in page]


def refunded(desk: Desk):
    """A refund from request to final."""
    invoice = desk.settled()
    payout = desk.approved(invoice)
    assert desk.send() == 1
    desk.confirm()
    return invoice, desk.now(payout)


def test_a_refund_is_a_line_with_its_fee_beside_it(desk):
    invoice, payout = refunded(desk)
    [row] = rows(desk, "payouts")
    assert (row["kind"], row["payout_id"], row["invoice_id"]) == ("refund_send", payout["id"], invoice["id"])
    assert row["gross_sat"] == row["net_sat"] + row["provider_fee_sat"] + row["network_fee_sat"] == payout["gross_sat"]
    assert row["provider_fee_sat"] > 0
    assert row["txid"] and row["destination"] and row["sent_at"]
    refresh_gauges(desk.world.bridge)
    sample = desk.world.bridge.metrics.registry.get_sample_value
    assert sample("bridge_fees_sat", {"account": "provider_fee"}) == row["provider_fee_sat"]


def test_the_treasury_adds_up_to_what_the_gateway_holds(desk):
    _, payout = refunded(desk)
    hot = next(row for row in treasury_rows(desk.world.bridge, from_at=EARLY, to_at=LATE) if row["role"] == "hot")
    assert hot["opening_sat"] + hot["in_sat"] - hot["out_sat"] - hot["fees_sat"] == hot["closing_sat"]
    assert hot["out_sat"] + hot["fees_sat"] == payout["gross_sat"]
    assert hot["closing_sat"] == desk.gateway_sat()


def test_after_a_refund_everything_reconciles_and_the_day_adds_up(desk):
    invoice, payout = refunded(desk)
    assert codes(reconcile(desk.world.bridge, actor="fay")) == []
    day = period_report(desk.world.bridge, from_at=EARLY, to_at=LATE)
    assert all(each["ok"] for each in day["sums"]), day
    assert day["sat"]["refunded"] >= payout["net_sat"]
    assert day["sat"]["fees"] > 0
    assert evidence(desk.world.bridge, invoice["id"])["payouts"][0]["id"] == payout["id"]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_wallet_that_holds_less_than_the_books_say_is_a_variance(desk):
    refunded(desk)
    change(
        desk.world,
        "INSERT INTO entries (journal_id, account, asset, units, service_ref)"
        " SELECT MAX(id), 'wallet:hot', 'BTC', 500, '' FROM journals",
    )
    report = reconcile(desk.world.bridge, actor="fay")
    assert "wallet_differs" in codes(report)
    assert report["variance_sat"]["wallet"] == 500
