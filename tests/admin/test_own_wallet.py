"""The desk of a shop whose payers pay to its own wallet: what it shows, and how a refund is stated as sent."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from bridge.desk.desk import series
from bridge.payouts.decide_payout import show_payout
from tests.admin.office import Office, build_office
from tests.flows.test_own_wallet import OWN, OWN_RAIL
from tests.payouts.desk import PAYER


@pytest.fixture
def office(sqlite_url: str) -> Iterator[Office]:
    made = build_office(sqlite_url, bridge={"rails": (OWN_RAIL,)})
    with closing(made.bridge.store):
        yield made


def test_the_treasury_shows_the_first_address_and_offers_no_sweep(office: Office) -> None:
    page = office.see("fay", "/treasury")
    assert OWN.address(0) in page
    assert "/admin/treasury/sweep" not in page


def test_the_days_are_drawn_for_the_own_wallet_and_it_can_be_paused(office: Office) -> None:
    paid = office.settled()
    assert series(office.bridge)[-1].hot_sat == paid["remaining_sat"]
    assert "Your wallet by the books" in office.see("vic", "/")
    assert OWN.wallet_id in office.see("root", "/modes")


def test_the_pages_of_payouts_say_who_sends(office: Office) -> None:
    payout = office.propose(office.settled(amount="100.00"))
    listed, seen = office.see("vic", "/payouts"), office.see("ann", f"/payouts/{payout}")
    assert "you send it yourself" in listed and "gateway" not in (listed + seen).lower()
    assert "one of you sends it from your own wallet" in seen


def test_a_refund_is_approved_here_sent_by_the_shop_and_stated(office: Office) -> None:
    payout = office.propose(office.settled(amount="100.00"))
    assert "/sent" not in office.see("fay", f"/payouts/{payout}")
    office.fill("ann", f"/payouts/{payout}", "/approve", reason="checked")
    paid = office.world.money.pay(PAYER, show_payout(office.bridge, payout)["net_sat"])
    wrong = office.fill("fay", f"/payouts/{payout}", "/sent", txid="0" * 64, reason="sent")
    assert wrong.status_code == 422
    right = office.fill("fay", f"/payouts/{payout}", "/sent", txid=paid.outpoint.partition(":")[0], reason="sent")
    assert right.status_code == 303
    assert show_payout(office.bridge, payout)["state"] == "sent"
