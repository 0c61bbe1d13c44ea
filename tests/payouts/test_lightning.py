"""Refunds over Lightning, from the wallet of either rail: one request, two people, sent once, and the wallet's own word for what came."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from bridge.books.compare import wallet_variances
from bridge.books.export import rows_of
from bridge.context import PAYOUT_CRASH_POINTS
from bridge.core.errors import Refused, Unavailable
from bridge.core.rail import Target
from bridge.lightning.payee import Payees
from bridge.payouts.decide_payout import list_payouts
from bridge.payouts.outcome import confirm_payouts
from bridge.payouts.refunds import change_address, refund_form, set_refund_address
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.steps import refund_proof
from bridge.payouts.sweep import record_funding, record_moved
from bridge.payouts.treasury import read_balances, treasury_view
from bridge.store import targets
from bridge.upkeep.check import alerts
from bridge.web import create_app
from sandbox import bolt11, electrum
from tests.flows.world import LNBITS
from tests.payouts.desk import PAYER, Desk
from tests.payouts.test_sending import Killed, dying_at
from tests.web.conftest import KEYS, SHOP, sign

RAILS = ("lnbits", "electrum")
WALLETS = {"lnbits": LNBITS[0], "electrum": electrum.WALLET_ID}
HELD_SAT = 500_000
SETTINGS: dict[str, Any] = {"lnbits": {}, "electrum": {"refunds": True}}


@dataclass(kw_only=True)
class Shop:
    """A desk whose Lightning wallet holds HELD_SAT, and people outside with wallets of their own."""

    desk: Desk
    rail: str

    @property
    def world(self) -> Any:
        return self.desk.world

    def wanted(self, sat: int, **says: Any) -> str:
        """A payment request of the payer's wallet."""
        return str(self.world.control("ln_payee", **{"sat": sat, "expiry_s": 86_400} | says)["bolt11"])

    def knobs(self, **knobs: Any) -> None:
        self.world.control("knobs", **knobs)

    def left(self) -> list[int]:
        """What an outsider sees: satoshi of every payment that left the wallet for good."""
        state = self.world.sandbox.world.lightning
        return [-p.amount_msat // 1_000 for p in state.payments if p.amount_msat < 0 and p.status == "success"]

    def held_sat(self) -> int:
        world = self.world.sandbox.world
        return int(world.lightning.balance_msat(world.lightning.wallets[WALLETS[self.rail]])) // 1_000

    def settled(self) -> dict[str, Any]:
        return self.desk.settled(text="10.00")

    def sent(self, **wanted: Any) -> dict[str, Any]:
        """An approved refund of everything, after the worker's look."""
        invoice = self.settled()
        payout = self.desk.approved(invoice, destination=self.wanted(invoice["received_sat"]), **wanted)
        self.desk.send()
        return self.desk.now(payout)

    def unknown(self) -> dict[str, Any]:
        """One whose answer was lost while the payment is still on its way."""
        self.knobs(ln_sends="pending")
        payout = self.sent()
        assert payout["state"] == "unknown"
        return payout

    def end(self, status: str) -> None:
        self.world.control("ln_end_sends", status=status)

    def variance_sat(self) -> int:
        return wallet_variances(self.world.bridge)[0]["lightning"]


@pytest.fixture
def shops(desks: Callable[..., Desk]) -> Callable[..., Shop]:
    def make(rail: str, **changes: Any) -> Shop:
        desk = desks(**{rail: SETTINGS[rail]}, **changes)
        world = desk.world
        lightning = world.sandbox.world.lightning
        if rail == "electrum":
            electrum.wallet_of(world.sandbox.world)
        made = lightning.create(lightning.wallets[WALLETS[rail]], {"amount": HELD_SAT})
        lightning.pay(made.bolt11)
        float_ = {"role": "lightning", "sat": HELD_SAT, "txid": made.payment_hash}
        record_funding(world.bridge, **float_, actor="fay", reason="float")
        return Shop(desk=desk, rail=rail)

    return make


@pytest.fixture(params=RAILS)
def shop(request: pytest.FixtureRequest, shops: Callable[..., Shop]) -> Shop:
    return shops(request.param)


def test_a_refund_is_paid_to_a_request_once_and_its_route_is_booked_apart(shop: Shop) -> None:
    shop.knobs(ln_fee_msat=1_500)
    invoice = shop.settled()
    request = shop.wanted(invoice["received_sat"])
    payout = shop.desk.ask(invoice, destination=f"lightning:{request.upper()}")
    assert (payout["role"], payout["destination"], payout["fee_sat"]) == ("lightning", request, 0)
    assert payout["gross_sat"] == payout["net_sat"] == invoice["received_sat"]
    shop.desk.approve(payout)
    assert shop.left() == []
    assert shop.desk.send() == 1
    sent = shop.desk.now(payout)
    assert (sent["state"], sent["txid"], sent["paid_fee_sat"]) == ("sent", bolt11.payment_hash_of(request), 2)
    shop.world.advance(61)
    confirm_payouts(shop.world.bridge)
    assert shop.desk.now(payout)["state"] == "confirmed"
    assert shop.left() == [invoice["received_sat"]]
    books = shop.desk.books()
    assert (books["wallet:lightning"], books["network_fee"]) == (HELD_SAT - invoice["received_sat"] - 2, 2)
    assert "provider_fee" not in books and "refunds_payable" not in books
    assert shop.variance_sat() == 0
    early, late = (shop.world.bridge.clock() + timedelta(days=days) for days in (-9, 9))
    (row,) = [row for page in rows_of(shop.world.bridge, kind="payouts", from_at=early, to_at=late) for row in page]
    assert (row["gross_sat"], row["net_sat"], row["network_fee_sat"], row["provider_fee_sat"]) == (
        invoice["received_sat"] + 2, invoice["received_sat"], 2, 0,
    )  # fmt: skip
    assert (row["role"], row["destination"], row["txid"]) == ("lightning", request, sent["txid"])


def test_a_part_is_paid_to_the_satoshi(shop: Shop) -> None:
    invoice = shop.settled()
    payout = shop.desk.approved(invoice, "custom", net_sat=1_234, destination=shop.wanted(1_234))
    shop.desk.send()
    assert (shop.desk.now(payout)["sent_sat"], shop.left()) == (1_234, [1_234])


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ({"sat": 1_233}, "wrong_amount"),
        ({"amount_msat": 1_234_001}, "wrong_amount"),
        ({"amount_msat": None}, "no_amount"),
        ({"prefix": "bcrt"}, "wrong_network"),
        ({"expiry_s": 60}, "bolt11_expires_soon"),
    ],
)
def test_a_request_for_anything_else_is_refused_by_name(shop: Shop, says: dict[str, Any], code: str) -> None:
    invoice = shop.settled()
    with pytest.raises(Refused) as error:
        shop.desk.ask(invoice, "custom", net_sat=1_234, destination=shop.wanted(**{"sat": 1_234} | says))
    assert (error.value.code, error.value.field) == (code, "address")
    assert list_payouts(shop.world.bridge, match={})["payouts"] == []


def test_what_is_no_request_at_all_is_refused(shop: Shop) -> None:
    invoice = shop.settled()
    for text in ("lntb1qqqqqqqq", "lightning:nothing", "LNURL1DP68GURN8GHJ7"):
        with pytest.raises(Refused) as error:
            shop.desk.ask(invoice, destination=text)
        assert error.value.code == "bad_bolt11"


def test_a_request_belongs_to_one_refund_for_ever(shop: Shop) -> None:
    one, other = shop.settled(), shop.desk.settled("8", text="10.00")
    request = shop.wanted(1_000)
    first = shop.desk.ask(one, "custom", net_sat=1_000, destination=request)
    shop.desk.reject(first)
    with pytest.raises(Refused) as error:
        shop.desk.ask(other, "custom", net_sat=1_000, destination=request)
    assert error.value.code == "bolt11_used"


def test_of_many_who_name_one_request_at_once_one_gets_it(shop: Shop) -> None:
    invoices = [shop.desk.settled(str(number), text="10.00") for number in range(4)]
    request, start = shop.wanted(1_000), Barrier(len(invoices))

    def ask(invoice: dict[str, Any]) -> str:
        start.wait()
        try:
            return str(shop.desk.ask(invoice, "custom", net_sat=1_000, destination=request)["state"])
        except Refused as refused:
            return refused.code

    with ThreadPoolExecutor(len(invoices)) as crowd:
        found = sorted(crowd.map(ask, invoices))
    assert found == ["bolt11_used"] * 3 + ["requested"]


def test_a_request_of_our_own_is_refused(shops: Callable[..., Shop]) -> None:
    shop = shops("lnbits")
    invoice = shop.settled()
    rail = shop.world.bridge.senders["lightning"]
    with shop.world.bridge.store.write() as tx:
        mine = shop.wanted(1_000)
        own = Target(
            rail=rail.name, asset="BTC", wallet_id=rail.wallet_id, text=mine, account=rail.account, witness="rail",
            due_units=1_000, created_at=shop.world.bridge.clock(), key=bolt11.payment_hash_of(mine),
        )  # fmt: skip
        targets.add(tx, invoice["id"], own)
    with pytest.raises(Refused) as error:
        shop.desk.ask(invoice, "custom", net_sat=1_000, destination=mine)
    assert error.value.code == "own_address"


def test_without_a_wallet_that_sends_over_lightning_only_addresses_are_taken(desk: Desk) -> None:
    invoice = desk.settled()
    for text in ("lntb10u1pqqqqqq", "anna@example.com"):
        with pytest.raises(Refused) as error:
            desk.ask(invoice, destination=text)
        assert error.value.code == "lightning_not_sent"


def test_a_lightning_address_is_asked_once_before_anybody_approves(shop: Shop) -> None:
    invoice, asked = shop.settled(), []

    class Known(Payees):
        def read(self, text: str, *, sat: int, now: Any) -> Any:
            if text == "anna@example.com":
                asked.append(sat)
                text = shop.wanted(sat)
            return super().read(text, sat=sat, now=now)

    bridge = shop.world.bridge
    known = [replace(r, payees=Known("test")) if r.payees is not None else r for r in bridge.rails]
    shop.world.bridge = replace(bridge, rails=tuple(known))
    payout = shop.desk.approved(invoice, destination="anna@example.com")
    assert payout["destination"].startswith("lntb")
    shop.desk.send()
    assert (shop.left(), asked) == ([invoice["received_sat"]], [invoice["received_sat"]])
    told = shop.world.rows("SELECT detail FROM audit WHERE action = 'refund_requested'")
    assert '"named": "anna@example.com"' in told[0][0] or '"named":"anna@example.com"' in told[0][0]


def test_the_payer_names_a_request_in_place_of_an_address_and_may_change_back(shop: Shop) -> None:
    bridge, invoice = shop.world.bridge, shop.desk.settled()
    payout = shop.desk.ask(invoice, "custom", net_sat=70_000, destination="")
    assert (payout["role"], payout["gross_sat"] > 70_000) == ("hot", True)
    public_id = shop.world.rows("SELECT public_id FROM invoices")[0][0]
    proof = refund_proof(bridge, payout["id"])
    request = shop.wanted(70_000)
    form = set_refund_address(bridge, public_id, address=request, proof=proof)
    assert (form["destination"], form["is_lightning"], form["takes_lightning"]) == (request, True, True)
    now = shop.desk.now(payout)
    assert (now["role"], now["gross_sat"], now["fee_sat"]) == ("lightning", 70_000, 0)
    set_refund_address(bridge, public_id, address=PAYER, proof=proof)
    now = shop.desk.now(payout)
    assert (now["role"], now["gross_sat"]) == ("hot", payout["gross_sat"])
    change_address(bridge, payout["id"], address=request, actor="sam", reason="the client asked")
    shop.desk.approve(payout)
    shop.desk.send()
    assert (shop.left(), shop.desk.arrived()) == ([70_000], [])


def test_a_sum_too_small_for_an_address_waits_for_a_request(shop: Shop) -> None:
    bridge = shop.world.bridge
    payout = shop.desk.ask(shop.settled(), destination="")
    assert (payout["role"], payout["fee_sat"]) == ("lightning", 0)
    with pytest.raises(Refused) as error:
        change_address(bridge, payout["id"], address=PAYER, actor="fay", reason="the client asked")
    assert error.value.code == "below_min_send"
    change_address(bridge, payout["id"], address=shop.wanted(payout["net_sat"]), actor="sam", reason="the client asked")
    shop.desk.approve(payout)
    shop.desk.send()
    assert shop.left() == [payout["net_sat"]]


def test_a_signature_says_nothing_of_a_request(shop: Shop) -> None:
    payout = shop.desk.ask(shop.settled(), destination="")
    public_id = shop.world.rows("SELECT public_id FROM invoices")[0][0]
    proof = refund_proof(shop.world.bridge, payout["id"])
    with pytest.raises(Refused) as error:
        set_refund_address(shop.world.bridge, public_id, address=shop.wanted(1_000), proof=proof, signature="AAAA")
    assert (error.value.code, error.value.field) == ("signature_unsupported", "signature")


def test_a_request_that_ran_out_unsent_opens_the_form_again(shop: Shop) -> None:
    invoice = shop.settled()
    payout = shop.desk.approved(invoice, destination=shop.wanted(invoice["received_sat"], expiry_s=3_600))
    shop.knobs(ln_outage="503")
    shop.desk.send(after_seconds=3_700)
    shop.knobs(ln_outage=None)
    shop.desk.send(after_seconds=61)
    now = shop.desk.now(payout)
    assert (now["state"], now["destination"], now["waiting"]) == ("requested", None, "bolt11_expired")
    assert (shop.left(), now["approvals"]) == ([], [])
    public_id = shop.world.rows("SELECT public_id FROM invoices")[0][0]
    proof = refund_proof(shop.world.bridge, payout["id"])
    form = refund_form(shop.world.bridge, public_id, proof=proof)
    assert (form["ran_out"], form["may_change"]) == (True, True)
    set_refund_address(shop.world.bridge, public_id, address=shop.wanted(invoice["received_sat"]), proof=proof)
    shop.desk.approve(payout)
    shop.desk.send()
    assert shop.left() == [invoice["received_sat"]]


def test_nobody_approves_a_request_that_will_have_run_out(shop: Shop) -> None:
    invoice = shop.settled()
    payout = shop.desk.ask(invoice, destination=shop.wanted(invoice["received_sat"], expiry_s=3_600))
    shop.world.advance(3_100)
    with pytest.raises(Refused) as error:
        shop.desk.approve(payout)
    assert error.value.code == "bolt11_expired"


def test_an_empty_wallet_waits_with_what_the_route_may_cost(shop: Shop) -> None:
    invoice = shop.desk.settled(text="1000.00")
    sat = HELD_SAT - 1
    payout = shop.desk.approved(invoice, "custom", net_sat=sat, destination=shop.wanted(sat))
    shop.desk.send()
    assert (shop.desk.now(payout)["waiting"], shop.left()) == ("wallet_too_low", [])


def test_a_way_that_is_not_found_is_a_failure_and_the_money_is_free_again(shop: Shop) -> None:
    shop.knobs(ln_sends="failed")
    payout = shop.sent()
    assert (payout["state"], shop.left()) == ("failed", [])
    assert shop.desk.books().get("refunds_payable", 0) == 0
    shop.knobs(ln_sends="success")
    invoice = shop.world.invoice({"id": payout["invoice_id"]})
    again = shop.desk.approved(invoice, destination=shop.wanted(invoice["received_sat"]))
    shop.desk.send()
    assert shop.desk.now(again)["state"] == "sent"


@pytest.mark.parametrize("kind", ["lost_response", "error_500_after"])
def test_an_answer_that_was_lost_is_found_by_the_hash(shop: Shop, kind: str) -> None:
    shop.world.fault("ln_send", kind, times=1)
    payout = shop.sent()
    assert (payout["state"], shop.left()) == ("sent", [payout["net_sat"]])


def test_what_is_on_its_way_waits_for_a_person_and_nothing_is_paid_twice(shop: Shop) -> None:
    payout = shop.unknown()
    assert shop.world.reviews() == ["outcome_unknown"]
    for _ in range(3):
        shop.desk.send()
    for decision in ("payout_sent", "payout_failed"):
        with pytest.raises(Unavailable) as error:
            shop.desk.rule(decision)
        assert error.value.code == "evidence_missing"
    assert shop.variance_sat() == 0
    shop.end("success")
    with pytest.raises(Refused) as refused:
        shop.desk.rule("payout_failed")
    assert refused.value.code == "wallet_says_paid"
    shop.desk.rule("payout_sent")
    assert (shop.desk.now(payout)["state"], shop.left()) == ("sent", [payout["net_sat"]])
    assert shop.variance_sat() == 0


def test_what_came_back_is_ruled_failed_by_the_wallets_own_word(shop: Shop) -> None:
    payout = shop.unknown()
    shop.end("failed")
    with pytest.raises(Refused) as refused:
        shop.desk.rule("payout_sent")
    assert refused.value.code == "wallet_says_unpaid"
    with pytest.raises(Unavailable):
        shop.desk.rule("payout_failed")
    shop.world.advance(601)
    shop.desk.rule("payout_failed")
    assert (shop.desk.now(payout)["state"], shop.left()) == ("failed", [])


def test_the_same_call_again_pays_once_at_most(shop: Shop) -> None:
    payout = shop.unknown()
    shop.end("success")
    shop.desk.rule("payout_retry")
    shop.desk.send()
    assert (shop.desk.now(payout)["state"], shop.left()) == ("sent", [payout["net_sat"]])


def test_another_hash_is_not_what_was_paid(shop: Shop) -> None:
    payout = shop.unknown()
    shop.end("success")
    with pytest.raises(Refused) as refused:
        shop.desk.rule("payout_sent", txid="ab" * 32)
    assert refused.value.code == "txid_not_seen"
    assert shop.desk.now(payout)["state"] == "unknown"


def test_two_refunds_of_an_invoice_that_are_unknown_are_ruled_on_one_after_the_other(shop: Shop) -> None:
    invoice = shop.desk.settled(text="100.00")
    first = shop.desk.approved(invoice, "custom", net_sat=60_000)
    shop.world.fault("wallet_send", "lost_response", times=1)
    shop.desk.send()
    shop.knobs(ln_sends="pending")
    second = shop.desk.approved(invoice, "custom", net_sat=50_000, destination=shop.wanted(50_000))
    shop.desk.send()
    assert [shop.desk.now(each)["state"] for each in (first, second)] == ["unknown", "unknown"]
    assert shop.world.reviews() == ["outcome_unknown"]
    shop.desk.rule("payout_retry")
    assert shop.desk.now(first)["state"] == "submitting"
    # The other one waits for a ruling of its own.
    assert shop.world.reviews() == ["outcome_unknown"]
    shop.end("success")
    shop.desk.rule("payout_sent")
    assert (shop.desk.now(second)["state"], shop.world.reviews()) == ("sent", [])


def test_a_payment_that_the_wallet_forgets_is_asked_about(shop: Shop) -> None:
    payout = shop.sent()
    shop.world.sandbox.world.lightning.payments.clear()
    for _ in range(2):
        shop.world.advance(7_300)
        confirm_payouts(shop.world.bridge)
    assert (shop.desk.now(payout)["state"], shop.world.reviews()) == ("sent", ["recon_diff"])


def test_a_route_that_cost_more_than_it_may_is_asked_about(shop: Shop) -> None:
    shop.knobs(ln_fee_msat=9_000_000)
    payout = shop.sent()
    assert (payout["state"], payout["paid_fee_sat"]) == ("sent", 9_000) or payout["state"] == "failed"
    if payout["state"] == "sent":
        assert shop.world.reviews() == ["recon_diff"]


def test_the_chain_reader_is_never_asked_about_a_request(shop: Shop) -> None:
    blind = replace(shop.world.bridge, chain=None)
    payout = shop.sent()
    shop.world.advance(61)
    assert confirm_payouts(blind) == 1
    assert shop.desk.now(payout)["state"] == "confirmed"


@pytest.mark.parametrize("point", PAYOUT_CRASH_POINTS[1:])
def test_a_killed_sender_never_pays_twice(shop: Shop, point: str) -> None:
    invoice = shop.settled()
    payout = shop.desk.approved(invoice, destination=shop.wanted(invoice["received_sat"]))
    shop.world.advance(700)
    with pytest.raises(Killed):
        send_payouts(dying_at(shop.desk, point), owner="w1")
    shop.desk.send(owner="w2")
    if point != "payout.committed":
        assert shop.desk.now(payout)["state"] == "unknown"
        shop.desk.rule("payout_retry" if point == "payout.intended" else "payout_sent")
        shop.desk.send(owner="w2")
    assert (shop.desk.now(payout)["state"], shop.left()) == ("sent", [payout["net_sat"]])
    assert shop.desk.books()["wallet:lightning"] == shop.held_sat()


def test_what_is_above_the_cap_a_person_takes_out_and_books(shops: Callable[..., Shop]) -> None:
    shop = shops("electrum")
    capped = [replace(r, max_held_sat=400_000) if r.role == "lightning" else r for r in shop.world.bridge.rails]
    bridge = replace(shop.world.bridge, rails=tuple(capped))
    read_balances(bridge, owner="w1")
    (beside,) = treasury_view(bridge)["beside"]
    assert (beside["confirmed_sat"], beside["ledger_sat"], beside["over_sat"]) == (HELD_SAT, HELD_SAT, 100_000)
    (told,) = [each.detail for each in alerts(bridge, ask_outside=True) if each.rule == "hot_balance"]
    assert told == f"{HELD_SAT} sat over lightning, limit 400000"
    record_moved(bridge, sat=99_000, fee_sat=1_000, txid="ab" * 32, actor="fay", reason="a swap to cold")
    books = shop.desk.books()
    assert (books["wallet:lightning"], books["wallet:cold"], books["network_fee"]) == (400_000, 99_000, 1_000)
    with pytest.raises(Refused, match="booked for this wallet already"):
        record_moved(bridge, sat=99_000, fee_sat=1_000, txid="ab" * 32, actor="fay", reason="a swap to cold")
    assert shop.desk.books() == books


def test_the_payers_form_takes_a_request_and_says_what_is_wrong_with_another(shop: Shop) -> None:
    bridge, payout = shop.world.bridge, shop.desk.ask(shop.settled(), destination="")
    public_id = shop.world.rows("SELECT public_id FROM invoices")[0][0]
    where, sat = f"/pay/{public_id}/refund", payout["net_sat"]
    client = create_app(bridge, api_keys=KEYS, sign=sign, shop=SHOP).test_client()
    proof = refund_proof(bridge, payout["id"])
    for lang, word in (("en", "Lightning invoice"), ("ru", "счёт Lightning")):
        assert word in client.get(where, query_string={"proof": proof, "lang": lang}).text
    wrong = client.post(where, data={"proof": proof, "address": shop.wanted(sat + 1)})
    assert (wrong.status_code, "is for another sum" in wrong.text) == (422, True)
    assert client.post(where, data={"proof": proof, "address": PAYER}).status_code == 422
    request = shop.wanted(sat)
    named = client.post(where, data={"proof": proof, "address": f"lightning:{request[:40]} {request[40:]}"})
    assert (named.status_code, shop.desk.now(payout)["destination"]) == (303, request)
    shop.desk.approve(payout)
    shop.desk.send()
    shown = client.get(where, query_string={"proof": proof}).text
    assert bolt11.payment_hash_of(request) in shown
    assert f"explorer.example/tx/{bolt11.payment_hash_of(request)}" not in shown
