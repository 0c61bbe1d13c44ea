"""What a text can be that somebody looks for an invoice by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.money import btc_text, minor_text
from bridge.core.reference import Ask, asks_of, document_of

TXID = "ab" * 32


def kinds(text: str, *currencies: str) -> dict[str, list]:
    found: dict[str, list] = {}
    for ask in asks_of(text, currencies=currencies):
        found.setdefault(ask.kind, []).append(ask.text or (ask.units, ask.currency))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.00 USD", [(1000, "USD")]),
        ("usd 10", [(1000, "USD")]),
        ("1 490,50 ₽", [(149050, "RUB")]),
        ("1\u00a0490,50\u202fруб.", [(149050, "RUB")]),
        ("1,490.50 rub", [(149050, "RUB")]),
        ("1.490,50 €", [(149050, "EUR")]),
        ("$1,234,567.89", [(123456789, "USD")]),
        ("1'490 JPY", [(1490, "JPY")]),
        ("1,490 RUB", [(149, "RUB"), (149000, "RUB")]),
        ("1,490 KWD", [(1490, "KWD"), (1490000, "KWD")]),
        ("912.50", [(91250, "RUB"), (91250, "USD")]),
        ("10.005 USD", [(1000500, "USD")]),
        ("0 USD", []),
        ("10 dollars please", []),
        ("99999999999999999999 USD", []),
    ],
)
def test_a_sum_of_money_is_read_as_people_write_it(text, expected):
    assert kinds(text, "USD", "RUB").get("amount", []) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.00029431", [29431]),
        ("0,00029431 BTC", [29431]),
        ("₿0.5", [50_000_000]),
        ("29431 sat", [29431]),
        ("29 431 сат", [29431]),
        ("29431", [29431]),
        ("1 BTC", [100_000_000]),
        ("0.123456789 BTC", []),
        ("1.5 sat", []),
        ("22000000 BTC", []),
    ],
)
def test_a_sum_of_bitcoin_is_read_as_wallets_write_it(text, expected):
    assert [units for units, _ in kinds(text, "USD").get("sat", [])] == expected


@given(minor=st.integers(1, 10**12), sat=st.integers(1, 10**14))
def test_what_a_page_writes_is_found_by_it(minor, sat):
    assert Ask(kind="amount", units=minor, currency="USD") in asks_of(minor_text(minor, "USD"), currencies=["USD"])
    assert Ask(kind="sat", units=sat) in asks_of(btc_text(sat), currencies=[])
    assert Ask(kind="sat", units=sat) in asks_of(f"{sat:,} sat".replace(",", " "), currencies=[])


@given(text=st.text(max_size=200))
def test_no_text_is_too_strange(text):
    asks_of(text, currencies=["USD", "JPY", "KWD"])


def test_a_text_may_be_several_things():
    assert set(kinds("100234", "USD")) == {"reference", "transaction", "client", "document", "sat", "amount"}
    assert kinds(TXID.upper())["transaction"] == [TXID]
    assert "transaction" not in kinds("abcde") and "transaction" not in kinds(TXID + "0")
    assert kinds("a@b.example")["email"] == ["a@b.example"]
    assert kinds("VPS Start")["description"] == ["VPS Start"] and "reference" not in kinds("VPS Start")
    assert kinds("№ 7")["document"] == ["7"]
    assert kinds("  ") == {}


@pytest.mark.parametrize(
    "text",
    ["https://pay.example/pay/abc", "pay.example/pay/abc/", "https://pay.example/pay/abc?lang=ru", "abc", " abc "],
)
def test_a_link_is_what_it_opens(text):
    assert kinds(text)["reference"] == ["abc"]


@pytest.mark.parametrize("text", ["bitcoin:tb1qabc?amount=0.1", "LIGHTNING:tb1qabc"])
def test_a_wallets_link_is_whom_it_pays(text):
    assert kinds(text)["reference"] == ["tb1qabc"]


@pytest.mark.parametrize(
    ("description", "number"),
    [
        ("VPS-2 (pay/7)", "pay/7"),
        ("VPS (SSD); Domain (pay/12) ", "pay/12"),
        ("VPS (SSD) yearly", ""),
        ("", ""),
        (f"x ({'9' * 41})", ""),
        ("()", ""),
    ],
)
def test_a_description_ends_with_the_number_of_its_payment(description, number):
    assert document_of(description) == number
