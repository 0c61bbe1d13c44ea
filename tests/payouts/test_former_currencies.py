"""An invoice in a currency that became history: nobody opens another, and what is stored goes on to the last satoshi."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.books.export import export
from bridge.core import currencies
from bridge.core.errors import Refused
from bridge.desk.evidence import evidence
from bridge.desk.explain import explain
from bridge.invoices.read_invoices import invoice_by_id
from bridge.receipts import new_key
from tests.payouts.desk import Desk

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def paid_in_levs(desks: Callable[..., Desk]) -> tuple[Desk, dict[str, Any]]:
    """A desk whose shop took levs as long as there were levs, and an invoice of BGN 200.00 from then."""
    with pytest.MonkeyPatch.context() as the_year_before:
        the_year_before.setitem(currencies.CURRENT, "BGN", 2)
        the_year_before.delitem(currencies.FORMER, "BGN")
        desk = desks(shop={"currencies": ["BGN", "USD"]}, receipt_key=new_key())
        desk.world.control("price", currency="BGN", price="125000.00")
        invoice = desk.world.open("7", currency="BGN", amount_text="200.00")
        desk.world.pay(invoice)
        desk.world.mine(6)
        desk.world.look(invoice)
    return desk, desk.world.invoice(invoice)


def test_no_new_invoice_is_opened_in_it_even_where_the_policy_in_force_still_names_it(
    paid_in_levs: tuple[Desk, dict[str, Any]],
) -> None:
    desk, _ = paid_in_levs
    with pytest.raises(Refused) as refused:
        desk.world.open("8", currency="BGN")
    assert (refused.value.code, refused.value.field) == ("former_currency", "currency")
    assert refused.value.detail == "BGN was replaced by EUR on 2026-01-01: take EUR."
    assert desk.world.open("8", currency="USD")["currency"] == "USD"


def test_the_old_invoice_is_read_explained_exported_and_proved(paid_in_levs: tuple[Desk, dict[str, Any]]) -> None:
    desk, invoice = paid_in_levs
    bridge = desk.world.bridge
    read = invoice_by_id(bridge, "shop", invoice["id"])
    assert (read["status"], read["amount"], read["currency"]) == ("settled", "200.00", "BGN")
    assert read["quote"]["rate"] == "125000.00"
    assert any("1 BTC = 125,000.00 BGN" in line for line in explain(bridge, invoice["id"], lang="en"))
    for kind in ("invoices", "settlements"):
        text = "".join(export(bridge, kind=kind, format="csv", from_at=EARLY, to_at=LATE))
        (row,) = csv.DictReader(io.StringIO(text, newline=""))
        assert (row["expected"], row["currency"], row["rate"]) == ("200.00", "BGN", "125000.00")
    assert evidence(bridge, invoice["id"])["invoice"]["currency"] == "BGN"


@pytest.mark.parametrize(("variant", "more"), [("paid_sat", {}), ("fiat_at_quote", {"fiat_text": "150.00"})])
def test_the_old_invoice_is_refunded(
    paid_in_levs: tuple[Desk, dict[str, Any]], variant: str, more: dict[str, str]
) -> None:
    desk, invoice = paid_in_levs
    payout = desk.approved(invoice, variant, **more)
    desk.send()
    desk.confirm()
    assert desk.now(payout)["state"] == "confirmed"
    expected_sat = invoice["received_sat"] if variant == "paid_sat" else 15_000 * 10**8 // 12_500_000
    assert abs(payout["net_sat"] - expected_sat) <= 1
