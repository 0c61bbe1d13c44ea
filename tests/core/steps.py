"""The steps a random history is made of, as values that hypothesis draws and shrinks.

Owns the strategies and how each step acts on a Life; must not check anything, `tests/core/life.py` does.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from bridge.core.kinds import VERDICTS
from bridge.core.policy import ConfirmationStep, Rule
from tests.core.builders import DAY, DUE_SAT
from tests.core.life import BESIDE_SILENT, FIRST_SILENT, Life

Step = tuple[str, Any, bool]

AMOUNTS = st.one_of(
    st.sampled_from([1, 545, 546, 7_962, 10_000, 15_385, DUE_SAT - 80, DUE_SAT - 79, DUE_SAT - 1, DUE_SAT]),
    st.sampled_from([DUE_SAT + 1, DUE_SAT + 5_001, 600_000, 20_000_001]),
    st.integers(1, 40_000),
)
SECONDS = st.sampled_from([1, 30, 119, 121, 600, 899, 901, 3_600, 7_200, 21_600, DAY - 1, DAY, 2 * DAY, 7 * DAY])
PRICES = st.sampled_from([5_000_000, 5_850_000, 6_435_000, 6_500_000, 6_600_000, 8_000_000])
NTH = st.integers(0, 30)

RULES = st.sampled_from(
    [
        Rule(),
        Rule(tolerance_bps=50),
        Rule(tolerance_bps=300, tolerance_sat=200, late_auto_seconds=DAY),
        Rule(underpaid="review", late="review"),
        Rule(zero_conf_max_sat=20_000, provider_only_max_sat=30_000),
        Rule(provider_only_max_sat=10**9, large_sat=10**9, over_keep_sat=0),
        Rule(
            confirmations=(ConfirmationStep(up_to_sat=10_000, depth=1),),
            confirmations_above=3,
            large_sat=500_000,
            dust_sat=1,
        ),
    ]
)
LIVES = st.builds(Life, rule=RULES, has_chain=st.sampled_from([True, True, False]))


def _pay(life: Life, step: tuple[int, bool]) -> None:
    life.pays(step[0], replaceable=step[1])


def _pay_remainder(life: Life, extra_sat: int) -> None:
    life.pays(max(life.decision().remaining_sat + extra_sat, 1))


def _pay_beside(life: Life, amount_sat: int | None) -> None:
    """None: what is asked for, which may be nothing any more; a payer with an old offer in hand pays all the same."""
    life.pays_beside(amount_sat or life.decision().remaining_sat or DUE_SAT)


def _silence(life: Life, silent: str) -> None:
    life.silent = silent


def _vanish(life: Life, nth: int) -> None:
    if present := [key for key, output in life.on_chain().items() if not output.gone]:
        life.vanishes(present[nth % len(present)])


def _replace(life: Life, step: tuple[int, int]) -> None:
    if present := [key for key, output in life.on_chain().items() if not output.gone and not output.confirmations]:
        life.vanishes(present[step[0] % len(present)])
        life.pays(step[1])


def _old_news(life: Life, nth: int) -> None:
    if life.snapshots:
        life.observe(life.snapshots[nth % len(life.snapshots)])


def _release(life: Life, nth: int) -> None:
    if kinds := sorted(life.invoice.open_reviews):
        life.releases(kinds[nth % len(kinds)])


def _ask_remainder(life: Life, nth: int) -> None:
    if kinds := sorted(life.invoice.open_reviews & {"partial", "late"}):
        life.asks_remainder(kinds[nth % len(kinds)])


def _price(life: Life, price_minor: int) -> None:
    life.price_minor = price_minor


def _price_source(life: Life, is_up: bool) -> None:
    life.has_price = is_up


def _provider(life: Life, lie_sat: int) -> None:
    life.provider_lie_sat = lie_sat


ACTIONS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Life, Any], None]]] = {
    "pay": (st.tuples(AMOUNTS, st.booleans()), _pay),
    "pay_remainder": (st.sampled_from([0, 0, 0, -1, 1, 6_000]), _pay_remainder),
    "pay_beside": (st.one_of(st.none(), AMOUNTS), _pay_beside),
    "silence": (st.sampled_from(["", "", FIRST_SILENT, BESIDE_SILENT]), _silence),
    "mine": (st.integers(1, 6), Life.mines),
    "vanish": (NTH, _vanish),
    "replace": (st.tuples(NTH, AMOUNTS), _replace),
    "reorganise": (st.integers(1, 6), Life.reorganises),
    "pass": (SECONDS, Life.passes),
    "look": (st.none(), lambda life, _: life.look()),
    "read": (st.none(), lambda life, _: life.take_snapshot()),
    "old_news": (NTH, _old_news),
    "reopen": (st.none(), lambda life, _: life.reopens()),
    "release": (NTH, _release),
    "ask_remainder": (NTH, _ask_remainder),
    "price": (PRICES, _price),
    "price_source": (st.booleans(), _price_source),
    "provider": (st.sampled_from([0, 0, -1, 1, -DUE_SAT, DUE_SAT]), _provider),
    "billing": (st.sampled_from([None, None, "cancelled", "deleted", "amount"]), Life.billing_changes),
    "verdict": (st.sampled_from(sorted(VERDICTS)), Life.rules),
}
# What a life is mostly made of; the rest happens too, and a person's final word seldom, as it ends the interesting part.
OFTEN = ("pay", "pay_remainder", "pay_remainder", "pay_beside", "mine", "mine", "pass", "pass", "look")
SELDOM = tuple(name for name in ACTIONS if name not in OFTEN and name not in ("verdict", "billing"))
NAMES = st.sampled_from([*OFTEN, *OFTEN, *OFTEN, *SELDOM, *SELDOM, "verdict", "billing"])
# A step and whether the bridge looks right after it; what it does not look at piles up until it does.
STEPS = NAMES.flatmap(lambda name: st.tuples(st.just(name), ACTIONS[name][0], st.integers(0, 3).map(bool)))


def act(life: Life, step: Step) -> None:
    name, argument, is_looked_at = step
    ACTIONS[name][1](life, argument)
    if is_looked_at:
        life.look()
    elif name == "pass":
        life.decide()
