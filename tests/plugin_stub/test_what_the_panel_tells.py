"""What the bridge hears of the client and his order, and what BILLmanager learns of the invoice."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.web.bodies import NewInvoiceBody
from tests.plugin_stub.conftest import Push
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import Panel


def order(panel: Panel, bridge: FakeBridge) -> dict[str, Any]:
    assert panel.pay("7").status == 302
    body: dict[str, Any] = next(body for _, path, _, body in bridge.requests if path == "/v1/invoices")
    # Module and bridge are written apart: what the one sends must be what the other reads.
    NewInvoiceBody.model_validate(body)
    return body


def configure(panel: Panel, *lines: str) -> None:
    panel.base.joinpath("etc/subtc.conf").write_text("\n".join(lines) + "\n")


def test_nothing_of_the_client_is_guessed(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7", extra={"country": "DE", "client_group": "trusted"})
    assert order(panel, bridge)["customer"] == {"id": "4", "email": "client@example.com"}


def test_a_method_may_be_for_one_tier_of_clients(panel: Panel, bridge: FakeBridge) -> None:
    methods = panel.read()["methods"]
    methods["1"]["settings"]["subtc_tier"] = "trusted"
    panel.change(methods=methods)
    panel.add_payment("7")
    assert order(panel, bridge)["customer"]["tier"] == "trusted"


def test_fields_of_the_panel_tell_tier_and_country_where_they_are_named(panel: Panel, bridge: FakeBridge) -> None:
    configure(panel, "tier_field = client_group", "country_field = client_country")
    methods = panel.read()["methods"]
    methods["1"]["settings"]["subtc_tier"] = "everybody"
    panel.change(methods=methods)
    panel.add_payment("7", extra={"client_group": "trusted", "client_country": "de"})
    customer = order(panel, bridge)["customer"]
    assert (customer["tier"], customer["country"]) == ("trusted", "DE")


def test_a_field_with_something_else_in_it_stops_nobody(panel: Panel, bridge: FakeBridge) -> None:
    configure(panel, "tier_field = client_group", "country_field = client_country")
    panel.add_payment("7", extra={"client_group": "VIP & friends \u2014 all", "client_country": "Germany"})
    assert order(panel, bridge)["customer"] == {"id": "4", "email": "client@example.com"}


def test_the_invoice_names_what_was_ordered_and_the_number_of_the_payment(panel: Panel, bridge: FakeBridge) -> None:
    panel.add_payment("7", ordered="VPS KVM-2, 1 month")
    assert order(panel, bridge)["description"] == "VPS KVM-2, 1 month (pfx/7)"


def test_names_of_what_was_ordered_can_be_left_out(panel: Panel, bridge: FakeBridge) -> None:
    configure(panel, "item_names = off")
    panel.add_payment("7", ordered="VPS KVM-2, 1 month")
    assert order(panel, bridge)["description"] == "Advance payment #7"


def test_staff_read_in_billmanager_that_a_payment_is_held_or_was_given_time(
    panel: Panel, bridge: FakeBridge, push: Push
) -> None:
    panel.add_payment("7")
    panel.pay("7")
    url = bridge.invoice("7")["payment_url"]
    held = bridge.event("review", "7", status="processing", hold="review", received_sat=900)
    assert push(held).status == 200
    words = "Bitcoin invoice inv_1; under review by a person, do not remind or cancel; " + url
    assert panel.payment()["info"] == words
    calls = panel.functions().count("payment.setinpay")
    panel.checkpay()
    assert panel.functions().count("payment.setinpay") == calls
    bridge.event("updated", "7", status="new", hold=None, grace_until="2026-01-09T12:00:00Z")
    panel.checkpay()
    assert (
        panel.payment()["info"] == f"Bitcoin invoice inv_1; time to pay was given until 2026-01-09 12:00:00 UTC; {url}"
    )
    bridge.event("updated", "7", grace_until=None)
    panel.checkpay()
    assert (panel.payment()["info"], panel.payment()["status"]) == ("Bitcoin invoice inv_1", 2)
    bridge.settled("7")
    panel.checkpay()
    assert (panel.payment()["status"], "settled" in panel.payment()["info"]) == (4, True)


def test_a_note_that_billmanager_does_not_take_keeps_nothing_from_being_paid(
    panel: Panel, bridge: FakeBridge, push: Push
) -> None:
    panel.add_payment("7")
    panel.pay("7")
    panel.fail("payment.setinpay", "error")
    assert push(bridge.event("review", "7", status="processing", hold="review")).status == 200
    assert push(bridge.settled("7", hold=None)).status == 200
    assert panel.credits() == ["10.00"]


def test_notes_can_be_switched_off(panel: Panel, bridge: FakeBridge, push: Push) -> None:
    configure(panel, "notes = off")
    panel.add_payment("7")
    panel.pay("7")
    assert push(bridge.event("review", "7", status="processing", hold="review")).status == 200
    assert panel.payment()["info"] == "Bitcoin invoice inv_1"


@pytest.mark.parametrize(
    ("told", "tier", "words"),
    [
        ([("default", "RUB", 100, "0.00"), ("default", "USD", 100, "0.00")], "", "clients pay 1 % on top"),
        ([("default", "RUB", 150, "5.00")], "", "clients pay 1.5 % and 5.00 RUB for the network on top"),
        ([("default", "RUB", 150, "5.00"), ("trusted", "RUB", 0, "0.00")], "trusted", None),
        ([("default", "RUB", 25, "0.00")], "unknown", "clients pay 0.25 % on top"),
        ([], "", None),
    ],
)
def test_check_says_what_clients_pay_on_top(
    panel: Panel, bridge: FakeBridge, told: list[tuple[str, str, int, str]], tier: str, words: str | None
) -> None:
    """The panel's list of methods has no place of its own for it, so that a person writes it into the description."""
    bridge.surcharges = [dict(zip(("tier", "currency", "risk_bps", "fee"), row, strict=True)) for row in told]
    methods = panel.read()["methods"]
    methods["1"]["settings"]["subtc_tier"] = tier
    panel.change(methods=methods)
    panel.add_payment("7")
    panel.pay("7")
    found = [line for line in panel.check()[1].splitlines() if "on top" in line]
    assert [line.partition(": ")[0] for line in found] == ([f"ok    {words}"] if words else [])
