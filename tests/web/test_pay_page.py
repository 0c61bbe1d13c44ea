"""The pay page, state by state, as a payer without a script reads it."""

import base64
import hashlib
import html
import re
from contextlib import closing
from html.parser import HTMLParser

import pytest

from bridge.core.errors import Unavailable
from bridge.core.policy import Policy, Rule
from bridge.invoices.pay import pay_view
from bridge.language import Languages
from bridge.web import Shop
from bridge.web.ways import qr_svg, qr_text
from tests.builders import World, build_merchant
from tests.web.conftest import build_site

DAY = 86_400
TEXTS = Languages().all


class Page(HTMLParser):
    """What a test looks for in a page: its text, its tags and their attributes."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.tags, self.words, self._skip = source, [], [], 0
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._skip += tag in ("style", "script", "title")

    def handle_endtag(self, tag):
        self._skip -= tag in ("style", "script", "title")

    def handle_data(self, data):
        if not self._skip:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace("\u00a0", " ").split())

    def found(self, tag, **attributes):
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [a for t, a in self.tags if t == tag and all(a.get(n) == v for n, v in wanted.items())]

    @property
    def live(self):
        return next(a for _, a in self.tags if a.get("id") == "live")


def page_of(site, invoice, suffix="", **options):
    response = site.page(invoice, suffix, **options)
    assert response.mimetype == "text/html"
    return Page(response.text)


def state_of(site, invoice):
    state = site.page(invoice, "/status").json
    page = page_of(site, invoice)
    assert page.live["data-state"] == state["state"]
    for sentence in (state["title"], state["happened"], state["service"], state["next"], state["you"]):
        assert sentence.replace("\u00a0", " ") in page.text
    return state["state"], page


def hides_the_address(site, invoice, page):
    return invoice["address"] not in page.source.lower() and site.page(invoice, "/status").json["shown_sat"] == 0


def test_a_new_invoice_shows_what_to_pay_where_and_until_when(lite_site):
    invoice = lite_site.open()
    state, page = state_of(lite_site, invoice)
    address = invoice["address"]
    assert state == "awaiting_payment"
    assert "0.00015539 BTC" in page.text and "15,539 satoshi · 10.10 USD" in page.text
    assert page.found("p", id="address")[0]["data-address"] == address
    groups = re.search(r'id="address".*?</p>', page.source, re.DOTALL)[0]
    assert re.sub(r"<[^>]+>", "", "<p " + groups) == address
    assert all(len(group) <= 4 for group in re.findall(r"<span[^>]*>(\w+)</span>", groups))
    assert page.found("a", id="wallet")[0]["href"] == f"bitcoin:{address}?amount=0.00015539"
    assert page.found("strong", data_until="2026-03-14T12:15:00Z") and "until 12:15 UTC" in page.text
    assert "Test network “test”" in page.text


def test_the_amount_is_explained_with_its_rate_its_sources_and_its_buffers(sqlite_url):
    rule = Rule(risk_bps=100, fee_buffer_minor={"USD": 25})
    site = build_site(sqlite_url, bridge={"merchants": {"shop": build_merchant(policy=Policy(default=rule))}})
    with closing(site.bridge.store):
        page = page_of(site, site.open())
        for part in ("65,000.00 USD", "alpha, beta, gamma", "Cover for price moves (1 %)", "0.10 USD", "0.25 USD"):
            assert part in page.text
        assert "10.35 USD" in page.text and "0.00015924 BTC" in page.text


def test_the_code_for_the_camera_is_the_wallet_link_in_its_densest_spelling(lite_site):
    invoice = lite_site.open()
    page = page_of(lite_site, invoice)
    shown = page.found("div", class_="qr-card")[0]["data-text"]
    assert shown == f"BITCOIN:{invoice['address'].upper()}?amount=0.00015539"
    assert page.found("svg", class_="qr")[0]["role"] == "img"


def test_only_a_bech32_address_is_upper_cased_in_the_code():
    legacy = "bitcoin:mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn?amount=0.5"
    assert qr_text(legacy, network="test") == legacy
    assert "<path" in qr_svg(legacy, network="test", label="x")
    taproot = "bitcoin:bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
    assert qr_text(taproot, network="regtest") == taproot.upper()


def test_a_part_payment_shows_the_exact_rest_and_what_has_arrived(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 5_000)
    state, page = state_of(lite_site, invoice)
    assert state == "partial"
    assert "0.00005000 BTC have arrived; 0.00010539 BTC are still missing." in page.text
    assert page.found("a", id="wallet")[0]["href"].endswith("?amount=0.00010539")
    assert page.found("progress", value="5000", max="15539")


def test_a_lapsed_price_hides_the_address_and_one_tap_brings_a_new_one(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(901)
    lite_site.world.rates.prices["USD"] = 6_600_000
    state, page = state_of(lite_site, invoice)
    assert state == "quote_lapsed" and hides_the_address(lite_site, invoice, page)
    form = page.found("form", method="post")[0]
    answer = lite_site.call("POST", form["action"])
    assert (answer.status_code, answer.headers["Location"]) == (303, form["action"].removesuffix("/quote"))
    state, page = state_of(lite_site, invoice)
    assert state == "awaiting_payment" and "10.10 USD" in page.text and invoice["address"] in page.source


def test_tapping_twice_gives_one_new_price(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(901)
    for _ in range(3):
        assert lite_site.page(invoice, "/quote", method="POST").status_code == 303
    assert lite_site.api("GET", f"/v1/invoices/{invoice['id']}").json["quote"]["version"] == 2


def test_reloading_the_answer_to_a_new_price_leads_back(lite_site):
    invoice = lite_site.open()
    response = lite_site.page(invoice, "/quote?lang=ru")
    assert response.status_code == 303 and response.headers["Location"].endswith("?lang=ru")


def test_without_a_price_the_page_says_so_and_offers_to_try_again(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(901)
    lite_site.world.rates.prices.clear()
    response = lite_site.page(invoice, "/quote", method="POST")
    page = Page(response.text)
    assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0
    assert page.live["data-state"] == "price_unavailable"
    assert "Do not send anything without a locked price." in page.text
    assert page.found("form", method="post") and invoice["address"] not in page.source


def test_a_part_payment_with_a_lapsed_price_offers_a_price_for_the_rest(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 5_000)
    lite_site.world.clock.advance(901)
    state, page = state_of(lite_site, invoice)
    assert state == "partial_lapsed" and hides_the_address(lite_site, invoice, page)
    lite_site.page(invoice, "/quote", method="POST")
    state, page = state_of(lite_site, invoice)
    assert state == "partial" and "Remaining amount" in page.text


def test_an_expired_invoice_hides_the_address_and_may_be_opened_again(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(DAY + 1)
    state, page = state_of(lite_site, invoice)
    assert state == "expired" and hides_the_address(lite_site, invoice, page)
    lite_site.look(invoice)
    assert state_of(lite_site, invoice)[0] == "expired"
    lite_site.page(invoice, "/quote", method="POST")
    assert state_of(lite_site, invoice)[0] == "awaiting_payment"


def test_an_expired_invoice_with_a_part_is_for_people(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 5_000, confirmations=1)
    lite_site.world.clock.advance(DAY + 1)
    lite_site.look(invoice)
    state, page = state_of(lite_site, invoice)
    assert state in ("partial_expired", "partial_held") and hides_the_address(lite_site, invoice, page)
    assert not page.found("form") and page.found("a", href="https://shop.example/support")


def test_a_closed_invoice_ends_the_updates(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(8 * DAY + 1)
    lite_site.look(invoice)
    state, page = state_of(lite_site, invoice)
    assert state == "closed" and hides_the_address(lite_site, invoice, page)
    assert page.live["data-poll"] == "0" and not page.found("meta", http_equiv="refresh")
    assert not page.found("form") and page.found("a", href="https://shop.example/billmgr")


def test_a_seen_payment_says_do_not_pay_again(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 15_539)
    state, page = state_of(lite_site, invoice)
    assert state == "seen" and hides_the_address(lite_site, invoice, page)
    assert "It needs 1 confirmation." in page.text and "Please do not pay again." in page.text
    assert "0/1" in page.text


def test_a_larger_payment_counts_its_confirmations(lite_site):
    invoice = lite_site.open(amount="800.00")
    lite_site.pay(invoice, invoice["quote"]["due_sat"], confirmations=1)
    state, page = state_of(lite_site, invoice)
    assert state == "confirming" and "1 of 2 confirmations" in page.text and "usually take 10 minutes" in page.text


def test_a_settled_invoice_leads_to_the_receipt_and_back_to_the_shop(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 15_539, confirmations=1)
    state, page = state_of(lite_site, invoice)
    assert state == "settled" and hides_the_address(lite_site, invoice, page)
    assert page.live["data-poll"] == "0" and lite_site.page(invoice, "/status").json["is_final"] is True
    assert page.found("a", href="https://shop.example/billmgr")
    assert any(a["href"].endswith("/receipt") for a in page.found("a"))
    txid = lite_site.world.money.outputs[0].outpoint.partition(":")[0]
    link = page.found("a", href=f"https://explorer.example/tx/{txid}")[0]
    assert "noreferrer" in link["rel"] and "noopener" in link["rel"]


def test_too_much_is_said_to_be_too_much(lite_site):
    invoice = lite_site.open()
    lite_site.pay(invoice, 40_000, confirmations=1)
    state, page = state_of(lite_site, invoice)
    assert state == "overpaid" and "more than this order cost" in page.text


def test_a_replaced_payment_is_told_and_crossed_out(lite_site):
    invoice = lite_site.open()
    output = lite_site.world.money.pay(invoice["address"], 15_539)
    lite_site.look(invoice)
    output.gone = True
    lite_site.look(invoice)
    state, page = state_of(lite_site, invoice)
    assert state == "replaced" and "vanished, does not count" in page.text
    lite_site.world.clock.advance(901)
    assert state_of(lite_site, invoice)[0] == "replaced_over"


def test_a_large_amount_waits_for_a_person_and_says_so(lite_site):
    invoice = lite_site.open(amount="20000.00")
    lite_site.pay(invoice, invoice["quote"]["due_sat"], confirmations=6)
    state, page = state_of(lite_site, invoice)
    status = lite_site.page(invoice, "/status").json
    assert state == "large_amount" and status["hold"] == "review" and status["trouble"] == "verification"
    assert hides_the_address(lite_site, invoice, page) and not page.found("form")


def test_a_late_payment_is_told_from_a_lost_one(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(DAY + 7_200)
    lite_site.pay(invoice, 15_539, confirmations=1)
    state, page = state_of(lite_site, invoice)
    assert state in ("late", "late_checking") and "Please do not pay again." in page.text
    assert hides_the_address(lite_site, invoice, page)


def test_a_cancelled_order_must_not_be_paid(lite_site):
    invoice = lite_site.open()
    lite_site.api("POST", f"/v1/invoices/{invoice['id']}/billing-changes", {"change": "cancelled"})
    state, page = state_of(lite_site, invoice)
    assert state == "billing_cancelled" and hides_the_address(lite_site, invoice, page)
    assert not page.found("form")


def test_an_address_of_the_wrong_network_is_never_shown(sqlite_url):
    world = World()
    site = build_site(sqlite_url, world, bridge={"network": "main"})
    with closing(site.bridge.store):
        invoice = site.open()
        assert invoice["address"].startswith("tb1") and invoice["network"] == "main"
        state, page = state_of(site, invoice)
        assert state == "suspicious_address" and hides_the_address(site, invoice, page)


def test_on_the_main_network_there_is_no_banner_but_a_warning_about_other_coins(sqlite_url):
    site = build_site(sqlite_url, World(network="main"))
    with closing(site.bridge.store):
        page = page_of(site, site.open())
        assert "Test network" not in page.text and "Only bitcoin on the Bitcoin network." in page.text


def test_four_kinds_of_trouble_are_told_apart(lite_site):
    chain, quote, verification = (lite_site.open(str(n), amount=a) for n, a in enumerate(("10", "10", "20000"), 1))
    lite_site.pay(chain, 15_539)
    lite_site.pay(verification, verification["quote"]["due_sat"])
    lite_site.world.clock.advance(901)
    for invoice in (chain, quote, verification):
        lite_site.look(invoice)
    kinds = [lite_site.page(i, "/status").json["trouble"] for i in (chain, quote, verification)]
    lite_site.world.rates.prices.clear()
    service = Page(lite_site.page(quote, "/quote", method="POST").text)
    assert kinds == ["chain", "quote", "verification"] and service.live["data-state"] == "price_unavailable"


def test_the_page_is_served_while_everything_outside_is_down(site):
    invoice = site.open()
    site.world.wallet.fails_with = site.world.chain.fails_with = RuntimeError("down")
    site.world.rates.prices.clear()
    page = page_of(site, invoice)
    assert page.live["data-state"] == "awaiting_payment" and not page.found("p", id="blind")


def test_a_gateway_and_a_chain_that_do_not_answer_are_told_with_the_last_answer(site):
    invoice = site.open()
    site.pay(invoice, 15_539)
    before = site.page(invoice, "/status")
    site.world.wallet.fails_with = site.world.chain.fails_with = Unavailable("provider_unavailable", "down")
    site.world.clock.advance(331)
    site.look(invoice)
    page, status = page_of(site, invoice), site.page(invoice, "/status")
    assert page.found("p", id="blind") and "Last answer: 14 March 2026, 12:00 UTC." in page.text
    assert "Do not pay again: what has been sent is recognised" in page.text
    assert (status.json["trouble"], status.json["is_blind"]) == ("service", True)
    assert status.json["looked_at"] == "2026-03-14T12:00:00Z" and status.headers["ETag"] != before.headers["ETag"]
    site.world.wallet.fails_with = site.world.chain.fails_with = None
    site.look(invoice)
    assert not page_of(site, invoice).found("p", id="blind")


def test_an_old_invoice_that_is_rarely_looked_at_is_not_called_blind(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(7_300)
    lite_site.look(invoice)
    lite_site.world.clock.advance(900)
    assert lite_site.page(invoice, "/status").json["is_blind"] is False
    lite_site.world.clock.advance(301)
    assert lite_site.page(invoice, "/status").json["is_blind"] is True


# Languages


def test_the_language_is_the_wish_then_the_invoices_then_the_browsers(lite_site):
    russian, neutral = lite_site.open("1", locale="ru"), lite_site.open("2")
    browser = {"headers": {"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.5"}}

    def language(invoice, suffix="", **options):
        return page_of(lite_site, invoice, suffix, **options).found("html")[0]["lang"]

    assert language(russian) == "ru" and language(russian, "?lang=en", **browser) == "en"
    assert language(neutral) == "en" and language(neutral, **browser) == "ru"
    assert language(neutral, "?lang=<script>") == "en"


def test_a_chosen_language_stays_on_every_link_of_the_page(lite_site):
    invoice = lite_site.open()
    lite_site.world.clock.advance(901)
    page = page_of(lite_site, invoice, "?lang=ru")
    assert page.found("form")[0]["action"].endswith("/quote?lang=ru")
    assert page.live["data-status"].endswith("/status?lang=ru")
    assert {a["hreflang"] for a in page.found("a") if "hreflang" in a} == set(TEXTS)


def test_russian_pages_are_russian(lite_site):
    page = page_of(lite_site, lite_site.open(currency="RUB", amount="1490.50", locale="ru"))
    assert "Ждём ваш платёж" in page.text and "1 490,50 ₽" in page.text and "сатоши" in page.text
    assert "alpha, beta, gamma" in page.text


# Hostile and curious strangers


@pytest.mark.parametrize(
    "description",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }}",
        "</title></style><script>",
        "\u202egpj.exe\u2066\u2069\u200f",
        "a" * 10_000,
        "עברית and English",
        "line\nbreak\ttab",
        "&lt;b&gt;",
    ],
)
@pytest.mark.parametrize("suffix", ["", "/receipt"])
def test_a_hostile_description_is_only_text(lite_site, description, suffix):
    invoice = lite_site.open(description=description)
    lite_site.pay(invoice, 15_539, confirmations=1)
    page = page_of(lite_site, invoice, suffix)
    assert [a.get("src") for t, a in page.tags if t == "script"] == [page.found("script")[0]["src"]]
    assert not page.found("img")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", page.source)
    shown = re.search(r"<dd><bdi>(.*?)</bdi></dd>", page.source.split("</dt>", 1)[1], re.DOTALL)
    assert shown and len(page.source) < 40_000
    assert "a" * 161 not in page.source


def test_what_is_shown_of_a_description_is_what_was_sent(lite_site):
    sent = 'VPS <b>"Start"</b> & {{ 7*7 }} more'
    page = page_of(lite_site, lite_site.open(description=sent))
    assert sent in page.text and html.escape("<b>") in page.source


@pytest.mark.parametrize("suffix", ["", "/receipt", "/quote"])
def test_wrong_ids_all_get_the_same_answer(lite_site, suffix):
    real = lite_site.open()["payment_url"].rsplit("/", 1)[1]
    wrong = ["nope", real[:-1] + ("A" if real[-1] != "A" else "B"), real.swapcase(), "inv_1", "%27or%201=1--", "ы"]
    method = "POST" if suffix == "/quote" else "GET"
    answers = [lite_site.call(method, f"/pay/{each}{suffix}") for each in wrong]
    assert {a.status_code for a in answers} == {404}
    assert len({a.data for a in answers}) == 1
    assert "There is no such page" in answers[0].text and real not in answers[0].text


def test_an_internal_id_does_not_open_the_page(lite_site):
    invoice = lite_site.open()
    assert lite_site.call("GET", f"/pay/{invoice['id']}").status_code == 404
    assert lite_site.call("GET", "/pay/").status_code == 404


def test_an_error_page_is_in_the_payers_language(lite_site):
    response = lite_site.call("GET", "/pay/nope?lang=ru")
    assert "Такой страницы нет" in response.text and response.headers["Cache-Control"] == "no-store"


def test_the_page_says_nothing_about_the_customer(lite_site):
    customer = {"id": "customer-4711", "email": "secret@customer.example", "tier": "vip-tier", "country": "NZ"}
    page = page_of(lite_site, lite_site.open(customer=customer, service_ref="service-99"))
    for secret in (customer["id"], customer["email"], customer["tier"], "service-99", "token-of", "wt_test"):
        assert secret not in page.source


# Delivery


def every_page(site):
    """One page of many states."""
    made = [site.open(str(n)) for n in range(1, 6)]
    site.pay(made[1], 5_000)
    site.pay(made[2], 15_539)
    site.pay(made[3], 15_539, confirmations=1)
    pages = [page_of(site, invoice) for invoice in made[:4]] + [page_of(site, made[3], "/receipt")]
    site.world.clock.advance(901)
    return [*pages, page_of(site, made[0]), Page(site.call("GET", "/pay/nope").text)]


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(lite_site):
    for page in every_page(lite_site):
        for tag, attributes in page.tags:
            assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
            for name in ("src", "srcset", "poster", "action"):
                assert attributes.get(name, "/").startswith("/")
            if tag == "link":
                assert attributes["href"].startswith("data:")
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", page.source, re.DOTALL)
        assert scripts == [""] and len(page.found("style")) == 1


def test_the_style_in_the_page_is_the_one_that_the_policy_names(lite_site):
    response = lite_site.page(lite_site.open())
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["Content-Security-Policy"]


def test_everything_together_stays_under_60_kb(lite_site):
    with lite_site.call("GET", "/static/pay.js") as script:
        size = len(script.data)
    assert max(len(page.source.encode()) for page in every_page(lite_site)) + size < 60_000


def test_without_a_script_the_page_renews_itself_until_the_end(lite_site):
    waiting, *_, settled = every_page(lite_site)[:4]
    assert waiting.found("meta", http_equiv="refresh")[0]["content"] == "20"
    assert waiting.source.index("<noscript>") < waiting.source.index("http-equiv")
    assert not settled.found("meta", http_equiv="refresh")


def test_changes_are_announced_and_places_have_names(lite_site):
    for page in every_page(lite_site):
        assert page.found("p", id="say", role="status", aria_live="polite")
        assert len(page.found("h1")) == 1 and page.found("main") and page.found("html")[0]["lang"]
        ids = [a["id"] for _, a in page.tags if "id" in a]
        assert len(ids) == len(set(ids))
        assert all(a.get("aria-labelledby", ids[0]) in ids for _, a in page.tags)


def test_the_accent_of_the_shop_keeps_its_letters_readable(sqlite_url):
    for accent, letters in (("#ffee00", "#000"), ("#102030", "#fff")):
        site = build_site(sqlite_url, shop=Shop(name="<b>Shop</b>", accent=accent))
        with closing(site.bridge.store):
            source = site.call("GET", "/pay/nope").text
            assert f"--accent:{accent};--on-accent:{letters}" in source and "<b>Shop" not in source


def test_the_shops_own_look_and_words_come_from_its_settings(sqlite_url):
    note = {"en": "Example GmbH, <i>Berlin</i>", "de": "Beispiel GmbH"}
    own = Shop(name="Shop", accent="#102030", accent_dark="#ffee00", note=note, logo_url="/logo.svg")
    site = build_site(sqlite_url, shop=own)
    with closing(site.bridge.store):
        response = site.page(site.open(), "?lang=en")
        page = Page(response.text)
        assert "(prefers-color-scheme:dark){:root{--accent:#ffee00;--on-accent:#000}}" in page.source
        style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in response.headers["Content-Security-Policy"]
        assert "Example GmbH, <i>Berlin</i>" in page.text and "<i>" not in page.source
        assert page.found("img", src="/logo.svg")
        assert "Beispiel GmbH" in site.call("GET", "/pay/nope?lang=de").text
        assert "Example GmbH" in site.call("GET", "/pay/nope?lang=ru").text


def test_a_payer_is_spoken_to_in_german_by_one_file_more(lite_site):
    invoice = lite_site.open(currency="RUB", amount="1490.50")
    page = page_of(lite_site, invoice, headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    assert page.found("html")[0]["lang"] == "de" and "Wir warten auf Ihre Zahlung" in page.text
    assert "1.490,50 ₽" in page.text and "Satoshi" in page.text
    lite_site.pay(invoice, invoice["quote"]["due_sat"], confirmations=6)
    assert "Zahlungsbeleg" in page_of(lite_site, invoice, "/receipt?lang=de").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"accent": "red;}"},
        {"accent_dark": "#fff}"},
        {"note": {"en": "two\nlines"}},
        {"note": {"English": "x"}},
        {"note": {"en": "x" * 401}},
        {"support_url": "javascript:alert(1)"},
        {"logo_url": "https://cdn.example/logo.png"},
        {"explorer_url_template": "https://explorer.example/"},
    ],
)
def test_a_shop_that_could_not_work_is_refused(wrong):
    with pytest.raises(ValueError, match="unusable"):
        Shop(**wrong)


# The live status


def test_the_status_is_not_sent_again_while_nothing_changed(site):
    invoice = site.open()
    first = site.page(invoice, "/status")
    again = site.page(invoice, "/status", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "no-store"
    assert page_of(site, invoice).live["data-etag"] == first.headers["ETag"].strip('"')


def test_the_status_changes_with_money_and_with_time(site):
    invoice = site.open()
    etags = [site.page(invoice, "/status").headers["ETag"]]
    site.pay(invoice, 5_000)
    etags.append(site.page(invoice, "/status").headers["ETag"])
    site.world.clock.advance(901)
    etags.append(site.page(invoice, "/status").headers["ETag"])
    site.world.clock.advance(DAY)
    etags.append(site.page(invoice, "/status").headers["ETag"])
    assert len(set(etags)) == 4


def test_the_status_always_says_the_four_things(site):
    invoice = site.open()
    status = site.page(invoice, "/status").json
    assert all(status[name] for name in ("happened", "service", "next", "you"))
    assert status["retrying"] is True
    missing = site.call("GET", "/pay/nope/status")
    assert (missing.status_code, missing.json["code"]) == (404, "unknown_invoice")


# The receipt


def test_the_receipt_says_what_was_paid_and_claims_nothing_about_tax(site):
    invoice = site.open()
    site.pay(invoice, 15_539, confirmations=1)
    page = page_of(site, invoice, "/receipt")
    txid = site.world.money.outputs[0].outpoint.partition(":")[0]
    for part in ("Payment receipt", invoice["id"], "1001", "10.00 USD", "0.00015539 BTC", "65,000.00 USD", txid):
        assert part in page.text
    assert "Example Hosting" in page.text and "14 March 2026, 12:00 UTC" in page.text
    assert "tax invoice" not in page.text.lower() and "not a tax document" in page.text


def test_before_the_money_is_there_is_no_receipt(site):
    invoice = site.open()
    response = site.page(invoice, "/receipt?lang=ru")
    assert response.status_code == 303
    assert response.headers["Location"].endswith(f"{invoice['payment_url'].rsplit('/', 1)[1]}?lang=ru")


def test_a_view_never_offers_to_pay_and_hides_it(site):
    """What the flow allows to be paid is what the page shows, and nothing else."""
    invoice = site.open()
    public_id = invoice["payment_url"].rsplit("/", 1)[1]
    assert pay_view(site.bridge, public_id).shown_sat == site.page(invoice, "/status").json["shown_sat"] == 15_539
