"""Whom we believe: our own newest reads, two sources that agree, and nobody when they do not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.core.errors import ProtocolError
from bridge.core.evidence import ChainOutput, ChainReading, Fate, ProviderReading
from bridge.invoices.observe import Readings, Seen, take_in
from tests.fakes import FakeChain, FakeMoney, tip_at
from tests.flows.world import World

TXID = "ab" * 32


def take(world: World, invoice: dict, *, seconds: int, provider_sat: int | None, outputs: list | None) -> str:
    """Takes in readings that were asked `seconds` after the opening, as a slow or fast network would bring them."""
    ((opened_at,),) = world.rows("SELECT created_at FROM invoices")
    asked_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=opened_at, seconds=seconds)
    provider = chain = None
    if provider_sat is not None:
        provider = ProviderReading(
            address=invoice["address"], received_sat=provider_sat, reached=provider_sat > 0, asked_at=asked_at
        )
    if outputs is not None:
        chain = ChainReading(
            address=invoice["address"],
            outputs=tuple(outputs),
            tip=tip_at(9),
            source="test",
            asked_at=asked_at,
            fates={} if outputs else {f"{TXID}:0": Fate(code="rival_confirmed")},
        )
    with world.bridge.store.write() as tx:
        readings = Readings(asked_at=asked_at, seen=(Seen(provider=provider, chain=chain),))
        take_in(tx, world.bridge, invoice["id"], readings, actor="worker")
    return world.invoice(invoice)["status"]


def output(sat: int = 15_539, *, confirmations: int = 0) -> ChainOutput:
    return ChainOutput(outpoint=f"{TXID}:0", amount_sat=sat, confirmations=confirmations, replaceable=False)


def test_an_older_answer_never_undoes_a_newer_one(world: World) -> None:
    invoice = world.open()
    world.advance(60)
    assert take(world, invoice, seconds=30, provider_sat=15_539, outputs=[output(confirmations=1)]) == "settled"
    assert take(world, invoice, seconds=10, provider_sat=0, outputs=[]) == "settled"
    assert take(world, invoice, seconds=20, provider_sat=15_539, outputs=[output()]) == "settled"
    assert world.invoice(invoice)["confirmed_sat"] == 15_539
    world.advance(30)
    world.deliver()
    assert world.billing.types() == ["invoice.settled"]


def test_an_older_answer_does_not_turn_the_clock_of_the_invoice_back(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    assert world.seen(invoice)[0] == "expired"
    assert take(world, invoice, seconds=86_341, provider_sat=0, outputs=[]) == "expired"
    world.deliver()
    assert world.billing.types() == ["invoice.expired"]


def test_an_older_answer_still_teaches_when_money_was_first_seen(world: World) -> None:
    invoice = world.open()
    world.advance(3_601)
    take(world, invoice, seconds=3_600, provider_sat=15_539, outputs=[output(confirmations=1)])
    take(world, invoice, seconds=60, provider_sat=15_539, outputs=[output()])
    ((first_seen_at, created_at),) = world.rows(
        "SELECT p.first_seen_at, i.created_at FROM payments p JOIN invoices i ON i.id = p.invoice_id"
    )
    assert (first_seen_at - created_at) // 1_000_000 == 60


def test_the_same_answer_twice_changes_nothing(world: World) -> None:
    invoice = world.open()
    for _ in range(2):
        take(world, invoice, seconds=5, provider_sat=15_539, outputs=[output(confirmations=1)])
    assert world.invoice(invoice)["sequence"] == 2
    assert len(world.rows("SELECT * FROM observations")) == 1


def test_without_any_answer_nothing_moves(world: World) -> None:
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    world.control("knobs", outage="cut")
    world.fault("esplora", "down")
    assert world.look(invoice) is None
    assert world.invoice(invoice)["status"] == "processing"
    world.heal()
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)


def test_with_the_gateway_down_the_chain_alone_confirms_but_does_not_settle_before_it_agrees(world: World) -> None:
    invoice = world.open()
    world.control("knobs", outage="503")
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice) == ("processing", "none", None)
    world.heal()
    assert world.seen(invoice) == ("settled", "none", None)


def test_with_the_chain_down_the_gateways_word_alone_settles_nothing(world: World) -> None:
    invoice = world.open()
    world.fault("esplora", "down")
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice) == ("new", "none", None)
    world.heal()
    assert world.seen(invoice) == ("settled", "none", None)


def test_a_chain_reader_that_fell_behind_settles_nothing_before_it_caught_up(world: World) -> None:
    invoice = world.open()
    world.fault("esplora", "blind")
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "new"
    world.heal()
    assert world.seen(invoice) == ("settled", "none", None)
    assert world.reviews() == []


def test_sources_that_disagree_for_long_are_a_persons_business(world: World) -> None:
    invoice = world.open()
    world.fault("esplora", "blind")
    world.pay(invoice)
    assert world.seen(invoice) == ("new", "none", None)
    world.advance(599)
    assert world.seen(invoice)[2] is None
    world.advance(2)
    assert world.seen(invoice)[2] == "review"
    assert world.reviews() == ["provider_disagrees"]
    world.heal()
    world.mine()
    assert world.seen(invoice)[2] == "review"  # only a person lets it go on
    world.deliver()
    assert "invoice.settled" not in world.billing.types()


@pytest.mark.parametrize(
    ("kind", "review"),
    [("reached_with_too_little", "provider_disagrees"), ("wrong_address", "suspicious_address")],
)
def test_a_gateway_that_contradicts_itself_settles_nothing_and_makes_somebody_look(
    world: World, kind: str, review: str
) -> None:
    invoice = world.open()
    world.fault("wallet_poll", kind, times=1)
    assert world.seen(invoice)[0] == "new"
    assert world.reviews() == [review]
    now = world.invoice(invoice)
    assert (now["received_sat"], now["status"]) == (0, "new")


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "kind",
    ["string_numbers", "float_numbers", "no_result", "truncated_json", "not_json", "redirect", "rate_limited", "down"],
)
def test_a_broken_poll_is_no_fact(world: World, kind: str) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.fault("wallet_poll", kind, times=1)
    assert world.seen(invoice)[0] == "processing"
    assert world.seen(invoice)[0] == "settled"


def test_without_a_chain_reader_small_totals_settle_on_the_gateways_word(worlds) -> None:
    world = worlds(chain={}, policy={"default": {"provider_only_max_sat": 20_000}})
    invoice = world.open("1")
    world.pay(invoice, 6_000)
    assert world.seen(invoice) == ("new", "paid_partial", None)
    world.pay(invoice, 9_539)
    assert world.seen(invoice) == ("settled", "none", None)
    assert [row.amount_sat for row in world.rows("SELECT amount_sat FROM payments ORDER BY id")] == [6_000, 9_539]


def test_without_a_chain_reader_larger_totals_wait_for_a_person(worlds) -> None:
    world = worlds(chain={})
    invoice = world.open()
    world.pay(invoice, confirmations=3)
    assert world.seen(invoice)[2] == "review"
    assert world.reviews() == ["provider_only_limit"]


def test_a_total_that_falls_takes_from_the_newest_money(worlds) -> None:
    world = worlds(chain={}, policy={"default": {"provider_only_max_sat": 20_000}})
    invoice = world.open()
    world.pay(invoice, 6_000)
    world.look(invoice)
    txid = world.pay(invoice, 4_000, replaceable=True)
    world.look(invoice)
    world.control("drop", txid=txid)
    assert world.seen(invoice)[:2] == ("new", "paid_partial")
    assert world.invoice(invoice)["received_sat"] == 6_000


def test_a_look_at_an_unknown_invoice_is_nothing(world: World) -> None:
    assert world.look({"id": "inv_unknown"}) is None


class CrowdedChain(FakeChain):
    """A chain server that gives up on the address until a person names a better one."""

    def __init__(self) -> None:
        super().__init__(FakeMoney())
        self.fails_with = ProtocolError("chain_too_long", "More transactions than it lists.")


def test_an_address_that_no_server_lists_waits_for_a_person_and_is_never_closed(world: World) -> None:
    invoice, reader = world.open(), world.bridge.chain
    world.bridge = replace(world.bridge, chain=CrowdedChain())
    for _ in range(3):
        assert world.seen(invoice) == ("new", "none", "review")
    assert world.invoice(invoice)["reason"] == "address_crowded"
    assert world.reviews() == ["address_crowded"]
    world.advance(10 * 86_400)
    assert world.seen(invoice)[0] == "new"  # nobody has seen that nothing came
    assert world.rows("SELECT closed_at FROM invoices")[0].closed_at is None
    world.bridge = replace(world.bridge, chain=reader)
    assert world.seen(invoice)[2] == "review"  # that it can be read again is for a person to say
