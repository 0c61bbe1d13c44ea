"""Every part of `bench`, small: it still runs over what it measures. Its figures mean nothing here, nor whether they are reached."""

import os
import shutil

import pytest

from bench import (
    base,
    books,
    history,
    http_routes,
    latency,
    lightning,
    memory,
    module,
    peer,
    polling,
    scale,
    starts,
    year,
)
from bench.place import open_bench
from bench.table import Report
from tests.durability.programs import ROOT

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None and "CI" not in os.environ, reason="wrk is not installed; `make test` installs it"
)
# What costs a minute together and shares its pieces with the others.
in_ci = pytest.mark.skipif("CI" not in os.environ, reason="continuous integration runs this part of the bench")


@pytest.fixture(scope="module")
def bench(postgresql_cluster):
    with open_bench(seconds=0.2, base=ROOT, cluster=postgresql_cluster) as opened:
        yield opened


def told_by(measure, bench, *arguments, **options):
    """The names of the figures that a part tells."""
    report = Report()
    measure(bench, report, *arguments, **options)
    return [figure.name for figure in report.figures]


@in_ci
@needs_wrk
def test_the_routes_are_measured_beside_their_yardsticks(bench):
    told = told_by(http_routes.measure, bench, "postgresql", clients=(1,))
    assert "postgresql: open / reference, 1 clients" in told
    assert "postgresql: open from the pool, 1 clients" in told
    assert "postgresql: callback / reference, 1 clients" in told


@needs_wrk
def test_another_checkout_is_measured_side_by_side(bench):
    told = told_by(base.measure, bench, "sqlite", rounds=1, clients=(1,), among=1_000)
    assert [name.partition(": ")[2].removesuffix(", new/base") for name in told] == [
        "open, 1 clients",
        "an open, processor",
        "callback accepted, 16 clients",
        "a callback, processor",
        "status polls with ETag, 16 clients",
        "a status poll, processor",
        "callback to settled, p50 at 20/s",
        "callback to settled, p99 at 20/s",
        "a payment until settled, processor",
        "paid, settled and told",
        "a payment, open to told, processor",
        "claim of 8 among 1,000 open",
    ]


@in_ci
def test_the_way_from_a_callback_to_the_merchant_is_measured(bench):
    assert len(told_by(latency.callback_to_settled, bench, "sqlite")) == 2


@in_ci
def test_whole_lives_are_measured(bench):
    assert len(told_by(latency.whole_life, bench, "sqlite")) == 2


@in_ci
def test_a_dead_endpoint_is_measured(bench):
    assert len(told_by(latency.dead_endpoint, bench, "sqlite")) == 2


def test_status_polls_are_measured(bench):
    assert len(told_by(latency.status_polls, bench, "sqlite")) == 1


@in_ci
def test_two_nodes_are_measured_beside_one(bench):
    assert len(told_by(latency.more_nodes, bench)) == 3


def test_claims_are_measured_among_few_and_many(bench):
    assert len(told_by(scale.measure, bench, "postgresql", few=1_000, many=2_000)) == 6


def test_polling_is_measured_in_simulated_time(bench):
    told = told_by(polling.measure, bench, open_invoices=50, seconds=60)
    assert told[-1] == "polling: most calls in any minute"


def test_lightning_is_measured_in_simulated_time(bench):
    told = told_by(lightning.many_open, bench, count=20, seconds=5)
    assert told[0] == "20 open Lightning invoices: most calls in any minute"


@in_ci
def test_lightning_is_measured_from_the_page_to_the_billing_system(bench):
    assert told_by(lightning.measure, bench, offers=1, orders=1) == [
        "lightning: its own create call, p50 ms",
        "lightning: offer through the page, p50 ms",
        "lightning: offer through the page / own create",
        "lightning: settled to LNbits' own webhook, p50 ms",
        "lightning: of it in module and BILLmanager, p50 ms",
        "lightning: settled to paid by doorbell, p50 ms",
        "lightning: settled to paid, no doorbell, p50 ms",
    ]


def test_copies_reconcile_clean_on_both_engines(database_url):
    report = Report()
    books.measure(report, "any", database_url, few=20, many=450)
    assert [figure.name.split(": ")[1][:10] for figure in report.figures] == ["reconcilin", "invoices r", "memory wit"]


def test_the_peer_is_one_of_its_lock():
    assert f"lnbits=={peer.VERSION}" in peer.LOCK.read_text(encoding="utf-8")


def test_the_starts_of_the_modules_programs_are_measured_beside_their_imports(bench):
    assert len(told_by(module.measure, bench, starts=1)) == 2 * len(module.PROGRAMS)


def test_the_starts_of_commands_are_measured_beside_another_checkout(bench):
    assert told_by(starts.measure, bench, starts=1) == [
        "start of --help, processor ms",
        "start of --help / a Python that does nothing",
        "start of --help, new/base",
        "start of check, processor ms",
        "start of check / a Python that does nothing",
        "start of check, new/base",
    ]


@in_ci
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_years_of_settled_invoices_are_measured(bench, engine):
    told = told_by(history.measure, bench, engine, few=40, many=100)
    for side in ("this", "base"):
        assert f"{engine}: {side}: bytes a settled invoice" in told
        assert f"{engine}: {side}: journal of a month, 100 / 40 settled" in told
        assert f"{engine}: {side}: find by id, 100 / 40 settled" in told


@in_ci
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_year_is_told_of_what_lives_leave_behind(bench, engine):
    report = Report()
    year.measure(bench, report, engine, a_day=1_000, copies=40)
    told = {figure.name: figure.value for figure in report.figures}
    assert told[f"{engine}: day 365: million rows"] > 1_000 * 365
    [due] = [value for name, value in told.items() if "to purge" in name]
    assert due >= 3 * 1_000, "a doorbell's body and headers, and what the opening was answered"


def test_a_year_counts_the_looks_that_the_schedule_asks_for():
    assert max(year.looks_of(is_paid=True)) == 7, "until its watch is over"
    assert max(year.looks_of(is_paid=False)) == 37, "and a month longer where nobody paid"


@in_ci
@needs_wrk
def test_memory_is_measured_beside_another_checkout(bench):
    assert told_by(memory.measure, bench, "sqlite") == [
        "sqlite: this: memory of web and worker, idle",
        "sqlite: this: memory of web and worker, after invoices",
        "sqlite: base: memory of web and worker, idle",
        "sqlite: base: memory of web and worker, after invoices",
        "sqlite: memory idle, new/base",
        "sqlite: memory after invoices, new/base",
    ]
