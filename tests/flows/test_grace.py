"""Time to pay that a person gives: an entry with sum, end and approver, once per payment, closed by paying or by its end."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from bridge.core.errors import BridgeError
from bridge.desk.explain import explain
from bridge.desk.grant_grace import grant_grace, list_grants
from bridge.invoices.pay import requote
from tests.flows.world import World, open_world

DAY = 86_400
TRUSTED = {"customer_id": "77", "tier": "trusted"}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Only trusted clients may be given time, up to thirty days; without it an invoice is closed after eight."""
    with open_world(database_url, policy={"tiers": {"trusted": {"grace_seconds": 30 * DAY}}}) as opened:
        yield opened


def give(world: World, invoice: dict[str, Any], *, days: int | None = None, **who: str) -> dict[str, Any]:
    ends_at = world.bridge.clock() + timedelta(days=days) if days is not None else None
    wanted = {"actor": "ann", "reason": "a client for years"} | who
    return grant_grace(world.bridge, invoice["id"], ends_at=ends_at, **wanted)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


def test_a_grant_is_an_entry_with_sum_end_and_approver_and_its_end_is_shown(world: World) -> None:
    invoice = world.open(**TRUSTED)
    assert invoice["grace_until"] is None
    grant = give(world, invoice, days=20)
    assert (grant["amount"], grant["currency"], grant["approver"], grant["state"]) == ("10.00", "USD", "ann", "open")
    assert grant == list_grants(world.bridge, match={"state": "open"})[0]
    shown = world.invoice(invoice)
    assert shown["grace_until"] == shown["monitor_until"] == grant["ends_at"]
    told = world.feed()[-1]
    assert (told["type"], told["invoice"]["grace_until"]) == ("invoice.updated", grant["ends_at"])
    (kept,) = world.rows("SELECT actor, reason FROM audit WHERE action = 'grace_granted'")
    assert tuple(kept) == ("ann", "a client for years")
    for lang, word in (("en", "gave the client time"), ("ru", "даёт клиенту время")):
        assert any(word in line for line in explain(world.bridge, invoice["id"], lang=lang))


def test_nothing_is_cancelled_before_its_end_and_then_it_lapses_without_forgiving(world: World) -> None:
    invoice = world.open(**TRUSTED)
    give(world, invoice, days=20)
    world.advance(19 * DAY)
    world.look(invoice)
    assert "invoice.cancelled" not in [event["type"] for event in world.feed()]
    world.advance(DAY + 60)
    world.look(invoice)
    (grant,) = list_grants(world.bridge, match={})
    assert (grant["state"], grant["ended_at"] is not None) == ("lapsed", True)
    after = world.invoice(invoice)
    assert (after["grace_until"], after["status"], after["amount"]) == (None, "expired", "10.00")
    assert "invoice.cancelled" in [event["type"] for event in world.feed()]
    assert any("Nothing was forgiven" in line for line in explain(world.bridge, invoice["id"], lang="en"))
    journals = world.rows("SELECT kind FROM journals")
    assert {row.kind for row in journals} <= {"reserve", "release"}


def test_paying_in_time_closes_it(world: World) -> None:
    invoice = world.open(**TRUSTED)
    give(world, invoice)
    world.advance(12 * DAY)
    world.look(invoice)
    public_id = world.invoice(invoice)["payment_url"].rpartition("/")[2]
    requote(world.bridge, public_id)
    world.pay(world.invoice(invoice), confirmations=1)
    world.look(invoice)
    assert world.invoice(invoice)["status"] == "settled"
    (grant,) = list_grants(world.bridge, match={})
    assert grant["state"] == "settled"
    assert world.invoice(invoice)["grace_until"] is None


def test_it_is_given_once_per_payment_and_only_to_configured_tiers(world: World) -> None:
    invoice = world.open(**TRUSTED)
    give(world, invoice, days=1)
    assert refused(lambda: give(world, invoice)) == "grace_given"
    world.advance(2 * DAY)
    world.look(invoice)
    assert list_grants(world.bridge, match={})[0]["state"] == "lapsed"
    assert refused(lambda: give(world, invoice)) == "grace_given"
    stranger = world.open("8")
    assert refused(lambda: give(world, stranger)) == "no_grace"


def test_it_cannot_be_longer_than_the_tier_allows_nor_given_when_nothing_is_to_be_paid(world: World) -> None:
    invoice = world.open(**TRUSTED)
    for days in (0, 31):
        assert refused(lambda days=days: give(world, invoice, days=days)) == "bad_period"
    assert refused(lambda: give(world, invoice, reason=" ")) == "actor_and_reason_required"
    world.pay(invoice, confirmations=6)
    world.look(invoice)
    assert refused(lambda: give(world, invoice)) == "invoice_over"
    closed = world.open("8", **TRUSTED)
    world.advance(9 * DAY)
    world.look(closed)
    assert refused(lambda: give(world, closed)) == "invoice_over"
    assert refused(lambda: give(world, {"id": "inv_none"})) == "unknown_invoice"
