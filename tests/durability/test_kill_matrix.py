"""The kill matrix: a program dies by SIGKILL at every named place, and nothing is lost or done twice, on either engine."""

import contextlib
import time
from collections.abc import Callable

import pytest
import requests

from bridge.context import BESIDE_CRASH_POINTS, CRASH_POINTS
from bridge.core.schedule import DONE
from tests.durability.programs import Program
from tests.durability.shop import Died, Shop
from tests.durability.truth import faults_in
from tests.parts import on_engines, one_in

# Places that an ordinary payment does not pass, and the kind of payment that does.
SCENARIO_OF = {
    "late.priced": "late",
    "late.committing": "late",
    "late.committed": "late",
    "spare.address_taken": "spare",
    "requote.committing": "requoted",
    "billing_change.committing": "changed",
    "ruling.committing": "held",
    "ruling.committed": "held",
    "archive.committing": "old",
    "archive.committed": "old",
}
CELLS = [(point, SCENARIO_OF.get(point, "ordinary")) for point in CRASH_POINTS]
# Opening with an address of the pool takes another way through the same places.
CELLS += [("open.first_committing", "spare"), ("open.claimed", "spare")]
# A second way is made and paid: over every rail where one is asked, and through the looks that read it.
RAILS = ("lnbits", "electrum")
CELLS += [(point, f"beside {rail}") for point in BESIDE_CRASH_POINTS for rail in RAILS]
CELLS += [
    (point, "beside lnbits") for point in ("callback.committing", "look.read", "look.committing", "look.committed")
]
# The same through a pooler: where a transaction that dies leaves a session of the server to the next program.
POOLED = [
    ("pooled", point, "ordinary")
    for point in one_in(4, ("look.committing", "open.committing", "callback.committing", "deliver.sent"))
]
LONGEST_LEASE_SECONDS = 61
PAYMENT = "7"


@pytest.mark.parametrize(("engine_name", "point", "scenario"), [*on_engines(CELLS), *POOLED])
def test_a_program_killed_anywhere_loses_nothing_and_does_nothing_twice(shops, point, scenario):
    scenario, _, rail = scenario.partition(" ")
    shop = shops(
        subtc={"spare_addresses": 2 if scenario == "spare" else 0},
        rule=RULES.get(scenario, {}),
        settings=SETTINGS.get(scenario, {}),
        beside=(rail,) if rail else (),
    )
    drive = SCENARIOS[scenario]

    shop.start(crash_at=point)
    # The payment may come through although somebody died: after a commit there is nothing left to miss.
    # Between two waits the death shows as an answer that never comes.
    with contextlib.suppress(Died, requests.ConnectionError):
        drive(shop, point)
    assert len({program.name for program in wait_for_victims(shop)}) == 1

    shop.kill_all()
    shop.advance(LONGEST_LEASE_SECONDS)
    shop.start()
    drive(shop, None)
    shop.until_quiet()

    invoice = shop.invoice(PAYMENT)
    assert invoice is not None
    came_sat = shop.received_sat(invoice["address"]) + sum(each.amount_msat // 1_000 for each in shop.lightning())
    assert (invoice["status"], invoice["confirmed_sat"]) == ("settled", came_sat)
    assert len(shop.lightning()) == (scenario == "beside")
    assert shop.receiver.paid() == {PAYMENT: 1}
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def wait_for_victims(shop: Shop) -> list[Program]:
    deadline = time.monotonic() + 60
    while not shop.victims() and time.monotonic() < deadline:
        time.sleep(0.01)
    return shop.victims()


def ordinary(shop: Shop, _point: str | None) -> None:
    invoice = shop.open(PAYMENT)
    shop.until(lambda: _is_watched(shop, invoice["address"]), "the address is watched")
    shop.pay(invoice)
    shop.until_status(PAYMENT, "processing", "settled")
    _confirm(shop)
    shop.until_set_paid(PAYMENT)
    shop.until_quiet()


def late(shop: Shop, _point: str | None) -> None:
    """The payer pays when the price they were shown has lapsed."""
    invoice = shop.open(PAYMENT)
    if not shop.received_sat(invoice["address"]):
        shop.advance(1_200)
    shop.pay(invoice)
    shop.until_status(PAYMENT, "processing", "settled")
    _confirm(shop)
    shop.until_set_paid(PAYMENT)


def spare(shop: Shop, point: str | None) -> None:
    """The pool has an address before anybody asks."""
    free = "SELECT count(*) FROM spare_addresses"
    shop.until(lambda: shop.count(free) >= 1, "the pool has an address")
    ordinary(shop, point)


def requoted(shop: Shop, point: str | None) -> None:
    """The price lapses and the payer asks for a new one before paying."""
    invoice = shop.open(PAYMENT)
    if not shop.received_sat(invoice["address"]):
        shop.advance(1_200)
        path = invoice["payment_url"].partition("/pay/")[2]
        shop.until(lambda: shop.api("POST", f"/pay/{path}/quote", allow_redirects=False).status_code == 303, "requoted")
    shop.pay(shop.invoice(PAYMENT) or invoice)
    shop.until_status(PAYMENT, "processing", "settled")
    _confirm(shop)
    shop.until_set_paid(PAYMENT)


def changed(shop: Shop, point: str | None) -> None:
    """The billing payment is cancelled and restored before the money comes."""
    invoice = shop.open(PAYMENT)
    if not shop.received_sat(invoice["address"]):
        for change in ("cancelled", "restored"):
            path = f"/v1/invoices/{invoice['id']}/billing-changes"
            shop.until(lambda path=path, change=change: shop.api("POST", path, json={"change": change}).ok, change)
    ordinary(shop, point)


def held(shop: Shop, point: str | None) -> None:
    """So much money that a person has to rule."""
    invoice = shop.open(PAYMENT)
    shop.pay(invoice)
    shop.until(lambda: (shop.invoice(PAYMENT) or {}).get("hold") or _is_settled(shop), "the invoice is held")
    _confirm(shop)
    if not _is_settled(shop):
        for review_id in shop.values("SELECT id FROM reviews WHERE state = 'open'"):
            ruling = ("review", "resolve", review_id, "credit", "--actor", "anna", "--reason", "checked by telephone")
            shop.programs.append(shop.command(*ruling, **({"crash_at": point} if point else {})))
    shop.until_set_paid(PAYMENT)


def old(shop: Shop, point: str | None) -> None:
    """The payment is long over: nobody looks at it any more, and it is packed."""
    if not _is_settled(shop):
        ordinary(shop, point)
        shop.control("mine", blocks=6)
        for days in (45, 2):
            shop.kill_all()
            shop.advance(days * 86_400)
            shop.start(**({"crash_at": point} if point else {}))
            # Its last look is due at once. What moves the clock under a slow worker is a jump to it, and nothing is packed for a day.
            done = "SELECT look_class FROM invoices"
            shop.until(lambda done=done: shop.values(done) == [DONE], "nobody looks any more", nudges=days != 2)
    packed = "SELECT count(*) FROM invoices WHERE packed_at IS NOT NULL"
    shop.until(lambda: shop.count(packed), "the invoice is packed", nudges=False)


def beside(shop: Shop, _point: str | None) -> None:
    """The payer asks for Lightning and pays there, and nothing comes to the address."""
    invoice = shop.open(PAYMENT)
    shop.until(lambda: _is_watched(shop, invoice["address"]), "the address is watched")
    if not any(each.status == "success" for each in shop.lightning()):
        shop.control("ln_pay", bolt11=shop.offer(invoice))
    shop.until_set_paid(PAYMENT)
    shop.until_quiet()


def _confirm(shop: Shop) -> None:
    invoice = shop.invoice(PAYMENT) or {}
    with shop.sandbox.world.lock:
        confirmed = shop.sandbox.world.chain.received_sat(invoice["address"], min_conf=1)
    if not confirmed:
        shop.control("mine", blocks=1)
    shop.advance(6)


def _is_settled(shop: Shop) -> bool:
    return (shop.invoice(PAYMENT) or {}).get("status") == "settled"


def _is_watched(shop: Shop, address: str) -> bool:
    return any(watch.address == address for watch in list(shop.sandbox.world.callbacks.watches))


RULES = {"held": {"large_sat": 5_000}}
SETTINGS = {"old": {"archive_after_days": 30}}
SCENARIOS: dict[str, Callable[[Shop, str | None], None]] = {
    "ordinary": ordinary,
    "late": late,
    "spare": spare,
    "requoted": requoted,
    "changed": changed,
    "held": held,
    "old": old,
    "beside": beside,
}
