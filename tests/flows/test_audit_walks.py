"""The audit's chain is walked in steps, and no step lets an old row be altered for long."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import text

from bridge.books import verify as walks
from bridge.books.keep_books import seal_audit
from bridge.books.verify import verify_audit, verify_due
from bridge.upkeep.check import alerts
from tests.builders import unguard
from tests.flows.world import World

Worlds = Callable[..., World]


@pytest.fixture
def sealed(world: World) -> World:
    """Six sealed rows, walked once."""
    more(world, 6)
    assert verify_audit(world.bridge).is_intact
    return world


def more(world: World, count: int) -> None:
    before = len(world.rows("SELECT id FROM audit"))
    for number in range(count):
        world.open(str(before + number))
    seal_audit(world.bridge, owner="w1")


def tamper(world: World, *statements: str) -> None:
    """Somebody who owns the database gets past its triggers."""
    with world.bridge.store.write() as tx:
        unguard(tx, "audit", "audit_chain")
        for statement in statements:
            tx.execute(text(statement))


def alarms(world: World) -> set[str]:
    return {alert.rule for alert in alerts(world.bridge)}


def test_what_was_sealed_since_the_last_walk_is_walked_at_every_check(sealed: World) -> None:
    more(sealed, 2)
    tamper(sealed, "UPDATE audit SET actor = 'nobody' WHERE id = (SELECT max(id) FROM audit)")
    assert "audit_chain_broken" in alarms(sealed)


def test_an_old_row_that_was_altered_is_found_by_the_next_whole_walk_and_stays_an_alarm(sealed: World) -> None:
    tamper(sealed, "UPDATE audit SET actor = 'nobody' WHERE id = (SELECT min(id) FROM audit)")
    assert "audit_chain_broken" not in alarms(sealed)
    sealed.advance(86_500)
    verify_due(sealed.bridge)
    assert "audit_chain_broken" in alarms(sealed)
    sealed.advance(700)
    verify_due(sealed.bridge)
    assert "audit_chain_broken" in alarms(sealed)


def test_a_forged_note_of_a_walk_hides_nothing_from_the_whole_one(sealed: World) -> None:
    more(sealed, 3)
    tamper(
        sealed,
        "UPDATE audit SET actor = 'nobody' WHERE id = (SELECT max(id) FROM audit) - 1",
        "UPDATE audit_checks SET position = (SELECT max(position) FROM audit_chain),"
        " sha256 = (SELECT sha256 FROM audit_chain ORDER BY position DESC LIMIT 1), broken = ''",
    )
    assert "audit_chain_broken" not in alarms(sealed)
    assert "was altered" in verify_audit(sealed.bridge).detail
    assert "audit_chain_broken" in alarms(sealed)


@pytest.mark.parametrize(
    "cut",
    [
        "DELETE FROM audit_chain WHERE position > 3",
        "UPDATE audit_chain SET sha256 = 'x' WHERE position = (SELECT max(position) FROM audit_chain)",
    ],
)
def test_a_chain_that_no_longer_holds_what_was_walked_is_an_alarm_at_once(sealed: World, cut: str) -> None:
    tamper(sealed, cut)
    assert "audit_chain_broken" in alarms(sealed)


def test_a_chain_written_anew_from_its_start_is_shown_by_an_anchor_kept_elsewhere(sealed: World) -> None:
    anchor = verify_audit(sealed.bridge).anchor
    assert verify_audit(sealed.bridge, anchor=anchor).is_intact
    tamper(sealed, "UPDATE audit SET actor = 'nobody'", "DELETE FROM audit_chain", "DELETE FROM audit_checks")
    seal_audit(sealed.bridge, owner="w1")
    assert verify_audit(sealed.bridge).is_intact
    assert "is no link of this chain" in verify_audit(sealed.bridge, anchor=anchor).detail
    assert not verify_audit(sealed.bridge, anchor="nonsense").is_intact


def test_the_worker_walks_all_once_a_day_and_the_new_every_ten_minutes(sealed: World) -> None:
    assert verify_due(sealed.bridge) == 6
    assert verify_due(sealed.bridge) == 0
    more(sealed, 2)
    sealed.advance(601)
    assert verify_due(sealed.bridge) == 2
    sealed.advance(86_400)
    assert verify_due(sealed.bridge) == 8


def test_a_walk_in_small_pages_sees_the_same(sealed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "PAGE", 2)
    assert verify_audit(sealed.bridge).sealed == 6
    tamper(sealed, "UPDATE audit SET actor = 'nobody' WHERE id = (SELECT min(id) FROM audit) + 3")
    assert "position 4 was altered" in verify_audit(sealed.bridge).detail


def test_every_whole_walk_leaves_its_anchor_in_the_log(sealed: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="bridge"):
        report = verify_audit(sealed.bridge)
    assert [record.anchor for record in caplog.records if record.message == "audit.verified"] == [report.anchor]
    assert json.dumps(report.anchor).startswith('"6:')
