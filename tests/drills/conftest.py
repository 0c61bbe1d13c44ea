"""Fixtures of the drills: an empty place, and one where `init` has been run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.place import Place, new_place


@pytest.fixture
def empty_place(tmp_path: Path) -> Iterator[Place]:
    with new_place(tmp_path) as made:
        yield made


@pytest.fixture
def place(empty_place: Place) -> Place:
    done = empty_place.init()
    assert done.exit_code == 0, done.output
    return empty_place
