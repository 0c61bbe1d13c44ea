"""axe-core finds no barrier on any page: contrast AA, names, roles, order of headings, languages."""

from pathlib import Path

import pytest

from tests.browser.pages import PAGES, go

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
ALL_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What a scheme or a width can change; everything else is the same document.
BY_LOOK = ["color-contrast", "target-size"]
RUN = """only => axe.run(document, {resultTypes: ['violations'], runOnly: only}).then(
  found => found.violations.map(v => v.impact + ' ' + v.id + ' ' + v.nodes.map(n => n.target).join(', ')))"""


@pytest.fixture(scope="module")
def axe():
    """The program itself: `npm ci` in tests/browser brings it, `make test` calls that."""
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lang", "width", "scheme", "rules"), [("en", 390, "light", ALL_RULES), ("ru", 1280, "dark", BY_LOOK)]
)
def test_nothing_keeps_anybody_out(open_page, stage, base, axe, lang, width, scheme, rules):
    page = open_page(lang=lang, width=width, scheme=scheme)
    found = {}
    for name in PAGES:
        go(page, stage, base, name, lang)
        if page.query_selector("details:not([open])") is not None:
            page.click("summary")
        page.evaluate(axe)
        if barriers := page.evaluate(RUN, rules):
            found[name] = barriers
    assert found == {}


def test_everything_can_be_reached_and_done_by_keyboard(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "awaiting_payment", "en")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if reached[-1] == "Support":
            break
    assert reached[-1] == "Support"
    assert {"English", "Русский", "wallet", "Copy the address", "How the amount is made"} <= set(reached)
