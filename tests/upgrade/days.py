"""Some days at a hosting company, lived through by a real bridge over the sandbox, until every table has rows.

Owns what happens in those days; must not write to a table by itself, so that what is stored is what a release really writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge.books.keep_books import number_events, seal_audit
from bridge.books.reconcile import set_baseline
from bridge.books.verify import verify_due
from bridge.core.evidence import Answer
from bridge.desk.grant_grace import grant_grace
from bridge.desk.resolve_review import approve_mark, list_marks, list_reviews, resolve
from bridge.invoices.billing_change import note_billing_change
from bridge.invoices.chain import follow_tip
from bridge.invoices.poll import sense_balance
from bridge.invoices.targets import fill_spare_addresses
from bridge.payouts.sweep import propose_sweep
from bridge.payouts.treasury import read_balances
from bridge.people.login import log_in
from bridge.people.operators import issue_token
from bridge.people.policy import approve, in_force, propose, take_file
from bridge.permit import set_mode
from bridge.runtime import build
from tests.books.runs import reconcile, report_of, told
from tests.flows.test_own_wallet import WITHOUT_GATEWAY
from tests.flows.world import World, answer, open_world, settings_for
from tests.payouts.desk import Desk, settings, staffed
from tests.payouts.test_people import PASSWORD, Person

START = 1_795_176_000  # 2026-11-20 12:00 UTC
LISTED = "country KP\n"
OPEN = ("waits", "seen", "part")
TIERS = {"trusted": {"grace_seconds": 30 * 86_400}}


class Killed(BaseException):
    """The process dies here."""


def _settings_file(*, risk_bps: int = 100, **changes: Any) -> dict[str, Any]:
    """The company's settings file: its clients of tier trusted may be given time, a change of it needs two people."""
    policy = {"default": {"risk_bps": risk_bps}, "tiers": TIERS}
    changes = {"policy": policy, "policy_changes": {"approvals": 1}, "subtc": {"spare_addresses": 3}} | changes
    return settings(**changes)


@contextmanager
def shop(database_url: str, directory: Path) -> Iterator[World]:
    """The company's bridge: a staff, a screening list, addresses kept in stock."""
    listed = directory / "listed"
    listed.write_text(LISTED)
    with open_world(database_url, **_settings_file(screening={"list_file": str(listed)})) as world:
        yield world


@contextmanager
def _beside(world: World, database_url: str, **changes: Any) -> Iterator[World]:
    """Another program of the company over the same database, with a settings file of its own."""
    built = build(settings_for(world.sandbox.url, database_url, **_settings_file(**changes)))
    try:
        yield replace(world, bridge=replace(built, billing=world.billing, clock=world.bridge.clock))
    finally:
        built.store.close()


def live(world: World, database_url: str) -> None:
    """The days. Afterwards the invoices of OPEN wait for money or its confirmation, and `not_told` for the endpoint."""
    world.sandbox.world.clock.set(START)
    world.bridge = take_file(world.bridge)
    desk = staffed(world)
    _people(world)
    _dearer(world, database_url)
    _settled_and_refunded(desk)
    _sorrows(world)
    _second_chances(world)
    _under_review(world)
    _own_wallet(world, database_url)
    _books(desk)
    _died_in_the_middle(world)
    _open_at_the_end(world)


def _people(world: World) -> None:
    """Somebody with a real password has logged in, and a script has a token."""
    person = Person(world, "olga", "finance")
    log_in(world.bridge, name="olga", password=PASSWORD, code=person.code())
    ends_at = world.bridge.clock() + timedelta(days=30)
    wanted: dict[str, Any] = {"operator": "olga", "role": "viewer", "starts_at": None, "ends_at": ends_at}
    issue_token(world.bridge, note="nightly export", actor="root", reason="a script", **wanted)


def _dearer(world: World, database_url: str) -> None:
    """The price buffer was raised by two people; a second raise still waits for its second person."""
    for risk_bps, is_approved in ((200, True), (500, False)):
        with _beside(world, database_url, risk_bps=risk_bps) as edited:
            version = propose(edited.bridge, actor="fay", reason="the market is wild")
        if is_approved:
            approve(world.bridge, version["number"], actor="ann", reason="agreed")
    world.bridge = in_force(world.bridge)


def _settled_and_refunded(desk: Desk) -> None:
    """Paid, paid too much, refunded, refund waiting for a second person, refunded by the billing system itself, swept."""
    world = desk.world
    fill_spare_addresses(world.bridge, owner="w1")
    for name in ("paid", "refunded", "asked", "elsewhere"):
        desk.settled(name)
    over = world.open("over", customer_id="c-1", customer_email="client@example.com", service_ref="vps-1")
    world.pay(over, over["remaining_sat"] + 20_000)
    world.mine(6)
    world.look(over)
    world.ring(over, body=b'{"event":"reached"}')
    world.work()
    by_name = {
        row.billing_payment_id: {"id": row.id} for row in world.rows("SELECT id, billing_payment_id FROM invoices")
    }
    desk.approved(by_name["refunded"])
    desk.send()
    desk.confirm()
    desk.ask(by_name["asked"])
    note_billing_change(
        world.bridge, "shop", by_name["elsewhere"]["id"], change="refunded", amount_text="1.00", currency="USD"
    )
    read_balances(world.bridge, owner="w1")
    propose_sweep(world.bridge, actor="fay", reason="enough", key="sweep-1")


def _sorrows(world: World) -> None:
    """Nothing came; too little came; it came late; the endpoint was down, or objected."""
    world.open("never")
    late = world.open("late")
    world.open("pulled", merchant="puller")
    world.advance(86_401)
    world.work()
    world.pay(late)
    world.mine()
    world.work()
    _settled_but(world, "objected", answer("parked", 409))
    for mode in ("queued", "normal"):
        set_mode(world.bridge, scope="bridge", mode=mode, actor="root", reason="the endpoint is being mended")


def _second_chances(world: World) -> None:
    """One client was given time; two paid hours too late, one of them counts as paid, the other still needs a second person."""
    promised = world.open("promised", customer_id="c-2", tier="trusted")
    tardy = {name: world.open(name) for name in ("forgiven", "argued")}
    world.advance(86_400 + 2 * 3_600)
    world.work()
    grant_grace(world.bridge, promised["id"], actor="ann", reason="a client for years")
    for invoice in tardy.values():
        world.pay(invoice)
        world.mine()
        world.look(invoice)
    for item in list_reviews(world.bridge, match={"state": "open", "kind": "late"}, limit=9):
        resolve(world.bridge, item["id"], decision="mark_settled", actor="fay", reason="the transfer hung")
    (mark,) = list_marks(world.bridge, match={"invoice_id": tardy["forgiven"]["id"]})
    approve_mark(world.bridge, mark["id"], actor="ann", reason="saw the transfer")
    world.work()
    verify_due(world.bridge)


def _settled_but(world: World, name: str, objection: Answer) -> None:
    """An invoice is settled, and the billing system does not take it."""
    invoice = world.open(name)
    world.billing.answers["shop"] = lambda _: objection
    world.pay(invoice)
    world.mine()
    world.look(invoice)
    world.deliver()
    del world.billing.answers["shop"]


def _under_review(world: World) -> None:
    """One client is on the list and still waits for a ruling; one was, and is cleared."""
    for name in ("cleared", "listed"):
        invoice = world.open(name, customer_country="KP")
        world.pay(invoice)
        world.mine()
        world.look(invoice)
        if name == "cleared":
            (item,) = list_reviews(world.bridge, match={"state": "open", "kind": "screening"}, limit=9)
            resolve(world.bridge, item["id"], decision="credit", actor="fay", reason="another person of that name")


def _own_wallet(world: World, database_url: str) -> None:
    """The company tries a wallet of its own: a second program opens an invoice there, and it is paid."""
    with _beside(world, database_url, **WITHOUT_GATEWAY) as trial:
        trial.bridge = in_force(trial.bridge)
        invoice = trial.open("own")
        trial.pay(invoice)
        trial.mine(6)
        trial.look(invoice)
        trial.deliver()


def _books(desk: Desk) -> None:
    """A reconciliation that finds what the billing system says otherwise, and the daily walk over the audit."""
    world = desk.world
    world.advance(3 * 3_600)
    set_baseline(world.bridge, baseline_sat=0, actor="fay", reason="nothing else in this wallet")
    (paid,) = world.rows("SELECT id FROM invoices WHERE billing_payment_id = 'paid'")
    report_of(world, [told(world.invoice({"id": paid.id}), amount_text="9.00")])
    assert reconcile(world.bridge, actor="fay")["findings"]
    follow_tip(world.bridge, owner="w1")
    world.open("young")
    world.advance(31)
    sense_balance(world.bridge, owner="w1")
    world.work()
    verify_due(world.bridge)


def _died_in_the_middle(world: World) -> None:
    """A web process was killed when it had taken an address and not yet answered."""

    def die(point: str) -> None:
        if point == "open.committing":
            raise Killed

    dying = replace(world, bridge=replace(world.bridge, crash_point=die))
    try:
        dying.open("died")
    except Killed:
        return
    raise AssertionError("nobody died")


def _open_at_the_end(world: World) -> None:
    """What the next version finds under way, with a doorbell not answered and an event without a position."""
    waits, seen, part = (world.open(name) for name in OPEN)
    world.pay(part, part["remaining_sat"] // 2)
    _settled_but(world, "not_told", answer("retry", 503))
    world.look(part)
    number_events(world.bridge, owner="w1")
    seal_audit(world.bridge, owner="w1")
    world.pay(seen)
    world.look(seen)
    world.ring(waits)
