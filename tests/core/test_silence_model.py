"""Random sources over random histories of money: what was not searched is never "nothing came", what was final stays.

HYPOTHESIS_PROFILE=thorough runs 10,000 lives with a printed seed, as tests/core/test_model.py does.
"""

from typing import Any

from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from bridge.core.kinds import HOLDING
from bridge.core.policy import Rule
from tests.core.builders import DAY, DUE_SAT
from tests.core.silence import MODES, SilentLife, Source, an_honest_end
from tests.core.test_model import IS_THOROUGH, SEED

AMOUNTS = st.sampled_from([545, 600, 7_962, DUE_SAT - 7_962, DUE_SAT, DUE_SAT, DUE_SAT, DUE_SAT + 9_000])
RULES = st.sampled_from([Rule(), Rule(zero_conf_max_sat=20_000), Rule(final_depth=2, late="review")])


def pay(life: SilentLife, amount_sat: int) -> None:
    life.chain.pay(amount_sat)


def mine(life: SilentLife, how: tuple[int, int]) -> None:
    blocks, coinbase_sat = how
    for nth in range(blocks):
        life.chain.mine(coinbase_sat=coinbase_sat if nth == 0 else 0)


def replace_one(life: SilentLife, how: tuple[int, int]) -> None:
    waiting = [txid for txid in life.chain.mempool if life.chain.known[txid].amount_sat]
    if waiting:
        life.chain.replace(waiting[how[0] % len(waiting)], how[1])


def reorganise(life: SilentLife, how: tuple[int, str]) -> None:
    life.chain.reorganise(how[0], fate=how[1])


def turn(life: SilentLife, how: tuple[int, str, int]) -> None:
    which, mode, blocks_behind = how
    life.sources[which % len(life.sources)].turn(mode, life.chain, blocks_behind=blocks_behind)


def rename(life: SilentLife, which: int) -> None:
    """Its name is another in the settings, or another server has its place: what it showed, nobody of that name shows any more."""
    source = life.sources[which % len(life.sources)]
    source.name += "'"


def to_the_deadline(life: SilentLife, how: tuple[int, int]) -> None:
    """The next deadline comes, and somebody looks right after it."""
    ahead = [at for at in (life.invoice.expires_at, life.invoice.monitor_until) if at > life.chain.now]
    if ahead:
        life.chain.passes(int((ahead[0] - life.chain.now).total_seconds()) + how[1], is_empty=False)
        life.looks(how[0])


STEPS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "pay": (AMOUNTS, pay),
    "mine": (st.tuples(st.sampled_from([1, 1, 2, 6, 7]), st.sampled_from([0, 0, 0, DUE_SAT])), mine),
    "replace": (st.tuples(st.integers(0, 3), st.sampled_from([0, 0, DUE_SAT, 7_962])), replace_one),
    "reorganise": (st.tuples(st.integers(1, 3), st.sampled_from(["waits", "again", "rival"])), reorganise),
    "deep": (st.tuples(st.integers(7, 9), st.sampled_from(["waits", "rival"])), reorganise),
    "pass": (
        st.tuples(st.sampled_from([5, 60, 600, 1_000, 3_600, 7_300, DAY - 60, DAY, 7 * DAY, 8 * DAY]), st.booleans()),
        lambda life, how: life.chain.passes(how[0], is_empty=how[1]),
    ),
    "deadline": (st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 60])), to_the_deadline),
    "turn": (st.tuples(st.integers(0, 1), st.sampled_from(MODES), st.sampled_from([1, 2, 6, 20])), turn),
    "rename": (st.integers(0, 1), rename),
    "look": (
        st.tuples(st.integers(0, 1), st.sampled_from([0] * 12 + [-3_600, -30, 30, 90, 3_600, 3 * DAY, 9 * DAY])),
        lambda life, how: life.looks(how[0], clock_off=how[1]),
    ),
}
OFTEN = ("pay", "mine", "pass", "turn", "look", "look", "look")
STEP = st.sampled_from([*OFTEN, *OFTEN, *STEPS]).flatmap(lambda name: st.tuples(st.just(name), STEPS[name][0]))


def named(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(name), STEPS[name][0])


# What the rule is about: a source turns, money comes or not, and somebody looks at the deadline. The rest is chance.
PLOT = st.tuples(named("turn"), st.one_of(named("pay"), STEP), STEP, named("deadline"))
# A fee is raised, or a coin spent elsewhere, while a source has not searched all or its name is gone.
BUMP = st.tuples(
    named("pay"),
    named("look"),
    st.one_of(named("turn"), named("rename")),
    named("replace"),
    st.one_of(named("look"), named("mine")),
    named("look"),
)
HISTORIES = st.tuples(
    st.lists(STEP, max_size=5), st.lists(st.one_of(PLOT, BUMP), min_size=1, max_size=2), st.lists(STEP, max_size=4)
).map(lambda parts: [*parts[0], *(step for plot in parts[1] for step in plot), *parts[2]])
LIVES = st.builds(
    lambda rule, names, ahead: SilentLife(
        rule=rule, sources=tuple(Source(name=name) for name in names), clock_was_ahead=ahead
    ),
    RULES,
    st.sampled_from([("a",), ("a", "b")]),
    st.sampled_from([0, 0, 0, 60, 3_600]),
)


def told(life: SilentLife) -> str:
    invoice = life.invoice
    return f"{life.statuses} {life.gap_code} hold={invoice.hold} {sorted(invoice.open_reviews)} {life.events}"


QUICK_OR_THOROUGH = settings(
    max_examples=10_000 if IS_THOROUGH else 250,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@seed(SEED)
@QUICK_OR_THOROUGH
@given(life=LIVES, steps=HISTORIES)
def test_silence_is_never_taken_for_nothing_came(life: SilentLife, steps: list[tuple[str, Any]]) -> None:
    for name, argument in steps:
        STEPS[name][1](life, argument)
    note(told(life))
    an_honest_end(life)
    note(told(life))
    check_end(life)


def check_end(life: SilentLife) -> None:
    """An honest observer of the end would say the same."""
    if life.is_over():
        return
    invoice, alive = life.invoice, life.chain.alive()
    assert invoice.gap is None
    assert "evidence_missing" not in invoice.open_reviews
    assert {p.key for p in life.payments.values() if not p.replaced} == {f"{t.txid}:0" for t in alive}
    if not alive and invoice.settled_at is None and not invoice.open_reviews & HOLDING:
        assert invoice.closed_at is not None
    in_time = [p for p in life.payments.values() if not p.replaced and p.first_seen_at <= invoice.expires_at]
    paid_sat = sum(p.amount_sat for p in in_time if p.amount_sat >= life.rule.dust_sat and not p.coinbase)
    if paid_sat >= DUE_SAT and not invoice.open_reviews & HOLDING:
        assert invoice.status == "settled"


@seed(SEED)
@QUICK_OR_THOROUGH
@given(
    rule=RULES,
    amounts=st.lists(AMOUNTS, min_size=1, max_size=3),
    blocks=st.integers(0, 8),
    modes=st.tuples(st.sampled_from(MODES), st.sampled_from(MODES)),
    behind=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fate=st.sampled_from(["stays", "waits", "rival", "bump", "spent"]),
)
def test_two_sources_that_differ_in_turn_change_the_status_once_for_each_thing_that_happens(
    rule: Rule, amounts: list[int], blocks: int, modes: tuple[str, str], behind: tuple[int, int], fate: str
) -> None:
    life = SilentLife(rule=rule, sources=(Source(name="a"), Source(name="b")))
    for amount_sat in amounts:
        life.chain.pay(amount_sat)
    mine(life, (blocks, 0))
    waiting = life.chain.pay(DUE_SAT) if fate in ("bump", "spent") else ""
    life.looks(0)
    for source, mode, blocks_behind in zip(life.sources, modes, behind, strict=True):
        source.turn(mode, life.chain, blocks_behind=blocks_behind)
    if waiting:
        # The sources hold either of two rivals in their mempools.
        life.chain.replace(waiting, DUE_SAT if fate == "bump" else 0)
    elif fate != "stays":
        life.chain.reorganise(2, fate=fate)
    # What the second shows is news to the first: it may know a rival of it.
    for nth in range(4):
        life.looks(nth % 2)
    moves, events = len(life.statuses), list(life.events)
    for nth in range(8):
        life.looks(nth % 2)
    assert (len(life.statuses), life.events) == (moves, events), told(life)
