"""Opening an invoice: what a merchant gets, and what is refused without leaving a trace."""

import pytest

from bridge.core.errors import Refused, Unavailable
from bridge.store import invoices
from tests.flows.world import World


def test_an_invoice_carries_a_locked_price_an_address_and_a_page(world: World) -> None:
    answered = world.ask(customer_id="42", description="VPS Start")
    invoice = world.open(customer_id="42", description="VPS Start")
    assert (answered.status, answered.is_replay) == (201, False)
    assert (invoice["status"], invoice["exception"], invoice["reason"]) == ("new", "none", "awaiting_payment")
    assert (invoice["amount"], invoice["currency"], invoice["network"]) == ("10.00", "USD", "test")
    assert (invoice["remaining_sat"], invoice["received_sat"]) == (15_539, 0)
    assert invoice["quote"]["rate"] == "65000.00"
    assert invoice["quote"]["sources"] == ["alpha", "beta"]
    assert invoice["address"].startswith("tb1")
    assert invoice["bip21"] == f"bitcoin:{invoice['address']}?amount=0.00015539"
    assert invoice["payment_url"].startswith("http://127.0.0.1:9/pay/")
    assert world.calls("inbox_create") == 1


def test_the_merchant_hears_of_a_new_invoice_in_the_feed_only(world: World) -> None:
    world.open()
    world.deliver()
    assert [event["type"] for event in world.feed()] == ["invoice.created"]
    assert world.billing.told == []


def test_the_samples_behind_a_price_stay_on_the_quote(world: World) -> None:
    world.open()
    ((samples, policy_version),) = world.rows("SELECT samples, policy_version FROM quotes")
    assert '"alpha", "price_minor": 6500000' in samples
    assert '"beta", "price_minor": 6501050' in samples
    assert policy_version == "1"


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        ({"currency": "XXX"}, "unsupported_currency", "currency"),
        ({"currency": "usd"}, "unsupported_currency", "currency"),
        ({"currency": "EUR"}, "unsupported_currency", "currency"),
        ({"amount_text": "10.001"}, "invalid_amount", "amount"),
        ({"amount_text": "100.5", "currency": "JPY"}, "invalid_amount", "amount"),
        ({"amount_text": "-10.00"}, "invalid_amount", "amount"),
        ({"amount_text": "0"}, "invalid_amount", "amount"),
        ({"amount_text": "1e3"}, "invalid_amount", "amount"),
        ({"amount_text": "1" * 40}, "invalid_amount", "amount"),
        ({"amount_text": "9999999999999.99"}, "invalid_amount", "amount"),
        ({"amount_text": "10.0000000000000000000001"}, "invalid_amount", "amount"),
        ({"amount_text": " 10.00"}, "invalid_amount", "amount"),
        ({"amount_text": "١٠"}, "invalid_amount", "amount"),
        ({"amount_text": ""}, "invalid_amount", "amount"),
        ({"amount_text": "0.50"}, "below_minimum", "amount"),
    ],
)
@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_wrong_request_is_refused_with_its_field_and_leaves_nothing(
    world: World, request_: dict[str, str], code: str, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        world.ask(**request_)
    assert (refused.value.code, refused.value.field) == (code, field)
    for table in ("invoices", "idempotency", "openings", "events", "audit"):
        assert world.rows(f"SELECT * FROM {table}") == []
    assert world.calls("inbox_create") == 0
    assert world.open(key="key-7")["status"] == "new"


def test_a_very_large_amount_is_quoted_to_the_satoshi(world: World) -> None:
    invoice = world.open(amount_text="1000000000000.01")
    assert invoice["remaining_sat"] == -(-100_000_000_000_001 * 101 * 10**8 // (100 * 6_500_000))


def test_yen_have_no_digits_after_the_point(world: World) -> None:
    assert world.open(amount_text="1000", currency="JPY")["amount"] == "1000"


def test_without_prices_no_invoice_is_opened_and_open_ones_stay_payable(world: World) -> None:
    before = world.open("1")
    world.fault("price:*", "down")
    with pytest.raises(Unavailable) as refused:
        world.ask("2")
    assert (refused.value.code, refused.value.retry_after_seconds) == ("price_unavailable", 30)
    assert world.invoice(before) == before
    assert world.open("1", key="again") == before
    world.pay(before, confirmations=1)
    assert world.seen(before) == ("settled", "none", None)
    world.heal()
    assert world.open("2")["status"] == "new"


def test_one_source_is_not_enough_for_a_price(world: World) -> None:
    world.fault("price:beta", "not_json")
    with pytest.raises(Unavailable, match="1 of 2"):
        world.ask()


def test_sources_that_disagree_make_no_price(world: World) -> None:
    world.control("price", currency="USD", price="70000.00", source="beta")
    with pytest.raises(Unavailable, match="disagree"):
        world.ask()


def test_a_price_that_jumps_makes_no_quote_until_it_proves_to_be_real(world: World) -> None:
    world.ask("1")
    world.control("price", currency="USD", price="30000.00")
    with pytest.raises(Unavailable, match="jumped"):
        world.ask("2")
    world.advance(601)
    assert world.open("2")["quote"]["rate"] == "30000.00"


def test_customers_whom_nobody_names_are_not_counted_each_time(world: World) -> None:
    world.open("1", customer_id="")
    asked = {"merchant": "shop", "billing_payment_id": "2", "wallet_id": "wt_1"}
    with world.bridge.store.read() as tx:
        assert invoices.before_opening(tx, customer_id="", **asked).open_now == 0


def test_a_customer_cannot_open_more_than_the_limit(worlds) -> None:
    world = worlds(shop={"open_invoices_per_customer": 2})
    first = world.open("1", customer_id="42")
    world.open("2", customer_id="42")
    with pytest.raises(Refused) as refused:
        world.ask("3", customer_id="42")
    assert (refused.value.code, refused.value.field) == ("too_many_open", "customer")
    assert world.open("4", customer_id="43")["status"] == "new"
    assert world.open("5", customer_id="42", merchant="other")["status"] == "new"
    assert world.open("1", customer_id="42", key="again")["id"] == first["id"]
    world.pay(first, confirmations=1)
    world.look(first)
    assert world.open("3", customer_id="42")["status"] == "new"


def test_after_three_failed_attempts_the_exact_tier_takes_over(worlds) -> None:
    tiers = {"tiers": {"exact": {"risk_bps": 0}}, "exact_tier": "exact"}
    world = worlds(policy=tiers)
    for number in ("1", "2", "3"):
        invoice = world.open(number, customer_id="42")
        assert invoice["remaining_sat"] == 15_539
        world.advance(86_401)
        assert world.seen(invoice)[0] == "expired"
    exact = world.open("4", customer_id="42")
    assert exact["remaining_sat"] == 15_385
    assert world.open("5", customer_id="43")["remaining_sat"] == 15_539
    world.pay(exact, confirmations=1)
    world.look(exact)
    assert world.open("6", customer_id="42")["remaining_sat"] == 15_539


def test_a_tier_has_its_own_rule_and_the_invoice_keeps_it(worlds) -> None:
    world = worlds(policy={"tiers": {"trusted": {"risk_bps": 0, "tolerance_bps": 50}}})
    invoice = world.open(tier="trusted")
    assert invoice["remaining_sat"] == 15_385
    world.pay(invoice, 15_385 - 76, confirmations=1)
    assert world.seen(invoice) == ("settled", "none", None)
    assert world.balance("tolerance") == 76


def test_with_spare_addresses_opening_asks_the_gateway_nothing(worlds) -> None:
    from bridge.invoices.targets import fill_spare_addresses

    world = worlds(subtc={"spare_addresses": 2})
    assert [fill_spare_addresses(world.bridge, owner="w1") for _ in range(4)] == [1, 1, 0, 0]
    world.control("knobs", outage="503")
    addresses = {world.open(number)["address"] for number in ("1", "2")}
    assert len(addresses) == 2
    with pytest.raises(Unavailable) as refused:
        world.ask("3")
    assert (refused.value.code, refused.value.retry_after_seconds) == ("provider_unavailable", 30)
    world.heal()
    assert world.open("3")["address"] not in addresses
