"""The whole journey on real blocks: an order in BILLmanager, paid by a real transaction, becomes an active service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import PORTS, Demo, Walk, call, running


@pytest.fixture
def demo(bitcoind: Path, tmp_path: Path) -> Iterator[Demo]:
    """The demo's own programs, the bitcoin side on a node of its own."""

    def change(settings: dict[str, Any]) -> None:
        settings["network"] = "regtest"

    chain = ("--net", "regtest", "--node", str(bitcoind.parent))
    free = dict.fromkeys(PORTS, 0)
    with running(tmp_path, wanted_ports=free, change=change, tick_seconds=0, chain=chain) as started:
        yield started


def test_an_order_paid_by_a_real_transaction_becomes_an_active_service(demo: Demo) -> None:
    walk = Walk(demo)
    walk.run()
    assert walk.invoice["address"].startswith("bcrt1q")
    (block,) = confirming_blocks(demo, walk.invoice["address"])
    assert call(f"{demo.url('bitcoin')}/esplora/block/{block}").json()["tx_count"] == 1


def confirming_blocks(demo: Demo, address: str) -> list[str]:
    found = call(f"{demo.url('bitcoin')}/esplora/address/{address}/txs").json()
    return [transaction["status"]["block_hash"] for transaction in found]
