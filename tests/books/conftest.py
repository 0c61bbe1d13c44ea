"""Fixtures of the tests of the books: a world with the usual settings, and a maker of unusual ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.flows.world import World, open_world


@pytest.fixture
def worlds(database_url: str) -> Iterator[Callable[..., World]]:
    """Makes a world with changed settings over the test's own database."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(open_world(database_url, **changes))


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds()
