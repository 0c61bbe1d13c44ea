"""What a shop that offers Lightning relies on from month to month: nobody is needed, every view says the same, each step is on record."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from bridge.books.export import export
from bridge.core.errors import Refused
from bridge.desk.resolve_review import list_reviews, show_review
from bridge.invoices.deliver import deliver_due
from bridge.invoices.inbox import receive_callback
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.open_invoice import open_invoice
from bridge.invoices.pay import pay_view
from bridge.invoices.poll import poll_due, sense_beside
from bridge.invoices.read_invoices import invoice_by_id
from bridge.payouts.treasury import treasury_rows
from tests.builders import World as Outside
from tests.builders import build_bridge, build_request, gateway_rail
from tests.flows.world import World
from tests.rails.toy import ToyNode, toy_rail

DAY, MONTH = 86_400, 30
EVER = {"from_at": datetime(2000, 1, 1, tzinfo=UTC), "to_at": datetime(2100, 1, 1, tzinfo=UTC)}


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds(lnbits={})


def public_id(invoice: dict[str, Any]) -> str:
    return str(invoice["payment_url"]).rpartition("/")[2]


def paid_over_lightning(world: World, invoice: dict[str, Any]) -> str:
    """The payer asks for it and pays, and nobody rings. Its payment hash."""
    target = offer_beside(world.bridge, public_id(invoice), "lightning")
    world.advance(1)
    world.control("ln_pay", bolt11=target.text)
    return str(target.key)


def test_a_month_of_orders_over_lightning_needs_nobody(sqlite_url: str) -> None:
    """Nobody rings, and no look before the money came: the worker's own rounds find each payment."""
    outside, node = Outside(), ToyNode()
    rails = (gateway_rail(outside.wallet), toy_rail(node))
    bridge, hands = build_bridge(sqlite_url, world=outside, rails=rails), {"owner": "w1", "limit": 100}
    with closing(bridge.store):
        for day in range(MONTH):
            request = build_request(f"month-{day}", service_ref="vps-1")
            asked = {"merchant": bridge.merchants["shop"], "request": request, "key": f"key-{day}"}
            opened = json.loads(open_invoice(bridge, **asked, body_sha256="a" * 64).body)
            node.pay(offer_beside(bridge, public_id(opened), "lightning").text, at=bridge.clock())
            outside.clock.advance(1)
            assert sense_beside(bridge, owner="w1") == 1
            poll_due(bridge, **hands, submit=lambda work: work())
            deliver_due(bridge, **hands, submit=lambda work: work())
            assert invoice_by_id(bridge, "shop", opened["id"])["status"] == "settled"
            outside.clock.advance(DAY)
        assert [json.loads(body)["type"] for *_, body in outside.billing.told] == ["invoice.settled"] * MONTH
        assert list_reviews(bridge, match={"state": "open"}, limit=5) == []
        with bridge.store.read() as tx:
            assert {row.actor for row in tx.execute(text("SELECT actor FROM audit"))} == {"module", "worker", "payer"}


def test_payer_finance_support_and_treasury_are_told_the_same_of_one_payment(world: World) -> None:
    invoice = world.open()
    due_sat, key = invoice["remaining_sat"], paid_over_lightning(world, invoice)
    assert world.seen(invoice)[:2] == ("settled", "none")
    world.pay(invoice, due_sat, confirmations=1)
    assert world.seen(invoice)[:2] == ("settled", "paid_over")
    of_payer = pay_view(world.bridge, public_id(invoice))
    assert {each["way"]: each["amount_sat"] for each in of_payer.payments} == {"lightning": due_sat, "bitcoin": due_sat}
    head, row, *_ = "".join(export(world.bridge, kind="settlements", format="csv", **EVER)).splitlines()
    of_finance = dict(zip(head.split(","), row.split(","), strict=True))
    assert (of_finance["invoice_id"], key in of_finance["keys"]) == (invoice["id"], True)
    (item,) = list_reviews(world.bridge, match={"state": "open"}, limit=5)
    of_support = show_review(world.bridge, item["id"])["blocks"]["wallet_history"]["payments"]
    assert sorted(each["amount_sat"] for each in of_support) == [due_sat, due_sat]
    of_treasury = {each["role"]: each["closing_sat"] for each in treasury_rows(world.bridge, **EVER)}
    assert (of_treasury["lightning"], of_treasury["hot"]) == (due_sat, due_sat)


def test_each_step_of_a_payment_over_lightning_says_who_when_and_by_which_rules(world: World) -> None:
    invoice = world.open()
    paid_over_lightning(world, invoice)
    world.look(invoice)
    world.work()
    wanted = "SELECT a.actor, a.action, a.from_status, a.to_status, a.policy_version, a.at, c.position"
    rows = world.rows(f"{wanted} FROM audit a JOIN audit_chain c ON c.audit_id = a.id ORDER BY c.position")
    assert [(row.actor, row.action, row.from_status, row.to_status) for row in rows] == [
        ("module", "opened", "new", "new"),
        ("payer", "way_offered", "", ""),
        ("worker", "observed", "new", "settled"),
        ("worker", "delivered", "", ""),
    ]
    assert [row.position for row in rows] == [1, 2, 3, 4]
    assert [row.policy_version for row in rows if row.to_status] == ["1", "1"]
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert [event["sequence"] for event in world.feed()] == [1, 2]


def test_what_was_ordered_is_kept_and_no_ring_changes_any_of_it(world: World) -> None:
    ordered = {"customer_id": "c-7", "tier": "gold", "service_ref": "vps-1", "locale": "ru", "customer_country": "DE"}
    invoice = world.open("1047", **ordered)
    key = paid_over_lightning(world, invoice)
    kept = f"SELECT billing_payment_id, amount_minor, currency, {', '.join(ordered)} FROM invoices"
    before = world.rows(kept)
    assert tuple(before[0]) == ("1047", 1_000, "USD", *ordered.values())
    lies = {"payment_hash": key, "amount": 1, "memo": "Hosting #1", "extra": {"tier": "x", "billing_payment_id": "1"}}
    token, body = world.bridge.callback_token(invoice["id"]), json.dumps(json.dumps(lies)).encode()
    receive_callback(world.bridge, token=token, headers={}, body=body, signature="unchecked", source="lnbits")
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["received_sat"] == invoice["remaining_sat"]
    assert world.rows(kept) == before


def test_a_wallet_of_another_network_stops_the_start(worlds: Callable[..., World]) -> None:
    with pytest.raises(ValueError, match=r"subtc\.wallet_id: This wallet is not of the network 'test'"):
        worlds(subtc={"wallet_id": "wm_" + "b" * 44})


def test_a_node_of_another_network_is_never_offered_and_the_address_works(worlds: Callable[..., World]) -> None:
    world = worlds(electrum={})
    world.fault("ln_wallet", "set_member", member="network", value="mainnet")
    invoice = world.open()
    with pytest.raises(Refused) as refused:
        offer_beside(world.bridge, public_id(invoice), "lightning")
    assert refused.value.code == "way_not_offered"
    world.pay(invoice, confirmations=1)
    assert world.seen(invoice)[0] == "settled"
