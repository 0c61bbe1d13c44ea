"""Payment requests: every published vector, and what is judged of a request that is offered to us."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from btclib import bech32
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import Refused
from bridge.lightning.bolt11 import MSAT, decoded, judged

VECTORS = json.loads(Path(__file__).with_name("bolt11.json").read_text(encoding="utf-8"))
COFFEE = VECTORS["valid"][1]["text"]
MADE_AT = datetime.fromtimestamp(VECTORS["made_at"], UTC)
COFFEE_SAT = 250_000


def named(vector: dict[str, Any]) -> str:
    return str(vector["what"])


def refusal(text: str, **wanted: Any) -> Refused:
    terms = {"network": "main", "due_msat": COFFEE_SAT * MSAT, "now": MADE_AT, "field": "destination"}
    with pytest.raises(Refused) as refused:
        judged(text, **(terms | wanted))
    return refused.value


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=named)
def test_every_valid_example_of_the_specification_is_read(vector: dict[str, Any]) -> None:
    asked = decoded(vector["text"])
    made_at = datetime.fromtimestamp(vector.get("made_at", VECTORS["made_at"]), UTC)
    assert asked.text == vector["text"].lower()
    assert asked.network == vector.get("network", "main")
    assert asked.payment_hash == vector.get("payment_hash", VECTORS["payment_hash"])
    assert asked.amount_msat == vector.get("amount_msat")
    assert asked.made_at == made_at
    assert asked.expires_at == made_at + timedelta(seconds=vector.get("expiry_seconds", 3_600))
    assert asked.payee == VECTORS["payee"]
    assert asked.description == vector.get("description")
    assert asked.description_hash == vector.get("description_hash")


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=named)
def test_every_invalid_example_of_the_specification_is_refused_for_what_is_wrong_with_it(
    vector: dict[str, Any],
) -> None:
    refused = refusal(vector["text"])
    assert (refused.code, refused.field) == ("bad_bolt11", "destination")
    assert vector["because"] in refused.detail
    assert vector["text"] not in refused.detail


def test_what_was_asked_for_is_taken() -> None:
    asked = judged(
        COFFEE.upper(),
        network="main",
        due_msat=COFFEE_SAT * MSAT,
        now=MADE_AT + timedelta(seconds=59),
        expires_at=MADE_AT + timedelta(seconds=60),
    )
    assert (asked.text, asked.payment_hash) == (COFFEE, VECTORS["payment_hash"])


@pytest.mark.parametrize(
    ("code", "text", "wanted"),
    [
        ("wrong_network", VECTORS["valid"][4]["text"], {"due_msat": 2_000_000 * MSAT}),
        ("wrong_network", COFFEE, {"network": "signet"}),
        ("no_amount", VECTORS["valid"][0]["text"], {}),
        ("wrong_amount", COFFEE, {"due_msat": COFFEE_SAT * MSAT + 1}),
        ("wrong_amount", COFFEE, {"due_msat": COFFEE_SAT * MSAT - 1}),
        ("bolt11_expired", COFFEE, {"now": MADE_AT + timedelta(seconds=60)}),
        ("bolt11_expires_late", COFFEE, {"expires_at": MADE_AT - timedelta(seconds=61)}),
    ],
)
def test_what_was_not_asked_for_is_refused_with_a_code_and_the_field(
    code: str, text: str, wanted: dict[str, Any]
) -> None:
    refused = refusal(text, **wanted)
    assert (refused.code, refused.field) == (code, "destination")


def test_clocks_may_differ_by_two_minutes_where_an_expiry_is_compared() -> None:
    just = MADE_AT + timedelta(seconds=60) - timedelta(minutes=2)
    wanted = {"network": "main", "due_msat": COFFEE_SAT * MSAT, "now": MADE_AT}
    assert judged(COFFEE, **wanted, expires_at=just).text == COFFEE
    assert refusal(COFFEE, expires_at=just - timedelta(seconds=1)).code == "bolt11_expires_late"


def with_words(text: str, change: Any) -> str:
    head, words = bech32.decode(text, bech32.BECH32_1_CONST)
    changed: str = bech32.encode(head, change(words), bech32.BECH32_1_CONST).decode()
    return changed


def test_a_word_that_was_changed_and_given_a_new_checksum_belongs_to_another_node_or_to_none() -> None:
    """The checksum is everybody's to make; the signature is not."""

    def forged(words: list[int]) -> list[int]:
        return [*words[:20], words[20] ^ 1, *words[21:]]

    try:
        payee = decoded(with_words(COFFEE, forged)).payee
    except Refused as refused:
        payee = refused.code
    assert payee != VECTORS["payee"]


def test_two_fields_of_one_kind_are_refused() -> None:
    """Wallets differ in which of two they take."""
    expiry = [6, 0, 2, 1, 28]
    twice = with_words(COFFEE, lambda words: [*words[:-104], *expiry, *words[-104:]])
    assert "twice" in refusal(twice).detail


@pytest.mark.parametrize(
    "text", ["", "lnbc", "1", "lnbc1", "a" * 5_000, "lnbc1ü", "ln1qqqqqq", "bc1qw508d6qejxtdg4y5r3z"]
)
def test_what_is_no_request_at_all_is_refused(text: str) -> None:
    assert refusal(text).code == "bad_bolt11"


@given(st.data())
def test_whatever_stands_behind_a_right_checksum_there_is_an_answer_or_a_refusal(data: st.DataObject) -> None:
    """A stranger's text never ends in another error."""
    head = data.draw(st.sampled_from(["lnbc", "lnbc1", "lntb20m", "lnbcrt2500u", "lnbc10p", "lnxx"]))
    words = data.draw(st.lists(st.integers(0, 31), max_size=40).map(lambda some: some + [1, 20] * 60))
    text = bech32.encode(head, words[: data.draw(st.integers(1, len(words)))], bech32.BECH32_1_CONST).decode()
    try:
        assert decoded(text).text == text
    except Refused as refused:
        assert refused.code == "bad_bolt11"
