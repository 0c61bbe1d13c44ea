"""Balances, the cap, sweeps and dust, as treasury lives them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from bridge.books.verify import verify_audit
from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.payouts.decide_payout import list_payouts
from bridge.payouts.refunds import change_address
from bridge.payouts.sweep import propose_sweep, propose_write_off, record_funding, sweep_due
from bridge.payouts.treasury import old_balances, read_balances, treasury_view
from bridge.store import wallets
from tests.flows.test_own_wallet import BODY
from tests.flows.world import settings_for
from tests.payouts.desk import COLD, FLOAT_SAT, PAYER, TAPROOT, Desk
from tests.payouts.test_sending import is_honest

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
DAY = 86_400
DESCRIPTOR = f"{BODY}#{checksum_of(BODY)}"
COLD_WALLET = parse_descriptor(DESCRIPTOR, network="test")


def sweeps(desk: Desk) -> list[dict]:
    return list(list_payouts(desk.world.bridge, match={"kind": "sweep"}, limit=50)["payouts"])


def scheduled(desk: Desk) -> None:
    """One turn of the schedule."""
    desk.world.advance(DAY + 1)
    sweep_due(desk.world.bridge, owner="w1")


def test_by_default_a_sweep_is_only_said(desk: Desk) -> None:
    desk.settled()
    scheduled(desk)
    assert sweeps(desk) == []
    (row,) = desk.world.rows("SELECT detail FROM audit WHERE action = 'sweep_planned'")
    assert '"mode": "dry_run"' in row.detail and '"gross_sat": 0' not in row.detail


def test_a_proposed_sweep_needs_another_person_and_goes_to_the_pinned_address(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"sweep_mode": "propose"})
    desk.settled()
    scheduled(desk)
    (sweep,) = sweeps(desk)
    assert (sweep["state"], sweep["proposed_by"], sweep["destination"]) == ("requested", "policy", COLD)
    assert desk.send() == 0
    desk.approve(sweep)
    desk.send()
    assert desk.books()["inflight:sweep"] == desk.now(sweep)["sent_sat"]
    desk.confirm()
    assert desk.now(sweep)["state"] == "confirmed"
    assert desk.books()["wallet:cold"] == sum(desk.arrived(COLD)) == desk.now(sweep)["sent_sat"]
    assert is_honest(desk)


def test_an_automatic_sweep_keeps_what_is_owed_and_the_float(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"sweep_mode": "auto", "refund_float_sat": 70_000})
    desk.settled("7")
    part = desk.world.open("8", amount_text="100.00")
    desk.world.pay(part, 80_000)
    desk.world.mine(6)
    desk.world.look(part)
    scheduled(desk)
    desk.send()
    assert sweeps(desk)[0]["state"] == "sent"
    assert desk.gateway_sat() >= 70_000 + 80_000 + 80_000 * 300 // 9_700
    assert desk.gateway_sat() <= 70_000 + 80_000 + 80_000 * 300 // 9_700 + 1


def test_money_promised_to_payers_is_not_swept(desk: Desk) -> None:
    invoice = desk.settled()
    payout = desk.ask(invoice)
    read_balances(desk.world.bridge, owner="w1")
    assert (
        treasury_view(desk.world.bridge)["sweep"]["free_sat"]
        == FLOAT_SAT + invoice["received_sat"] - payout["gross_sat"]
    )


def test_a_sweep_does_not_repeat_within_its_period_nor_beside_an_open_one(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"sweep_mode": "propose"})
    desk.settled("7")
    scheduled(desk)
    desk.settled("8")
    for _ in range(3):
        sweep_due(desk.world.bridge, owner="w2")
    scheduled(desk)
    assert len(sweeps(desk)) == 1
    with pytest.raises(Conflict) as error:
        propose_sweep(desk.world.bridge, actor="fay", reason="now", key="k1")
    assert error.value.code == "sweep_open"


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"sweep_above_sat": 50_000_000}, "below_threshold"),
        ({"fee_ceiling_bps": 299}, "fee_above_ceiling"),
        ({"refund_float_sat": FLOAT_SAT - 10_000}, "below_min_send"),
        ({"cold_addresses": []}, "no_cold_address"),
    ],
)
def test_a_sweep_that_is_not_worth_it_says_why(desks: Callable[..., Desk], rules: dict, reason: str) -> None:
    desk = desks(treasury=rules)
    read_balances(desk.world.bridge, owner="w1")
    assert treasury_view(desk.world.bridge)["sweep"]["reason"] == reason


def test_cold_addresses_take_turns(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"cold_addresses": [COLD, TAPROOT]})
    for number in range(2):
        desk.settled(str(number))
        sweep = propose_sweep(desk.world.bridge, actor="fay", reason="full", key=f"k{number}")
        desk.approve(sweep)
        desk.send()
        desk.confirm()
    assert len(desk.arrived(COLD)) == len(desk.arrived(TAPROOT)) == 1


def test_a_refund_never_goes_to_the_cold_wallet_nor_a_sweep_elsewhere(desk: Desk) -> None:
    invoice = desk.settled()
    with pytest.raises(Refused):
        desk.ask(invoice, destination=COLD)
    sweep = propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k1")
    with pytest.raises(Refused) as error:
        change_address(desk.world.bridge, sweep["id"], address=PAYER, actor="fay", reason="mine")
    assert error.value.code == "fixed_destination"


def test_over_the_cap_new_invoices_stop_when_the_operator_wants_that(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"max_hot_sat": 150_000, "stop_new_invoices": True})
    read_balances(desk.world.bridge, owner="w1")
    with pytest.raises(Unavailable) as error:
        desk.world.open("9")
    assert error.value.code == "hot_wallet_full"
    assert treasury_view(desk.world.bridge)["is_over_cap"]
    text = desk.world.bridge.metrics.text().decode()
    assert f'bridge_wallet_confirmed_sat{{role="hot"}} {FLOAT_SAT}.0' in text
    assert "bridge_hot_cap_sat 150000.0" in text


def test_the_cap_alone_only_warns(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"max_hot_sat": 150_000})
    read_balances(desk.world.bridge, owner="w1")
    assert desk.world.open("9")["status"] == "new"


def test_a_gateway_out_of_reach_with_our_money_in_it_is_noticed(desk: Desk) -> None:
    bridge = desk.world.bridge
    read_balances(bridge, owner="w1")
    desk.world.fault("wallet_balance", "down")
    for _ in range(3):
        desk.world.advance(1_300)
        read_balances(bridge, owner="w1")
    with bridge.store.read() as tx:
        assert old_balances(tx, bridge, now=bridge.clock()) == ["hot"]
    desk.world.heal()
    desk.world.advance(61)
    read_balances(bridge, owner="w1")
    with bridge.store.read() as tx:
        assert old_balances(tx, bridge, now=bridge.clock()) == []


def test_stranded_dust_is_reported_and_given_up_by_two_people(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"refund_float_sat": FLOAT_SAT - 30_000})
    read_balances(desk.world.bridge, owner="w1")
    assert treasury_view(desk.world.bridge)["sweep"]["stranded_sat"] == 30_000
    wanted = {"role": "hot", "actor": "fay", "reason": "stranded"}
    with pytest.raises(Refused) as too_much:
        propose_write_off(desk.world.bridge, gross_sat=50_000, key="k1", **wanted)
    assert too_much.value.code == "not_dust"
    asked = propose_write_off(desk.world.bridge, gross_sat=30_000, key="k2", **wanted)
    before = desk.books()["wallet:hot"]
    assert desk.approve(asked)["state"] == "confirmed"
    assert (desk.books()["network_fee"], desk.books()["wallet:hot"]) == (30_000, before - 30_000)
    assert desk.send() == 0


def test_a_billing_wallet_pays_the_refunds(desks: Callable[..., Desk]) -> None:
    """A second wallet at the gateway under the same key, funded by the operator."""
    first = desks()
    billing = first.world.wallet.create_wallet()  # type: ignore[attr-defined]
    desk = first
    from dataclasses import replace

    from bridge.rails.subtc import sending
    from bridge.rails.subtc.client import SubtcWallet
    from tests.flows.world import KEY

    wallet = SubtcWallet(base_url=desk.world.sandbox.url, key=KEY, network="test", wallet_id=billing)
    rails = (*desk.world.bridge.rails, sending(wallet, billing, role="billing"))
    desk.world.bridge = replace(desk.world.bridge, rails=rails)
    desk.fund(400_000, role="billing")
    invoice = desk.settled()
    hot_sat = desk.gateway_sat()
    payout = desk.approved(invoice)
    assert payout["role"] == "billing"
    desk.send()
    assert desk.now(payout)["state"] == "sent"
    assert (desk.gateway_sat(), desk.books()["wallet:hot"]) == (hot_sat, hot_sat)
    assert desk.books()["wallet:billing"] == wallet.balance().confirmed_sat


def test_every_step_of_money_is_in_the_audit_and_the_chain_holds(desk: Desk) -> None:
    from bridge.books.keep_books import seal_audit

    payout = desk.approved(desk.settled())
    desk.send()
    desk.confirm()
    rows = desk.world.rows("SELECT action, actor, reason FROM audit WHERE detail LIKE :id", id=f"%{payout['id']}%")
    assert [row.action for row in rows] == [
        "refund_requested",
        "payout_approved",
        "payout_intended",
        "payout_sent",
        "payout_confirmed",
    ]
    assert [row.actor for row in rows] == ["fay", "ann", "worker", "worker", "worker"]
    seal_audit(desk.world.bridge, owner="w1")
    assert verify_audit(desk.world.bridge).is_intact


def test_only_people_who_may_export_book_funding(desk: Desk) -> None:
    with pytest.raises(Refused) as error:
        record_funding(desk.world.bridge, role="hot", sat=5, txid="", actor="sam", reason="found it")
    assert error.value.code == "forbidden"


def test_a_funding_that_is_said_again_is_booked_once(desk: Desk) -> None:
    told, before_sat = {"sat": 5_000, "actor": "fay", "reason": "float"}, desk.books().get("wallet:hot", 0)
    record_funding(desk.world.bridge, role="hot", txid="ab" * 32, **told)
    with pytest.raises(Refused) as error:
        record_funding(desk.world.bridge, role="hot", txid=f" {'AB' * 32}", **told)
    assert (error.value.code, desk.books()["wallet:hot"] - before_sat) == ("txid_used", 5_000)
    # Where no transaction is known a word may stand.
    for _ in range(2):
        record_funding(desk.world.bridge, role="hot", txid="by hand", **told)
    assert desk.books()["wallet:hot"] - before_sat == 15_000


def test_the_check_for_the_pager_says_so(desk: Desk) -> None:
    from bridge.upkeep.check import alerts

    read_balances(desk.world.bridge, owner="w1")
    desk.world.advance(desk.world.bridge.treasury.balance_age_alert_seconds + 1)
    assert "balance_old" in {alert.rule for alert in alerts(desk.world.bridge)}


def test_each_sweep_takes_the_next_address_of_the_cold_descriptor(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"cold_addresses": [], "cold_descriptor": DESCRIPTOR})
    made = []
    for number in range(3):
        desk.settled(str(number))
        sweep = propose_sweep(desk.world.bridge, actor="fay", reason="full", key=f"k{number}")
        made.append(sweep["destination"])
        if number == 1:
            desk.reject(sweep)
            continue
        desk.approve(sweep)
        desk.send()
        desk.confirm()
    assert made == [COLD_WALLET.address(index) for index in range(3)]
    assert desk.arrived(made[1]) == []
    assert desk.books()["wallet:cold"] == sum(desk.arrived(made[0]) + desk.arrived(made[2]))
    rows = desk.world.rows("SELECT address, purpose, used_by FROM derived_addresses ORDER BY address_index")
    assert [row.address for row in rows] == made
    assert {row.purpose for row in rows} == {"sweep"} and len({row.used_by for row in rows}) == 3
    assert is_honest(desk)


@pytest.mark.parametrize(
    "after", [{"cold_addresses": [TAPROOT]}, {"cold_descriptor": DESCRIPTOR, "cold_addresses": []}]
)
def test_a_sweep_to_what_is_not_pinned_any_more_is_refused_and_audited(desks: Callable[..., Desk], after: dict) -> None:
    desk = desks()
    desk.settled()
    sweep = desk.approve(propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k"))
    rules = settings_for("http://127.0.0.1:9", "sqlite:///not-opened.db", treasury=after).treasury.rules(network="test")
    desk.world.bridge = replace(desk.world.bridge, treasury=rules)
    desk.send()
    assert desk.now(sweep)["state"] == "rejected"
    assert desk.arrived(COLD) == []
    (row,) = desk.world.rows("SELECT reason, detail FROM audit WHERE action = 'sweep_refused'")
    assert row.reason == "destination_not_pinned" and COLD in row.detail


def test_an_address_that_somebody_wrote_into_the_database_is_no_cold_address(desks: Callable[..., Desk]) -> None:
    desk = desks(treasury={"cold_addresses": [], "cold_descriptor": DESCRIPTOR})
    desk.settled()
    sweep = desk.approve(propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k"))
    with desk.world.bridge.store.write() as tx:
        wallets.add_derived(
            tx,
            address=PAYER,
            wallet_id=COLD_WALLET.wallet_id,
            network="test",
            address_index=99,
            purpose="sweep",
            used_by=sweep["id"],
            now=desk.world.bridge.clock(),
        )
        tx.execute(text("UPDATE payouts SET destination = :place"), {"place": PAYER})
    desk.send()
    assert desk.now(sweep)["state"] == "rejected"
    assert desk.arrived(PAYER) == []


def test_who_tries_to_send_a_sweep_elsewhere_is_on_record(desk: Desk) -> None:
    desk.settled()
    sweep = propose_sweep(desk.world.bridge, actor="fay", reason="full", key="k")
    with pytest.raises(Refused) as error:
        change_address(desk.world.bridge, sweep["id"], address=PAYER, actor="fay", reason="mine")
    assert error.value.code == "fixed_destination"
    (row,) = desk.world.rows("SELECT actor, detail FROM audit WHERE action = 'sweep_refused'")
    assert row.actor == "fay" and PAYER in row.detail
    assert desk.now(sweep)["destination"] == COLD
