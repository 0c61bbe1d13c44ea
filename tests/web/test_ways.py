"""A second way to pay over HTTP: asked for by a form or by the page's script, what both are told, and what the page shows."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.core.errors import Unavailable
from bridge.core.offering import CODES, WayRule
from bridge.invoices.pay import pay_view
from bridge.language import CATALOGUES, Languages, Texts
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.web.story import tell
from bridge.web.ways import open_way, qr_text, way_of
from tests.builders import World, build_merchant, gateway_rail
from tests.fakes import START
from tests.rails.toy import BoltNode, ToyNode, toy_rail
from tests.web.conftest import Site, build_site
from tests.web.test_pay_page import Page, page_of

TAB = "?way=lightning"
JSON = {"Accept": "application/json"}


@pytest.fixture
def node() -> ToyNode:
    return BoltNode()


@pytest.fixture
def shop(sqlite_url: str, node: ToyNode) -> Iterator[Site]:
    world = World()
    built = build_site(sqlite_url, world, bridge={"rails": (gateway_rail(world.wallet), toy_rail(node))})
    with closing(built.bridge.store):
        yield built


def test_a_form_leads_back_to_the_page_with_the_way(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    answer = shop.page(invoice, "/way?lang=ru", method="POST", data={"way": "lightning"})
    path = invoice["payment_url"].removeprefix(shop.bridge.public_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{path}?way=lightning&lang=ru")
    assert len(node.made) == 1
    assert shop.page(invoice).status_code == 200


def test_a_script_is_told_the_way_itself(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    before = shop.page(invoice, "/status")
    assert [(each["way"], each["state"]) for each in before.json["ways"]] == [
        ("bitcoin", "offered"),
        ("lightning", "possible"),
    ]
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    (text,) = node.made
    assert (told.status_code, told.json["text"], told.json["uri"]) == (200, text, f"lightning:{text}")
    assert told.json["expires_at"] == invoice["quote"]["expires_at"]
    after = shop.page(invoice, "/status", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json["ways"][1]) == (200, told.json)


def test_a_way_that_cannot_be_had_is_said_and_the_first_stays(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    node.is_silent = True
    answer = shop.page(invoice, "/way", method="POST", data={"way": "lightning"})
    path = invoice["payment_url"].removeprefix(shop.bridge.public_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{path}?way=lightning&refused=way_not_offered")
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    assert (told.status_code, told.mimetype, told.json["code"]) == (422, "application/problem+json", "way_not_offered")
    ways = shop.page(invoice, "/status").json["ways"]
    assert [(each["way"], each["state"], each["code"]) for each in ways] == [
        ("bitcoin", "offered", ""),
        ("lightning", "refused", "rail_unwell"),
    ]
    assert invoice["address"] in shop.page(invoice).text


@pytest.mark.parametrize("way", ["", "pigeon", "x" * 5_000, "bitcoin"])
def test_a_way_that_there_is_not_is_refused_with_its_field(shop: Site, way: str) -> None:
    told = shop.page(shop.open(), "/way", method="POST", data={"way": way}, headers=JSON)
    assert (told.status_code, told.json["code"], told.json["field"]) == (422, "unknown_way", "way")


def test_an_invoice_that_is_not_there_is_not_found(shop: Site) -> None:
    invoice = {"payment_url": f"{shop.bridge.public_url}/pay/{'x' * 22}"}
    assert shop.page(invoice, "/way", method="POST", data={"way": "lightning"}).status_code == 404
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    assert told.json["code"] == "unknown_invoice"


def test_the_answer_reloaded_as_a_link_does_nothing(shop: Site, node: ToyNode) -> None:
    assert shop.page(shop.open(), "/way").status_code == 303
    assert node.made == {}


# What the page shows


def tabs(page: Page) -> dict[str, bool]:
    return {
        a["id"].removeprefix("tab-"): "aria-current" in a for a in page.found("a") if a.get("id", "").startswith("tab-")
    }


def with_lightning(shop: Site, invoice: dict) -> str:
    """The payer has asked for Lightning; what he pays to."""
    return shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON).json["text"]


def test_a_shop_with_one_way_shows_no_tabs(lite_site: Site) -> None:
    page = page_of(lite_site, lite_site.open(), TAB)
    assert tabs(page) == {} and "Lightning" not in page.text and "data-makes" not in page.live
    assert "address below" in page.text


def test_the_tabs_are_links_that_work_without_a_script(shop: Site) -> None:
    invoice = shop.open()
    page = page_of(shop, invoice, "?lang=ru")
    assert tabs(page) == {"bitcoin": True, "lightning": False}
    there = shop.call("GET", page.found("a", id="tab-lightning")[0]["href"])
    page = Page(there.text)
    assert tabs(page) == {"bitcoin": False, "lightning": True} and page.found("html")[0]["lang"] == "ru"
    assert invoice["address"] not in page.source and not page.found("a", id="wallet")
    form, field = page.found("form", method="post")[0], page.found("input", name="way")[0]
    page = Page(shop.call("POST", form["action"], data={"way": field["value"]}, follow_redirects=True).text)
    assert tabs(page)["lightning"] and page.found("html")[0]["lang"] == "ru"
    assert page.found("a", id="wallet")[0]["href"].startswith("lightning:lntb")


def test_looking_at_a_tab_makes_nothing_and_asks_nobody(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    for suffix in ("", TAB, "?way=bitcoin", "?way=pigeon", "?way=lightning&refused=whatever", "/status" + TAB):
        assert shop.page(invoice, suffix).status_code == 200
    assert (node.made, node.health_asked, node.reads) == ({}, 0, 0)


def test_each_way_asks_for_the_same_sum(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    text, due_sat = with_lightning(shop, invoice), invoice["quote"]["due_sat"]
    assert node.made[text].sat == due_sat == 15_539
    for suffix in ("", TAB):
        page = page_of(shop, invoice, suffix)
        assert "0.00015539 BTC" in page.text and "15,539 satoshi" in page.text
    assert {each["due_sat"] for each in shop.page(invoice, "/status").json["ways"]} == {due_sat}


def test_one_code_serves_both_ways_and_the_other_is_lightning_alone(shop: Site) -> None:
    invoice = shop.open()
    before = page_of(shop, invoice)
    text = with_lightning(shop, invoice)
    both, alone = page_of(shop, invoice), page_of(shop, invoice, TAB)
    onchain = f"bitcoin:{invoice['address']}?amount=0.00015539"
    assert before.found("a", id="wallet")[0]["href"] == onchain
    assert both.found("a", id="wallet")[0]["href"] == f"{onchain}&lightning={text}"
    shown = both.found("div", class_="qr-card")[0]["data-text"]
    assert shown == f"BITCOIN:{invoice['address'].upper()}?amount=0.00015539&lightning={text.upper()}"
    assert "One code for both ways" in both.text and "One code for both ways" not in before.text
    assert alone.found("a", id="wallet")[0]["href"] == f"lightning:{text}"
    assert alone.found("div", class_="qr-card")[0]["data-text"] == f"LIGHTNING:{text.upper()}"
    assert alone.found("p", id="address")[0]["data-address"] == text and text in alone.text


def test_a_base58_address_keeps_its_case_beside_the_invoice() -> None:
    link = "bitcoin:mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn?amount=0.5&lightning=lntb1abc"
    assert qr_text(link, network="test") == link.replace("lntb1abc", "LNTB1ABC")


def test_what_a_way_of_another_name_asks_for_is_in_the_code_as_it_is() -> None:
    assert qr_text("voucher:Ab-7", network="test") == "voucher:Ab-7"


def test_the_page_stays_light_with_both_ways(shop: Site) -> None:
    invoice = shop.open()
    with_lightning(shop, invoice)
    with shop.call("GET", "/static/pay.js") as script:
        size = len(script.data)
    assert size < 12_000
    for suffix in ("", TAB):
        assert len(shop.page(invoice, suffix).data) + size < 40_000


def test_the_script_is_told_what_it_may_ask_for_once_per_price(shop: Site) -> None:
    invoice = shop.open()
    live = page_of(shop, invoice, "?lang=ru").live
    assert (live["data-makes"], live["data-price"]) == ("lightning", "1-15539")
    assert live["data-way"].endswith("/way?lang=ru") and live["data-page"].endswith("?lang=ru")
    with_lightning(shop, invoice)
    live = page_of(shop, invoice, TAB).live
    assert "data-makes" not in live and live["data-status"].endswith("/status?way=lightning")


@pytest.mark.parametrize("suffix", ["", TAB, TAB + "&lang=ru", "?refused=way_unavailable"])
def test_a_page_that_nothing_happened_to_is_not_fetched_again(shop: Site, suffix: str) -> None:
    invoice = shop.open()
    for _ in range(2):
        live = page_of(shop, invoice, suffix).live
        again = shop.call("GET", live["data-status"], headers={"If-None-Match": f'"{live["data-etag"]}"'})
        assert again.status_code == 304
        with_lightning(shop, invoice)


def test_where_the_address_is_not_offered_lightning_is_what_opens(sqlite_url: str, node: ToyNode) -> None:
    world = World()
    merchant = build_merchant(offering={"bitcoin": WayRule(least_sat=20_000)})
    options = {"rails": (gateway_rail(world.wallet), toy_rail(node)), "merchants": {"shop": merchant}}
    site = build_site(sqlite_url, world, bridge=options)
    with closing(site.bridge.store):
        invoice = site.open()
        page = page_of(site, invoice)
        assert tabs(page) == {"bitcoin": False, "lightning": True} and page.live["data-makes"] == "lightning"
        text = with_lightning(site, invoice)
        assert page_of(site, invoice).found("a", id="wallet")[0]["href"] == f"lightning:{text}"
        first = page_of(site, invoice, "?way=bitcoin")
        assert "The amount is too small for this way." in first.text and invoice["address"] not in first.source
        assert "Choose the other way to pay above." in first.text and text not in first.source


def test_a_failure_is_one_sentence_and_the_address_stays(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    node.is_silent = True
    page = Page(shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, follow_redirects=True).text)
    assert "This way does not work at the moment." in page.text and tabs(page)["lightning"]
    assert not page.found("form") and "not now" in page.text
    first = page_of(shop, invoice)
    assert tabs(first)["bitcoin"] and invoice["address"] in first.source and "does not work" not in first.text
    assert "could not be made just now" in page_of(shop, invoice, "?refused=way_unavailable").text
    assert "being made at this moment" in page_of(shop, shop.open("2"), "?refused=offering_in_progress").text


def test_a_note_in_the_address_bar_is_never_what_a_stranger_wrote(shop: Site) -> None:
    page = page_of(shop, shop.open(), "?refused=<b>send+to+me</b>&way=<script>")
    assert "send to me" not in page.text and "could not be made" in page.text and tabs(page)["bitcoin"]


@pytest.mark.parametrize("locale", list(Languages().all))
def test_each_reason_of_a_refusal_has_its_words(locale: str) -> None:
    assert set(Languages().all[locale].section("ways")["refused"]) == set(CODES)


def test_too_much_for_lightning_is_said_before_anything_is_asked(sqlite_url: str, node: ToyNode) -> None:
    world = World()
    rails = (gateway_rail(world.wallet), toy_rail(node, most_units=10_000))
    site = build_site(sqlite_url, world, bridge={"rails": rails})
    with closing(site.bridge.store):
        page = page_of(site, site.open(), TAB)
        assert "The amount is too large for this way. Please pay the other way." in page.text
        assert "Choose the other way to pay above." in page.text and not page.found("form")


def test_an_invoice_that_ran_out_is_told_and_a_new_one_is_offered(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    node.spoils = {"expires_at": START + timedelta(minutes=5)}
    first = with_lightning(shop, invoice)
    page = page_of(shop, invoice, TAB)
    assert page.found("strong", data_until="2026-03-14T12:05:00Z") and "until 12:05 UTC" in page.text
    shop.world.clock.advance(301)
    page = page_of(shop, invoice, TAB)
    assert "has run out" in page.text and "Make a new one" in page.text and first not in page.source
    assert "lightning=" not in page_of(shop, invoice).source
    node.spoils = {}
    second = with_lightning(shop, invoice)
    assert second != first and second in page_of(shop, invoice, TAB).source


def test_a_lapsed_price_hides_both_ways_and_the_new_one_comes_back_to_the_tab(shop: Site) -> None:
    invoice = shop.open()
    text = with_lightning(shop, invoice)
    shop.world.clock.advance(901)
    page = page_of(shop, invoice, TAB)
    assert page.live["data-state"] == "quote_lapsed" and text not in page.source and tabs(page) == {}
    answer = shop.call("POST", page.found("form")[0]["action"])
    assert answer.headers["Location"].endswith(TAB)


def paid_over_lightning(shop: Site, node: ToyNode, invoice: dict) -> str:
    text = with_lightning(shop, invoice)
    node.pay(text, at=shop.bridge.clock())
    shop.look(invoice)
    return node.made[text].key


def test_paid_over_lightning_needs_no_confirmations_and_names_the_hash(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    payment_hash = paid_over_lightning(shop, node, invoice)
    page = page_of(shop, invoice)
    assert page.live["data-state"] == "settled"
    assert "came over Lightning. It is final; no confirmations are needed." in page.text
    assert f"Payment hash {payment_hash}" in page.text and "paid over Lightning" in page.text
    assert "is confirmed." not in page.text and not page.found("a", target="_blank")
    receipt = page_of(shop, invoice, "/receipt")
    assert payment_hash in receipt.text and "Lightning (test)" in receipt.text
    assert invoice["address"] not in receipt.source and "0.00015539 BTC" in receipt.text


def test_paid_both_ways_says_what_came_over_each_and_what_to_do(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    paid_over_lightning(shop, node, invoice)
    shop.pay(invoice, 20_000, confirmations=1)
    page = page_of(shop, invoice)
    assert page.live["data-state"] == "overpaid"
    assert "0.00020000 BTC to the Bitcoin address and 0.00015539 BTC over Lightning" in page.text
    assert "contact support" in page.text.lower() and page.found("a", href="https://shop.example/support")
    receipt = page_of(shop, invoice, "/receipt")
    assert "Bitcoin, Lightning (test)" in receipt.text and invoice["address"] in receipt.source


def test_a_part_on_the_chain_leaves_the_rest_to_either_way(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    shop.pay(invoice, 5_000)
    text = with_lightning(shop, invoice)
    assert node.made[text].sat == 10_539
    page = page_of(shop, invoice, TAB)
    assert "0.00010539 BTC" in page.text and "same address" not in page.text and text in page.source


def test_another_way_leads_back_to_the_shop_until_money_is_seen(shop: Site) -> None:
    invoice = shop.open()

    def leads() -> bool:
        return "Pay another way" in page_of(shop, invoice).text

    assert leads() and page_of(shop, invoice).found("a", href="https://shop.example/billmgr")
    assert "Pay another way" not in page_of(shop, shop.open("2", return_url="")).text
    shop.pay(invoice, 5_000)
    assert not leads()


def is_away(shop: Site, invoice: dict) -> None:
    """Gateway and chain have said nothing of the address for so long that its payer would wait in vain."""
    shop.world.wallet.fails_with = shop.world.chain.fails_with = Unavailable("provider_unavailable", "down")
    shop.world.clock.advance(331)
    shop.look(invoice)


def test_while_the_first_way_is_silent_the_next_one_opens_and_the_address_stays_watched(
    shop: Site, node: ToyNode
) -> None:
    invoice = shop.open()
    is_away(shop, invoice)
    page = page_of(shop, invoice)
    assert tabs(page) == {"bitcoin": False, "lightning": True} and page.live["data-makes"] == "lightning"
    assert "If you have paid to the Bitcoin address already, do not pay again" in page.text
    assert "better wait" not in page.text and invoice["address"] not in page.source
    assert "This way does not work at the moment." in page_of(shop, invoice, "?way=bitcoin").text
    text = with_lightning(shop, invoice)
    assert page_of(shop, invoice).found("a", id="wallet")[0]["href"] == f"lightning:{text}"
    shop.world.wallet.fails_with = shop.world.chain.fails_with = None
    shop.pay(invoice, 15_539, confirmations=1)
    assert page_of(shop, invoice).live["data-state"] == "settled"


def test_the_first_way_is_offered_again_as_soon_as_it_answers(shop: Site) -> None:
    invoice = shop.open()
    is_away(shop, invoice)
    before = shop.page(invoice, "/status")
    assert [(each["state"], each["code"]) for each in before.json["ways"]] == [
        ("refused", "rail_unwell"),
        ("possible", ""),
    ]
    shop.world.wallet.fails_with = shop.world.chain.fails_with = None
    shop.look(invoice)
    after = shop.page(invoice, "/status", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200 and after.json["ways"][0]["state"] == "offered"
    assert tabs(page_of(shop, invoice))["bitcoin"]


def test_where_the_next_way_is_silent_too_the_address_is_shown_with_its_warning(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    is_away(shop, invoice)
    node.is_silent = True
    page = Page(shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, follow_redirects=True).text)
    assert "better wait until this notice is gone" in page.text
    page = page_of(shop, invoice)
    assert tabs(page)["bitcoin"] and invoice["address"] in page.source and "better wait" in page.text


def test_asking_for_another_way_takes_nothing_back_from_who_has_paid_already(shop: Site, node: ToyNode) -> None:
    """The link only leads away: anybody may follow it, and what was paid a moment before is still on its way."""
    invoice = shop.open()
    text = with_lightning(shop, invoice)
    node.pay(text, at=shop.bridge.clock())
    page = page_of(shop, invoice)
    assert page.found("a", href="https://shop.example/billmgr") and page.found("form") == []
    shop.look(invoice)
    assert page_of(shop, invoice).live["data-state"] == "settled"


@pytest.mark.parametrize("is_made", [False, True])
def test_a_way_of_another_name_is_told_in_words_of_its_own(shop: Site, is_made: bool) -> None:
    invoice = shop.open()
    if is_made:
        with_lightning(shop, invoice)
    catalogue = json.loads((CATALOGUES / "en.json").read_text(encoding="utf-8"))
    words = catalogue["ways"].pop("by")["lightning"]
    catalogue["story"]["ways"]["voucher"] = "voucher"
    catalogue["ways"]["by"] = {"voucher": json.loads(json.dumps(words).replace("Lightning", "voucher"))}
    texts, view = Texts(catalogue), pay_view(shop.bridge, invoice["payment_url"].rpartition("/")[2])
    view = replace(view, ways=(view.ways[0], replace(view.ways[1], way="voucher")))
    story = tell(view, texts, shop_name="Example", opened=way_of(view, "voucher"))
    assert "voucher" in story.you and "voucher" in story.next
    for refused in ("offering_in_progress", "way_not_offered"):
        note = open_way(view, texts, asked="", refused=refused).note
        assert is_made or "voucher" in note, "the way that was asked for is named on the first one's page too"
    wallet = open_way(view, texts, asked="voucher", refused="").wallet
    assert not is_made or (wallet is not None and "voucher" in wallet["qr_svg"])
    no_room = replace(view.ways[1], state="refused", code="capacity_too_small")
    assert "voucher" in open_way(replace(view, ways=(view.ways[0], no_room)), texts, asked="voucher", refused="").note


# Paid, silent, elsewhere


def test_the_status_names_payment_hash_and_time_once_it_is_settled(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    with_lightning(shop, invoice)
    before = shop.page(invoice, "/status").json
    assert (before["payments"], before["settled_at"]) == ([], None)
    node.pay(next(iter(node.made)), at=shop.bridge.clock())
    shop.look(invoice)
    told = shop.page(invoice, "/status").json
    (paid,) = told["payments"]
    assert told["status"] == "settled" and told["settled_at"] == "2026-03-14T12:00:00Z"
    assert (paid["way"], paid["txid"], paid["amount_sat"]) == ("lightning", None, invoice["quote"]["due_sat"])
    assert len(paid["payment_hash"]) == 64 and paid["payment_hash"] in shop.page(invoice).text


def test_while_the_first_way_is_silent_the_page_opens_the_other(shop: Site) -> None:
    invoice = shop.open()
    text = with_lightning(shop, invoice)
    shop.world.clock.advance(600)
    page = page_of(shop, invoice)
    assert tabs(page) == {"bitcoin": False, "lightning": True} and text in page.source
    assert page.found("p", id="blind") and "you can pay this way" in page.text


@pytest.mark.parametrize(
    ("return_url", "leads_to"),
    [
        (
            "https://shop.example/billmgr?func=payment.pending&elid=7&module=pmsubtc",
            "https://shop.example/billmgr?func=payment",
        ),
        ("https://shop.example/thanks?id=7", "https://shop.example/thanks?id=7"),
        ("", ""),
    ],
)
def test_another_way_leads_to_the_list_of_payments_with_the_reason(
    lite_site: Site, return_url: str, leads_to: str
) -> None:
    invoice = lite_site.open(return_url=return_url)

    def shown() -> tuple[str, str]:
        page = page_of(lite_site, invoice, "?lang=en")
        return next((a["href"] for a in page.found("a", id="elsewhere")), ""), page.text

    link, words = shown()
    assert link == leads_to and ("rather not pay in bitcoin?" in words) == bool(leads_to)
    lite_site.world.clock.advance(86_401)
    lite_site.look(invoice)
    link, words = shown()
    assert link == leads_to and ("The time to pay in bitcoin is over." in words) == bool(leads_to)


def test_who_has_sent_something_is_not_sent_elsewhere(lite_site: Site) -> None:
    invoice = lite_site.open()
    lite_site.pay(invoice, 5_000)
    assert not page_of(lite_site, invoice).found("a", id="elsewhere")


def test_who_paid_over_lightning_reads_which_way_back_there_is(shop: Site, node: ToyNode) -> None:
    invoice = shop.open(amount="100.00")
    paid_over_lightning(shop, node, invoice)
    request = NewRefund(invoice_id=invoice["id"], variant="paid_sat")
    asked = request_refund(
        shop.bridge, merchant_id="shop", request=request, key="r1", actor="module:shop", reason="cancelled order"
    )
    assert asked.form_url is not None
    form = Page(shop.call("GET", asked.form_url.removeprefix(shop.bridge.public_url)).text)
    assert form.found("p", id="paid-over") and "no Lightning invoice" in form.text
    assert not Page(page_of(shop, shop.open("2")).source).found("p", id="paid-over")
