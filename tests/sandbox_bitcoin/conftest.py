"""One sandbox for the whole group, emptied before each test."""

from collections.abc import Iterator

import pytest

from sandbox.bitcoin import Served, serve_in_thread
from tests.sandbox_bitcoin.driver import Driver, Receiver


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    sandbox = serve_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(served: Served) -> Iterator[Driver]:
    """A fresh world with a key and a wallet."""
    served.world.reset()
    driver = Driver(served.url).ready()
    yield driver
    driver.http.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    endpoint = Receiver()
    yield endpoint
    endpoint.stop()
