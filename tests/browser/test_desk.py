"""The operators' desk in a real browser: the day's work done by hand, every page whole on a phone and on a screen."""

import re

import pytest
from playwright.sync_api import Page

from tests.browser.desk import PAGES, ServedOffice, open_office
from tests.browser.pages import View
from tests.browser.seen import overflow, watch, words
from tests.browser.test_barriers import ALL_RULES, AXE, BY_LOOK, RUN

# On a phone a cell is its name and one value; a value in two parts would stand at both ends and in the middle.
APART = """() => [...document.querySelectorAll('.list td')].filter(td => getComputedStyle(td).display === 'flex'
  && [...td.childNodes].filter(each => each.nodeType === 1 || each.textContent.trim()).length > 1
).map(td => 'apart: ' + td.dataset.label + ' ' + td.textContent.trim().slice(0, 40))"""
NOT_FOR_PEOPLE = re.compile(r"\{\w+\}|\bNone\b|\bundefined\b|\bNaN\b|Undefined")


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    with open_office(tmp_path_factory.mktemp("office")) as opened:
        yield opened


@pytest.fixture
def visit(browser, office):
    """Opens a page of the desk as a person."""
    contexts = []

    def opened(name: str, path: str, *, lang: str = "en", width: int = 1280, scheme: str = "light") -> Page:
        context = office.context(browser, View(lang=lang, width=width, scheme=scheme), name)
        contexts.append(context)
        page = context.new_page()
        page.goto(office.url(path, lang=lang))
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    ("lang", "width", "scheme", "rules"), [("ru", 390, "light", ALL_RULES), ("en", 1280, "dark", BY_LOOK)]
)
def test_every_page_is_whole_and_speaks_to_people(browser, office: ServedOffice, lang, width, scheme, rules):
    faults, view, pages = {}, View(lang=lang, width=width, scheme=scheme), {}
    axe = AXE.read_text(encoding="utf-8")
    for name, (person, path) in PAGES.items():
        if person not in pages:
            page = office.context(browser, view, person).new_page()
            pages[person] = page, watch(page)
        page, seen = pages[person]
        seen.clear()
        page.goto(office.url(path, lang=lang))
        # What is raw on purpose, the stored details of an audit row, stays folded.
        page.evaluate("document.querySelectorAll('details:not(td details)').forEach(each => { each.open = true; })")
        page.wait_for_load_state("networkidle")
        found = [*overflow(page), *seen.complaints, *seen.foreign(office.base), *NOT_FOR_PEOPLE.findall(words(page))]
        found += page.evaluate(APART)
        page.evaluate(axe)
        found += page.evaluate(RUN, rules)
        if found:
            faults[name] = found
    for page, _ in pages.values():
        page.context.close()
    assert faults == {}


def test_a_person_logs_in_and_finds_an_invoice_by_keyboard(browser, office: ServedOffice, visit):
    office.office.hire("zoe", "support")
    page = visit("", f"/invoices/{office.ids['late']}", width=390)
    page.keyboard.type("zoe")
    page.keyboard.press("Tab")
    page.keyboard.type("a long enough password")
    page.keyboard.press("Tab")
    page.keyboard.type(office.office.code_of("zoe"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{office.base}/admin/invoices/{office.ids['late']}*")
    page.keyboard.press("/")
    page.keyboard.type("4001")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/invoices/{office.ids['invoice']}*")
    page.keyboard.press("g")
    page.keyboard.press("3")
    page.wait_for_url("**/admin/reviews*")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/reviews/rev_*")


def test_health_arrives_after_the_figures(visit):
    page = visit("vic", "/")
    page.wait_for_selector("[data-part] li")
    assert "Database" in page.inner_text("[data-part]")
    assert page.locator(".chart svg rect.bar").count() >= 40


def test_the_days_work_is_done_by_hand(office: ServedOffice, visit):
    page = visit("fay", "/reviews/{review}")
    page.check("#d-accept_late")
    page.fill("#reason", "the client called")
    page.click("main form .button")
    page.wait_for_selector(".notice.good")
    assert "the client called" in words(page)

    page = visit("sam", "/deliveries/{delivery}", width=390)
    page.fill("main form input[name=reason]", "their server is back")
    page.click("main form .button")
    page.wait_for_selector(".notice.good")
    office.office.deliver()
    page.reload()
    assert "delivered" in words(page)

    page = visit("fay", "/payouts/{payout}")
    assert page.locator("form[action$='/approve']").count() == 0
    page = visit("ann", "/payouts/{payout}", width=390)
    page.fill("form[action$='/approve'] input[name=reason]", "checked")
    page.click("form[action$='/approve'] .button")
    page.wait_for_selector(".notice.good")
    assert "approved" in words(page)

    page = visit("fay", "/reviews/{marked}")
    assert page.locator("form[action$='/approve']").count() == 0
    page = visit("bob", "/reviews/{marked}", width=390)
    page.fill("form[action$='/approve'] input[name=reason]", "the client is known")
    page.click("form[action$='/approve'] .button")
    page.wait_for_selector(".notice.good")
    assert "fay" in words(page) and "the client is known" in words(page)

    page = visit("root", "/people", width=390)
    page.click("summary")
    page.fill("#name", "eva")
    page.fill("#password", "a long enough password")
    page.fill("form[action$='/add'] input[name=reason]", "hired")
    page.click("form[action$='/add'] .button")
    page.wait_for_selector(".qr-card svg")
    assert page.inner_text("#secret").startswith("otpauth://totp/") and overflow(page) == []

    for person in ("bob", "ann"):  # above a million satoshi two people must approve
        page = visit(person, "/payouts?kind=sweep")
        page.click("tbody a.mono")
        page.wait_for_url("**/payouts/pay_*")
        page.fill("form[action$='/approve'] input[name=reason]", "as planned")
        page.click("form[action$='/approve'] .button")
        page.wait_for_selector(".notice.good")
    assert "Approvals: 2 of 2" in words(page) and page.inner_text(".tags .tag") == "approved"
