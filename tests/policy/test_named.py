"""Every decision names its version, and everybody who tells the story of an invoice says who stands behind it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bridge.desk.desk import invoice_dossier
from bridge.desk.evidence import evidence
from bridge.desk.explain import explain
from bridge.people.policy import approve, in_force, propose, take_file
from bridge.runtime import build
from tests.flows.world import World, open_world, settings_for
from tests.policy.conftest import STAFF, hire, risk


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A bridge on version 1 with its staff."""
    with open_world(database_url, **risk(100)) as made:
        made.bridge = take_file(made.bridge)
        hire(made.bridge, STAFF)
        yield made


def change_to(world: World, database_url: str, bps: int) -> None:
    """Fay proposes another price buffer, Ann approves, the world's program sees it."""
    edited = build(settings_for(world.sandbox.url, database_url, **risk(bps)))
    try:
        number = propose(replace(edited, clock=world.bridge.clock), actor="fay", reason="wild market")["number"]
    finally:
        edited.store.close()
    approve(world.bridge, number, actor="ann", reason="ok")
    world.bridge = in_force(world.bridge)


def test_an_invoice_names_the_version_it_was_opened_under_for_ever(world: World, database_url: str) -> None:
    old = world.open("7")
    change_to(world, database_url, 300)
    new = world.open("8")
    assert world.rows("SELECT policy_version FROM invoices ORDER BY created_at") == [("1",), ("2",)]
    assert world.rows("SELECT policy_version, risk_bps FROM quotes ORDER BY id") == [("1", 100), ("2", 300)]
    assert new["quote"]["due_sat"] > old["quote"]["due_sat"]
    world.pay(old)
    world.mine(6)
    assert world.seen(old)[0] == "settled"
    decided = world.rows("SELECT DISTINCT policy_version FROM audit WHERE invoice_id = :id", id=old["id"])
    assert decided == [("1",)]


def test_the_story_the_desk_and_the_evidence_say_who_approved(world: World, database_url: str) -> None:
    change_to(world, database_url, 300)
    invoice = world.open("7")
    world.pay(invoice)
    world.mine(6)
    world.look(invoice)
    english, russian = (" ".join(explain(world.bridge, invoice["id"], lang=lang)) for lang in ("en", "ru"))
    assert "policy version 2, approved by ann" in english
    assert "2 (одобрили: ann)" in russian
    (version,) = evidence(world.bridge, invoice["id"])["policy_versions"]
    assert (version["number"], version["proposed_by"], version["approvals"][0]["actor"]) == (2, "fay", "ann")
    assert "document" not in version
    dossier = invoice_dossier(world.bridge, invoice["id"])
    assert dossier["policy"]["number"] == 2


def test_a_remark_from_before_versions_is_told_as_it_is(world: World, database_url: str) -> None:
    """An invoice of release 0.1.0 names the operator's own version, which may look like a number."""
    from sqlalchemy import text

    invoice = world.open("7")
    with world.bridge.store.write() as tx:
        tx.execute(text("UPDATE invoices SET policy_version = '2'"))
    world.advance(3_600)
    change_to(world, database_url, 300)
    assert invoice_dossier(world.bridge, invoice["id"])["policy"] is None
    assert evidence(world.bridge, invoice["id"])["policy_versions"][0]["number"] == 1
