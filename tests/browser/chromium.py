"""Debian's Chromium through playwright, and a server on loopback for it to look at.

Owns starting and stopping both; must not know a page.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from sandbox.serving import WsgiServer

# Quiet about everything that is not ours: a browser that phones home is no witness against foreign requests.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
]


def chromium_path() -> str | None:
    """The browser of this machine; `make test` installs it. The one that has no window at all does a page in a third of the time."""
    return next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """A running browser without a window. Raises FileNotFoundError when there is none."""
    path = chromium_path()
    if path is None:
        raise FileNotFoundError("chromium is not installed")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(application: Any) -> Iterator[str]:
    """The address of `application` on a free port of loopback."""
    with WsgiServer("127.0.0.1", 0, application) as server:
        yield f"http://127.0.0.1:{server.server_port}"
