"""A billing payment that is opened again: after its price lapsed, after it expired, with another amount."""

import pytest

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.invoices.billing_change import note_billing_change
from bridge.invoices.pay import pay_view, requote
from tests.flows.world import World


def test_while_the_price_holds_opening_again_changes_nothing(world: World) -> None:
    first = world.open()
    world.control("price", currency="USD", price="64000.00")
    world.advance(600)
    assert world.open(key="again")["quote"] == first["quote"]


def test_after_the_price_lapsed_the_same_address_gets_the_next_quote(world: World) -> None:
    first = world.open()
    world.advance(901)
    world.control("price", currency="USD", price="60000.00")
    again = world.open(key="again")
    assert (again["id"], again["address"]) == (first["id"], first["address"])
    assert (again["quote"]["version"], again["quote"]["rate"]) == (2, "60000.00")
    assert again["remaining_sat"] == 16_834
    assert world.calls("inbox_create") == 1


def test_an_expired_invoice_opens_again_on_the_same_address(world: World) -> None:
    first = world.open()
    world.advance(86_401)
    assert world.seen(first) == ("expired", "none", None)
    again = world.open(key="again")
    assert (again["id"], again["address"], again["status"]) == (first["id"], first["address"], "new")
    assert again["quote"]["version"] == 2
    assert again["expires_at"] > first["expires_at"]
    world.pay(again, confirmations=1)
    assert world.seen(again) == ("settled", "none", None)


def test_even_a_closed_invoice_opens_again(world: World) -> None:
    first = world.open()
    world.advance(86_400 + 604_801)
    world.look(first)
    assert world.invoice(first)["reason"] == "closed"
    world.advance(60)
    assert world.open(key="again")["status"] == "new"
    world.deliver()
    assert world.billing.types() == ["invoice.expired", "invoice.cancelled", "invoice.updated"]


def test_the_page_gives_the_next_price_once_however_often_it_is_tapped(world: World) -> None:
    invoice = world.open()
    public_id = invoice["payment_url"].rpartition("/")[2]
    requote(world.bridge, public_id)
    assert world.invoice(invoice)["quote"]["version"] == 1
    world.advance(901)
    assert pay_view(world.bridge, public_id).shown_sat == 0
    requote(world.bridge, public_id)
    requote(world.bridge, public_id)
    assert world.invoice(invoice)["quote"]["version"] == 2
    assert pay_view(world.bridge, public_id).shown_sat == 15_539


def test_an_amount_changed_before_any_money_is_quoted_anew_on_the_same_address(world: World) -> None:
    first = world.open()
    again = world.open(key="again", amount_text="20.00")
    assert (again["id"], again["address"], again["amount"]) == (first["id"], first["address"], "20.00")
    assert (again["remaining_sat"], again["quote"]["version"]) == (31_077, 2)
    world.pay(again, 15_539, confirmations=1)
    assert world.seen(again)[:2] == ("new", "paid_partial")


def test_a_currency_changed_before_any_money_is_quoted_anew(world: World) -> None:
    first = world.open()
    again = world.open(key="again", amount_text="499.00", currency="RUB")
    assert (again["id"], again["currency"], again["amount"]) == (first["id"], "RUB", "499.00")
    world.pay(again, confirmations=1)
    assert world.seen(again) == ("settled", "none", None)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(("amount_text", "code"), [("0.01", "below_minimum"), ("9999999999999.99", "invalid_amount")])
def test_a_changed_amount_has_the_limits_of_a_first_one(world: World, amount_text: str, code: str) -> None:
    first = world.open()
    with pytest.raises(Refused) as refused:
        world.ask(key="again", amount_text=amount_text)
    assert refused.value.code == code
    assert world.invoice(first) == first


@pytest.mark.parametrize("confirmations", [0, 1])
def test_an_amount_changed_after_money_came_waits_for_a_person(world: World, confirmations: int) -> None:
    invoice = world.open()
    world.pay(invoice, 5_000, confirmations=confirmations)
    world.look(invoice)
    with pytest.raises(Conflict) as conflict:
        world.ask(key="again", amount_text="20.00")
    assert (conflict.value.code, conflict.value.field) == ("amount_changed", "amount")
    now = world.invoice(invoice)
    assert (now["amount"], now["hold"], now["received_sat"]) == ("10.00", "review", 5_000)
    assert world.reviews() == ["billing_conflict"]
    world.pay(invoice, 10_539, confirmations=1)
    assert world.seen(invoice)[0] != "settled"
    world.deliver()
    assert "invoice.settled" not in world.billing.types()


def test_an_amount_changed_after_only_the_gateway_saw_money_waits_for_a_person_too(world: World) -> None:
    invoice = world.open()
    world.fault("esplora", "blind")
    world.pay(invoice)
    world.look(invoice)
    with pytest.raises(Conflict):
        world.ask(key="again", amount_text="20.00")
    world.heal()
    world.mine()
    assert world.seen(invoice) == ("processing", "none", "review")
    assert world.reviews() == ["billing_conflict"]


def test_a_settled_invoice_refuses_another_amount_and_stays_settled(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.look(invoice)
    with pytest.raises(Conflict):
        world.ask(key="again", amount_text="20.00")
    assert world.seen(invoice) == ("settled", "none", None)
    assert world.reviews() == []


def test_a_lapsed_price_that_cannot_be_renewed_leaves_the_invoice_and_the_key_as_they_were(world: World) -> None:
    first = world.open()
    world.advance(901)
    world.fault("price:*", "down")
    with pytest.raises(Unavailable) as refused:
        world.ask(key="again")
    assert refused.value.code == "price_unavailable"
    assert world.invoice(first)["quote"] == first["quote"]
    world.heal()
    assert world.open(key="again")["quote"]["version"] == 2


def test_a_payment_cancelled_in_billing_is_noted_and_money_on_it_waits_for_a_person(world: World) -> None:
    invoice = world.open()
    tell = {"change": "cancelled", "amount_text": None, "currency": None}
    told = note_billing_change(world.bridge, "shop", invoice["id"], **tell)
    assert (told["status"], told["reason"]) == ("new", "billing_cancelled")
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[2] == "review"
    assert world.reviews() == ["billing_conflict"]
    told = note_billing_change(world.bridge, "shop", invoice["id"], **(tell | {"change": "restored"}))
    assert told["hold"] == "review"  # a person still has to say so


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("merchant", "change", "code"),
    [
        ("other", "cancelled", "unknown_invoice"),
        ("shop", "stolen", "unknown_change"),
        ("shop", "amount", "invalid_amount"),
    ],
)
def test_a_wrong_billing_change_is_refused(world: World, merchant: str, change: str, code: str) -> None:
    invoice = world.open()
    with pytest.raises(Refused) as refused:
        note_billing_change(world.bridge, merchant, invoice["id"], change=change, amount_text=None, currency=None)
    assert refused.value.code == code
    assert world.invoice(invoice) == invoice
