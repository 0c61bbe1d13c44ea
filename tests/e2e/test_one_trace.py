"""One trace id from the module's request to setpaid: in every log, row and message about one payment, and no secret beside it."""

import json
import re
from pathlib import Path
from typing import Any

from bridge.books.verify import verify_audit
from bridge.cli.opened import build
from bridge.config import load_settings
from bridge.desk.explain import explain
from sandbox.demo import Demo, call, until
from tests.e2e.conftest import Order

# Rows that belong to an invoice, and how they lead to its trace.
LINKED = ("quotes", "payments", "journals", "events", "deliveries", "audit")


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Every line of a program's log: all of them are JSON objects with the same first fields."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(list(line)[:3] == ["at", "level", "action"] for line in lines)
    return lines


def rows(demo: Demo, query: str, **values: str) -> list[Any]:
    from sqlalchemy import text

    bridge = build(load_settings(demo.directory / "config.yaml"))
    try:
        with bridge.store.read() as tx:
            return list(tx.execute(text(query), values).mappings())
    finally:
        bridge.store.close()


def test_one_trace_id_leads_from_the_modules_request_to_setpaid(demo: Demo, order: Order) -> None:
    invoice = order.place_and_open()
    order.pay()
    order.doorbell()
    order.seen()
    order.mine()
    order.travel(6)
    order.settled()
    order.paid()
    trace = invoice["trace_id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)

    var = demo.directory / "mgr5" / "var"
    opened = [line for line in (var / "subtcpayment.log").read_text().splitlines() if f"trace={trace}" in line]
    assert any("pay.redirect" in line and invoice["id"] in line for line in opened)
    told = until(
        lambda: [
            line
            for line in (var / "subtcresult.log").read_text().splitlines()
            # BILLmanager shows the payment paid before the line is written, and an earlier order's stands there already.
            if "reason=set_paid" in line and invoice["id"] in line
        ],
        "the module wrote nothing of setpaid",
    )
    assert [line.endswith(f"trace={trace}") for line in told] == [True]

    web = [line for line in lines_of(demo.directory / "bridge.log") if line.get("trace_id") == trace]
    assert {"/v1/invoices", "/pay/<public_id>", "/callbacks/subtc/<token>"} <= {line.get("route") for line in web}
    until(
        lambda: [
            line
            for line in lines_of(demo.directory / "worker.log")
            if line["action"] == "delivery.delivered" and line["type"] == "invoice.settled"
        ],
        "the worker logged no delivery",
    )
    worker = [line for line in lines_of(demo.directory / "worker.log") if line.get("trace_id") == trace]
    assert {line["action"] for line in worker} >= {"delivery.delivered"}
    for line in lines_of(demo.directory / "worker.log"):
        assert line.get("invoice_id") != invoice["id"] or line["trace_id"] == trace

    kept = {name: rows(demo, f"SELECT * FROM {name} WHERE invoice_id = :id", id=invoice["id"]) for name in LINKED}
    assert all(kept.values())
    assert rows(demo, "SELECT trace_id FROM invoices WHERE id = :id", id=invoice["id"]) == [{"trace_id": trace}]
    assert {json.loads(row["body"])["invoice"]["trace_id"] for row in kept["events"]} == {trace}
    assert {json.loads(row["detail"])["trace_id"] for row in kept["audit"]} == {trace}


def test_explain_names_the_trace_and_the_trace_finds_the_invoice(demo: Demo, order: Order) -> None:
    invoice = order.place_and_open()
    bridge = build(load_settings(demo.directory / "config.yaml"))
    try:
        for lang in ("en", "ru"):
            assert explain(bridge, invoice["trace_id"], lang=lang)[-1].endswith(invoice["trace_id"])
        assert verify_audit(bridge).is_intact
    finally:
        bridge.store.close()


def test_two_tabs_of_one_payment_end_in_the_trace_of_the_first(demo: Demo, order: Order) -> None:
    invoice = order.place_and_open()
    order.open_pay_page()
    lines = (demo.directory / "mgr5" / "var" / "subtcpayment.log").read_text().splitlines()
    sent_on = [line for line in lines if "pay.redirect" in line and invoice["id"] in line]
    assert len(sent_on) == 2
    assert all(line.endswith(f"trace={invoice['trace_id']}") for line in sent_on)


def test_a_strangers_trace_does_not_enter_an_invoices_lines(demo: Demo, order: Order) -> None:
    invoice = order.place_and_open()
    forged = {"traceparent": f"00-{'e' * 32}-{'1' * 16}-01"}
    assert call(invoice["payment_url"], headers=forged).status == 200
    assert call(f"{demo.url('bridge')}/healthz", headers=forged).status == 200
    assert "e" * 32 not in (demo.directory / "bridge.log").read_text()


def test_no_secret_and_no_token_stands_in_any_log(demo: Demo, order: Order) -> None:
    order.place_and_open()
    until(lambda: order.invoice["address"] in str(order.control("bitcoin", "watches")), "no watch was armed")
    token = order.callback_url().rpartition("/")[2]
    call(order.callback_url(), {"reached": True})
    logs = [
        demo.directory / "bridge.log",
        demo.directory / "worker.log",
        *(demo.directory / "mgr5" / "var").glob("*.log"),
    ]
    hidden = [token, order.invoice["payment_url"].rpartition("/")[2], *demo.secrets.values()]
    hidden.remove(demo.secrets["wallet_id"])
    for log in logs:
        assert not [secret for secret in hidden if secret in log.read_text()], log
