"""Two real Electrum daemons with a channel between them, on a node of their own; fetched once, started once per run.

Debian's unstable moves: a person's run skips these tests aloud, with the script's own words, when a part cannot be had, and
continuous integration fails. Nothing else in the tests depends on it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.node import NodeProgram
from tests.lightning.electrum.programs import Daemon, end, fund, mine, open_channel, start_daemon, start_server
from tests.node.conftest import bitcoind, node

__all__ = ["bitcoind", "node"]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def electrum() -> Path:
    """The folder of the programs: BRIDGE_ELECTRUM_DIR or var/electrum."""
    place = Path(os.environ.get("BRIDGE_ELECTRUM_DIR") or ROOT / "var" / "electrum").absolute()
    command = ["bash", str(ROOT / "scripts" / "get_electrum.sh"), str(place), sys.executable]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=True)
    except subprocess.SubprocessError as missing:
        told = f"no real Electrum to be had: {missing}: {str(getattr(missing, 'stderr', None) or '').strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return place


@pytest.fixture(scope="session")
def mined(node: NodeProgram) -> NodeProgram:
    """The node, with bitcoin to spend in its wallet."""
    node.rpc("createwallet", "miner")
    mine(node, 101)
    return node


@pytest.fixture(scope="session")
def server(electrum: Path, mined: NodeProgram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Electrum server over the node."""
    program, address = start_server(electrum, tmp_path_factory.mktemp("e-x"), mined)
    yield address
    program.terminate()
    end(program)


@pytest.fixture(scope="session")
def shop(electrum: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that is paid."""
    started = start_daemon(electrum, tmp_path_factory.mktemp("shop"), server)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def payer(
    electrum: Path, server: str, mined: NodeProgram, shop: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """The daemon that pays, over a channel to the shop's."""
    started = start_daemon(electrum, tmp_path_factory.mktemp("payer"), server)
    try:
        fund(mined, started)
        open_channel(mined, started, shop)
        yield started
    finally:
        started.stop()
