"""Fixtures of the payout tests: a desk with its people, and a maker of desks with other settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.flows.world import World, open_world
from tests.payouts.desk import Desk, settings, staffed


@pytest.fixture
def desks(database_url: str) -> Iterator[Callable[..., Desk]]:
    """Makes a staffed desk with changed settings over the test's own database."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Desk:
            return staffed(stack.enter_context(open_world(database_url, **settings(**changes))))

        yield make


@pytest.fixture
def desk(desks: Callable[..., Desk]) -> Desk:
    return desks()


@pytest.fixture
def worlds(database_url: str) -> Iterator[Callable[..., World]]:
    """Makes a world without anybody in it."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(open_world(database_url, **settings(**changes)))
