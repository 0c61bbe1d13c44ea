"""What a reading teaches, row by row: what it shows, what it keeps back, and what may therefore be taken away."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.core.clock import believed
from bridge.core.coverage import GAPS, Horizon, Learned, covered_until, gap_of, known_outputs, learn
from bridge.core.credit import Payment
from bridge.core.evidence import ChainOutput, ChainReading, Fate, Tip
from bridge.core.policy import Rule
from bridge.invoices import observe
from tests.core.builders import DAY, DUE_SAT, EXPIRES_AT, MONITOR_UNTIL, T0, a_payment, a_quote, an_invoice, at, decided

TIP = 1_000
HORIZON = Horizon(height=TIP, oldest_tip=timedelta(hours=2))
BEHIND, STALE = {"tip_height": TIP - 20}, {"tip_at": at(-7_201 + 600)}


def block_hash(height: int, fork: str = "0") -> str:
    return f"{fork}{height:063d}"


def shown(depth: int = 0, *, key: str = "aa:0", tip_height: int = TIP, fork: str = "0", **changes: Any) -> ChainOutput:
    height = tip_height - depth + 1 if depth else None
    facts: dict[str, Any] = {
        "outpoint": key,
        "amount_sat": DUE_SAT,
        "confirmations": depth,
        "replaceable": False,
        "block_height": height,
        "block_hash": block_hash(height, fork) if height else None,
    }
    return ChainOutput(**facts | changes)


def reading(*outputs: ChainOutput, tip_height: int = TIP, tip_at: datetime = T0, **changes: Any) -> ChainReading:
    tip = Tip(height=tip_height, hash=block_hash(tip_height), time=tip_at)
    facts: dict[str, Any] = {"address": "tb1q", "source": "a", "asked_at": at(600)}
    return ChainReading(outputs=outputs, tip=tip, **facts | changes)


def paid(depth: int | None = 0, *, key: str = "aa:0", tip_height: int = TIP, **changes: Any) -> Payment:
    height = tip_height - depth + 1 if depth else None
    facts: dict[str, Any] = {
        "block_height": height,
        "block_hash": block_hash(height) if height else None,
        "source": "a",
    }
    return a_payment(key=key, confirmations=depth, **facts | changes)


def learned(
    seen: ChainReading, *known: Payment, born_at: datetime = T0, horizon: Horizon = HORIZON, is_newest: bool = True
) -> Learned:
    return learn(known, seen, born_at=born_at, horizon=horizon, is_newest=is_newest)


def after(seen: ChainReading, *known: Payment, **options: Any) -> tuple[str, dict[str, int | None]]:
    """The gap, and how deep each payment is then; None for one that is gone."""
    taught = learned(seen, *known, **options)
    stands = {p.key: p for p in known} | {p.key: p for p, _ in taught.payments}
    return taught.gap, {key: None if p.replaced else p.confirmations for key, p in stands.items()}


NOWHERE = {"aa:0": Fate(code="not_found")}
BEATEN = {"aa:0": Fate(code="rival_confirmed")}
OUTBID = {"aa:0": Fate(code="rival_waits", rival="bb")}
ROWS: dict[str, tuple[ChainReading, tuple[Payment, ...], tuple[str, dict[str, int | None]]]] = {
    "an empty address is a fact": (reading(), (), ("", {})),
    "a lagging source's silence is none": (reading(**BEHIND), (), ("tip_behind", {})),
    "a lagging source's money is money": (
        reading(shown(1, tip_height=TIP - 20), **BEHIND),
        (),
        ("tip_behind", {"aa:0": 1}),
    ),
    "a lagging source makes nothing deeper: the block it shows may be undone": (
        reading(shown(1, tip_height=TIP - 1), tip_height=TIP - 1),
        (paid(0),),
        ("tip_behind", {"aa:0": 0}),
    ),
    "a lagging source makes nothing shallower": (reading(shown(0), **BEHIND), (paid(9),), ("tip_behind", {"aa:0": 9})),
    "a lagging source undoes nothing": (reading(fates=NOWHERE, **BEHIND), (paid(9),), ("tip_behind", {"aa:0": 9})),
    "a standing source's silence is none": (reading(**STALE), (), ("tip_stale", {})),
    "a standing source undoes nothing": (reading(fates=NOWHERE, **STALE), (paid(),), ("tip_stale", {"aa:0": 0})),
    "a lagging source says itself that it lacks a payment, and shows another less deep": (
        reading(shown(1, key="bb:0"), gap="payment_not_shown", **BEHIND),
        (paid(9), paid(2, key="bb:0", tip_height=TIP - 22)),
        ("tip_behind", {"aa:0": 9, "bb:0": 2}),
    ),
    "one block behind is behind": (reading(tip_height=TIP - 1), (), ("tip_behind", {})),
    "a lagging source proves nothing": (
        reading(fates=BEATEN | {"bb:0": OUTBID["aa:0"]}, **BEHIND),
        (paid(9), paid(key="bb:0")),
        ("tip_behind", {"aa:0": 9, "bb:0": 0}),
    ),
    "a standing source proves nothing": (reading(fates=BEATEN, **STALE), (paid(),), ("tip_stale", {"aa:0": 0})),
    "pruned": (reading(gap="pruned", fates=NOWHERE), (paid(9),), ("pruned", {"aa:0": 9})),
    "pruned, but it shows money": (reading(shown(2), gap="pruned"), (), ("pruned", {"aa:0": 2})),
    "searched from after the birth": (reading(since=at(1), fates=NOWHERE), (paid(9),), ("not_searched", {"aa:0": 9})),
    "searched from the birth": (reading(since=T0), (), ("", {})),
    "cut": (reading(shown(3, key="bb:0"), gap="history_cut"), (paid(9),), ("history_cut", {"aa:0": 9, "bb:0": 3})),
    "one of two is not listed": (
        reading(shown(9, key="bb:0")),
        (paid(9), paid(9, key="bb:0")),
        ("payment_not_shown", {"aa:0": 9, "bb:0": 9}),
    ),
    "nothing is listed and nothing is said of it": (reading(), (paid(9),), ("payment_not_shown", {"aa:0": 9})),
    "its block is another now": (reading(fates=NOWHERE), (paid(9),), ("", {"aa:0": None})),
    "it waits again": (reading(shown(0), tip_height=TIP + 1), (paid(1),), ("", {"aa:0": 0})),
    "it is in another block": (
        reading(shown(1, tip_height=TIP + 1, fork="1"), tip_height=TIP + 1),
        (paid(2),),
        ("", {"aa:0": 1}),
    ),
    "a fee bump takes its place": (
        reading(shown(0, key="bb:0"), fates=OUTBID),
        (paid(),),
        ("", {"aa:0": None, "bb:0": 0}),
    ),
    "a fee bump takes its place on a node that has not searched all": (
        reading(shown(0, key="bb:0"), fates=OUTBID, since=at(1)),
        (paid(),),
        ("not_searched", {"aa:0": None, "bb:0": 0}),
    ),
    "a fee bump takes its place where another source is read now": (
        reading(shown(0, key="bb:0"), fates=OUTBID, source="b"),
        (paid(),),
        ("", {"aa:0": None, "bb:0": 0}),
    ),
    "of two mempools with two rivals the first that was believed stays": (
        reading(shown(0, key="aa:0"), fates={"bb:0": Fate(code="rival_waits", rival="aa")}),
        (paid(replaced=True, source="b"), paid(key="bb:0", source="b")),
        ("payment_not_shown", {"aa:0": None, "bb:0": 0}),
    ),
    "the older of two rivals is back, and this source has told it gone": (
        reading(shown(0, key="aa:0"), fates={"bb:0": Fate(code="rival_waits", rival="aa")}),
        (paid(replaced=True), paid(key="bb:0", source="b")),
        ("", {"aa:0": 0, "bb:0": None}),
    ),
    "a rival that only waits takes nothing from a block": (
        reading(fates=OUTBID),
        (paid(1),),
        ("payment_not_shown", {"aa:0": 1}),
    ),
    "a confirmed rival is believed of a waiting payment whoever showed it": (
        reading(fates=BEATEN, source="b"),
        (paid(),),
        ("", {"aa:0": None}),
    ),
    "a confirmed rival takes a place in a block only at the source that showed it": (
        reading(fates=BEATEN, source="b"),
        (paid(6),),
        ("payment_not_shown", {"aa:0": 6}),
    ),
    "a confirmed rival takes a place in a block where the chain is longer": (
        reading(fates=BEATEN, source="b", gap="pruned", tip_height=TIP + 1),
        (paid(6),),
        ("pruned", {"aa:0": None}),
    ),
    "a waiting payment is forgotten by the server that showed it": (
        reading(fates=NOWHERE),
        (paid(),),
        ("payment_not_shown", {"aa:0": 0}),
    ),
    "a waiting payment is forgotten that had a day to get into a block": (
        reading(fates=NOWHERE, asked_at=at(60 + DAY), tip_at=at(DAY)),
        (paid(),),
        ("", {"aa:0": None}),
    ),
    "a waiting payment is forgotten that had a day, by another server": (
        reading(fates=NOWHERE, source="b", asked_at=at(60 + DAY), tip_at=at(DAY)),
        (paid(),),
        ("payment_not_shown", {"aa:0": 0}),
    ),
    "a waiting payment is forgotten that had a day, by a node that has not searched all": (
        reading(fates=NOWHERE, gap="pruned", asked_at=at(60 + DAY), tip_at=at(DAY)),
        (paid(),),
        ("pruned", {"aa:0": 0}),
    ),
    "what is said of one does not hang on what is not said of another": (
        reading(fates={"bb:0": Fate(code="not_found")}),
        (paid(9), paid(9, key="bb:0")),
        ("payment_not_shown", {"aa:0": 9, "bb:0": None}),
    ),
    "another source of the same height shows it waiting": (
        reading(shown(0), source="b"),
        (paid(1),),
        ("payment_not_shown", {"aa:0": 1}),
    ),
    "another source with the longer chain undoes it": (
        reading(fates=NOWHERE, source="b", tip_height=TIP + 1),
        (paid(6),),
        ("", {"aa:0": None}),
    ),
    "another source is shown more by": (reading(shown(7), source="b"), (paid(6),), ("", {"aa:0": 7})),
    "told three times": (reading(shown(0), shown(9), shown(8)), (), ("", {"aa:0": 9})),
    "stored before blocks were, and final": (
        reading(fates=NOWHERE),
        (paid(6, block_hash=None, block_height=None, source=""),),
        ("payment_not_shown", {"aa:0": 6}),
    ),
    "stored before blocks were, and settled on": (
        reading(fates=NOWHERE),
        (paid(1, block_hash=None, block_height=None, source=""),),
        ("payment_not_shown", {"aa:0": 1}),
    ),
    "stored before blocks were, and shown to wait again": (
        reading(shown(0)),
        (paid(1, block_hash=None, block_height=None, source=""),),
        ("", {"aa:0": 0}),
    ),
    "stored before blocks were, and a rival is in a block": (
        reading(fates=BEATEN),
        (paid(6, block_hash=None, block_height=None, source=""),),
        ("", {"aa:0": None}),
    ),
    "stored before sources were, and gone from where it waited": (
        reading(fates=OUTBID),
        (paid(source=""),),
        ("", {"aa:0": None}),
    ),
    "a total gives way to what the chain shows": (
        reading(shown(1)),
        (paid(None, key="total@1", source="provider"),),
        ("", {"total@1": None, "aa:0": 1}),
    ),
    "a total stays while the chain may lack something": (
        reading(**BEHIND),
        (paid(None, key="total@1", source="provider"),),
        ("tip_behind", {"total@1": None}),
    ),
    "what was undone is there again": (reading(shown(0)), (paid(replaced=True),), ("", {"aa:0": 0})),
    "what was undone still waits at another source": (
        reading(shown(0), source="b"),
        (paid(replaced=True),),
        ("payment_not_shown", {"aa:0": None}),
    ),
    "what was undone is in a block at another source": (
        reading(shown(1), source="b"),
        (paid(replaced=True),),
        ("", {"aa:0": 1}),
    ),
    "what was undone is still shown by a source that is behind": (
        reading(shown(2, tip_height=TIP - 1), tip_height=TIP - 1),
        (paid(replaced=True),),
        ("tip_behind", {"aa:0": None}),
    ),
    "what was undone is shown by a source that stands still": (
        reading(shown(2), **STALE),
        (paid(replaced=True),),
        ("tip_stale", {"aa:0": None}),
    ),
}
# A total is as deep as it is: None, which is not "gone".
TOTAL_STAYS = "a total stays while the chain may lack something"


@pytest.mark.parametrize("row", ROWS)
def test_a_reading_says_less_only_where_it_shows_less(row: str) -> None:
    seen, known, expected = ROWS[row]
    assert after(seen, *known) == expected
    if row == TOTAL_STAYS:
        assert learned(seen, *known).payments == ()


@pytest.mark.parametrize("gap", sorted(GAPS))
def test_silence_takes_no_payment_away_under_a_gap_and_proof_does_wherever_the_source_is_not_behind(gap: str) -> None:
    is_behind = gap in ("tip_behind", "tip_stale")
    day_old = {"asked_at": at(60 + DAY), "tip_at": at(DAY)}
    for depth in (0, 1, 9):
        assert after(reading(gap=gap, fates=NOWHERE, **day_old), paid(depth)) == (gap, {"aa:0": depth})
        assert after(reading(gap=gap, fates=BEATEN), paid(depth)) == (gap, {"aa:0": depth if is_behind else None})
    assert after(reading(gap=gap, fates=OUTBID), paid()) == (gap, {"aa:0": 0 if is_behind else None})


def test_what_a_payment_spends_is_kept_and_asked_with() -> None:
    (payment, _), *_ = learned(reading(shown(0, spends="cc:1"))).payments
    assert [each.spends for each in known_outputs((payment,))] == ["cc:1"]
    (again, _), *_ = learned(reading(shown(2)), payment).payments
    assert (again.confirmations, again.spends) == (2, "cc:1")


def test_a_payment_that_is_proved_gone_does_not_come_back_at_a_source_whose_mempool_differs() -> None:
    """Two mempools take turns, each with one of two rivals; one of them counts, and it is told once."""
    of_a = reading(shown(0), fates={"bb:0": Fate(code="rival_waits", rival="aa")})
    of_b = reading(shown(0, key="bb:0"), fates=OUTBID, source="b")
    facts = {"aa:0": paid()}
    counting = []
    for nth in range(6):
        for payment, _ in learned(of_a if nth % 2 else of_b, *facts.values()).payments:
            facts[payment.key] = payment
        counting.append(sorted(key for key, payment in facts.items() if not payment.replaced))
    assert counting == [["bb:0"]] * 6


def test_what_a_source_shows_after_it_went_back_is_less_only_once_it_has_caught_up() -> None:
    """The highest block is forgotten here, as after a day without an answer: the payment still tells how high the chain was."""
    unheld = Horizon()
    back = reading(fates=NOWHERE, tip_height=TIP - 3)
    assert after(back, paid(9), horizon=unheld) == ("payment_not_shown", {"aa:0": 9})
    assert after(replace(back, outputs=(shown(0),)), paid(9), horizon=unheld) == ("payment_not_shown", {"aa:0": 9})
    assert after(reading(fates=NOWHERE), paid(9), horizon=unheld) == ("", {"aa:0": None})


def test_where_blocks_come_when_somebody_makes_them_a_tip_may_be_of_any_age() -> None:
    assert gap_of(reading(tip_at=at(-99 * DAY)), born_at=T0, horizon=Horizon(height=TIP)) == ""


def test_two_sources_that_differ_and_alternate_tell_one_thing() -> None:
    for waiting_or_not in (0, 1, 9):
        known = paid(waiting_or_not)
        for _ in range(4):
            assert after(reading(fates=NOWHERE, source="b"), known) == ("payment_not_shown", {"aa:0": waiting_or_not})
            assert learned(reading(shown(waiting_or_not)), known) == Learned(payments=(), gap="")


def test_an_undone_payment_that_a_lagging_source_shows_again_and_again_is_not_told_again() -> None:
    """Backends behind one name differ by a block for hours."""
    gone = learned(reading(fates=NOWHERE), paid(2, tip_height=TIP - 1)).payments[0][0]
    assert gone.replaced
    for _ in range(3):
        assert learned(reading(shown(2, tip_height=TIP - 1), tip_height=TIP - 1), gone).payments == ()
        assert learned(reading(), gone) == Learned(payments=(), gap="")


def test_money_first_seen_in_a_block_came_with_it_and_nobody_pays_before_the_address_exists() -> None:
    def first_seen(output: ChainOutput, **options: Any) -> datetime:
        return learned(reading(output), **options).payments[0][0].first_seen_at

    assert first_seen(shown(0)) == at(600)
    assert first_seen(shown(1, block_time=at(300))) == at(300)
    assert first_seen(shown(1, block_time=at(-300))) == T0
    assert first_seen(shown(1, block_time=at(7_200))) == at(600)  # a miner's clock may be ahead


def test_a_clock_that_was_ahead_at_birth_makes_silence_worthless_until_it_is_over() -> None:
    ahead = at(600 + 121)
    assert after(reading(), born_at=ahead) == ("clock_ahead", {})
    assert after(reading(), born_at=at(600 + 120)) == ("", {})
    # Money is money, and is valued at the price that its payer was shown.
    assert learned(reading(shown(0)), born_at=ahead).payments[0][0].first_seen_at == ahead


def test_a_time_ahead_of_now_was_written_by_a_wrong_clock_and_counts_for_nothing() -> None:
    assert believed(at(120), now=T0) == at(120)
    assert believed(at(121), now=T0) is None
    assert believed(None, now=T0) is None
    # A look by a clock an hour ahead has covered nothing that is not over yet.
    looked_ahead = an_invoice(provider_sat=0, covered_until=EXPIRES_AT + timedelta(hours=1))
    assert decided(invoice=looked_ahead, now_s=DAY).status == "new"
    assert decided(invoice=looked_ahead, now_s=DAY + 3_600).status == "expired"
    closing = replace(looked_ahead, status="expired", covered_until=MONITOR_UNTIL + timedelta(hours=1))
    assert not decided(invoice=closing, now_s=8 * DAY).closed
    assert decided(invoice=closing, now_s=8 * DAY + 3_600).closed


def test_the_end_of_the_watch_is_told_by_a_block_from_after_it() -> None:
    def told(tip_s: int, asked_s: int, *, horizon: Horizon = HORIZON) -> bool:
        seen = reading(tip_at=at(tip_s), asked_at=at(asked_s))
        until = covered_until(seen, horizon=horizon, watched_until=MONITOR_UNTIL)
        assert until == at(asked_s) or at(asked_s) >= MONITOR_UNTIL > until >= EXPIRES_AT
        return decided(invoice=an_invoice(provider_sat=0, covered_until=until, status="expired"), now_s=asked_s).closed

    end = 8 * DAY
    assert not told(end - 1, end + 600)
    assert told(end, end + 600)
    assert not told(end - 7_000, end - 1)
    assert told(end - 7_000, end + 600, horizon=Horizon(height=TIP))


def test_an_older_answer_teaches_earlier_first_sights_and_nothing_else() -> None:
    old = reading(shown(0), shown(1, key="bb:0"), asked_at=at(30))
    taught = learned(old, paid(3), is_newest=False)
    facts = sorted((p.key, is_new, p.first_seen_at, p.confirmations, p.replaced) for p, is_new in taught.payments)
    assert facts == [
        ("aa:0", False, at(30), 3, False),
        ("bb:0", True, at(30), 1, True),  # whether it is still there, only the newest can say
    ]
    assert learned(reading(fates=NOWHERE, asked_at=at(30)), paid(3), is_newest=False).payments == ()
    # It was never undone, so that a source that is behind may still show it.
    untold = next(p for p, _ in taught.payments if p.replaced)
    behind = learned(reading(shown(1, key="bb:0", tip_height=TIP - 1), tip_height=TIP - 1), untold)
    assert [(p.key, p.replaced) for p, _ in behind.payments] == [("bb:0", False)]


@pytest.mark.parametrize(("depth", "status"), [(1, "processing"), (99, "processing"), (100, "settled")])
def test_what_a_block_pays_its_miner_settles_when_it_can_be_spent(depth: int, status: str) -> None:
    payment = learned(reading(shown(depth, coinbase=True, block_time=at(60)))).payments[0][0]
    assert decided(payment, now_s=700).status == status


def test_a_reader_is_asked_for_what_still_stands_and_has_an_outpoint() -> None:
    total = paid(None, key="total@1")
    asked = known_outputs((paid(2), paid(key="bb:0", replaced=True), total))
    assert [(each.outpoint, each.block_height, each.block_hash) for each in asked] == [
        ("aa:0", TIP - 1, block_hash(TIP - 1))
    ]


def test_outputs_that_take_the_place_of_totals_came_when_the_totals_did() -> None:
    """A shop that adds a chain reader must not see its settled invoices lose the price that their money was seen at."""
    totals = (
        paid(None, key="total@1", amount_sat=7_962, source="provider", seen_s=60),
        paid(None, key="total@2", amount_sat=7_962, source="provider", seen_s=90),
    )
    late = reading(shown(5, block_time=at(3_600)), asked_at=at(7_200), tip_at=at(7_000))
    taught = learned(late, *totals)
    assert taught.gap == ""
    [output] = [p for p, is_new in taught.payments if is_new]
    assert output.first_seen_at == at(60)
    settled = decided(output, now_s=7_200, status="settled", settled_at=at(100), received_sat=DUE_SAT)
    assert (settled.status, settled.events) == ("settled", ())
    # Nor does anything count twice while the reader has not searched all.
    partly = learned(reading(shown(5, amount_sat=10_000), gap="not_searched"), *totals)
    assert {p.key: (p.amount_sat, p.replaced) for p, _ in partly.payments} == {
        "aa:0": (10_000, False),
        "total@1": (7_962, True),
        "total@2": (5_924, False),
    }
    # What comes on top of them later came later.
    more = learned(replace(late, outputs=(*late.outputs, shown(1, key="bb:0", block_time=at(6_000)))), *totals)
    assert {p.key: p.first_seen_at for p, is_new in more.payments if is_new} == {"aa:0": at(60), "bb:0": at(6_000)}


def test_money_that_came_in_time_waits_for_its_price_before_anybody_is_told_that_time_is_over() -> None:
    unpriced = paid(1, seen_s=1_200)
    waiting = decided(unpriced, now_s=DAY + 1)
    assert (waiting.status, waiting.wants_late_quote_from) == ("new", at(1_200))
    assert "invoice.expired" not in waiting.events
    priced = decided(unpriced, now_s=DAY + 1, quotes=(a_quote(), a_quote(2, kind="late", from_s=1_200, ttl_s=DAY)))
    assert (priced.status, priced.exception) == ("settled", "none")
    short = replace(unpriced, amount_sat=1_000)
    part = decided(short, now_s=DAY + 1, quotes=(a_quote(), a_quote(2, kind="late", from_s=1_200, ttl_s=DAY)))
    assert (part.status, part.exception) == ("expired", "paid_partial")


def test_sources_that_were_not_compared_for_long_are_not_said_to_disagree_for_long() -> None:
    """The gateway was faster by a second; then nobody could read the chain for an hour."""
    facts = {"provider_sat": DUE_SAT, "disagrees_since": at(60)}
    assert decided(now_s=3_660, covered_until=at(60), **facts).hold is None
    assert decided(now_s=660, covered_until=at(660), **facts).reviews == ("provider_disagrees",)


def test_gateway_and_chain_are_compared_by_what_each_may_count() -> None:
    """A reward can be spent once it is 100 deep, and a wallet counts it a block later. What is listed twice is there once."""
    for depth, told_sat, since in (
        (1, 0, None),
        (99, DUE_SAT, None),
        (100, 0, None),
        (100, DUE_SAT, None),
        (101, 0, at(600)),
    ):
        output = shown(depth, coinbase=True)
        compared = observe._disagreement(
            SimpleNamespace(disagrees_since=None), reading(output, output), told_sat, at(600)
        )
        assert compared == since


# --- the gap of an invoice, from reading to reading ---


def row(**changes: Any) -> Any:
    none = dict.fromkeys(("gap", "gap_source", "gap_since", "gap_at"))
    return SimpleNamespace(**none | {"rule_terms": Rule().terms()} | changes)


def test_a_gap_lasts_from_its_first_to_its_last_sight_whoever_had_it() -> None:
    first = observe._gap(row(), "tip_behind", "b", at(0))
    again = observe._gap(row(**first), "history_cut", "a", at(60))
    assert again == {"gap": "history_cut", "gap_source": "a", "gap_since": at(0), "gap_at": at(60)}
    assert observe._gap(row(**again), "", "a", at(90)) == dict.fromkeys(again)
    assert observe._gap(row(), "", "a", at(90)) == {}


def test_a_source_that_shows_all_does_not_close_the_gap_of_one_that_differs() -> None:
    differs = observe._gap(row(), "payment_not_shown", "b", at(0))
    assert observe._gap(row(**differs), "", "a", at(600)) == {}
    assert observe._gap(row(**differs), "", "a", at(601)) == dict.fromkeys(differs)
    assert observe._gap(row(**differs), "", "b", at(1)) == dict.fromkeys(differs)
    # That for a while nobody answered does not make them agree.
    silent = observe._gap(row(**differs), "chain_unavailable", "", at(60))
    assert silent["gap_source"] == "b"
    assert observe._gap(row(**silent), "", "a", at(90)) == {}
    # A time that a clock wrote which was ahead holds nothing open.
    ahead = observe._gap(row(), "tip_stale", "b", at(9 * DAY))
    assert observe._gap(row(**ahead), "", "a", at(30)) == dict.fromkeys(ahead)


def test_nobody_answering_is_closed_by_the_first_that_does() -> None:
    silent = observe._gap(row(), "chain_unavailable", "", at(0))
    assert observe._gap(row(**silent), "", "a", at(1)) == dict.fromkeys(silent)
