"""One browser and one stage with every state for the whole group.

Owns the fixtures of the browser tests; must not assert anything.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import open_chromium, served
from tests.browser.pages import View, open_context
from tests.browser.states import Stage


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_chromium())
        except FileNotFoundError as missing:
            # In CI a missing browser is a failure; on a person's machine `make test` installs it.
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{missing}; `make test` installs it")
        yield opened


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Every state; tests only look at it."""
    with closing(Stage(folder=tmp_path_factory.mktemp("states")).set_up_all()) as made:
        yield made


@pytest.fixture(scope="session")
def base(stage: Stage) -> Iterator[str]:
    """Where the stage is served."""
    with served(stage) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an empty page that looks like a view; everything ends with the test."""
    with ExitStack() as stack:

        def opened(**view: object) -> Page:
            wanted = View(**{"lang": "en", "width": 390, "scheme": "light"} | view)  # type: ignore[arg-type]
            context = stack.enter_context(closing(open_context(browser, wanted)))
            return context.new_page()

        yield opened
