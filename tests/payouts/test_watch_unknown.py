"""A payout of unknown outcome on a node that prunes: what its blocks said is kept, so that a person can rule when they are gone."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.context import Chain
from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import ChainReading
from bridge.payouts.outcome import watch_unknown
from bridge.worker import Worker
from tests.payouts.desk import PAYER, Desk

DAY = 86_400
ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


@dataclass
class Pruned:
    """The world's chain on a node whose oldest block is of `kept_from`, and whose wallet was made anew: it shows no older money."""

    chain: Chain
    kept_from: datetime
    asked: list[str] = field(default_factory=list)

    def read(self, address, *, born_at, asked_at, known=()) -> ChainReading:
        self.asked.append(address)
        seen = self.chain.read(address, born_at=born_at, asked_at=asked_at, known=known)
        outputs = tuple(o for o in seen.outputs if o.block_time is None or o.block_time >= self.kept_from)
        is_whole = born_at >= self.kept_from
        since, gap = (born_at, "") if is_whole else (self.kept_from, "pruned")
        return replace(seen, outputs=outputs, since=since, gap=gap)

    def tip(self):
        return self.chain.tip()


@pytest.fixture
def node(desk: Desk) -> Pruned:
    """A node that has all blocks until a test prunes it."""
    made = Pruned(desk.world.bridge.chain, kept_from=desk.world.bridge.clock())
    desk.world.bridge = replace(desk.world.bridge, chain=made)
    return made


def unknown(desk: Desk, fault: str) -> dict:
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", fault, times=1)
    desk.send()
    assert desk.now(payout)["state"] == "unknown"
    return payout


def prune(desk: Desk, node: Pruned) -> None:
    """Days later the node has thrown away what was there when somebody last read: the blocks since then are all it has."""
    ((covered_until,),) = desk.world.rows("SELECT covered_until FROM payouts")
    now = desk.world.bridge.clock()
    node.kept_from = now if covered_until is None else datetime.fromtimestamp(covered_until / 10**6, UTC)
    desk.world.advance(5 * DAY)


def test_that_nothing_was_sent_can_be_ruled_after_the_blocks_are_gone(desk: Desk, node: Pruned) -> None:
    payout = unknown(desk, "error_500_before")
    worker = Worker(desk.world.bridge, threads=1)
    worker.step()
    worker.stop()
    worker.run()
    prune(desk, node)
    desk.rule("payout_failed")
    assert desk.now(payout)["state"] == "failed"
    assert desk.arrived() == []


@ONE_ENGINE
def test_money_that_may_be_the_payout_is_never_left_behind(desk: Desk, node: Pruned) -> None:
    """It was sent, the answer was lost, and the node that saw it is gone: no silence afterwards may send it twice."""
    payout = unknown(desk, "lost_response")
    watch_unknown(desk.world.bridge, owner="w1")
    desk.world.mine(6)
    desk.world.advance(61)
    watch_unknown(desk.world.bridge, owner="w1")
    with pytest.raises(Refused, match="The chain shows"):
        desk.rule("payout_failed")
    prune(desk, node)
    watch_unknown(desk.world.bridge, owner="w1")
    with pytest.raises(Unavailable) as unsearched:
        desk.rule("payout_failed")
    assert (unsearched.value.code, desk.now(payout)["state"]) == ("evidence_missing", "unknown")
    assert len(desk.arrived()) == 1


@ONE_ENGINE
def test_money_that_leaves_after_the_last_reading_is_seen_by_the_next(desk: Desk, node: Pruned) -> None:
    payout = unknown(desk, "error_500_before")
    watch_unknown(desk.world.bridge, owner="w1")
    desk.world.advance(61)
    desk.world.control("pay", address=PAYER, amount_sat=desk.now(payout)["net_sat"])
    desk.world.mine(6)
    prune(desk, node)
    with pytest.raises(Refused, match="The chain shows"):
        desk.rule("payout_failed")


@ONE_ENGINE
def test_a_payout_that_nobody_read_in_time_still_cannot_be_said_not_to_be_sent(desk: Desk, node: Pruned) -> None:
    unknown(desk, "error_500_before")
    prune(desk, node)
    watch_unknown(desk.world.bridge, owner="w1")
    with pytest.raises(Unavailable, match="pruned"):
        desk.rule("payout_failed")


@ONE_ENGINE
def test_the_destination_is_read_once_a_minute_over_all_workers_and_holds_up_no_ruling(
    desk: Desk, node: Pruned
) -> None:
    payout = unknown(desk, "error_500_before")
    version = desk.world.rows("SELECT version FROM payouts")
    node.asked.clear()
    assert [watch_unknown(desk.world.bridge, owner=owner) for owner in ("w1", "w2", "w1", "w2")] == [1, 0, 0, 0]
    desk.world.advance(61)
    assert watch_unknown(desk.world.bridge, owner="w2") == 1
    assert node.asked == [PAYER] * 2
    assert desk.world.rows("SELECT version FROM payouts") == version
    desk.rule("payout_failed")
    desk.world.advance(61)
    assert watch_unknown(desk.world.bridge, owner="w1") == 0
    assert desk.now(payout)["state"] == "failed"


@ONE_ENGINE
def test_a_clock_that_is_ahead_covers_no_more_than_the_blocks_do(desk: Desk, node: Pruned) -> None:
    unknown(desk, "error_500_before")
    desk.world.clock_ahead = timedelta(hours=1)
    watch_unknown(desk.world.bridge, owner="w1")
    ((covered_until,),) = desk.world.rows("SELECT covered_until FROM payouts")
    assert datetime.fromtimestamp(covered_until / 10**6, UTC) == node.tip().time
