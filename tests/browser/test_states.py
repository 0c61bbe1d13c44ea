"""Every state in a real browser: nothing sticks out, nothing is cut, nothing is said in code, nothing comes from elsewhere."""

import re
from pathlib import Path

import pytest

from bridge.core.kinds import REASONS
from bridge.core.money import btc_text
from bridge.web import look
from tests.browser.pages import ANSWERS, BESIDES, NOT_FOUND, PAGES, View, go
from tests.browser.seen import overflow, watch, words
from tests.browser.states import STATES
from tests.parts import one_in

# One scheme for each language and width: all of them together are `make gallery`.
VIEWS = [("en", 390, "light"), ("ru", 390, "dark"), ("en", 1280, "light"), ("ru", 1280, "dark")]
CODES = {code for code in {*REASONS, *STATES} if "_" in code}
NOT_FOR_PEOPLE = re.compile(r"\{\w+\}|\bNone\b|\bundefined\b|\bNaN\b|\bnull\b|\b[a-z]+\.[a-z]+_[a-z]+\b")


def cut_amounts(page, state):
    """Amounts and the address that ought to be readable in full and are not."""
    text = page.inner_text("body").replace("\u00a0", "").replace("\u202f", "")
    amounts = [state["shown_sat"], state["received_sat"]]
    missing = [btc_text(sat) for sat in amounts if sat and btc_text(sat) not in text.replace(",", ".")]
    shown = page.query_selector("#address")
    if shown is not None and shown.inner_text() != shown.get_attribute("data-address"):
        missing.append("the address")
    return missing


@pytest.mark.parametrize(("lang", "width", "scheme"), one_in(3, VIEWS))
def test_every_state_is_whole_and_speaks_to_people(open_page, stage, base, lang, width, scheme):
    page = open_page(lang=lang, width=width, scheme=scheme)
    seen = watch(page)
    faults = {}
    for name in PAGES:
        seen.clear()
        go(page, stage, base, name, lang)
        text = words(page)
        found = [*overflow(page), *sorted(code for code in CODES if code in text), *NOT_FOR_PEOPLE.findall(text)]
        if name in STATES:
            assert page.get_attribute("#live", "data-state") == name
            found += cut_amounts(page, stage.sites[name].call("GET", stage.paths[name] + "/status").json)
        found += [] if name in ANSWERS or name == NOT_FOUND else seen.complaints
        found += seen.foreign(base)
        kinds = [kind for kind in seen.kinds() if kind != "fetch"]
        wanted = ["document", "script"] * (2 if name in ANSWERS else 1)
        found += [] if kinds == wanted else [str(kinds)]
        if seen.bytes() > 60_000 * (2 if name in ANSWERS else 1):
            found.append(f"{seen.bytes()} bytes")
        if found:
            faults[name] = found
    assert faults == {}


def test_without_a_script_every_state_is_whole_and_fetches_one_document(open_page, stage, base):
    page = open_page(lang="ru", script=False)
    seen = watch(page)
    for name in PAGES:
        seen.clear()
        go(page, stage, base, name, "ru")
        assert overflow(page) == [], name
        assert set(seen.kinds()) == {"document"} and seen.foreign(base) == [], name


def test_every_scene_of_the_story_is_on_the_stage():
    from bridge.core.kinds import SCENES

    assert set(STATES) == set(SCENES) and set(BESIDES) | {NOT_FOUND} < set(PAGES)
    assert str(View(lang="ru", width=390, scheme="dark")) == "ru-390-dark"


def test_the_style_that_is_sent_says_what_is_written(open_page, stage, base):
    page = open_page()
    go(page, stage, base, "settled", "en")
    written = (Path(look.__file__).parent / "templates" / "pay.css").read_text(encoding="utf-8")
    sent, meant = page.evaluate(
        """css => {
          const rules = sheet => [...sheet.cssRules].map(each => each.cssText.replaceAll(', ', ','));
          const sent = rules(document.styleSheets[0]), apart = new CSSStyleSheet();
          apart.replaceSync(css);
          return [sent.slice(-apart.cssRules.length), rules(apart)];
        }""",
        written,
    )
    assert len(meant) > 100 and sent == meant
