"""Every figure that must be watched exists by its name and moves when something happens."""

import ast
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from bridge.books.keep_books import refresh_gauges
from bridge.cli.serve import serving_metrics
from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import VERDICTS
from bridge.core.invoice import STATUSES
from bridge.core.kinds import REVIEWS
from bridge.core.payout import KINDS, STATES
from bridge.metrics import Metrics
from bridge.payouts.treasury import read_balances
from bridge.runtime import build
from tests.books.runs import reconcile
from tests.flows.world import World, answer, settings_for

Worlds = Callable[..., World]
A_SLOW_MACHINE = 300  # seconds


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
    # The clock of the test goes on by itself meanwhile.
    assert 40 <= value(world, "bridge_queue_age_seconds", queue="doorbells") < 40 + A_SLOW_MACHINE
    assert value(world, "bridge_queue_depth", queue="looks") == 1
    assert value(world, "bridge_queue_depth", queue="numbering") == 1
    world.look(invoice)
    world.advance(5)
    assert value(world, "bridge_queue_depth", queue="doorbells") == 0
    assert value(world, "bridge_queue_depth", queue="deliveries") == 1
    assert 5 <= value(world, "bridge_queue_age_seconds", queue="deliveries") < 5 + A_SLOW_MACHINE
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


# Every metric that has labels: whether all that they may be is known, and so exists from the start, or why not.
LABELLED = {
    "bridge_invoices_opened": "known",
    "bridge_invoice_moves": "known",
    "bridge_callbacks": "known",
    "bridge_looks": "known",
    "bridge_deliveries": "known",
    "bridge_reviews_opened": "known",
    "bridge_quotes": "known",
    "bridge_screenings": "known",
    "bridge_payout_moves": "known",
    "bridge_stage_refusals": "known",
    "bridge_offers": "known",
    "bridge_rail_settlement_seconds": "known",
    "bridge_ways_open": "gauge: counted from rows at each scrape",
    "bridge_rail_well": "gauge: as the rails last said",
    "bridge_rail_inbound_sat": "gauge: of a rail that has said it",
    "bridge_open_invoices": "gauge: counted from rows at each scrape",
    "bridge_deliveries_by_state": "gauge: counted from rows at each scrape",
    "bridge_reviews_open": "gauge: counted from rows at each scrape",
    "bridge_claim_due_seconds": "gauge: read from rows at each scrape",
    "bridge_wallet_confirmed_sat": "gauge: read from rows at each scrape",
    "bridge_stage_used": "gauge: counted from rows at each scrape",
    "bridge_stage_limit": "gauge: from the policy at each scrape",
    "bridge_queue_depth": "gauge: counted from rows at each scrape",
    "bridge_queue_age_seconds": "gauge: counted from rows at each scrape",
    "bridge_rate_age_seconds": "gauge: any currency, once it has a price",
    "bridge_rate_spread_bps": "gauge: any currency, once it has a price",
    "recon_variance_sat": "gauge: of the last reconciliation",
    "bridge_billing_report_age_seconds": "gauge: of a merchant that has reported",
    "bridge_fees_sat": "gauge: from the ledger at each scrape",
}


def labelled(metrics: Metrics) -> dict[str, str]:
    """Each metric with labels and its type."""
    return {each._name: each._type for each in metrics.__dict__.values() if getattr(each, "_labelnames", ())}


def test_it_is_said_of_every_metric_with_labels_whether_they_are_known() -> None:
    kinds = labelled(Metrics())
    assert set(kinds) == set(LABELLED)
    assert {name for name, said in LABELLED.items() if said == "known"} == {
        name for name, kind in kinds.items() if kind != "gauge"
    }


def test_every_counter_with_labels_stands_at_zero_before_its_first_event(sqlite_url: str) -> None:
    bridge = build(settings_for("http://127.0.0.1:1", sqlite_url))
    bridge.store.close()
    samples = [s for metric in bridge.metrics.registry.collect() for s in metric.samples if metric.type == "counter"]
    found = {(s.name, *sorted(s.labels.items())) for s in samples if s.name.endswith("_total")}
    assert {s.value for s in samples if s.name.endswith("_total")} == {0}
    merchants = ("shop", "other", "puller")
    expected = {("bridge_payout_moves_total", ("kind", kind), ("to", to)) for kind in KINDS for to in STATES}
    expected |= {("bridge_reviews_opened_total", ("kind", kind)) for kind in REVIEWS}
    expected |= {("bridge_invoice_moves_total", ("to", status)) for status in STATUSES}
    expected |= {("bridge_screenings_total", ("verdict", verdict)) for verdict in VERDICTS}
    expected |= {("bridge_invoices_opened_total", ("merchant", name)) for name in merchants}
    expected |= {
        ("bridge_stage_refusals_total", ("limit", limit), ("merchant", name))
        for limit in ("invoices", "amount")
        for name in merchants
    }
    outcomes = ("made", "refused", "unavailable", "nonsense")
    expected |= {("bridge_offers_total", ("outcome", outcome), ("rail", "subtc")) for outcome in outcomes}
    for name, outcomes in {
        "callbacks": ("new", "duplicate", "bad_signature", "unknown_token"),
        "looks": ("read", "unavailable", "failed"),
        "deliveries": ("delivered", "retry", "parked"),
        "quotes": ("made", "refused"),
    }.items():
        expected |= {(f"bridge_{name}_total", ("outcome", outcome)) for outcome in outcomes}
    assert found == expected


def test_what_the_programs_count_is_among_the_known_labels() -> None:
    """Every label that is written out where something is counted; a new one must be known from the start, too."""
    known = {
        name: {label: {sample.labels[label] for sample in each.collect()[0].samples} for label in each._labelnames}
        for name, each in vars(Metrics(["shop"], ["subtc"])).items()
        if getattr(each, "_type", "") == "counter" and each._labelnames
    }
    counted: set[tuple[str, str, str]] = set()
    for path in (Path(__file__).parents[2] / "bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".labels"):
                metric = ast.unparse(node.func).split(".")[-2]
                for keyword in node.keywords:
                    texts = [each.value for each in ast.walk(keyword.value) if isinstance(each, ast.Constant)]
                    counted |= {(metric, str(keyword.arg), text) for text in texts if isinstance(text, str)}
    of_counters = {(metric, label, text) for metric, label, text in counted if metric in known}
    assert ("callbacks", "outcome", "duplicate") in of_counters and ("looks", "outcome", "failed") in of_counters
    assert [each for each in of_counters if each[2] not in known[each[0]][each[1]]] == []
