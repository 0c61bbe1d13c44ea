"""`make gallery`: every page of payers and operators, in every language, width and scheme, as a picture, and one page
to leaf through them.

Owns build/gallery; must not judge a picture, people do.
"""

import argparse
import html
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from playwright.sync_api import Browser

from bridge.language import languages
from tests.browser import desk
from tests.browser.chromium import open_chromium, served
from tests.browser.pages import PAGES, View, all_views, go, open_context
from tests.browser.seen import overflow
from tests.browser.states import Stage

ROOM = Path(__file__).parent
TARGET = Path("build/gallery")


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the pictures; returns 1 when something sticks out on one of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.gallery", description=main.__doc__)
    parser.add_argument("--only", default="", help="names of pages, with commas between them")
    parser.add_argument("--views", default="", help="views such as en-390-light, with commas between them")
    parser.add_argument("--to", type=Path, default=TARGET)
    chosen = parser.parse_args(arguments)
    names = [name for name in PAGES if not chosen.only or name in chosen.only.split(",")]
    desk_names = [name for name in desk.PAGES if not chosen.only or name in chosen.only.split(",")]
    views = [view for view in all_views() if not chosen.views or str(view) in chosen.views.split(",")]
    started, faults = time.monotonic(), []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = stack.enter_context(closing(Stage(folder=folder).set_up_all()))
        base, browser = stack.enter_context(served(stage)), stack.enter_context(open_chromium())
        for view in views:
            faults += shoot(browser, stage, base, names, view, chosen.to)
        office = stack.enter_context(desk.open_office(folder)) if desk_names else None
        # Who works there is not offered every language that payers are.
        for view in (each for each in views if office is not None and each.lang in languages().whole):
            faults += shoot_desk(browser, office, desk_names, view, chosen.to)
    names += desk_names
    index = write_index(chosen.to, names, views)
    print(
        "\n".join([*faults, f"{len(names)} pages in {len(views)} views, {time.monotonic() - started:.0f} s: {index}"])
    )
    return 1 if faults else 0


def shoot(browser: Browser, stage: Stage, base: str, names: list[str], view: View, target: Path) -> list[str]:
    """All pages in one view. Returns what sticks out."""
    faults = []
    with closing(open_context(browser, view)) as context:
        page = context.new_page()
        for name in names:
            go(page, stage, base, name, view.lang)
            place = target / name / f"{view}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=place, full_page=True)
            faults += [f"{name} {view}: {fault}" for fault in overflow(page)]
    return faults


def shoot_desk(browser: Browser, office: desk.ServedOffice, names: list[str], view: View, target: Path) -> list[str]:
    """The operators' pages in one view, each as the person who works there. Returns what sticks out."""
    faults = []
    for name in names:
        person, path = desk.PAGES[name]
        with closing(office.context(browser, view, person)) as context:
            page = context.new_page()
            page.goto(office.url(path, lang=view.lang), wait_until="networkidle")
            place = target / name / f"{view}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=place, full_page=True)
            faults += [f"{name} {view}: {fault}" for fault in overflow(page)]
    return faults


def write_index(target: Path, names: list[str], views: list[View]) -> Path:
    """One page with buttons for the views."""
    buttons = "".join(f'<button data-view="{view}">{view}</button>' for view in views)
    figures = "".join(
        f'<figure id="{name}"><figcaption><a href="#{name}">{html.escape(name)}</a></figcaption>'
        f'<a><img loading="lazy" alt="{html.escape(name)}" data-name="{name}"></a></figure>'
        for name in names
    )
    page = (ROOM / "gallery.html").read_text(encoding="utf-8")
    index = target / "index.html"
    index.write_text(page.replace("BUTTONS", buttons).replace("FIGURES", figures), encoding="utf-8")
    return index


if __name__ == "__main__":
    raise SystemExit(main())
