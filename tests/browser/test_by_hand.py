"""What a payer does with fingers and eyes alone: takes the address by hand, scans the other code, finds the button without scrolling."""

import pytest

from tests.browser.pages import PAGES, go
from tests.browser.seen import overflow
from tests.browser.states import LIGHTNING

# Where there is something to pay.
PAYABLE = ("awaiting_payment", "partial", "replaced", "lightning_beside", "lightning_offered", "lightning_rest")


def taken_by_hand(page, selector):
    """What a click on a text selects, and what Ctrl+C and Ctrl+V make of it on another page."""
    page.click(selector)
    selected = page.evaluate("getSelection().toString()")
    page.keyboard.press("Control+C")
    other = page.context.new_page()
    other.set_content("<textarea autofocus></textarea>")
    other.focus("textarea")
    other.keyboard.press("Control+V")
    pasted = other.input_value("textarea")
    other.close()
    return selected, pasted


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_address_and_the_amount_are_taken_by_hand_in_one_piece(open_page, stage, base, width, script):
    page = open_page(width=width, script=script)
    for name, lang in (("awaiting_payment", "en"), ("lightning_offered", "ru")):
        go(page, stage, base, name, lang)
        address = page.get_attribute("#address", "data-address")
        assert taken_by_hand(page, "#address") == (address, address)
        state = stage.sites[name].call("GET", stage.paths[name].partition("?")[0] + "/status").json
        amount = f"{state['shown_sat'] / 10**8:.8f}"
        assert taken_by_hand(page, "#amount") == (amount, amount)


def test_the_address_of_a_refund_is_taken_in_one_piece_too(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "refund_known", "en")
    address = page.get_attribute("#address", "data-address")
    assert taken_by_hand(page, "#address") == (address, address)


@pytest.mark.parametrize("lang", ["de", "en", "ru"])
def test_the_button_that_opens_the_wallet_is_seen_without_scrolling(open_page, stage, base, lang):
    page = open_page(lang=lang)
    for name in PAYABLE:
        go(page, stage, base, name, lang)
        assert page.evaluate("window.innerHeight") == 844
        box = page.locator("#wallet").bounding_box()
        assert box["y"] + box["height"] <= 844, name


def test_what_must_be_read_to_pay_stands_in_the_order_in_which_it_is_needed(open_page, stage, base):
    page = open_page(width=1280)
    go(page, stage, base, "awaiting_payment", "en")
    code, button = (page.locator(each).bounding_box() for each in (".pay-qr > .qr-card", "#wallet"))
    assert code["y"] < button["y"] < 800


def test_the_other_code_holds_the_bare_address_in_its_own_spelling(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "awaiting_payment", "en")
    address = page.get_attribute("#address", "data-address")
    assert not page.is_visible("#plain-code .qr-card") and address == address.lower()
    page.click("#plain-code summary")
    assert page.is_visible("#plain-code .qr-card svg")
    assert page.get_attribute("#plain-code .qr-card", "data-text") == address
    assert page.get_attribute(".pay-qr > .qr-card", "data-text").startswith(f"BITCOIN:{address.upper()}")
    assert "lightning_offered" in LIGHTNING
    go(page, stage, base, "lightning_offered", "en")
    assert page.query_selector("#plain-code") is None


@pytest.mark.parametrize(
    ("name", "third"),
    [("partial_expired", ["Missing"]), ("partial_held", ["Missing"]), ("late", []), ("overpaid", ["Too much"])],
)
@pytest.mark.parametrize("width", [390, 1280])
def test_asked_received_and_the_difference_stand_side_by_side(open_page, stage, base, width, name, third):
    page = open_page(width=width)
    go(page, stage, base, name, "en")
    sides = page.locator("#sides > div")
    # All came, but late: nobody is told that nothing is missing.
    assert [each.split("\n")[0] for each in sides.all_inner_texts()] == ["Asked for", "Received", *third]
    assert len({round(each.bounding_box()["y"]) for each in sides.all()}) == 1


def test_no_sum_is_broken_in_two_beside_the_others(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "partial", "en")
    for width in (320, 390, 640, 960, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert set(page.locator("#sides b").evaluate_all("all => all.map(b => b.getClientRects().length)")) == {1}, (
            width
        )


# What a finger meets: everything but a link within a sentence.
TARGETS = """() => [...document.querySelectorAll('a, button, summary')].filter(each => each.offsetParent
  && !each.matches('p a, .unseen') && each.getBoundingClientRect().height < 43.5).map(each => each.textContent.trim())"""


@pytest.mark.parametrize("lang", ["de", "en", "ru"])
def test_whatever_is_tapped_is_as_tall_as_a_finger(open_page, stage, base, lang):
    page = open_page(lang=lang)
    for name in PAGES:
        go(page, stage, base, name, lang)
        assert page.evaluate(TARGETS) == [], name


def test_paper_is_white_whatever_the_screen_is(open_page, stage, base):
    page = open_page(scheme="dark")
    go(page, stage, base, "receipt", "en")
    shown = "getComputedStyle(document.querySelector('.receipt')).backgroundColor"
    assert page.evaluate(shown) != "rgb(255, 255, 255)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(shown) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.receipt dt')).color") == "rgb(93, 87, 81)"


def test_german_fits_the_phone_as_well(open_page, stage, base):
    page = open_page(lang="de")
    for name in (
        *PAYABLE,
        "partial_held",
        "overpaid",
        "excess_wanted",
        "receipt",
        "refund_wanted",
        "expired",
        "odd_words",
    ):
        go(page, stage, base, name, "de")
        assert overflow(page) == [], name


def test_what_is_open_stays_open_when_the_page_renews_itself(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "awaiting_payment", "en")
    for summary in page.query_selector_all("summary"):
        summary.click()
    page.evaluate("document.getElementById('live').dataset.etag = 'old'")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#live:not([data-etag='old'])")
    assert page.evaluate("[...document.querySelectorAll('#live details')].map(each => each.open)") == [True, True]
