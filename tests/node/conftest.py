"""A real node on regtest, fetched once, one per test process; the sandbox on top of it.

Debian's unstable moves: a person's run skips these tests aloud, with the script's own words, when the package cannot be had
or does not come in time, and continuous integration fails. Nothing else in the tests depends on it.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.bitcoin import Served, serve_in_thread
from sandbox.node import NodeProgram, start_node
from tests.scenarios.play import KEY, WALLET

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bitcoind() -> Path:
    """The node's program, in the folder BRIDGE_NODE_DIR or var/node."""
    place = Path(os.environ.get("BRIDGE_NODE_DIR") or ROOT / "var" / "node")
    command = ["bash", str(ROOT / "scripts" / "get_node.sh"), str(place)]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=True)
    except subprocess.SubprocessError as missing:
        told = f"no real node to be had: {missing}: {str(getattr(missing, 'stderr', None) or '').strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return place / "bitcoind"


@pytest.fixture(scope="session")
def node(bitcoind: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProgram]:
    """The node that the sandbox works on."""
    started = start_node(bitcoind, tmp_path_factory.mktemp("node"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def sandbox(node: NodeProgram) -> Iterator[Served]:
    """Gateway, Esplora view, prices and control surface on real blocks."""
    served = serve_in_thread(net="regtest", node=node.rpc, api_key=KEY, wallet_id=WALLET)
    yield served
    served.stop()
