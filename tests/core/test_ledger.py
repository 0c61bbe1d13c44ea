"""The journals: what each is called, what it moves, and that the exact mirror takes it back."""

from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.evidence import FINAL
from bridge.core.ledger import (
    ACCOUNTS,
    ASSETS,
    EQUITY,
    EXPENSES,
    INCOME,
    LIABILITIES,
    MEMO,
    Books,
    Entry,
    Journal,
    journals,
)
from bridge.core.policy import Rule
from tests.core.builders import DUE_SAT, a_payment, an_invoice, at, decided
from tests.core.life import balances_of

Legs = dict[str, int]


def booked(before: Books, after: Books) -> dict[str, Legs]:
    """Kind of journal to account to units."""
    return {j.kind: {e.account: e.units for e in j.entries} for j in journals(before, after, currency="USD")}


def test_the_chart_of_accounts_is_complete_and_each_account_is_of_one_kind() -> None:
    groups = (ASSETS, LIABILITIES, EXPENSES, INCOME, EQUITY, MEMO)
    assert len(ACCOUNTS) == sum(len(group) for group in groups) == 18
    assert {
        "wallet:hot",
        "wallet:cold",
        "wallet:lightning",
        "inflight:unconfirmed",
        "customer:unallocated",
        "customer:prepayment",
    } <= ACCOUNTS
    assert {
        "customer:overpayment",
        "refunds_payable",
        "provider_fee",
        "network_fee",
        "tolerance",
        "quote_buffer",
    } <= ACCOUNTS


def test_a_journal_that_does_not_balance_or_names_a_strange_account_cannot_exist() -> None:
    with pytest.raises(ValueError, match="balance"):
        Journal(kind="detect", entries=(Entry(account="wallet:hot", units=1),))
    with pytest.raises(ValueError, match="balance"):
        Journal(
            kind="x", entries=(Entry(account="reserved", units=1, asset="USD"), Entry(account="wallet:hot", units=-1))
        )
    with pytest.raises(ValueError, match="unknown"):
        Journal(kind="x", entries=(Entry(account="pocket", units=1), Entry(account="wallet:hot", units=-1)))


JOURNALS: list[tuple[str, dict[str, int], dict[str, int], dict[str, Legs]]] = [
    ("opened", {}, {"reserved_minor": 1_000}, {"reserve": {"reserved": 1_000, "reserved_contra": -1_000}}),
    ("over", {"reserved_minor": 1_000}, {}, {"release": {"reserved": -1_000, "reserved_contra": 1_000}}),
    (
        "first sight",
        {},
        {"unconfirmed_sat": 100},
        {"detect": {"inflight:unconfirmed": 100, "customer:unallocated": -100}},
    ),
    (
        "vanished",
        {"unconfirmed_sat": 100},
        {},
        {"detect_reverse": {"inflight:unconfirmed": -100, "customer:unallocated": 100}},
    ),
    (
        "confirmed",
        {"unconfirmed_sat": 100},
        {"confirmed_sat": 100},
        {"capture": {"wallet:hot": 100, "inflight:unconfirmed": -100}},
    ),
    (
        "back in the mempool",
        {"confirmed_sat": 100},
        {"unconfirmed_sat": 100},
        {"capture_reverse": {"wallet:hot": -100, "inflight:unconfirmed": 100}},
    ),
    (
        "settled with a buffer",
        {"confirmed_sat": 100},
        {"confirmed_sat": 100, "used_sat": 100, "buffer_sat": 4},
        {"settle": {"customer:unallocated": 100, "customer:prepayment": -96, "quote_buffer": -4}},
    ),
    (
        "settled short inside the band",
        {"confirmed_sat": 95},
        {"confirmed_sat": 95, "used_sat": 95, "absorbed_sat": 5},
        {
            "settle": {"customer:unallocated": 95, "customer:prepayment": -95},
            "absorb": {"tolerance": 5, "customer:prepayment": -5},
        },
    ),
    (
        "too much",
        {"confirmed_sat": 130, "used_sat": 100},
        {"confirmed_sat": 130, "used_sat": 100, "over_sat": 30},
        {"over": {"customer:unallocated": 30, "customer:overpayment": -30}},
    ),
    (
        "to be refunded",
        {"confirmed_sat": 100},
        {"confirmed_sat": 100, "refundable_sat": 100},
        {"refund_due": {"customer:unallocated": 100, "refunds_payable": -100}},
    ),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [row[1:] for row in JOURNALS], ids=[row[0] for row in JOURNALS]
)
def test_each_change_of_the_books_has_its_journal(
    before: dict[str, int], after: dict[str, int], expected: dict[str, Legs]
) -> None:
    assert booked(Books(**before), Books(**after)) == expected


def test_equal_books_need_no_journal() -> None:
    assert journals(Books(confirmed_sat=5), Books(confirmed_sat=5), currency="USD") == ()


@pytest.mark.parametrize("kind", ["settle", "absorb", "over", "refund_due"])
def test_a_reversal_is_the_exact_mirror(kind: str) -> None:
    full = Books(confirmed_sat=200, used_sat=90, buffer_sat=3, absorbed_sat=2, over_sat=10, refundable_sat=50)
    empty = Books(confirmed_sat=200)
    forth, back = booked(empty, full)[kind], booked(full, empty)[f"{kind}_reverse"]
    assert back == {account: -units for account, units in forth.items()}


def test_a_changed_settlement_is_taken_back_whole_and_posted_anew() -> None:
    short = Books(confirmed_sat=95, used_sat=95, absorbed_sat=5)
    whole = Books(confirmed_sat=110, used_sat=100, over_sat=10)
    kinds = [j.kind for j in journals(short, whole, currency="USD")]
    assert kinds == ["settle_reverse", "absorb_reverse", "detect", "capture", "settle", "over"]


AMOUNTS = st.integers(0, 10**15)


@st.composite
def some_books(draw: st.DrawFn) -> Books:
    unconfirmed, confirmed = draw(AMOUNTS), draw(AMOUNTS)
    used = draw(st.integers(0, unconfirmed + confirmed))
    over = draw(st.integers(0, unconfirmed + confirmed - used))
    refundable = draw(st.integers(0, unconfirmed + confirmed - used - over))
    return Books(
        reserved_minor=draw(AMOUNTS),
        unconfirmed_sat=unconfirmed,
        confirmed_sat=confirmed,
        used_sat=used,
        buffer_sat=draw(st.integers(0, used)),
        absorbed_sat=draw(AMOUNTS),
        over_sat=over,
        refundable_sat=refundable,
    )


@given(st.lists(some_books(), max_size=5))
def test_any_way_through_the_books_leaves_balances_that_say_where_they_are(way: list[Books]) -> None:
    entries: list[Entry] = []
    for before, after in pairwise([Books(), *way]):
        for journal in journals(before, after, currency="USD"):
            entries += journal.entries
            running = balances_of(entries)
            assert running.get("customer:unallocated", 0) <= 0
            assert all(running.get(account, 0) >= 0 for account in ASSETS)
        assert Books.of_balances(balances_of(entries)) == after


def books_of(*payments: Any, verdict: str | None = None, rule: Rule | None = None, **changes: Any) -> Books:
    decision = decided(*payments, verdict=verdict, rule=rule, **changes)
    return Books.of_decision(decision, amount_minor=an_invoice().amount_minor, verdict=verdict)


def test_money_that_settles_nothing_yet_stays_unallocated() -> None:
    assert books_of(a_payment(10_000, confirmations=1)) == Books(reserved_minor=1_000, confirmed_sat=10_000)


def test_a_settled_invoice_has_used_its_money_and_reserves_nothing() -> None:
    expected = Books(confirmed_sat=DUE_SAT, used_sat=DUE_SAT, buffer_sat=539)
    assert books_of(a_payment(confirmations=1)) == expected


def test_a_settled_invoice_that_lost_its_block_has_its_settlement_reversed() -> None:
    lost = books_of(a_payment(confirmations=0), status="settled", settled_at=at(90), received_sat=DUE_SAT)
    assert lost == Books(unconfirmed_sat=DUE_SAT)
    kinds = [j.kind for j in journals(books_of(a_payment(confirmations=1)), lost, currency="USD")]
    assert kinds == ["settle_reverse", "capture_reverse"]


def test_a_refund_verdict_makes_all_confirmed_money_payable() -> None:
    books = books_of(a_payment(10_000, confirmations=1), verdict="refund")
    assert books == Books(confirmed_sat=10_000, refundable_sat=10_000)


def test_every_amount_of_the_books_has_a_balance_it_can_be_read_from() -> None:
    apart = {"wallet:lightning": 40}
    for field in fields(Books):
        some = {"used_sat": 10, field.name: apart if field.name == "beside" else 5, "confirmed_sat": 100}
        entries = [e for j in journals(Books(), Books(**some), currency="USD") for e in j.entries]
        assert Books.of_balances(balances_of(entries), beside=apart) == Books(**some)


def test_the_money_of_each_way_lies_on_its_own_account_and_moves_in_one_journal() -> None:
    one = Books(confirmed_sat=100)
    both = Books(confirmed_sat=140, beside={"wallet:lightning": 40})
    other = Books(confirmed_sat=40, unconfirmed_sat=100, beside={"wallet:lightning": 40})
    assert booked(one, both)["capture"] == {"wallet:lightning": 40, "inflight:unconfirmed": -40}
    assert booked(Books(), both)["capture"] == {
        "wallet:hot": 100,
        "wallet:lightning": 40,
        "inflight:unconfirmed": -140,
    }
    assert booked(both, other) == {"capture_reverse": {"wallet:hot": -100, "inflight:unconfirmed": 100}}


def test_a_decision_says_what_of_the_money_came_to_which_target() -> None:
    paid = (a_payment(9_000, confirmations=1), a_payment(2_000, key="bb:0", confirmations=FINAL, target_id=7))
    decision = decided(*paid, beside=frozenset({7}))
    books = Books.of_decision(decision, amount_minor=1_000, verdict=None, beside={7: "wallet:lightning"})
    assert (books.confirmed_sat, books.beside) == (11_000, {"wallet:lightning": 2_000})
