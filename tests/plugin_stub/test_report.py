"""What the bridge hears of BILLmanager's payments, for its reconciliation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import Panel


def test_a_tick_reports_every_payment_of_ours_once_an_hour(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7", randomnumber="r7")
    assert panel.pay("7").status == 302
    panel.add_payment("8", randomnumber="r8")
    bridge.settled("7")
    panel.checkpay()
    [report] = bridge.reports
    assert report["last"] is True
    assert datetime.fromisoformat(report["covers_from"]) < datetime.now(UTC) - timedelta(days=29)
    said = {row["billing_payment_id"]: row for row in report["payments"]}
    assert said["7"]["externalid"] == bridge.invoice("7")["id"]
    assert (said["7"]["status"], said["7"]["currency"]) == (4, "RUB")
    assert (said["8"]["externalid"], said["8"]["status"]) == ("", panel.read()["payments"]["8"]["status"])
    panel.checkpay()
    assert len(bridge.reports) == 1


def test_an_hour_later_it_reports_again(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    assert panel.pay("7").status == 302
    panel.checkpay()
    [note] = (panel.base / "var/subtc/reports").glob("*.json")
    note.write_text(json.dumps({"at": json.loads(note.read_text())["at"] - 3_601}))
    panel.checkpay()
    assert len({report["report_id"] for report in bridge.reports}) == 2


def test_a_bridge_that_reads_addresses_is_told_them_from_the_second_report_on(panel: Panel, bridge: FakeBridge) -> None:
    """One of before refuses what it does not know: it is sent what it named the last time."""
    panel.add_payment("7")
    assert panel.pay("7").status == 302
    bridge.reads = ["address"]
    for reads in (["address"], [], []):
        bridge.reads = reads
        panel.checkpay()
        [note] = (panel.base / "var/subtc/reports").glob("*.json")
        note.write_text(json.dumps(json.loads(note.read_text()) | {"at": 0}))
    told = [report["payments"][0].get("address") for report in bridge.reports]
    assert told == [None, bridge.invoice("7")["address"], None]


def test_a_long_list_comes_in_pages_of_one_report(panel: Panel, bridge: FakeBridge) -> None:
    content = panel.read()
    panel.add_payment("7")
    sample = panel.read()["payments"]["7"]
    content["payments"] = {str(n): {**sample, "id": str(n)} for n in range(1, 702)}
    panel.write(content)
    assert panel.pay("7").status == 302
    panel.checkpay()
    assert [(len(report["payments"]), report["last"]) for report in bridge.reports] == [
        (300, False),
        (300, False),
        (101, True),
    ]
    assert len({report["report_id"] for report in bridge.reports}) == 1


def test_a_bridge_that_does_not_take_reports_is_not_asked_with_every_tick(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7")
    assert panel.pay("7").status == 302
    bridge.settled("7")
    bridge.force = (404, {"title": "Not Found", "code": "not_found", "status": 404}, {})
    panel.checkpay()
    bridge.force = None
    bridge.requests.clear()
    panel.checkpay()
    assert bridge.reports == []
    assert len(panel.credits()) == 1


def test_another_modules_payments_stay_in_the_panel(panel: Panel, bridge: FakeBridge) -> None:
    content = panel.read()
    content["methods"]["2"] = {"module": "pmother", "currency": "RUB", "settings": {}}
    panel.write(content)
    panel.add_payment("7")
    panel.add_payment("9", method="2")
    assert panel.pay("7").status == 302
    panel.checkpay()
    assert [row["billing_payment_id"] for row in bridge.reports[0]["payments"]] == ["7"]
