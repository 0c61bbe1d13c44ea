"""Too much came: the page says how much, and leads to the form for where it goes back to, until an address is named."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from bridge.payouts.decide_payout import reject_payout
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.store import payouts
from tests.web.conftest import SHOP, Site, build_site
from tests.web.test_pay_page import Page, page_of
from tests.web.test_refund_form import OWN, TAPROOT

ASKED = {"method": "POST", "data": {"ask": "excess"}}
EXCESS_SAT = 60_000


@pytest.fixture
def shop(database_url: str) -> Iterator[Site]:
    built = build_site(database_url)
    with closing(built.bridge.store):
        yield built


def overpaid(site: Site, excess_sat: int = EXCESS_SAT, *, confirmations: int = 6, **changes: Any) -> dict[str, Any]:
    invoice = site.open(amount="100.00", **changes)
    site.pay(invoice, invoice["quote"]["due_sat"] + excess_sat, confirmations=confirmations)
    return invoice


def stored(site: Site) -> list[Any]:
    with site.bridge.store.read() as tx:
        return list(payouts.listing(tx))


def state(site: Site, invoice: dict[str, Any]) -> str:
    told = site.page(invoice, "/status").json["excess"]
    shown = page_of(site, invoice).found("div", id="excess")
    assert [each["data-state"] for each in shown] == ([told] if told else [])
    return str(told)


def test_the_page_says_how_much_was_too_much_and_leads_to_the_form(shop: Site) -> None:
    invoice = overpaid(shop)
    page = page_of(shop, invoice, "?lang=en")
    assert "0.00060000 BTC (39.00 USD) were too much." in page.text and state(shop, invoice) == "ask"
    to_form = shop.page(invoice, "/refund?lang=ru", **ASKED)
    form = shop.call("GET", to_form.headers["Location"])
    assert (to_form.status_code, form.status_code) == (303, 200)
    assert Page(form.text).found("html")[0]["lang"] == "ru"
    (asked,) = stored(shop)
    assert (asked.variant, asked.net_sat, asked.state) == ("excess_only", EXCESS_SAT, "requested")
    assert (asked.proposed_by, asked.destination, asked.approvals_needed >= 1) == ("payer", None, True)
    assert state(shop, invoice) == "ask"


def test_asking_twice_is_one_refund_until_an_address_is_named_and_none_after_it(shop: Site) -> None:
    invoice = overpaid(shop)
    places = {shop.page(invoice, "/refund", **ASKED).headers["Location"] for _ in range(3)}
    (place,) = places
    path, _, proof = place.partition("?proof=")
    named = shop.call("POST", path, data={"proof": proof, "address": OWN})
    assert named.status_code == 303 and state(shop, invoice) == "named"
    again = shop.page(invoice, "/refund", **ASKED)
    assert "proof" not in again.headers["Location"]
    (kept,) = stored(shop)
    assert (kept.destination, kept.net_sat) == (OWN, EXCESS_SAT)
    # Who was handed the link may still put it right.
    assert shop.call("POST", path, data={"proof": proof, "address": TAPROOT}).status_code == 303
    assert [each.destination for each in stored(shop)] == [TAPROOT]


def test_what_people_decline_is_not_asked_for_again(shop: Site) -> None:
    invoice = overpaid(shop)
    shop.page(invoice, "/refund", **ASKED)
    reject_payout(shop.bridge, stored(shop)[0].id, actor="operator", reason="kept for the next order, as agreed")
    assert state(shop, invoice) == "declined"
    assert "proof" not in shop.page(invoice, "/refund", **ASKED).headers["Location"]
    assert len(stored(shop)) == 1


@pytest.mark.parametrize(
    ("excess_sat", "confirmations", "told"),
    [(0, 6, ""), (-40_000, 6, ""), (8_000, 6, "too_small"), (EXCESS_SAT, 0, "")],
)
def test_where_nothing_can_go_back_nothing_is_asked_for(
    shop: Site, excess_sat: int, confirmations: int, told: str
) -> None:
    invoice = overpaid(shop, excess_sat, confirmations=confirmations)
    assert state(shop, invoice) == told
    answer = shop.page(invoice, "/refund", **ASKED)
    assert answer.status_code == 303 and "proof" not in answer.headers["Location"]
    assert stored(shop) == []


def test_more_that_has_no_block_yet_waits_for_it(shop: Site) -> None:
    invoice = overpaid(shop, 0)
    shop.pay(invoice, EXCESS_SAT)
    assert state(shop, invoice) == "unconfirmed"
    shop.page(invoice, "/refund", **ASKED)
    assert stored(shop) == []


def test_a_shop_may_keep_that_to_its_people(sqlite_url: str) -> None:
    site = build_site(sqlite_url, shop=replace(SHOP, excess_refunds=False))
    with closing(site.bridge.store):
        invoice = overpaid(site, billing_payment_id="7")
        page = page_of(site, invoice, "?lang=en")
        assert page.found("div", id="excess", data_state="support") and not page.found("form")
        assert state(site, invoice) == "support"
        assert "proof" not in site.page(invoice, "/refund", **ASKED).headers["Location"]
        assert stored(site) == []


def test_a_program_that_asks_again_is_told_of_a_refund(shop: Site) -> None:
    invoice = overpaid(shop)
    before = shop.page(invoice, "/status")
    shop.page(invoice, "/refund", **ASKED)
    after = shop.page(invoice, "/status", headers={"If-None-Match": before.headers["ETag"]})
    assert before.json["refunds"] == [] and (after.status_code, len(after.json["refunds"])) == (200, 1)
    assert shop.page(invoice, "/status", headers={"If-None-Match": after.headers["ETag"]}).status_code == 304


def test_a_wrong_link_is_not_found(shop: Site) -> None:
    wrong = {"payment_url": f"{shop.bridge.public_url}/pay/{'x' * 22}"}
    assert shop.page(wrong, "/refund", **ASKED).status_code == 404


def test_what_came_after_he_asked_is_not_said_to_go_back_with_it(shop: Site) -> None:
    invoice = overpaid(shop)
    place = shop.page(invoice, "/refund", **ASKED).headers["Location"]
    shop.pay(invoice, 70_000, confirmations=6)
    path, _, proof = place.partition("?proof=")
    shop.call("POST", path, data={"proof": proof, "address": OWN})
    text = page_of(shop, invoice, "?lang=en").text
    assert "0.00060000 BTC (39.00 USD) were too much. You have named the address for them" in text
    assert "0.00070000 BTC (45.50 USD) were too much. Contact support" in text
    assert "0.00130000 BTC" not in text.partition("You have named")[2]


def test_only_what_could_be_asked_for_now_is_said_to_go_back(shop: Site) -> None:
    invoice = overpaid(shop)
    shop.pay(invoice, 70_000)
    text = page_of(shop, invoice, "?lang=en").text
    assert "0.00060000 BTC (39.00 USD) were too much. Name an address of yours" in text
    assert "0.00070000 BTC (45.50 USD) are too much. They can be returned once they are confirmed." in text
    shop.page(invoice, "/refund", **ASKED)
    assert [each.net_sat for each in stored(shop)] == [EXCESS_SAT]


def refund(shop: Site, invoice: dict[str, Any], sat: int) -> Any:
    """The shop gives back so much by itself."""
    asked = NewRefund(invoice_id=invoice["id"], variant="custom", net_sat=sat, destination=OWN)
    who: dict[str, Any] = {"actor": "module:shop", "reason": "by hand"}
    return request_refund(shop.bridge, merchant_id="shop", request=asked, key=f"own-{sat}", **who).payout


def test_what_the_shop_gives_back_by_itself_is_not_said_to_go_back_twice(shop: Site) -> None:
    invoice = overpaid(shop, 130_000)
    refund(shop, invoice, 70_000)
    text = page_of(shop, invoice, "?lang=en").text
    assert "0.00060000 BTC (39.00 USD) were too much. Name an address of yours" in text
    assert "0.00070000 BTC (45.50 USD) were too much; Example Hosting is already returning them." in text
    shop.page(invoice, "/refund", **ASKED)
    assert sorted(each.net_sat for each in stored(shop)) == [60_000, 70_000]


def test_what_was_declined_and_goes_back_otherwise_needs_no_support(shop: Site) -> None:
    invoice = overpaid(shop)
    shop.page(invoice, "/refund", **ASKED)
    reject_payout(shop.bridge, stored(shop)[0].id, actor="operator", reason="the client wrote us another address")
    refund(shop, invoice, EXCESS_SAT)
    assert state(shop, invoice) == "under_way"
    assert "0.00060000 BTC (39.00 USD) were too much; Example Hosting" in page_of(shop, invoice, "?lang=en").text
