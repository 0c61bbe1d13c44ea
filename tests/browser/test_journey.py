"""The whole way in a browser, with every program of the demo running: order, pay, watch it confirm, see the service run."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from sandbox.clock import turn
from sandbox.demo import PORTS, Demo, Walk, running, until
from tests.browser.seen import overflow, watch, words

PATIENCE_MS = 40_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    place = tmp_path_factory.mktemp("demo")

    def change(settings):
        settings["clock_offset_file"] = str(place / "clock")

    with running(place, wanted_ports=dict.fromkeys(PORTS, 0), change=change, tick_seconds=0) as programs:
        Walk(programs).add_method()
        yield programs


def travel(demo: Demo, seconds: int) -> None:
    """Moves the bridge's clock ahead of what the payer's device shows."""
    clock = demo.directory / "clock"
    turn(clock, seconds + (int(clock.read_text()) if clock.exists() else 0))


def order(page: Page, demo: Demo) -> None:
    """From the panel's login to the pay page."""
    page.goto(demo.url("billmanager") + "/")
    page.fill("#username", "demo")
    page.fill("#password", "demo")
    page.click("main button")
    page.check("input[value=vps]")
    page.select_option("#currency", "RUB")
    page.fill("#amount", "499.00")
    assert overflow(page) == []
    page.click("button[name=module]")
    page.wait_for_url("**/pay/*", timeout=PATIENCE_MS)


def press(wallet: Page, demo: Demo, action: str, *, link: str = "") -> None:
    """One button of the payer's wallet."""
    if link:
        wallet.goto(demo.url("bitcoin") + "/wallet")
        wallet.fill("#uri", link)
        wallet.click("form[method=get] button")
    wallet.click(f"button[value={action}]")
    wallet.wait_for_load_state()
    assert wallet.locator(".error").count() == 0 and overflow(wallet) == []


def reach(page: Page, state: str, *, script: bool) -> None:
    """Waits until the page tells this state: by itself with a script, by reloading without one."""
    if script:
        page.wait_for_selector(f"#live[data-state={state}]", timeout=PATIENCE_MS)
        return

    def told():
        page.reload()
        return page.get_attribute("#live", "data-state") == state

    until(told, f"the page did not come to {state}")


def until_active(page: Page) -> None:
    """Back in the panel: the service runs."""

    def active():
        page.reload()
        return page.locator("td .tag.green", has_text="active").count() > 0 or "Active" in words(page)

    until(active, "the service did not become active")


def code_on(page: Page, place: Path) -> str:
    """What a phone's camera would read off the screen."""

    def read():
        # Of the page, not of the element: news may put another card in its place at any moment.
        page.screenshot(path=place, full_page=True, clip=page.locator(".pay-qr > .qr-card").bounding_box())
        seen = subprocess.run(["zbarimg", "--quiet", "--raw", str(place)], capture_output=True, text=True)
        return seen.stdout.strip()

    return until(read, "no code was to be read")


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without a script"])
def test_from_the_order_to_the_active_service(open_page, demo, tmp_path, script):
    page, wallet = open_page(script=script, width=390), open_page(width=1280)
    seen = watch(page)
    order(page, demo)
    assert "499.00 RUB" in words(page) and page.get_attribute("#live", "data-state") == "awaiting_payment"
    press(wallet, demo, "pay90", link=code_on(page, tmp_path / "code.png"))
    travel(demo, 31)  # no watch rings for a part: the next look has to come
    reach(page, "partial", script=script)
    assert "are still missing" in words(page)
    press(wallet, demo, "pay", link=page.get_attribute("#wallet", "href"))
    travel(demo, 31)
    reach(page, "seen", script=script)
    press(wallet, demo, "mine")
    travel(demo, 6)  # past the worker's pause between two looks at the chain's tip
    reach(page, "settled", script=script)
    assert page.locator("#address").count() == 0
    page.locator(".buttons a.button").first.click()
    page.wait_for_load_state()
    page.goto(demo.url("billmanager") + "/")
    until_active(page)
    assert [
        url for url in (r.url for r in seen.requests) if "127.0.0.1" not in url and not url.startswith("data:")
    ] == []


def test_a_payment_taken_back_is_told_and_can_be_paid_again(open_page, demo):
    page, wallet = open_page(lang="ru"), open_page(lang="ru")
    order(page, demo)
    link = page.get_attribute("#wallet", "href")
    press(wallet, demo, "pay", link=link)
    reach(page, "seen", script=True)
    press(wallet, demo, "back")
    travel(demo, 40)
    reach(page, "replaced", script=True)
    # Lightning may have been made beside it meanwhile.
    assert page.get_attribute("#wallet", "href").partition("&")[0] == link.partition("&")[0]
    press(wallet, demo, "pay", link=link)
    travel(demo, 40)
    reach(page, "seen", script=True)
