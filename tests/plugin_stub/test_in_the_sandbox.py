"""Appendix B once more, in the sandbox BILLmanager: its HTTP server, its mgrctl, its checkpay, and a small bridge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.billmanager import Running, serve_in_thread
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, OLD_SECRET, SECRET, STUB


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The sandbox as an outsider sees it, with a method of our module and the bridge beside it."""

    running: Running
    bridge: FakeBridge

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = requests.request(method, f"{self.running.url}/_control/{path}", json=body or None, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def add_method(self, **settings: str) -> requests.Response:
        typed = {"subtc_bridge_url": self.bridge.url, "subtc_api_key": KEY, "subtc_notify_secret": SECRET, **settings}
        body = {"module": "pmsubtc", "currencies": ["RUB"], "settings": typed}
        return requests.post(f"{self.running.url}/_control/setup", json=body, timeout=30)

    def pay(self, order: Any) -> requests.Response:
        cookies = {order["cookie"]: order["session"]}
        return requests.get(self.running.url + order["pay_path"], cookies=cookies, allow_redirects=False, timeout=30)

    def push(self, event: dict[str, Any], *, secret: str = SECRET) -> requests.Response:
        body = json.dumps(event).encode()
        signed = self.bridge.signed(body, secret=secret, event_id=event["id"])
        headers = {name[5:].replace("_", "-").lower(): value for name, value in signed.items()}
        return requests.post(f"{self.running.url}/mancgi/subtcresult", data=body, headers=headers, timeout=30)

    def tick(self) -> None:
        runs = self.control("POST", "tick", module="pmsubtc")["runs"]
        assert [(run["rc"], run["stdout"], run["stderr"]) for run in runs] == [(0, "", "")]

    def status(self, elid: str) -> int:
        found: int = self.control("GET", f"payments/{elid}")["status"]
        return found

    def moves(self, elid: str) -> list[tuple[int, int]]:
        rows = self.control("GET", f"payments/{elid}/history")["history"]
        return [(row["status"], row["status_new"]) for row in rows]

    def active_services(self) -> int:
        return sum(row["status"] == "active" for row in self.control("GET", "services")["services"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_in_thread(tmp_path_factory.mktemp("panel") / "mgr5", module_trees=[STUB], tick_seconds=0) as listening:
        yield listening


@pytest.fixture
def sandbox(running: Running, bridge: FakeBridge) -> Sandbox:
    fresh = Sandbox(running=running, bridge=bridge)
    fresh.control("POST", "reset", next_payment_id=7)
    for where in sorted((running.base / "var").rglob("*.json")):
        where.unlink()
    for mark in (running.base / "var/subtc/open").glob("*"):
        mark.unlink()
    return fresh


def test_the_nine_steps_in_the_sandbox(sandbox: Sandbox) -> None:
    """BILLmanager contract Appendix B: order, pay page, reload, bad and small and good notification, twice, tick."""
    bridge = sandbox.bridge
    assert sandbox.add_method().ok
    order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    elid = str(order["payment_id"])
    assert order["pay_path"].startswith(f"/mancgi/subtcpayment?elid={elid}")
    assert sandbox.status(elid) == 8
    first = sandbox.pay(order)
    assert (first.status_code, first.headers["Location"]) == (302, f"{bridge.url}/pay/pub_1"), first.text
    assert sandbox.moves(elid)[-1] == (8, 2)
    moves = sandbox.moves(elid)
    assert sandbox.pay(order).headers["Location"] == first.headers["Location"]
    assert (sandbox.moves(elid), len(bridge.invoices), len(bridge.opened())) == (moves, 1, 1)
    settled = bridge.settled(elid)
    assert sandbox.push(settled, secret=OLD_SECRET).status_code == 401
    small = {**settled, "invoice": {**settled["invoice"], "amount": "9.99"}}
    assert sandbox.push(small).status_code == 422
    assert (sandbox.status(elid), sandbox.active_services()) == (2, 0)
    assert sandbox.push(settled).status_code == 200
    assert (sandbox.status(elid), sandbox.active_services()) == (4, 1)
    with ThreadPoolExecutor() as pool:
        again = pool.submit(sandbox.push, settled)
        sandbox.tick()
        assert again.result().status_code == 200
    assert sandbox.moves(elid) == [*moves, (2, 4)]
    assert [row["activations"] for row in sandbox.control("GET", "services")["services"]] == [1]


def test_mgrctl_away_during_the_push_is_made_good_by_the_tick(sandbox: Sandbox) -> None:
    """BILLmanager contract Appendix B, step 8"""
    sandbox.add_method()
    order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    elid = str(order["payment_id"])
    sandbox.pay(order)
    sandbox.control("POST", "faults", target="mgrctl", kind="dead", times=1)
    answer = sandbox.push(sandbox.bridge.settled(elid))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    sandbox.tick()
    assert (sandbox.status(elid), sandbox.active_services()) == (4, 1)


def test_an_expired_invoice_is_cancelled_by_the_tick_and_late_money_still_counts(sandbox: Sandbox) -> None:
    """BILLmanager contract Appendix B, step 9, and 14.11"""
    sandbox.add_method()
    order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    elid = str(order["payment_id"])
    sandbox.pay(order)
    sandbox.bridge.event("cancelled", elid, status="expired")
    sandbox.tick()
    assert sandbox.status(elid) == 9
    assert "func=payment.fail" in sandbox.pay(order).headers["Location"]
    sandbox.bridge.settled(elid, exception="paid_late")
    sandbox.tick()
    assert (sandbox.status(elid), sandbox.active_services()) == (4, 1)


@pytest.mark.parametrize("kind", ["dead", "killed", "error", "exit", "truncated", "non_utf8", "lost", "empty"])
def test_every_fault_of_mgrctl_is_survived(sandbox: Sandbox, kind: str) -> None:
    """BILLmanager contract 15.6: one setpaid in history, never a lost one."""
    sandbox.add_method()
    order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    elid = str(order["payment_id"])
    sandbox.pay(order)
    settled = sandbox.bridge.settled(elid)
    sandbox.control("POST", "faults", target="mgrctl", kind=kind, name="payment.setpaid", times=2)
    assert sandbox.push(settled).status_code in (200, 503)
    sandbox.tick()
    sandbox.tick()
    assert (sandbox.status(elid), sandbox.moves(elid).count((2, 4))) == (4, 1)


def test_wrong_settings_are_refused_with_words(sandbox: Sandbox) -> None:
    """The error of pmvalidate arrives with the text of our description, parameters filled in."""
    answer = sandbox.add_method(subtc_notify_secret=OLD_SECRET)
    assert not answer.ok
    assert "The bridge signs with another notification secret" in answer.text
    assert "127.0.0.1:9" not in answer.text
    away = sandbox.add_method(subtc_bridge_url="http://127.0.0.1:9")
    assert "does not answer (" in away.text
    assert "__value__" not in away.text


def test_nothing_the_sandbox_recorded_shows_a_secret_in_argv(sandbox: Sandbox) -> None:
    """BILLmanager contract 14.14 and 15.4"""
    sandbox.add_method()
    order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    sandbox.pay(order)
    sandbox.push(sandbox.bridge.settled(str(order["payment_id"])))
    sandbox.tick()
    rows = sandbox.control("GET", "records")["records"]
    argv = json.dumps([row["argv"] for row in rows])
    assert "payment.setpaid" in argv
    for secret in (KEY, SECRET, order["session"]):
        assert secret not in argv
    assert not [row["stderr"] for row in rows if row["kind"] in ("cgi", "module") and row["stderr"]]


MONTH = 30


def test_a_month_of_renewals_needs_nobody(sandbox: Sandbox) -> None:
    """Row 001-37: a renewal each day of simulated time told by push or found by the tick."""
    bridge, renewed = sandbox.bridge, []
    assert sandbox.add_method().ok
    for day in range(MONTH):
        order = sandbox.control("POST", "order", product="vps", amount="10.00", currency="RUB")
        elid = str(order["payment_id"])
        assert sandbox.pay(order).status_code == 302
        settled = bridge.settled(elid)
        if day % 2:
            assert sandbox.push(settled).status_code == 200
        sandbox.control("POST", "clock", advance_s=86_400)
        sandbox.tick()
        renewed.append(elid)
    assert {sandbox.status(elid) for elid in renewed} == {4}
    assert [row["activations"] for row in sandbox.control("GET", "services")["services"]] == [1] * MONTH
    assert bridge.changes == []
    [feed] = (sandbox.running.base / "var/subtc/feeds").glob("*.json")
    kept = json.loads(feed.read_text())
    assert (kept["position"], kept["retry"], kept["parked"]) == (MONTH, [], [])
