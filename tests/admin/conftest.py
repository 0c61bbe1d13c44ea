"""Fixtures of the operators' pages: an office with its people on each engine, or on SQLite only."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.admin.office import Office, build_office


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """An office on each engine: for what is written."""
    made = build_office(database_url)
    with closing(made.bridge.store):
        yield made


@pytest.fixture
def small_office(sqlite_url: str) -> Iterator[Office]:
    """An office on SQLite only, for what the engine cannot change: doors, texts, forms."""
    made = build_office(sqlite_url)
    with closing(made.bridge.store):
        yield made
