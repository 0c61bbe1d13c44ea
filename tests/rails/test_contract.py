"""What every rail must keep, whoever it is: a new one is one more row of RAILS.

Owns the contract of `bridge.core.rail`, asked of real adapters over the sandbox; what is special about one rail is tested elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.config import RAIL_SECTIONS
from bridge.core.addresses import check_payable
from bridge.core.coverage import gap_of, known_outputs
from bridge.core.errors import BridgeError, Refused
from bridge.core.evidence import ChainReading
from bridge.core.ledger import ACCOUNTS
from bridge.core.rail import CHAIN, RAIL, TOTAL_AND_CHAIN, WITNESSES, Rail, Target
from bridge.invoices.chain import horizon
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.targets import targets_of
from bridge.store import invoices, targets
from tests.books.runs import reconcile
from tests.builders import with_rail
from tests.flows.test_own_wallet import WITHOUT_GATEWAY
from tests.flows.world import World


@contextmanager
def outage(world: World) -> Iterator[None]:
    """Neither gateway nor chain answers."""
    world.control("knobs", outage="503")
    world.fault("esplora", "down")
    try:
        yield
    finally:
        world.heal()


@contextmanager
def lightning_outage(world: World) -> Iterator[None]:
    """Nobody of Lightning answers."""
    world.control("knobs", ln_outage="503")
    try:
        yield
    finally:
        world.control("knobs", ln_outage=None)


def pay_lightning(world: World, invoice: dict[str, Any], _sat: int) -> None:
    """Of a Lightning invoice a payer pays all or nothing."""
    world.control("ln_pay", bolt11=target(world, invoice).text)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One rail: the settings under which new invoices are paid over it or beside it, what it can do besides, how a payer pays, in
    which parts where it can be in parts, and how it is made to fall silent.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    can: frozenset[str] = frozenset()
    pay: Callable[[World, dict[str, Any], int], object] = World.pay
    parts: tuple[int, ...] = (2_000, 3_000)
    silence: Callable[[World], AbstractContextManager[None]] = outage


RAILS = {
    "subtc": Case(can=frozenset({"reader", "balance", "sends", "health", "doorbell"})),
    "own_wallet": Case(settings=WITHOUT_GATEWAY),
    "lnbits": Case(
        settings={"lnbits": {}},
        can=frozenset({"balance", "sends", "health", "doorbell", "evidence"}),
        pay=pay_lightning,
        parts=(),
        silence=lightning_outage,
    ),
    "electrum": Case(
        settings={"electrum": {"refunds": True}},
        can=frozenset({"balance", "sends", "health", "evidence"}),
        pay=pay_lightning,
        parts=(),
        silence=lightning_outage,
    ),
}
ABILITIES = ("reader", "balance", "sends", "health", "doorbell", "evidence")


@pytest.fixture(params=RAILS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(name: str, worlds: Callable[..., World]) -> World:
    return worlds(**RAILS[name].settings)


def rail_of(world: World) -> Rail:
    """The one that this is about: beside the first one where the settings name such a one."""
    return [rail for rail in world.bridge.rails if rail.is_offered][-1]


def opened(world: World, billing_payment_id: str = "7", **more: Any) -> dict[str, Any]:
    """An open invoice that can be paid over the rail."""
    invoice, rail = world.open(billing_payment_id, **more), rail_of(world)
    if rail.is_beside:
        offer_beside(world.bridge, row_of(world, invoice).public_id, rail.way)
    return invoice


def row_of(world: World, invoice: dict[str, Any]) -> Any:
    with world.bridge.store.read() as tx:
        return invoices.find(tx, id=invoice["id"])


def target(world: World, invoice: dict[str, Any]) -> Target:
    with world.bridge.store.read() as tx:
        return targets_of(tx, world.bridge, invoices.find(tx, id=invoice["id"]))[-1]


def facts(world: World, invoice: dict[str, Any]) -> ChainReading:
    """What the rail's evidence says of the invoice's target now."""
    evidence, row = world.bridge.evidence_of(target(world, invoice)), row_of(world, invoice)
    assert evidence is not None
    with world.bridge.store.read() as tx:
        known = known_outputs(invoices.payments_of(tx, row.id))
    text = target(world, invoice).text
    return evidence.read(text, born_at=row.created_at, asked_at=world.bridge.clock(), known=known)


def gap(world: World, invoice: dict[str, Any]) -> str:
    with world.bridge.store.read() as tx:
        held_to = horizon(tx, world.bridge, now=world.bridge.clock())
    held_to = held_to.of(target(world, invoice))
    return gap_of(facts(world, invoice), born_at=row_of(world, invoice).created_at, horizon=held_to)


def pay(world: World, invoice: dict[str, Any], sat: int | None = None) -> None:
    """A payer pays over the rail of the world, what remains unless the test says otherwise."""
    RAILS[rail_of(world).name].pay(world, invoice, invoice["remaining_sat"] if sat is None else sat)


def silence(world: World) -> AbstractContextManager[None]:
    """Nobody who could say what came answers."""
    return RAILS[rail_of(world).name].silence(world)


def test_every_section_of_the_settings_that_names_a_rail_is_asked_here() -> None:
    assert set(RAILS) == set(RAIL_SECTIONS)


def test_it_says_who_it_is_and_what_it_can_do(name: str, world: World) -> None:
    rail = rail_of(world)
    assert (rail.name, rail.is_offered) == (name, True)
    assert rail.account in ACCOUNTS
    assert rail.witness in WITNESSES
    assert {each for each in ABILITIES if getattr(rail, each) is not None} == RAILS[name].can
    # A sum beside the facts needs somebody who tells it; facts of its own somebody who has them.
    assert (rail.reader is not None) == (rail.witness == TOTAL_AND_CHAIN)
    assert (rail.evidence is not None) == (rail.witness == RAIL)
    # What is sent is asked about afterwards: what is left, whether all is well.
    assert rail.sends is None or (rail.balance is not None and rail.health is not None)


def test_limits_cost_and_calls_are_whole_numbers_that_make_sense(world: World) -> None:
    rail = rail_of(world)
    assert rail.least_units >= 1
    assert rail.most_units is None or rail.most_units >= rail.least_units
    assert rail.calls_per_minute >= 1
    assert rail.fee_bps is None or 0 <= rail.fee_bps < 10_000


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"least_units": 20_000}, "below_minimum"), ({"most_units": 15_000}, "above_maximum")],
    ids=["too little", "too much"],
)
def test_what_cannot_be_asked_for_over_it_is_refused_and_leaves_nothing(
    world: World, limits: dict[str, int], code: str
) -> None:
    narrow = replace(world, bridge=with_rail(world.bridge, **limits))
    with pytest.raises(Refused) as refused:
        narrow.open()  # USD 10.00, some 15,384 satoshi
    assert (refused.value.code, refused.value.field) == (code, "amount")
    assert world.rows("SELECT id FROM invoices") == []
    assert world.open()["status"] == "new"


def test_one_payment_has_one_target_however_often_it_is_asked_for(world: World) -> None:
    first, again, other = opened(world, "1"), opened(world, "1", key="another key"), opened(world, "2")
    assert first["address"] == again["address"] != other["address"]
    assert target(world, first) == target(world, again)
    assert target(world, first).text != target(world, other).text
    with world.bridge.store.read() as tx:
        ways = {len(targets.of_invoice(tx, each["id"])) for each in (first, other)}
    assert ways == {2 if rail_of(world).is_beside else 1}


def test_a_target_says_for_ever_over_what_it_was_offered(world: World) -> None:
    invoice, rail = opened(world), rail_of(world)
    found = target(world, invoice)
    assert (found.rail, found.asset, found.wallet_id) == (rail.name, rail.asset, rail.wallet_id)
    assert (found.account, found.witness) == (rail.account, rail.witness)
    assert (found.text == invoice["address"]) is not rail.is_beside
    assert found.due_units == invoice["quote"]["due_sat"]
    assert found.due_units >= rail.least_units


def test_a_target_in_blocks_is_of_the_bridges_network(world: World) -> None:
    found = target(world, opened(world))
    if found.is_on_chain:
        assert check_payable(found.text, network=world.bridge.network).text == found.text


def test_nothing_paid_is_a_fact_with_what_it_covers(world: World) -> None:
    invoice = opened(world)
    reading = facts(world, invoice)
    assert (reading.outputs, gap(world, invoice)) == ((), "")
    assert reading.source and reading.asked_at <= world.bridge.clock()


def test_facts_are_absolute_and_each_is_told_once(world: World) -> None:
    invoice = opened(world)
    parts = RAILS[rail_of(world).name].parts or (invoice["remaining_sat"],)
    for sat in parts:
        pay(world, invoice, sat)
    first, again = facts(world, invoice), facts(world, invoice)
    assert sorted(each.amount_sat for each in first.outputs) == [*parts]
    assert {each.outpoint for each in first.outputs} == {each.outpoint for each in again.outputs}
    assert len({each.outpoint for each in first.outputs}) == len(parts)
    world.look(invoice)
    world.look(invoice)
    now = world.invoice(invoice)
    assert now["received_sat"] == sum(parts)


def test_silence_is_an_error_and_never_an_empty_answer(world: World) -> None:
    invoice = opened(world)
    pay(world, invoice)
    with silence(world), pytest.raises(BridgeError):
        facts(world, invoice)
    rail = rail_of(world)
    if rail.reader is not None:
        with silence(world), pytest.raises(BridgeError):
            rail.reader.poll(address=invoice["address"], expected_sat=1, asked_at=world.bridge.clock())
    world.advance(timedelta(days=30).total_seconds())
    with silence(world):
        assert world.seen(invoice)[0] == "new"
    assert world.seen(invoice)[0] in ("processing", "settled", "expired")
    assert world.invoice(invoice)["received_sat"] == invoice["remaining_sat"]


def test_balance_and_health_answer_where_the_rail_has_them(world: World) -> None:
    rail = rail_of(world)
    if rail.balance is not None:
        before = rail.balance().balance_sat
        invoice = opened(world)
        pay(world, invoice)
        assert rail.balance().balance_sat == before + invoice["remaining_sat"]
    if rail.health is not None:
        assert rail.health().ok


def test_a_doorbell_only_wakes_and_is_never_believed(world: World) -> None:
    invoice = opened(world)
    world.ring(invoice, body=b'{"reached": true, "received_sat": 99999999}')
    world.work()
    assert world.invoice(invoice)["status"] == "new"


def test_from_the_order_to_settled_books_and_reconciliation(world: World) -> None:
    invoice, rail = opened(world), rail_of(world)
    pay(world, invoice)
    for _ in range(8):
        world.advance(60)
        world.work()
        world.mine()
    assert world.invoice(invoice)["status"] == "settled"
    assert world.billing.types()[-1] == "invoice.settled"
    assert world.balance(rail.account) == invoice["remaining_sat"]
    with world.bridge.store.read() as tx:
        (payment,) = invoices.payment_rows(tx, invoice["id"])
    assert payment.target_id == target(world, invoice).id
    assert reconcile(world.bridge)["findings_count"] == 0


def forget_targets(tx: Any) -> None:
    """As if an earlier release had opened what there is. The database itself refuses that, so its triggers go first."""
    is_sqlite = tx.dialect.name == "sqlite"
    tx.exec_driver_sql(f"DROP TRIGGER {'targets_no_delete' if is_sqlite else 'targets_append_only ON targets'}")
    tx.exec_driver_sql("DELETE FROM targets")


def test_what_an_earlier_release_opened_beside_this_one_is_read_and_settled(world: World) -> None:
    """Such a node writes no targets: its invoices' own columns must do. It offers nothing beside them."""
    if rail_of(world).is_beside:
        return
    invoice, rail = opened(world), rail_of(world)
    stored = target(world, invoice)
    with world.bridge.store.write() as tx:
        forget_targets(tx)
    adopted = target(world, invoice)
    assert (adopted.rail, adopted.text, adopted.account, adopted.witness) == (
        stored.rail,
        stored.text,
        rail.account,
        rail.witness,
    )
    pay(world, invoice)
    world.mine(6)
    assert world.seen(invoice)[0] == "settled"


def test_a_wallet_that_no_setting_names_is_taken_for_one_that_must_be_asked(worlds: Callable[..., World]) -> None:
    world = worlds()
    invoice = world.open()
    row = row_of(world, invoice)
    with world.bridge.store.write() as tx:
        forget_targets(tx)
        tx.exec_driver_sql("UPDATE invoices SET wallet_id = 'wt_of_nobody'")
    assert target(world, invoice).witness == TOTAL_AND_CHAIN != CHAIN
    assert not world.bridge.can_read("wt_of_nobody", TOTAL_AND_CHAIN)
    assert row.wallet_id == world.bridge.wallet_id
