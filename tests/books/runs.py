"""Short words for tests of the books: a reconciliation from beginning to end, rows changed behind the bridge's back.

Owns these words; must not copy a rule of the bridge.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from bridge.books.reconcile import show_reconciliation, start_reconciliation, step, take_billing_report
from bridge.context import Bridge
from tests.flows.world import World

HOUR = 3_600


def reconcile(bridge: Bridge, *, limit: int = 200, actor: str = "anna", **period: Any) -> dict[str, Any]:
    """One whole run, page by page; bounded."""
    run_id = start_reconciliation(bridge, actor=actor, reason="month end", **period)
    for _ in range(1_000):
        if step(bridge, run_id, limit=limit).is_over:
            return show_reconciliation(bridge, run_id)
    raise AssertionError("the run does not end")


def codes(report: dict[str, Any]) -> list[str]:
    return sorted(finding["code"] for finding in report["findings"])


def change(world: World, statement: str, **parameters: Any) -> None:
    """A row changed by somebody who goes around the bridge."""
    with world.bridge.store.write() as tx:
        tx.execute(text(statement), parameters)


def paid(world: World, billing_payment_id: str = "7", **request: Any) -> dict[str, Any]:
    """A settled invoice whose money everybody has known for three hours."""
    invoice = world.open(billing_payment_id, **request)
    world.pay(invoice)
    world.mine(6)
    assert world.seen(invoice)[0] == "settled"
    world.advance(3 * HOUR)
    world.look(invoice)
    return world.invoice(invoice)


def report_of(world: World, rows: list[dict[str, Any]], *, report_id: str = "r1", is_last: bool = True) -> None:
    """What the billing system says of all its payments of the last thirty days."""
    covers_from = world.bridge.clock() - timedelta(days=30)
    payments = [{"external_id": ""} | row for row in rows]
    page = {"report_id": report_id, "covers_from": covers_from, "payments": payments, "is_last": is_last}
    take_billing_report(world.bridge, "shop", **page)


def told(invoice: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The billing system's word on an invoice that it agrees about."""
    return {
        "billing_payment_id": invoice["billing_payment_id"],
        "status": 4 if invoice["status"] == "settled" else 2,
        "amount_text": invoice["amount"],
        "currency": invoice["currency"],
        "external_id": invoice["id"],
    } | changes


def lines(chunks: Iterator[str]) -> list[str]:
    return "".join(chunks).splitlines()
