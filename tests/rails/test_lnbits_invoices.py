"""An invoice that is paid over an LNbits beside its address: rung for, late, forgotten, held, refused what was not asked for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import event

from bridge.books.compare import wallet_variances
from bridge.books.verify import book_differences
from bridge.core.errors import Refused, Unavailable
from bridge.core.rail import Target
from bridge.invoices.inbox import receive_callback
from bridge.invoices.offer_beside import offer_beside
from bridge.store import invoices
from sandbox import electrum
from sandbox.lightning import LnWallet
from tests.books.runs import codes, reconcile
from tests.flows.world import LNBITS, World


@dataclass(kw_only=True)
class Shop:
    """A world with an open invoice that may be paid over Lightning too."""

    world: World
    invoice: dict[str, Any]

    def offer(self) -> Target:
        with self.world.bridge.store.read() as tx:
            public_id = invoices.find(tx, id=self.invoice["id"]).public_id
        return offer_beside(self.world.bridge, public_id, "lightning")

    def pay(self, target: Target) -> None:
        self.world.advance(1)
        self.world.control("ln_pay", bolt11=target.text)

    def payments(self) -> list[dict[str, Any]]:
        return [each.as_dict() for each in self.world.sandbox.world.lightning.payments]

    def gap(self) -> str:
        with self.world.bridge.store.read() as tx:
            return invoices.find(tx, id=self.invoice["id"]).gap or ""


def lnbits_wallet(world: World) -> LnWallet:
    return world.sandbox.world.lightning.wallets[LNBITS[0]]


def electrum_wallet(world: World) -> LnWallet:
    return electrum.wallet_of(world.sandbox.world)


@pytest.fixture
def shop(worlds: Callable[..., World]) -> Shop:
    world = worlds(lnbits={})
    return Shop(world=world, invoice=world.open())


def test_the_invoice_that_is_made_rings_at_its_own_address_and_expires_with_the_price(shop: Shop) -> None:
    target = shop.offer()
    (made,) = shop.payments()
    token = shop.world.bridge.callback_token(shop.invoice["id"])
    assert made["webhook"] == f"http://127.0.0.1:9/callbacks/lnbits/{token}"
    assert made["memo"] == "Hosting #7" and made["bolt11"] == target.text
    assert shop.offer() == target
    assert len(shop.payments()) == 1


def test_a_ring_leads_to_a_look_that_settles_and_the_books_agree(shop: Shop) -> None:
    target = shop.offer()
    shop.pay(target)
    (made,) = shop.payments()
    token = made["webhook"].rpartition("/")[2]
    for _ in range(2):
        body = json.dumps(json.dumps(made)).encode()
        receive_callback(shop.world.bridge, token=token, headers={}, body=body, signature="unchecked", source="lnbits")
    assert shop.world.answer_doorbells() == 1
    now = shop.world.invoice(shop.invoice)
    assert (now["status"], now["received_sat"]) == ("settled", shop.invoice["remaining_sat"])
    assert shop.world.balance("wallet:lightning") == shop.invoice["remaining_sat"]
    assert reconcile(shop.world.bridge)["findings_count"] == 0


@pytest.mark.parametrize(("rail", "wallet_of"), [("lnbits", lnbits_wallet), ("electrum", electrum_wallet)])
def test_parts_of_a_satoshi_that_add_up_are_no_difference_and_what_is_more_is_one(
    worlds: Callable[..., World], rail: str, wallet_of: Callable[[World], LnWallet]
) -> None:
    world = worlds(**{rail: {}})
    for number in ("8", "9"):
        other = Shop(world=world, invoice=world.open(number))
        world.control("ln_pay", bolt11=other.offer().text, msat=other.invoice["remaining_sat"] * 1_000 + 600)
        assert world.seen(other.invoice) == ("settled", "none", None)
    assert reconcile(world.bridge)["findings_count"] == 0
    world.control("ln_pay", bolt11=world.sandbox.world.lightning.create(wallet_of(world), {"amount": 2}).bolt11)
    assert codes(reconcile(world.bridge)) == ["wallet_differs"]


def test_a_satoshi_that_lies_in_two_channels_is_no_difference_and_a_second_that_lacks_is_one(
    worlds: Callable[..., World],
) -> None:
    world = worlds(electrum={})
    world.control("knobs", ln_channels=2)
    shop = Shop(world=world, invoice=world.open())
    shop.pay(shop.offer())
    assert world.seen(shop.invoice) == ("settled", "none", None)
    assert world.bridge.rail_of(electrum.NODE_ID).balance().balance_sat == shop.invoice["remaining_sat"] - 1
    assert reconcile(world.bridge)["findings_count"] == 0
    world.sandbox.world.lightning.payments[0].amount_msat -= 2_000
    assert codes(reconcile(world.bridge)) == ["wallet_differs"]


def test_a_payment_that_is_booked_between_two_questions_to_the_books_is_no_difference(shop: Shop) -> None:
    """On PostgreSQL each question sees what is committed by then."""
    seen = settled_behind(shop, "account_balances", "wallet:lightning")
    assert wallet_variances(shop.world.bridge)[0] == {"hot": 0, "lightning": 0}
    assert seen


def test_what_is_booked_while_the_books_are_checked_is_no_difference(shop: Shop) -> None:
    seen = settled_behind(shop, "ORDER BY invoices.id")
    assert book_differences(shop.world.bridge) == []
    assert seen


def settled_behind(shop: Shop, said: str, told: str = "") -> list[str]:
    """The invoice is paid, and looked at behind the first question that says this; what that was."""
    seen = list[str]()
    shop.pay(shop.offer())

    @event.listens_for(shop.world.bridge.store.engine, "after_cursor_execute")
    def look(_: Any, __: Any, statement: str, asked: Any, *___: Any) -> None:
        if not seen and said in statement and told in str(asked):
            seen.append(statement)
            assert shop.world.seen(shop.invoice)[0] == "settled"

    return seen


def test_less_than_a_satoshi_is_kept_and_the_books_agree(shop: Shop) -> None:
    shop.pay(shop.offer())
    lie = {"mode": "ln_read", "kind": "set_member", "member": "amount", "value": 999}
    shop.world.control("knobs", fault=lie)
    assert shop.world.seen(shop.invoice)[0] == "new"
    assert "books_differ" not in codes(reconcile(shop.world.bridge))


def test_a_forged_ring_that_says_paid_settles_nothing(shop: Shop) -> None:
    target = shop.offer()
    token = shop.world.bridge.callback_token(shop.invoice["id"])
    forged = json.dumps(json.dumps({"payment_hash": target.key, "status": "success", "paid": True})).encode()
    receive_callback(shop.world.bridge, token=token, headers={}, body=forged, signature="unchecked", source="lnbits")
    assert shop.world.answer_doorbells() == 1
    assert shop.world.invoice(shop.invoice)["status"] == "new"


def test_what_is_held_waits_and_counts_once_it_is_settled(shop: Shop) -> None:
    shop.world.control("knobs", ln_hold=True)
    target = shop.offer()
    shop.pay(target)
    assert shop.world.seen(shop.invoice)[0] == "new"
    shop.world.control("ln_settle", payment_hash=target.key)
    assert shop.world.seen(shop.invoice)[0] == "settled"


def test_what_the_server_forgot_is_evidence_that_is_missing_and_no_expiry(shop: Shop) -> None:
    shop.offer()
    shop.world.control("ln_restart", says="forgotten")
    shop.world.look(shop.invoice)
    assert shop.gap() == "rail_forgot"


def test_what_ran_out_unpaid_is_told_completely(shop: Shop) -> None:
    shop.offer()
    shop.world.advance(2 * 86_400)
    assert shop.world.seen(shop.invoice)[0] == "expired"
    assert shop.gap() == ""


def test_paid_after_its_time_it_is_late_money(shop: Shop) -> None:
    target = shop.offer()
    shop.world.advance(2 * 86_400)
    shop.pay(target)
    status, exception, _ = shop.world.seen(shop.invoice)
    assert (status, exception) in {("settled", "paid_late"), ("expired", "paid_late")}
    assert shop.world.invoice(shop.invoice)["received_sat"] == target.due_units


@pytest.mark.parametrize("kind", ["wrong_amount", "no_amount", "wrong_network", "other_hash", "credits_other"])
def test_an_invoice_that_was_not_asked_for_is_not_offered_and_somebody_looks(shop: Shop, kind: str) -> None:
    shop.world.fault("ln_create", kind)
    with pytest.raises(Unavailable):
        shop.offer()
    assert shop.world.reviews() == ["suspicious_address"]
    shop.world.pay(shop.invoice)
    shop.world.mine()
    assert shop.world.seen(shop.invoice)[0] == "settled"


def test_a_silent_server_leaves_the_address_alone(shop: Shop) -> None:
    shop.world.control("knobs", ln_outage="503")
    with pytest.raises((Unavailable, Refused)):
        shop.offer()
    shop.world.pay(shop.invoice)
    shop.world.mine()
    assert shop.world.seen(shop.invoice)[0] == "settled"
    assert shop.world.reviews() == []


def test_an_answer_that_was_lost_leaves_one_invoice(shop: Shop) -> None:
    shop.world.fault("ln_create", "lost_response", times=1)
    with pytest.raises(Unavailable):
        shop.offer()
    shop.world.advance(60)
    target = shop.offer()
    assert [made["bolt11"] for made in shop.payments()] == [target.text]


def test_more_than_the_server_makes_invoices_for_is_not_offered(worlds: Callable[..., World]) -> None:
    world = worlds(lnbits={"most_sat": 10_000})
    shop = Shop(world=world, invoice=world.open())
    with pytest.raises(Refused, match="above_maximum"):
        shop.offer()
    assert shop.payments() == []


def test_no_key_of_the_server_gets_into_the_database(shop: Shop) -> None:
    shop.pay(shop.offer())
    shop.world.look(shop.invoice)
    tables = ("targets", "payments", "audit", "events", "inbox")
    stored = "".join(str(row) for table in tables for row in shop.world.rows(f"SELECT * FROM {table}"))
    assert LNBITS[0] in stored
    assert LNBITS[1] not in stored and LNBITS[2] not in stored
