"""The comparisons by themselves: what is news, what may be on its way, what is a difference."""

from datetime import UTC, datetime, timedelta

import pytest

from bridge.core.credit import Payment
from bridge.core.evidence import ChainOutput, WalletBalance
from bridge.core.reconciliation import CODES, SIDES, compare_outputs, compare_total, wallet_variance

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def payment(sat: int = 100, *, confirmations: int | None = 3) -> Payment:
    return Payment(key="aa:0", amount_sat=sat, confirmations=confirmations, first_seen_at=NOW)


def output(sat: int = 100, *, confirmations: int = 3, age_hours: int = 10) -> ChainOutput:
    block_time = NOW - timedelta(hours=age_hours) if confirmations else None
    return ChainOutput(
        outpoint="aa:0", amount_sat=sat, confirmations=confirmations, replaceable=False, block_time=block_time
    )


def variance(theirs_sat: int, *, cut_sat: int = 0, **changes: object) -> int:
    fields = {"baseline_sat": 0, "confirmed_sat": 1_000, "unconfirmed_sat": 50, "leaving_sat": 0, "by_depth": True}
    balance = WalletBalance(
        balance_sat=theirs_sat, confirmed_sat=theirs_sat, unconfirmed_sat=0, immature_sat=0, cut_sat=cut_sat
    )
    return wallet_variance(balance, **fields | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("theirs_sat", "changes", "expected"),
    [
        (1_000, {}, 0),
        (1_050, {}, 0),  # a block came since we looked
        (1_051, {}, 51),
        (999, {}, -1),
        (999, {"cut_sat": 1}, 0),  # a satoshi lies in two channels
        (998, {"cut_sat": 1}, -2),
        (700, {"leaving_sat": 300}, 0),  # a send is under way
        (699, {"leaving_sat": 300}, -301),
        (1_200, {"baseline_sat": 200}, 0),
        (1_050, {"by_depth": False}, 0),
        (1_052, {"rest_sat": 2}, 0),  # parts of a satoshi add up
        (1_053, {"rest_sat": 2}, 53),
        (999, {"rest_sat": 2}, -1),
        (1_000, {"by_depth": False}, -50),
    ],
)
def test_a_wallet_differs_when_nothing_on_its_way_explains_it(theirs_sat, changes, expected):
    assert variance(theirs_sat, **changes) == expected


@pytest.mark.parametrize(
    ("known", "outputs", "codes", "has_news"),
    [
        ([payment()], [output()], [], False),
        ([], [output()], ["output_missing"], False),
        ([], [output(age_hours=1)], [], True),
        ([], [output(confirmations=0)], [], True),
        ([payment()], [], ["output_extra"], False),
        ([payment(confirmations=0)], [], [], True),
        ([payment(99)], [output()], ["output_different"], False),
    ],
)
def test_an_output_is_a_finding_only_when_we_had_a_chance_to_see_it(known, outputs, codes, has_news):
    compared = compare_outputs(known, outputs, last_read_at=NOW)
    assert ([finding.code for finding in compared.findings], compared.has_news) == (codes, has_news)


def test_before_the_first_look_everything_is_news():
    assert compare_outputs([], [output()], last_read_at=None).has_news


@pytest.mark.parametrize(
    ("provider_sat", "last_sat", "codes", "has_news"),
    [
        (100, 100, [], False),
        (150, 100, [], True),
        (150, 150, ["provider_above"], False),
        (90, 100, ["provider_below"], False),
    ],
)
def test_a_total_above_the_last_one_is_news(provider_sat, last_sat, codes, has_news):
    compared = compare_total([payment()], provider_sat=provider_sat, last_provider_sat=last_sat)
    assert ([finding.code for finding in compared.findings], compared.has_news) == (codes, has_news)


def test_every_code_has_a_side_and_a_kind():
    assert {side for side, _ in CODES.values()} == set(SIDES)
    assert {kind for _, kind in CODES.values()} == {"missing", "extra", "different"}
