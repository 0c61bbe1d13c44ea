"""Fixtures of the durability tests: the process that forks programs, and shops over either engine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.durability.programs import Zygote, open_zygote
from tests.durability.shop import Shop, open_shop


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with open_zygote() as forked:
        yield forked


@pytest.fixture
def shops(zygote: Zygote, tmp_path: Path, database_url: str) -> Iterator[Callable[..., Shop]]:
    """Makes a shop with changed settings over the test's own database."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Shop:
            return stack.enter_context(open_shop(zygote, tmp_path, database_url, **settings))

        yield make
