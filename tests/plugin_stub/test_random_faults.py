"""Random histories, 200 in continuous integration: push and pull race while mgrctl fails in every way; each is paid once.

The module's shared function is driven in this process, with the real mgrctl program and real HTTP behind it.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.parts import one_in
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import STUB, Panel

FAULTS = ("down", "lost", "error", "truncated", "not_utf8")
RUNS = 200
BATCH = 5
ROUNDS = 5


@pytest.fixture
def module(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The module's own functions, pointed at the throwaway panel."""
    monkeypatch.setenv("MGR5_BASE", str(panel.base))
    monkeypatch.syspath_prepend(str(STUB / "lib/python"))
    names = ("settle", "pull", "invoice", "settings", "state")
    yield SimpleNamespace(**{name: importlib.import_module(f"subtc.{name}") for name in names})
    for name in [one for one in sys.modules if one.split(".")[0] == "subtc"]:
        del sys.modules[name]


def random_history(bridge: FakeBridge, elid: str, chance: random.Random) -> list[dict[str, Any]]:
    """Events of one payment that ends settled: seen or not, expired or not, some of them pushed twice or never."""
    events = []
    if chance.random() < 0.5:
        events.append(bridge.event("processing", elid, status="processing", received_sat=15924))
    if chance.random() < 0.3:
        events.append(bridge.event("expired", elid, status="expired", received_sat=0))
    events.append(bridge.settled(elid))
    if chance.random() < 0.2:
        events.append(bridge.event("updated", elid, exception="paid_over"))
    pushed = [event for event in events for _ in range(chance.choice((0, 1, 1, 2)))]
    if chance.random() < 0.3:
        chance.shuffle(pushed)
    return pushed


def spoil(panel: Panel, chance: random.Random) -> None:
    functions = ("payment.info", "payment.setpaid", "payment.setpaid", "payment.setinpay", "payment", "*")
    faults = [
        {"func": chance.choice(functions), "fault": chance.choice(FAULTS), "times": chance.randint(1, 2)}
        for _ in range(chance.randint(0, 6))
    ]
    panel.change(faults=faults)


@pytest.mark.parametrize("seed", one_in(3, range(RUNS // BATCH // ROUNDS)))
def test_random_faults_pay_every_payment_exactly_once(
    panel: Panel, bridge: FakeBridge, module: SimpleNamespace, seed: int
) -> None:
    """BILLmanager contract 14.3, 14.5, 14.10, 15.6: push, pull and both at once."""
    source = module.settings.read(panel.read()["methods"]["1"]["settings"]).source
    for round_number in range(ROUNDS):
        chance = random.Random(seed * 1000 + round_number)
        elids = [str(100 + round_number * BATCH + number) for number in range(BATCH)]
        for elid in elids:
            panel.add_payment(elid, status=chance.choice((1, 2, 8, 8)), randomnumber=f"r{elid}")
        pushed = [event for elid in elids for event in random_history(bridge, elid, chance)]
        spoil(panel, chance)

        def push(raw: dict[str, Any]) -> str:
            event = module.invoice.read_event(json.loads(json.dumps(raw)))
            outcome = module.settle.settle(event, event.invoice, vouch=lambda account: account.source == source)
            return str(outcome.verdict)

        with ThreadPoolExecutor(3) as pool:
            ticking = pool.submit(module.pull.checkpay)
            verdicts = set(pool.map(push, pushed))
            ticking.result()
        assert verdicts <= {"done", "later"}
        for _ in range(2):
            module.pull.checkpay()
        panel.change(faults=[])
        module.pull.checkpay()
        record = panel.read()
        for elid in elids:
            assert record["payments"][elid]["status"] == 4, (seed, round_number, elid)
            assert [row["to"] for row in record["history"] if row["elid"] == elid].count(4) == 1
    assert len(panel.credits()) == ROUNDS * BATCH
