"""The arithmetic and the tables of money that leaves."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import payout as rules
from bridge.core.errors import IllegalMove, Refused
from bridge.core.evidence import Sent
from bridge.core.payout import (
    Amounts,
    Approvals,
    ApprovalStep,
    HotWallet,
    Refundable,
    TreasuryRules,
    amounts_for_gross,
    amounts_for_net,
    approve_journal,
    billing_refund_sat,
    differences,
    mirrored,
    net_of,
    plan_sweep,
    send_journal,
    wallet_has_room,
)

SAT = st.integers(1, 21 * 10**14)
FEE = st.integers(0, 2_000)


def test_the_contracts_own_numbers_come_out() -> None:
    assert amounts_for_net(48_500, fee_bps=300) == Amounts(gross_sat=50_000, fee_sat=1_500, net_sat=48_500)
    assert amounts_for_gross(50_000, fee_bps=300) == Amounts(gross_sat=50_000, fee_sat=1_500, net_sat=48_500)


@given(net_sat=SAT, fee_bps=FEE)
def test_the_gross_is_the_smallest_that_lets_the_net_arrive(net_sat: int, fee_bps: int) -> None:
    amounts = amounts_for_net(net_sat, fee_bps=fee_bps)
    assert amounts.gross_sat * (10_000 - fee_bps) >= net_sat * 10_000
    assert (amounts.gross_sat - 1) * (10_000 - fee_bps) < net_sat * 10_000
    arriving = amounts.gross_sat - amounts.gross_sat * fee_bps // 10_000
    assert net_sat <= arriving <= net_sat + 1


@given(gross_sat=SAT, fee_bps=FEE)
def test_never_more_is_promised_of_a_gross_than_arrives(gross_sat: int, fee_bps: int) -> None:
    assert amounts_for_gross(gross_sat, fee_bps=fee_bps).net_sat <= gross_sat - gross_sat * fee_bps // 10_000


def test_a_fee_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(Refused):
        amounts_for_net(1_000, fee_bps=10_000)


def test_every_move_that_the_table_lacks_raises() -> None:
    for move in itertools.product(rules.STATES, repeat=2):
        if move in rules.LEGAL_MOVES:
            rules.check_move(*move)
        else:
            with pytest.raises(IllegalMove):
                rules.check_move(*move)


def test_what_may_have_left_can_only_be_ended_by_an_answer() -> None:
    """From unknown there is no way to rejected, and from sent none back."""
    assert {to for before, to in rules.LEGAL_MOVES if before == "unknown"} == {"submitting", "sent", "failed"}
    assert {to for before, to in rules.LEGAL_MOVES if before == "sent"} == {"confirmed"}
    assert not [move for move in rules.LEGAL_MOVES if move[0] in rules.ENDED]
    assert set(rules.STATES) - rules.LIVE == {"rejected", "failed"}


@given(came=SAT, excess=st.integers(0, 10**9), live=SAT, billing=SAT, wish=SAT)
def test_no_variant_gives_more_than_is_left(came: int, excess: int, live: int, billing: int, wish: int) -> None:
    left = Refundable(came_sat=came, excess_sat=min(excess, came), live_sat=live, billing_sat=billing)
    for variant in rules.VARIANTS:
        try:
            net_sat = net_of(
                variant,
                refundable=left,
                fiat_minor=1_000,
                price_minor=6_500_000,
                currency="USD",
                custom_sat=wish if variant == "custom" else None,
            )
        except Refused:
            continue
        assert 0 < net_sat <= came - live - billing


@pytest.mark.parametrize(("variant", "sat"), [("custom", None), ("paid_sat", 5), ("everything", None)])
def test_a_variant_that_makes_no_sense_is_refused(variant: str, sat: int | None) -> None:
    with pytest.raises(Refused):
        net_of(
            variant,
            refundable=Refundable(came_sat=10, excess_sat=0),
            fiat_minor=1,
            price_minor=1,
            currency="USD",
            custom_sat=sat,
        )


@pytest.mark.parametrize(("minor", "sat"), [(0, 0), (1, 16), (500, 7_962), (1_000, 15_924), (9_999, 15_924)])
def test_a_refund_in_the_billing_system_takes_its_share_rounded_up(minor: int, sat: int) -> None:
    assert billing_refund_sat(refunded_minor=minor, amount_minor=1_000, used_sat=15_924) == sat


def test_more_people_for_more_money() -> None:
    steps = (ApprovalStep(up_to_sat=100, people=1), ApprovalStep(up_to_sat=1_000, people=2))
    approvals = Approvals(approvals=steps, approvals_above=3)
    assert [approvals.needed(sat) for sat in (1, 100, 101, 1_000, 1_001)] == [1, 1, 2, 2, 3]


@given(net_sat=st.integers(1, 10**9), held=st.lists(st.integers(0, 10**9), min_size=5, max_size=5))
def test_an_approval_moves_exactly_the_refund_and_overdraws_no_account(net_sat: int, held: list[int]) -> None:
    owed = dict(zip(rules.REFUND_SOURCES, held, strict=True))
    if sum(held) < net_sat:
        with pytest.raises(Refused):
            approve_journal(net_sat, owed=owed)
        return
    journal = approve_journal(net_sat, owed=owed)
    taken = {entry.account: entry.units for entry in journal.entries} if journal else {}
    moved = -taken.pop("refunds_payable", 0)
    assert moved == max(net_sat - owed["refunds_payable"], 0)
    assert all(0 < sat <= owed[account] for account, sat in taken.items())


@given(net_sat=SAT, fee_bps=FEE, drift=st.integers(-3, 3))
def test_a_send_is_booked_in_the_gateways_numbers(net_sat: int, fee_bps: int, drift: int) -> None:
    amounts = amounts_for_net(net_sat, fee_bps=fee_bps)
    sent_sat = max(net_sat + drift, 1)
    sent = Sent(
        txid="0" * 64, requested_sat=amounts.gross_sat, sent_sat=sent_sat, fee_sat=max(amounts.gross_sat - sent_sat, 0)
    )
    journal = send_journal("refund", amounts, sent, role="hot")
    booked = {entry.account: entry.units for entry in journal.entries}
    assert booked["wallet:hot"] == -(sent.sent_sat + sent.fee_sat)
    assert booked["refunds_payable"] == min(sent_sat, net_sat)
    assert bool(differences(amounts, sent, is_fee_known=True)) == (sent_sat < net_sat or sent_sat > amounts.gross_sat)


@given(sum_sat=SAT, fee_bps=FEE, asked=st.sampled_from([amounts_for_net, amounts_for_gross]))
def test_under_an_unknown_fee_the_sum_leaves_and_nothing_is_promised_of_it(
    sum_sat: int, fee_bps: int, asked: Callable[..., Amounts]
) -> None:
    amounts = asked(sum_sat, fee_bps=None)
    assert amounts == Amounts(gross_sat=sum_sat, fee_sat=0, net_sat=sum_sat)
    fee_sat = sum_sat * fee_bps // 10_000
    sent = Sent(txid="0" * 64, requested_sat=sum_sat, sent_sat=sum_sat - fee_sat, fee_sat=fee_sat)
    booked = {e.account: e.units for e in send_journal("refund", amounts, sent, role="hot").entries}
    assert booked.get("provider_fee", 0) == fee_sat
    assert booked["refunds_payable"] == sum_sat - fee_sat
    assert differences(amounts, sent, is_fee_known=False) == ()
    assert differences(amounts, replace(sent, fee_sat=fee_sat + 1), is_fee_known=False) != ()


def test_the_mirror_of_a_journal_leaves_nothing() -> None:
    journal = mirrored("refund_approve", {"customer:overpayment": 5, "refunds_payable": -5, "quote_buffer": 0})
    assert journal is not None
    assert journal.kind == "refund_approve_reverse"
    assert {e.account: e.units for e in journal.entries} == {"customer:overpayment": -5, "refunds_payable": 5}
    assert mirrored("refund_approve", {}) is None


@pytest.mark.parametrize(
    ("confirmed", "owed", "own", "has_room"),
    [(50_000, 0, 0, True), (49_999, 0, 0, False), (60_000, 10_001, 0, False), (60_000, 10_001, 48_500, True)],
)
def test_a_wallet_keeps_what_it_owes(confirmed: int, owed: int, own: int, has_room: bool) -> None:
    amounts = amounts_for_gross(50_000, fee_bps=300)
    assert wallet_has_room(amounts, confirmed_sat=confirmed, owed_sat=owed, own_sat=own) == has_room


@given(
    confirmed=st.integers(0, 10**9),
    owed=st.integers(0, 10**9),
    promised=st.integers(0, 10**9),
    float_sat=st.integers(0, 10**8),
    fee_bps=FEE,
)
def test_a_sweep_always_leaves_enough_for_everybody(
    confirmed: int, owed: int, promised: int, float_sat: int, fee_bps: int
) -> None:
    wallet = HotWallet(
        confirmed_sat=confirmed, owed_sat=owed, promised_sat=promised, fee_bps=fee_bps, min_send_sat=50_000
    )
    sweeping = TreasuryRules(
        cold_addresses=("cold",), refund_float_sat=float_sat, sweep_above_sat=100_000, fee_ceiling_bps=1_000
    )
    plan = plan_sweep(wallet, sweeping)
    if plan.amounts is None:
        assert plan.reason
        return
    left_sat = confirmed - plan.amounts.gross_sat
    owed_gross_sat = amounts_for_net(owed, fee_bps=fee_bps).gross_sat if owed else 0
    assert left_sat >= promised + float_sat + owed_gross_sat
    assert plan.amounts.gross_sat >= 50_000
    assert fee_bps <= 1_000
    assert confirmed > 100_000
