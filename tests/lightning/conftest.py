"""The real LNbits of the marked group: one for all of them. A machine that cannot have it says why, and the group is skipped."""

from collections.abc import Iterator

import click
import pytest

from bench.peer import install
from tests.lightning.real import RealLnbits, real_lnbits


@pytest.fixture(scope="session")
def lnbits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLnbits]:
    try:
        python = install()
    except click.ClickException as missing:
        pytest.skip(missing.message)
    with real_lnbits(tmp_path_factory.mktemp("lnbits"), python) as started:
        yield started
