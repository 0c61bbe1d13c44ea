"""The model checker: hypothesis looks for a sequence of steps that breaks a promise, choosing each step from the last state.

HYPOTHESIS_PROFILE=thorough runs 10,000 histories with a printed seed (several minutes: add `-o faulthandler_timeout=0`);
HYPOTHESIS_SEED=N repeats them.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.core.invoice import LEGAL_MOVES
from tests.core.life import Life, check
from tests.core.steps import ACTIONS, LIVES, Step, act

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SEED = int(os.environ.get("HYPOTHESIS_SEED") or (random.SystemRandom().randrange(2**32) if IS_THOROUGH else 1))


class InvoiceMachine(RuleBasedStateMachine):
    """One invoice against the world; the promises are checked in `life.check` after every decision and here after every step."""

    life: Life

    @initialize(life=LIVES)
    def opened(self, life: Life) -> None:
        self.life = life

    @rule(payment=ACTIONS["pay"][0])
    def a_payer_pays(self, payment: tuple[int, bool]) -> None:
        act(self.life, ("pay", payment, True))

    @rule(extra_sat=ACTIONS["pay_remainder"][0])
    def a_payer_pays_the_remainder(self, extra_sat: int) -> None:
        act(self.life, ("pay_remainder", extra_sat, True))

    @rule(amount_sat=ACTIONS["pay_beside"][0])
    def a_payer_pays_the_other_way(self, amount_sat: int | None) -> None:
        act(self.life, ("pay_beside", amount_sat, True))

    @rule(silent=ACTIONS["silence"][0])
    def a_way_falls_silent_or_speaks_again(self, silent: str) -> None:
        act(self.life, ("silence", silent, False))

    @precondition(lambda self: self.life.outputs)
    @rule(
        step=st.sampled_from(["mine", "vanish", "replace", "reorganise"]).flatmap(
            lambda name: st.tuples(st.just(name), ACTIONS[name][0], st.booleans())
        )
    )
    def the_chain_moves(self, step: Step) -> None:
        act(self.life, step)

    @rule()
    def the_bridge_looks(self) -> None:
        self.life.look()

    @rule()
    def an_answer_stays_on_its_way(self) -> None:
        self.life.take_snapshot()

    @precondition(lambda self: self.life.snapshots)
    @rule(nth=ACTIONS["old_news"][0])
    def an_old_answer_comes_again(self, nth: int) -> None:
        act(self.life, ("old_news", nth, False))

    @rule(seconds=ACTIONS["pass"][0])
    def time_passes(self, seconds: int) -> None:
        act(self.life, ("pass", seconds, False))

    @rule()
    def the_client_opens_the_page_again(self) -> None:
        self.life.reopens()

    @rule(
        step=st.sampled_from(["price", "price_source", "provider", "billing"]).flatmap(
            lambda name: st.tuples(st.just(name), ACTIONS[name][0], st.booleans())
        )
    )
    def the_outside_changes(self, step: Step) -> None:
        act(self.life, step)

    @precondition(lambda self: self.life.invoice.open_reviews)
    @rule(nth=ACTIONS["release"][0])
    def a_person_lets_a_review_pass(self, nth: int) -> None:
        act(self.life, ("release", nth, False))

    @precondition(lambda self: self.life.invoice.open_reviews & {"partial", "late"})
    @rule(nth=ACTIONS["ask_remainder"][0])
    def a_person_asks_for_the_remainder(self, nth: int) -> None:
        act(self.life, ("ask_remainder", nth, False))

    @precondition(lambda self: self.life.invoice.hold)
    @rule(verdict=ACTIONS["verdict"][0])
    def a_person_rules(self, verdict: str) -> None:
        self.life.rules(verdict)

    @invariant()
    def deciding_once_more_on_a_quiet_clock_breaks_nothing(self) -> None:
        if hasattr(self, "life"):
            check(self.life, self.life.invoice, self.life.decision())


def test_the_model_checker_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    if IS_THOROUGH:
        with capsys.disabled():
            print(f"\n10,000 histories, HYPOTHESIS_SEED={SEED}")
    run_state_machine_as_test(
        seed(SEED)(InvoiceMachine),
        settings=settings(
            max_examples=10_000 if IS_THOROUGH else 120,
            stateful_step_count=40,
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_settled_has_one_way_back() -> None:
    """The one rule of the moves that a host must be able to rely on."""
    assert {after for before, after in LEGAL_MOVES if before == "settled"} == {"invalid"}
