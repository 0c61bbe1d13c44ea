"""Policy as data: tiers, tolerance, depth by amount."""

import pytest

from bridge.core.policy import ConfirmationStep, Policy, Rule, rule_of_terms

TRUSTED = Rule(name="trusted", tolerance_bps=50)
EXACT = Rule(name="exact", tolerance_bps=0)
POLICY = Policy(version="7", tiers={"gold": TRUSTED, "exact": EXACT}, exact_tier="exact")


def test_a_tier_has_its_own_rule_and_strangers_get_the_default() -> None:
    assert POLICY.rule_for("gold") is TRUSTED
    assert POLICY.rule_for("no such tier") is POLICY.default
    assert POLICY.rule_for(None) is POLICY.default


def test_three_failed_attempts_put_even_a_trusted_customer_into_the_exact_tier() -> None:
    assert [POLICY.rule_for("gold", failed_attempts=n).name for n in (2, 3, 4)] == ["trusted", "exact", "exact"]
    assert Policy(tiers={"gold": TRUSTED}).rule_for("gold", failed_attempts=9) is TRUSTED


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
    careless = Rule(confirmations=(ConfirmationStep(up_to_sat=10**9, depth=0),), confirmations_above=0)
    assert Rule().confirmations_for(1, replaceable=False) == 1
    assert careless.confirmations_for(1, replaceable=False) == 1


def test_unconfirmed_money_counts_only_under_its_limit_and_never_when_replaceable() -> None:
    rule = Rule(zero_conf_max_sat=20_000)
    assert rule.confirmations_for(20_000, replaceable=False) == 0
    assert rule.confirmations_for(20_001, replaceable=False) == 1
    assert rule.confirmations_for(1, replaceable=True) == 1


def test_a_rule_that_was_written_down_is_the_same_rule_again() -> None:
    rule = Rule(name="gold", tolerance_bps=50, fee_buffer_minor={"USD": 25}, confirmations_above=9)
    assert rule_of_terms(rule.terms()) == rule


def test_a_rule_is_written_down_as_the_first_release_wrote_it() -> None:
    terms = (
        '{"confirmations":{"above":6,"steps":[[500000,1],[5000000,2]]},"disagree_grace_seconds":600,"dust_sat":546,'
        '"fee_buffer_minor":{"USD":3},"final_depth":6,"grace_seconds":0,"invoice_expiry_seconds":86400,'
        '"large_sat":20000000,"late":"accept","late_auto_seconds":3600,"minimum_sat":1000,"monitor_seconds":604800,'
        '"name":"gold","over_keep_sat":5000,"provider_only_max_sat":0,"quote_ttl_seconds":900,"risk_bps":100,'
        '"seen_grace_chain_seconds":120,"seen_grace_provider_seconds":7200,"tolerance_bps":0,"tolerance_sat":0,'
        '"underpaid":"wait","zero_conf_max_sat":0}'
    )
    assert Rule(name="gold", fee_buffer_minor={"USD": 3}).terms() == terms
    assert rule_of_terms(terms).terms() == terms
