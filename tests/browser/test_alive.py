"""The pay page in time: its code is read by a camera's program, its clock survives sleep, its questions stop at the end."""

import re
import subprocess
from contextlib import closing
from datetime import timedelta

import pytest

from tests.browser.chromium import served
from tests.browser.pages import go
from tests.browser.seen import watch, words
from tests.browser.states import Stage, node_of
from tests.fakes import START


@pytest.fixture
def own_stage(tmp_path):
    """A stage that a test may change: one state at a time."""
    with closing(Stage(folder=tmp_path)) as made:
        yield made


def decoded(picture, tmp_path):
    """What zbar reads off a picture."""
    place = tmp_path / "code.png"
    place.write_bytes(picture)
    read = subprocess.run(["zbarimg", "--quiet", "--raw", str(place)], capture_output=True, text=True, check=True)
    return read.stdout.strip()


def same_request(left, right):
    """Whether two BIP-21 links ask for the same: scheme and bech32 address do not mind case."""
    (left_head, _, left_tail), (right_head, _, right_tail) = left.partition("?"), right.partition("?")
    return left_head.lower() == right_head.lower() and left_tail == right_tail


@pytest.mark.parametrize(("state", "view"), [
    ("awaiting_payment", {"width": 390, "scheme": "dark"}),
    ("awaiting_payment", {"width": 1280, "scheme": "light", "script": False}),
    ("partial", {"width": 390, "scheme": "light"}),
])  # fmt: skip
def test_a_camera_reads_the_wallet_link_off_the_screen(open_page, stage, base, tmp_path, state, view):
    page = open_page(**view)
    go(page, stage, base, state, "en")
    read = decoded(page.locator(".pay-qr > .qr-card").screenshot(), tmp_path)
    link = page.get_attribute("#wallet", "href")
    assert same_request(read, link) and "?amount=0.000" in link
    assert page.get_attribute("#address", "data-address") in link


def test_a_camera_reads_the_other_code_as_the_bare_address(open_page, stage, base, tmp_path):
    page = open_page()
    go(page, stage, base, "awaiting_payment", "en")
    page.click("#plain-code summary")
    read = decoded(page.locator("#plain-code .qr-card").screenshot(), tmp_path)
    assert read == page.get_attribute("#address", "data-address")


def test_copying_puts_the_address_and_the_amount_into_the_clipboard(open_page, stage, base):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    go(page, stage, base, "awaiting_payment", "en")
    page.click("[data-copy=address]")
    page.wait_for_selector(".button.done")
    clipboard = "navigator.clipboard.readText()"
    assert page.evaluate(clipboard) == page.get_attribute("#address", "data-address")
    page.click("[data-copy=amount]")
    page.wait_for_selector(".copy.done")
    assert page.evaluate(clipboard) == page.inner_text("#amount").strip()
    page.locator("#say", has_text="Copied").wait_for(state="attached")


def test_an_address_that_something_changed_on_the_page_is_not_copied(open_page, stage, base):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    go(page, stage, base, "awaiting_payment", "ru")
    page.evaluate("document.getElementById('wallet').href = 'bitcoin:tb1qattacker?amount=0.00029431'")
    page.click("[data-copy=address]")
    assert page.locator("#copy-note").is_visible() and "Не платите" in page.inner_text("#copy-note").replace("\n", " ")
    assert page.evaluate("navigator.clipboard.readText()") != page.get_attribute("#address", "data-address")


def test_the_countdown_is_right_after_sleep(open_page, own_stage):
    own_stage.set_up("awaiting_payment")
    site = own_stage.sites["awaiting_payment"]
    with served(own_stage) as base:
        page = open_page()
        page.clock.install(time=START)
        go(page, own_stage, base, "awaiting_payment", "en")
        assert page.inner_text(".timer strong") == "15:00"
        site.world.clock.advance(600)
        page.clock.fast_forward(600_000)
        page.locator(".timer strong", has_text=re.compile(r"^(5:00|4:5\d)$")).wait_for()


def test_a_wrong_clock_in_the_phone_changes_nothing(open_page, stage, base):
    page = open_page()
    page.clock.install(time=START + timedelta(days=400))
    go(page, stage, base, "awaiting_payment", "en")
    assert page.inner_text(".timer strong") in ("15:00", "14:59")


def test_the_price_lapses_before_the_eyes_and_one_tap_brings_a_new_one(open_page, own_stage):
    own_stage.set_up("awaiting_payment")
    site = own_stage.sites["awaiting_payment"]
    with served(own_stage) as base:
        page = open_page()
        page.clock.install(time=START)
        go(page, own_stage, base, "awaiting_payment", "en")
        before = page.inner_text("#amount")
        site.world.clock.advance(901)
        site.world.rates.prices["RUB"] = 500_000_000
        page.clock.fast_forward(901_000)
        page.clock.run_for(2_000)
        page.wait_for_selector("#live[data-state=quote_lapsed]")
        assert page.locator("#address").count() == 0 and "has lapsed" in page.title()
        page.click("#requote")
        page.wait_for_selector("#live[data-state=awaiting_payment]")
        assert page.inner_text("#amount") != before and page.locator("#address").is_visible()


def test_news_come_by_themselves_keep_the_focus_and_are_said(open_page, own_stage):
    own_stage.set_up("awaiting_payment")
    site, path = own_stage.sites["awaiting_payment"], own_stage.paths["awaiting_payment"]
    with served(own_stage) as base:
        page = open_page(lang="ru")
        page.clock.install(time=START)
        go(page, own_stage, base, "awaiting_payment", "ru")
        page.focus("#wallet")
        state = site.call("GET", f"{path}/status").json
        site.world.money.pay(page.get_attribute("#address", "data-address"), state["shown_sat"])
        invoice = site.api("GET", "/v1/invoices").json["invoices"][0]
        site.look(invoice)
        page.clock.run_for(6_000)
        page.wait_for_selector("#live[data-state=seen]")
        assert page.evaluate("document.activeElement.id") == "title"
        page.clock.run_for(100)
        assert page.inner_text("#say").startswith("Платёж")


def test_nothing_new_costs_an_empty_answer(open_page, stage, base):
    page = open_page()
    seen = watch(page)
    page.clock.install(time=START)
    go(page, stage, base, "awaiting_payment", "en")
    for _ in range(3):
        with page.expect_response("**/status*") as answered:
            page.clock.run_for(6_000)
        assert answered.value.status == 304
    assert set(seen.kinds()) == {"document", "script", "fetch"} and seen.complaints == []


@pytest.mark.parametrize("state", ["settled", "closed", "marked_invalid"])
def test_at_the_end_nobody_asks_any_more(open_page, stage, base, state):
    page = open_page()
    seen = watch(page)
    page.clock.install(time=START)
    go(page, stage, base, state, "en")
    page.clock.run_for(120_000)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(120_000)
    assert seen.kinds() == ["document", "script"]


def test_without_a_connection_the_page_says_so_and_recovers(open_page, stage, base):
    page = open_page()
    page.clock.install(time=START)
    go(page, stage, base, "awaiting_payment", "en")
    page.context.set_offline(True)
    for _ in range(8):
        page.clock.run_for(15_000)
        if page.locator("#offline").is_visible():
            break
    assert "No connection." in words(page)
    page.context.set_offline(False)
    page.clock.run_for(61_000)
    page.wait_for_selector("#offline", state="hidden")


# Two ways to pay


@pytest.mark.parametrize(
    ("state", "view", "scheme"),
    [
        ("lightning_beside", {"width": 390, "scheme": "dark"}, "bitcoin"),
        ("lightning_beside", {"width": 1280, "script": False}, "bitcoin"),
        ("lightning_offered", {"width": 390}, "lightning"),
    ],
)
def test_a_camera_reads_the_invoice_off_the_screen(open_page, stage, base, tmp_path, state, view, scheme):
    page = open_page(**view)
    go(page, stage, base, state, "en")
    read = decoded(page.locator(".pay-qr > .qr-card").screenshot(), tmp_path)
    link, (invoice,) = page.get_attribute("#wallet", "href"), node_of(stage.sites[state]).made
    assert read.lower() == link.lower() and link.startswith(f"{scheme}:") and link.endswith(invoice)
    assert read.endswith(invoice.upper()) and read.startswith(scheme.upper())
    if scheme == "bitcoin":
        # Some wallets know the words behind the question mark in small letters alone.
        assert "?amount=0.00029431&lightning=" in read


def lightning_stage(own_stage):
    own_stage.set_up("lightning_possible")
    site, path = own_stage.sites["lightning_possible"], own_stage.paths["lightning_possible"]
    return site, path.partition("?")[0], node_of(site)


def test_the_page_itself_asks_for_lightning_once_and_says_so_meanwhile(open_page, own_stage):
    _, path, node = lightning_stage(own_stage)
    with served(own_stage) as base:
        page, held = open_page(), []
        seen = watch(page)
        page.route("**/way", lambda route: held.append(route))
        page.goto(f"{base}{path}?way=lightning")
        page.locator("#make:disabled", has_text="Being made").wait_for()
        assert node.made == {}
        held[0].continue_()
        page.wait_for_selector("#wallet")
        assert page.get_attribute("#wallet", "href") == f"lightning:{next(iter(node.made))}"
        assert len(node.made) == len(held) == 1 and seen.complaints == []
        page.click("#tab-bitcoin")
        page.locator("#wallet[href^='bitcoin:']").wait_for()
        assert page.url.endswith("?way=bitcoin") and "&lightning=lntb" in page.get_attribute("#wallet", "href")
        assert page.evaluate("document.activeElement.id") == "tab-bitcoin"
        page.click(".languages [lang=ru]")
        page.locator("#tab-bitcoin[aria-current]").wait_for()
        assert "way=bitcoin" in page.url and "lang=ru" in page.url and len(held) == 1


def test_a_node_that_fails_costs_one_sentence_and_nothing_of_the_first_way(open_page, own_stage):
    _, path, node = lightning_stage(own_stage)
    node.is_silent = True
    with served(own_stage) as base:
        page, asked = open_page(), []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/way") else None)
        page.clock.install(time=START)
        page.goto(base + path)
        page.locator("#tab-lightning", has_text="not now").wait_for()
        assert "could not be made just now" in words(page) or "does not work" in words(page)
        assert page.locator("#address").is_visible() and "lightning" not in page.get_attribute("#wallet", "href")
        page.clock.run_for(60_000)
        assert len(asked) == 1


def test_a_connection_that_was_away_while_lightning_was_made_leaves_a_button_that_works(open_page, own_stage):
    _, path, node = lightning_stage(own_stage)
    with served(own_stage) as base:
        page, held = open_page(), []
        page.clock.install(time=START)
        page.route("**/way", lambda route: held.append(route))
        page.goto(f"{base}{path}?way=lightning")
        page.locator("#make:disabled", has_text="Being made").wait_for()
        page.context.set_offline(True)
        held[0].abort()
        page.wait_for_timeout(500)
        page.unroute("**/way")
        page.context.set_offline(False)
        page.clock.run_for(61_000)
        page.locator("#make:enabled").wait_for()
        page.click("#make")
        page.wait_for_selector("#wallet")
        assert page.get_attribute("#wallet", "href") == f"lightning:{next(iter(node.made))}"


def test_the_whole_invoice_is_copied_and_a_changed_one_is_not(open_page, stage, base):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    go(page, stage, base, "lightning_offered", "en")
    (invoice,) = node_of(stage.sites["lightning_offered"]).made
    page.click("[data-copy=address]")
    page.wait_for_selector(".button.done")
    assert page.evaluate("navigator.clipboard.readText()") == invoice
    page.evaluate("document.getElementById('wallet').href = 'lightning:lntb1attacker'")
    page.click("[data-copy=address]")
    assert page.locator("#copy-note").is_visible()


def test_a_payment_over_lightning_is_news_by_itself(open_page, own_stage):
    site, path, node = lightning_stage(own_stage)
    with served(own_stage) as base:
        page = open_page()
        page.clock.install(time=START)
        page.goto(f"{base}{path}?way=lightning")
        page.wait_for_selector("#wallet")
        node.pay(next(iter(node.made)), at=site.bridge.clock())
        site.look(site.api("GET", "/v1/invoices").json["invoices"][0])
        page.clock.run_for(6_000)
        page.wait_for_selector("#live[data-state=settled]")
        assert "no confirmations are needed" in words(page)
