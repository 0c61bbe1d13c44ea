"""Every scenario file, on engines as tests/parts.py says, and what must be true after each of them whatever it was about."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bridge.books.compare import wallet_variances
from bridge.books.keep_books import seal_audit
from bridge.books.verify import book_differences, verify_audit
from bridge.desk.explain import explain
from bridge.invoices.observe import look
from sandbox.bitcoin import Served, serve_in_thread
from sandbox.scenario import Player, load
from tests.flows.world import LNBITS
from tests.parts import on_engines
from tests.scenarios.play import KEY, START, WALLET, FlowBridge, SandboxHttp, build

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
# Each file once, or once over each of the rails that it has for its second way.
CASES = [(path, beside) for path in FILES for beside in load(path).beside or ("",)]


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """One sandbox per test process, emptied before each scenario."""
    running = serve_in_thread(api_key=KEY, wallet_id=WALLET, seed=3, lnbits=LNBITS)
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("engine_name", "path", "beside"), on_engines(CASES), ids=lambda value: getattr(value, "stem", value or "one way")
)
def test_the_scenario_comes_true(path: Path, beside: str, database_url: str, served: Served) -> None:
    scenario = load(path)
    # Its blocks too are from then: a tip from the future is no tip of this scenario.
    served.world.reset(at=START.timestamp())
    with closing(SandboxHttp(served.url)) as outside:
        inside = build(database_url, scenario, served.url, beside=beside)
        with closing(inside.bridge.store):
            player = Player(scenario, outside=outside, inside=inside, say=lambda line: None)
            player.play()
            inside.work()
            assert_books_are_true(inside, outside.wallet(), has_chain=bool(scenario.views))
            assert booked(inside, "wallet:lightning") == outside.lightning_sat()
            assert wallet_variances(inside.bridge)[0].get("lightning", 0) == 0
            assert_nothing_changes_on_its_own(inside)
            assert_the_story_is_told(inside)
            assert_the_audit_is_whole(inside)


def assert_books_are_true(inside: FlowBridge, wallet: dict[str, int], *, has_chain: bool) -> None:
    unbalanced = rows(inside, "SELECT journal_id, asset FROM entries GROUP BY journal_id, asset HAVING SUM(units) <> 0")
    assert unbalanced == []
    assert book_differences(inside.bridge) == []
    hot, inflight = booked(inside, "wallet:hot"), booked(inside, "inflight:unconfirmed")
    assert hot + inflight == wallet["confirmed_sat"] + wallet["unconfirmed_sat"]
    if has_chain:
        assert hot == wallet["confirmed_sat"]


def booked(inside: FlowBridge, account: str) -> int:
    return int(
        rows(inside, "SELECT COALESCE(SUM(units), 0) FROM entries WHERE account = :account", account=account)[0][0]
    )


def assert_nothing_changes_on_its_own(inside: FlowBridge) -> None:
    before = everything(inside)
    for invoice_id in inside.ids.values():
        look(inside.bridge, invoice_id)
    assert everything(inside) == before


def everything(inside: FlowBridge) -> dict[str, Any]:
    counted = ("audit", "events", "journals", "entries", "quotes", "reviews", "deliveries")
    counts = {table: rows(inside, f"SELECT COUNT(*) FROM {table}") for table in counted}
    return {name: inside.invoice(name) for name in inside.ids} | counts


def assert_the_story_is_told(inside: FlowBridge) -> None:
    for invoice_id in inside.ids.values():
        for lang in ("en", "ru"):
            lines = explain(inside.bridge, invoice_id, lang=lang)
            assert len(lines) >= 5
            assert not [line for line in lines if "{" in line or not line.strip()]


def assert_the_audit_is_whole(inside: FlowBridge) -> None:
    seal_audit(inside.bridge, owner="scenario", limit=10_000)
    report = verify_audit(inside.bridge)
    assert report.is_intact, report.detail


def rows(inside: FlowBridge, query: str, **values: Any) -> list[Any]:
    with inside.bridge.store.read() as tx:
        return [tuple(row) for row in tx.execute(text(query), values)]
