"""Policy as data: tiers, tolerance, depth by amount."""

import pytest

from bridge.core.policy import Confirmations, Policy, Rule, rule_of_terms

TRUSTED = Rule(name="trusted", tolerance_bps=50)
EXACT = Rule(name="exact", tolerance_bps=0)
POLICY = Policy(version="7", rules={"gold": TRUSTED, "exact": EXACT}, exact_tier="exact")


def test_a_tier_has_its_own_rule_and_strangers_get_the_default() -> None:
    assert POLICY.rule_for("gold") is TRUSTED
    assert POLICY.rule_for("no such tier") is POLICY.default
    assert POLICY.rule_for(None) is POLICY.default


def test_three_failed_attempts_put_even_a_trusted_customer_into_the_exact_tier() -> None:
    assert [POLICY.rule_for("gold", failed_attempts=n).name for n in (2, 3, 4)] == ["trusted", "exact", "exact"]
    assert Policy(rules={"gold": TRUSTED}).rule_for("gold", failed_attempts=9) is TRUSTED


@pytest.mark.parametrize(
    ("bps", "fixed_sat", "due_sat", "expected"),
    [(0, 0, 15_924, 0), (50, 0, 15_924, 79), (50, 100, 15_924, 100), (50, 100, 100_000, 500), (0, 7, 1, 7)],
)
def test_the_larger_of_the_two_tolerances_counts_and_is_rounded_down(
    bps: int, fixed_sat: int, due_sat: int, expected: int
) -> None:
    assert Rule(tolerance_bps=bps, tolerance_sat=fixed_sat).tolerance_for(due_sat) == expected


def test_more_money_needs_more_depth() -> None:
    depths = {1: 1, 500_000: 1, 500_001: 2, 5_000_000: 2, 5_000_001: 6, 10**12: 6}
    assert {sat: Rule().confirmations_for(sat, replaceable=False) for sat in depths} == depths


def test_nothing_counts_unconfirmed_by_default() -> None:
    careless = Rule(confirmations=Confirmations(steps=((10**9, 0),), above=0))
    assert Rule().confirmations_for(1, replaceable=False) == 1
    assert careless.confirmations_for(1, replaceable=False) == 1


def test_unconfirmed_money_counts_only_under_its_limit_and_never_when_replaceable() -> None:
    rule = Rule(zero_conf_max_sat=20_000)
    assert rule.confirmations_for(20_000, replaceable=False) == 0
    assert rule.confirmations_for(20_001, replaceable=False) == 1
    assert rule.confirmations_for(1, replaceable=True) == 1


def test_a_rule_that_was_written_down_is_the_same_rule_again() -> None:
    rule = Rule(name="gold", tolerance_bps=50, fee_buffer_minor={"USD": 25}, confirmations=Confirmations(above=9))
    assert rule_of_terms(rule.terms()) == rule
