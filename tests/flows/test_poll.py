"""Who looks when: due work, leases, the call budget, and what a crashed worker leaves behind."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

from bridge.core.evidence import ProviderReading
from bridge.core.schedule import URGENT
from bridge.invoices.chain import follow_tip
from bridge.invoices.poll import answer_doorbells, look_and_release, poll_due, sense_balance
from bridge.store import invoices
from bridge.turns import give_back_leases
from tests.builders import with_rail
from tests.flows.world import World


def leased(world: World, *, owner: str, limit: int = 100) -> list[object]:
    """Claims due looks without doing them, like a worker that dies at once."""
    taken: list[object] = []
    poll_due(world.bridge, owner=owner, limit=limit, submit=taken.append)
    return taken


def due(world: World, count: int) -> list[dict]:
    """Open invoices whose looks are due, and a whole budget: opening them took calls of another minute."""
    limited = world.bridge
    world.bridge = with_rail(limited, calls_per_minute=1_000)
    opened = [world.open(str(number)) for number in range(count)]
    world.bridge = limited
    world.advance(62)
    return opened


def test_a_fresh_invoice_is_looked_at_after_half_a_minute_and_then_again(world: World) -> None:
    world.open()
    assert world.poll() == 0
    for _ in range(3):
        world.advance(31)
        assert world.poll() == 1
        assert world.poll() == 0


def test_an_old_invoice_is_looked_at_rarely(world: World) -> None:
    world.open()
    world.advance(7_300)
    assert world.poll() == 1
    world.advance(600)
    assert world.poll() == 0
    world.advance(301)
    assert world.poll() == 1


def test_a_part_that_is_confirmed_is_looked_at_rarely_until_the_rest_comes(world: World) -> None:
    """Shops keep many of these open for days: they may not take the calls that others need, nor wake at every block."""
    invoice = world.open()
    follow_tip(world.bridge, owner="w1")
    world.pay(invoice, 5_000, confirmations=1)
    world.look(invoice)
    world.advance(86_500)
    sense_balance(world.bridge, owner="w1")
    assert (world.poll(), world.seen(invoice)) == (1, ("expired", "paid_partial", None))
    world.mine()
    world.advance(60)
    follow_tip(world.bridge, owner="w1")
    assert world.poll() == 0
    rest_sat = world.invoice(invoice)["remaining_sat"]
    world.pay(invoice, rest_sat)
    world.advance(3_600)
    sense_balance(world.bridge, owner="w1")
    assert world.rows("SELECT look_class FROM invoices") == [(URGENT,)]
    assert (world.poll(), world.invoice(invoice)["received_sat"]) == (1, 5_000 + rest_sat)


def test_two_workers_never_get_the_same_invoice(world: World) -> None:
    due(world, 12)
    barrier = Barrier(4)

    def claim(owner: int) -> int:
        barrier.wait()
        return sum(len(leased(world, owner=f"w{owner}", limit=4)) for _ in range(4))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(4))) == 12


def test_the_lease_of_a_crashed_worker_runs_out(world: World) -> None:
    (invoice,) = due(world, 1)
    world.pay(invoice, confirmations=1)
    assert len(leased(world, owner="crashed")) == 1
    world.ring(invoice)
    assert world.poll(owner="other") == 0
    assert world.answer_doorbells(owner="other") == 0
    world.advance(62)
    assert world.answer_doorbells(owner="other") == 1
    assert world.invoice(invoice)["status"] == "settled"


def test_a_worker_that_stops_in_good_order_gives_its_leases_back(world: World) -> None:
    due(world, 1)
    leased(world, owner="leaving")
    give_back_leases(world.bridge, owner="leaving")
    assert world.poll(owner="other") == 1


def test_a_look_whose_lease_was_lost_does_not_end_the_new_one(world: World) -> None:
    (invoice,) = due(world, 1)
    (late_work,) = leased(world, owner="slow")
    world.advance(62)
    leased(world, owner="quick")
    late_work()  # type: ignore[operator]
    ((owner,),) = world.rows("SELECT lease_owner FROM invoices")
    assert owner == "quick"
    assert world.invoice(invoice)["status"] == "new"


def test_the_call_budget_is_never_exceeded_and_fills_up_again(worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 5})
    due(world, 8)
    before = world.calls("wallet_poll")
    assert world.poll() == 5
    assert world.poll() == 0
    assert world.calls("wallet_poll") == before + 5
    never_seen = "SELECT id FROM invoices WHERE provider_asked_at IS NULL"
    assert len(world.rows(never_seen)) == 3
    world.advance(62)
    assert world.poll() == 5
    assert world.rows(never_seen) == []


def test_calls_that_were_not_needed_are_given_back_to_the_budget(worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 5})
    due(world, 2)
    assert world.poll(limit=5) == 2
    ((spent,),) = world.rows("SELECT SUM(spent) FROM budget_calls WHERE name = 'provider'")
    assert spent == 2


def test_ringing_at_an_invoice_that_is_being_looked_at_costs_no_calls(worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 5})
    (invoice,) = due(world, 1)
    leased(world, owner="busy")
    world.ring(invoice)
    for _ in range(10):
        assert world.answer_doorbells(owner="other") == 0
    ((spent,),) = world.rows("SELECT SUM(spent) FROM budget_calls WHERE name = 'provider'")
    assert spent == 1


def test_doorbells_are_answered_before_other_looks_when_the_budget_is_short(worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 2})
    opened = due(world, 4)
    world.pay(opened[3], confirmations=1)
    world.ring(opened[3])
    world.work()
    assert world.invoice(opened[3])["status"] == "settled"


def test_a_look_that_fails_in_an_unforeseen_way_is_tried_later_and_does_not_spin(world: World) -> None:
    class Broken:
        """A gateway client with a defect."""

        calls = 0

        def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> ProviderReading:
            self.calls += 1
            raise RuntimeError("a defect")

    broken = Broken()
    bridge = with_rail(world.bridge, reader=broken)
    invoice = world.open()
    world.ring(invoice)
    tries = [answer_doorbells(bridge, owner="w1", limit=9, submit=lambda work: work()) for _ in range(5)]
    assert (sum(tries), broken.calls) == (1, 1)
    assert world.poll() == 0
    world.advance(31)
    assert world.poll() == 1


def test_a_look_without_any_answer_is_tried_again_after_half_a_minute(world: World) -> None:
    (invoice,) = due(world, 1)
    world.control("knobs", outage="503")
    world.fault("esplora", "down")
    assert [world.poll(), world.poll()] == [1, 0]
    world.heal()
    world.advance(31)
    assert world.poll() == 1
    assert world.invoice(invoice)["status"] == "new"


def test_a_look_that_lost_the_race_for_the_invoice_looks_again_at_once(world: World) -> None:
    """The version guard turns the second writer away; what it read is read anew."""
    invoice = world.open()
    with world.bridge.store.write() as tx:
        invoices.wake(tx, invoice["id"], now=world.bridge.clock())
    world.pay(invoice, confirmations=1)
    barrier = Barrier(4)

    def one(number: int) -> None:
        barrier.wait()
        look_and_release(world.bridge, invoice["id"], owner=f"w{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    world.work()
    assert world.invoice(invoice)["status"] == "settled"
    assert world.billing.types() == ["invoice.settled"]
    assert world.balance("wallet:hot") == 15_539
