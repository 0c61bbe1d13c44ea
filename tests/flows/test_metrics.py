"""Every figure that must be watched exists by its name and moves when something happens."""

from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from bridge.cli.worker_metrics import serving_metrics
from bridge.core.errors import Refused, Unavailable
from bridge.flows.keep_books import refresh_gauges
from bridge.flows.treasury import read_balances
from tests.books.runs import reconcile
from tests.flows.world import World, answer

Worlds = Callable[..., World]


def value(world: World, name: str, **labels: str) -> float:
    refresh_gauges(world.bridge)
    return world.bridge.metrics.registry.get_sample_value(name, labels) or 0


def paid(world: World, billing_payment_id: str = "7") -> dict[str, object]:
    invoice = world.open(billing_payment_id, customer_id="c1")
    world.pay(invoice, confirmations=1)
    world.advance(30)
    world.ring(invoice)
    world.work()
    return invoice


def test_a_payment_moves_the_figures_of_settling_and_telling(world: World) -> None:
    paid(world)
    assert value(world, "bridge_settlement_lag_seconds_count") == 1
    assert value(world, "bridge_first_paid_seconds_sum") >= 30
    assert value(world, "bridge_deliveries_total", outcome="delivered") == 1
    assert value(world, "bridge_delivery_seconds_count") == 1
    assert value(world, "bridge_doorbell_seconds_count") == 1
    assert value(world, "bridge_callbacks_total", outcome="new") == 1
    assert value(world, "bridge_open_invoices", status="settled") == 1
    assert value(world, "bridge_looks_total", outcome="read") == 1


def test_a_wrong_signature_and_a_failed_delivery_are_counted_apart(world: World) -> None:
    world.billing.answers["shop"] = lambda _event: answer("retry", 503)
    invoice = paid(world)
    assert value(world, "bridge_deliveries_total", outcome="retry") == 1
    with pytest.raises(Refused):
        world.ring(invoice, b"{}", signature="invalid")
    assert value(world, "bridge_callbacks_total", outcome="bad_signature") == 1


def test_an_invoice_counts_as_opened_when_it_is_committed_and_once(world: World) -> None:
    def full(name: str) -> None:
        if name == "open.committing":
            raise OSError("the disk is full")

    crash_point = world.bridge.crash_point
    object.__setattr__(world.bridge, "crash_point", full)
    with pytest.raises(OSError):
        world.ask(key="the-key")
    assert value(world, "bridge_invoices_opened_total", merchant="shop") == 0
    object.__setattr__(world.bridge, "crash_point", crash_point)
    world.advance(31)  # the claims of who failed are over
    assert [world.ask(key="the-key").is_replay for _ in range(2)] == [False, True]
    assert value(world, "bridge_invoices_opened_total", merchant="shop") == 1
    assert value(world, "bridge_quotes_total", outcome="made") == 1


def test_reviews_are_counted_by_reason(world: World) -> None:
    invoice = world.open()
    world.pay(invoice, invoice["remaining_sat"] * 3, confirmations=1)
    world.look(invoice)
    assert value(world, "bridge_reviews_open", kind="over") == 1
    assert value(world, "bridge_reviews_opened_total", kind="over") == 1


def test_queues_show_how_much_waits_and_since_when(worlds: Worlds) -> None:
    world = worlds()
    invoice = world.open()
    world.pay(invoice, confirmations=1)
    world.ring(invoice)
    world.advance(40)
    assert value(world, "bridge_queue_depth", queue="doorbells") == 1
    assert int(value(world, "bridge_queue_age_seconds", queue="doorbells")) == 40
    assert value(world, "bridge_queue_depth", queue="looks") == 1
    assert value(world, "bridge_queue_depth", queue="numbering") == 1
    world.look(invoice)
    world.advance(5)
    assert value(world, "bridge_queue_depth", queue="doorbells") == 0
    assert value(world, "bridge_queue_depth", queue="deliveries") == 1
    assert int(value(world, "bridge_queue_age_seconds", queue="deliveries")) == 5
    world.work()
    assert value(world, "bridge_queue_depth", queue="deliveries") == 0
    assert value(world, "bridge_queue_depth", queue="numbering") == 0


def test_prices_show_their_age_and_spread(world: World) -> None:
    world.control("price", currency="USD", price="65000.00")
    world.control("price", currency="USD", price="65065.00", source="beta")
    world.open()
    world.advance(9)
    assert value(world, "bridge_rate_age_seconds", currency="USD") >= 9
    assert value(world, "bridge_rate_spread_bps", currency="USD") == 10
    assert value(world, "bridge_quotes_total", outcome="made") == 1


def test_the_call_budget_shows_what_is_spent_of_what(worlds: Worlds) -> None:
    world = worlds(subtc={"calls_per_minute": 40})
    world.open()
    assert value(world, "bridge_provider_calls_last_minute") == 1
    assert value(world, "bridge_provider_calls_limit") == 40
    world.advance(62)
    assert value(world, "bridge_provider_calls_last_minute") == 0


def test_balances_and_reconciliation_are_seen_from_every_program(world: World) -> None:
    paid(world)
    read_balances(world.bridge, owner="w1")
    reconcile(world.bridge)
    world.advance(20)
    assert value(world, "bridge_wallet_confirmed_sat", role="hot") > 0
    assert value(world, "bridge_recon_age_seconds") >= 20
    assert value(world, "recon_variance_sat", side="wallet") == 0
    assert value(world, "bridge_fees_sat", account="provider_fee") == 0


def test_the_workers_own_port_serves_the_figures_and_nothing_else(world: World) -> None:
    world.open()
    with serving_metrics(world.bridge, "127.0.0.1:0") as port:
        assert 'bridge_queue_depth{queue="numbering"} 1.0' in asked(port, "/metrics")[1]
        assert asked(port, "/")[0] == asked(port, "/healthz")[0] == 404
        with serving_metrics(world.bridge, f"127.0.0.1:{port}") as second:
            assert second == 0
    with serving_metrics(world.bridge, "") as none:
        assert none == 0


def test_a_database_that_is_away_is_a_503_at_the_workers_port(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise Unavailable("database_unavailable", "away")

    monkeypatch.setattr(type(world.bridge.store), "read", lambda self: away())
    with serving_metrics(world.bridge, "127.0.0.1:0") as port:
        assert asked(port, "/metrics")[0] == 503


def asked(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()
