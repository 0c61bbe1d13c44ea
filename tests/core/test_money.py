"""Money texts in and out: what is refused, and that nothing is ever rounded."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.currencies import CURRENT, FORMER, KEPT, NOT_MONEY, check_billable
from bridge.core.errors import Refused
from bridge.core.money import (
    EXPONENTS,
    MAX_MINOR,
    MAX_MONEY_SAT,
    btc_text,
    check_sat,
    exact_text,
    minor_text,
    price_to_minor,
)
from bridge.core.money import to_minor as minor_of

BAD_AMOUNTS = [
    "10.001", "-1", "-0", "+1", "1e3", "1E3", "1e-2", " 1", "1 ", "1\n", "\t1", "", " ", ".", "1.", ".5", "0", "0.0",
    "0.00", "00", "01", "01.00", "1,5", "1 000", "1_000", "0x10", "NaN", "Infinity", "inf", "1.2.3", "--1", "١٢",
    "１０", "10.００", "²", "1/2", "10.123456789", "1234567890123456", "1" * 400, "10000000000000", "1;rm -rf", "1\x00",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_AMOUNTS)
def test_a_text_that_is_no_plain_positive_amount_is_refused_and_names_the_field(text: str) -> None:
    with pytest.raises(Refused) as refused:
        minor_of(text, "USD")
    assert (refused.value.code, refused.value.field) == ("invalid_amount", "amount")


@pytest.mark.parametrize("currency", ["XXX", "usd", "US", "USDT", "", "US D", "BTC", "XAU", "USD\n", "U" * 1000])
def test_an_unknown_currency_is_refused_and_not_echoed_at_length(currency: str) -> None:
    with pytest.raises(Refused) as refused:
        minor_of("1", currency)
    assert (refused.value.code, refused.value.field) == ("unknown_currency", "currency")
    assert len(refused.value.detail) < 80


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("10", "USD", 1_000),
        ("10.0", "USD", 1_000),
        ("10.00", "USD", 1_000),
        ("10.000", "USD", 1_000),
        ("0.01", "USD", 1),
        ("1000", "JPY", 1_000),
        ("1000.00", "JPY", 1_000),
        ("1", "KWD", 1_000),
        ("0.001", "KWD", 1),
        ("1.2345", "CLF", 12_345),
        ("590.00", "RUB", 59_000),
        ("9999999999999.99", "USD", MAX_MINOR),
    ],
)
def test_an_amount_is_read_exactly_with_the_digits_of_its_currency(text: str, currency: str, minor: int) -> None:
    assert minor_of(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"), [("0.1", "JPY"), ("0.0001", "KWD"), ("0.00001", "CLF"), ("1.005", "RUB")]
)
def test_a_digit_that_the_currency_does_not_have_is_refused_not_rounded(text: str, currency: str) -> None:
    with pytest.raises(Refused):
        minor_of(text, currency)


def test_the_exponents_follow_iso_4217() -> None:
    known = {"JPY": 0, "KRW": 0, "CLP": 0, "UGX": 0, "XAF": 0, "USD": 2, "RUB": 2, "EUR": 2, "MRU": 2, "MGA": 2}
    known |= {"XCG": 2, "ZWG": 2, "SLE": 2, "VED": 2, "VES": 2, "STN": 2, "KWD": 3, "BHD": 3, "TND": 3, "IQD": 3}
    assert {code: EXPONENTS[code] for code in known} == known


def test_the_table_counts_as_the_publication_does() -> None:
    # List one of 2026: 178 codes, of which 17, 139, 7 and 2 have 0, 2, 3 and 4 digits and 13 have none.
    without_people = {0: "UYI", 2: "BOV CHE CHW COU MXV USN XAD", 4: "CLF UYW"}
    digits = list(CURRENT.values()) + [n for n, codes in without_people.items() for _ in codes.split()]
    assert [digits.count(n) for n in (0, 2, 3, 4)] == [17, 139, 7, 2]
    assert (len(CURRENT), len(NOT_MONEY), len(CURRENT) + len(NOT_MONEY)) == (155, 23, 178)
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in {*CURRENT, *NOT_MONEY, *FORMER})


def test_what_is_history_is_nothing_else_and_leads_to_money_of_today() -> None:
    assert not (CURRENT.keys() & NOT_MONEY or CURRENT.keys() & FORMER.keys() or NOT_MONEY & FORMER.keys())
    assert {successor for successor, _ in FORMER.values()} <= CURRENT.keys()
    assert all(date.fromisoformat(since) <= date(2026, 9, 17) for _, since in FORMER.values())
    assert KEPT.keys() <= FORMER.keys() | NOT_MONEY


def refusal(currency: str) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        check_billable(currency)
    assert refused.value.field == "currency"
    return refused.value.code, refused.value.detail


def test_a_currency_that_is_history_says_what_came_instead_and_when() -> None:
    assert refusal("BGN") == ("former_currency", "BGN was replaced by EUR on 2026-01-01: take EUR.")
    assert refusal("ANG") == ("former_currency", "ANG was replaced by XCG on 2025-03-31: take XCG.")
    assert {refusal(code)[0] for code in FORMER} == {"former_currency"}


@pytest.mark.parametrize("currency", ["CLF", "UYW", "UYI", "USN", "CHE", "XAD", "XAU", "XDR", "XTS", "XXX"])
def test_nobody_is_billed_in_what_nobody_pays_in(currency: str) -> None:
    assert refusal(currency)[0] == "unbillable_currency"


@pytest.mark.parametrize("currency", ["BTC", "usd", "EURO", "", "DEM"])
def test_what_the_standard_does_not_have_is_unknown(currency: str) -> None:
    assert refusal(currency)[0] == "unknown_currency"


def test_every_currency_of_today_is_billed_and_those_that_were_stay_readable() -> None:
    for currency in CURRENT:
        check_billable(currency)
    assert [minor_text(195_583, "BGN"), minor_text(12_345, "CLF"), minor_text(12_345, "UYW")] == [
        "1955.83", "1.2345", "1.2345",
    ]  # fmt: skip
    assert (minor_of("1955.83", "BGN"), minor_of("1.2345", "UYW")) == (195_583, 12_345)


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(1, MAX_MINOR))
def test_every_amount_survives_the_way_to_text_and_back(currency: str, minor: int) -> None:
    assert minor_of(minor_text(minor, currency), currency) == minor


@given(st.text(max_size=20))
def test_any_text_is_either_an_amount_or_refused(text: str) -> None:
    try:
        minor = minor_of(text, "USD")
    except Refused:
        return
    assert Decimal(text) * 100 == minor


def test_minor_units_and_satoshi_are_shown_with_all_their_digits() -> None:
    assert [minor_text(5, "USD"), minor_text(-5, "USD"), minor_text(5, "JPY"), minor_text(5, "CLF")] == [
        "0.05",
        "-0.05",
        "5",
        "0.0005",
    ]
    assert [btc_text(15_924), btc_text(0), btc_text(-1), btc_text(MAX_MONEY_SAT)] == [
        "0.00015924",
        "0.00000000",
        "-0.00000001",
        "21000000.00000000",
    ]


@pytest.mark.parametrize(
    "price", ["0", "-1", "NaN", "sNaN", "Infinity", "", "abc", "0.001", "1e-999", "1e15", "1e9999999"]
)
def test_a_price_that_is_not_positive_and_finite_is_refused(price: str) -> None:
    with pytest.raises(Refused) as refused:
        price_to_minor(price, "USD")
    assert refused.value.code == "invalid_price"


def test_a_price_is_rounded_down_however_many_digits_it_has() -> None:
    assert price_to_minor("65000.999", "USD") == 6_500_099
    assert price_to_minor("64999." + "9" * 80, "USD") == 6_499_999
    assert price_to_minor(Decimal("9800000.9"), "JPY") == 9_800_000
    assert price_to_minor(Fraction(19_500_001, 300), "USD") == 6_500_000
    assert price_to_minor(Fraction(1, 3), "KWD") == 333


@pytest.mark.parametrize("price", ["1e-999999999", "1e999999999", "0.001"])
def test_a_price_of_no_size_is_refused_without_being_written_out(price: str) -> None:
    with pytest.raises(Refused):
        price_to_minor(Decimal(price), "USD")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction("78.2267"), "78.2267"),
        (Fraction("15.1234") / 100, "0.151234"),
        (Fraction(65_000), "65000"),
        (Fraction(1, 8), "0.125"),
        (Fraction(1, 10**60), "0." + "0" * 59 + "1"),
        (Fraction(1, 3), "1/3"),
    ],
)
def test_a_fraction_is_told_exactly(value: Fraction, text: str) -> None:
    assert exact_text(value) == text
    assert Fraction(text) == value


@pytest.mark.parametrize("value", [-1, MAX_MONEY_SAT + 1, True, 1.0, "1", None, [1]])
def test_a_foreign_satoshi_amount_must_be_a_possible_integer(value: object) -> None:
    with pytest.raises(Refused) as refused:
        check_sat(value, field="received_sat")
    assert (refused.value.code, refused.value.field) == ("invalid_satoshi", "received_sat")


def test_zero_and_all_bitcoin_there_will_be_are_possible_amounts() -> None:
    assert (check_sat(0), check_sat(MAX_MONEY_SAT)) == (0, MAX_MONEY_SAT)
