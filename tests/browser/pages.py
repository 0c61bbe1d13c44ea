"""The pages that the browser tests and the gallery look at, and how each is reached.

Owns their names and the views of them (language, width, scheme); must not judge what is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.states import ALL, LIGHTNING, UNMADE, Stage

LANGUAGES = ("de", "en", "ru")
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
# What hangs under a state's page: name, state, path under it.
BESIDES = {
    "receipt": ("settled", "/receipt"),
    "lightning_receipt": ("lightning_paid", "/receipt"),
    "refund_wrong": ("refund_wanted", ""),
}
# Pages that are the answer to a form.
ANSWERS = frozenset({"price_unavailable", "refund_wrong"})
NOT_FOUND = "not_found"
PAGES = (*ALL, *BESIDES, NOT_FOUND)


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to look at a page."""

    lang: str
    width: int
    scheme: str
    script: bool = True

    def __str__(self) -> str:
        return f"{self.lang}-{self.width}-{self.scheme}" + ("" if self.script else "-noscript")


def all_views() -> Iterator[View]:
    """Every language, width and scheme with a script, and the phone once more without."""
    for lang, width, scheme in product(LANGUAGES, WIDTHS, SCHEMES):
        yield View(lang=lang, width=width, scheme=scheme)
    for lang in LANGUAGES:
        yield View(lang=lang, width=390, scheme="light", script=False)


def open_context(browser: Browser, view: View) -> BrowserContext:
    """A fresh profile that looks like `view`; animations are off, so that two shots are alike."""
    return browser.new_context(
        viewport={"width": view.width, "height": 844 if view.width < 600 else 800},
        locale=view.lang,
        color_scheme=view.scheme,  # type: ignore[arg-type]
        java_script_enabled=view.script,
        reduced_motion="reduce",
        timezone_id="UTC",
    )


def go(page: Page, stage: Stage, base: str, name: str, lang: str) -> None:
    """Brings `page` to the page called `name`, as a payer would come to it."""
    if name == NOT_FOUND:
        page.goto(f"{base}/pay/nobody-has-this-link?lang={lang}")
        return
    state, suffix = BESIDES.get(name, (name, ""))
    path = stage.paths[state] + suffix
    page.unroute_all()
    if name in UNMADE:
        page.route("**/way*", lambda route: route.fulfill(status=204))
    # The page's script may ask for a second way to pay.
    wait_until = "networkidle" if name in LIGHTNING else "load"
    page.goto(f"{base}{path}{'&' if '?' in path else '?'}lang={lang}", wait_until=wait_until)  # type: ignore[arg-type]
    if name == "price_unavailable":
        page.click("#requote")
        page.wait_for_load_state()
    if name == "refund_wrong":
        page.fill("#to", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsq")
        page.click("form button")
        page.wait_for_selector("#to-error")
