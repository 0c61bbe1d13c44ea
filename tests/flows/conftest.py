"""Fixtures of the flow tests: a world with the usual settings, and a maker of unusual ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.flows.world import World, open_world


@pytest.fixture
def worlds(database_url: str) -> Iterator[Callable[..., World]]:
    """Makes a world with changed settings over the test's own database."""
    with ExitStack() as stack:

        def make(**changes: Any) -> World:
            return stack.enter_context(open_world(database_url, **changes))

        yield make


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds()
