"""The catalogues of explanations: every code has its sentence in both languages, and plural forms are right."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import bridge.flows
from bridge.core.errors import Refused
from bridge.core.kinds import KINDS, REASONS, REVIEWS
from bridge.flows.resolve_review import DECISIONS
from bridge.flows.words import LANGUAGES, words_of

FLOWS = Path(bridge.flows.__file__).parent
EVENTS = ("created", "processing", "settled", "expired", "cancelled", "invalid", "review", "updated")


def sentences(group: Any, path: str = "") -> dict[str, str]:
    """Every sentence of a catalogue by its path."""
    if not isinstance(group, dict):
        return {path: str(group)}
    return {key: text for name, part in group.items() for key, text in sentences(part, f"{path}/{name}").items()}


def written_actions() -> set[str]:
    """Every audit action of an invoice that a flow writes: by `record`, or by `audit.write` with an invoice."""
    found = {f"ruled_{decision}" for decision in DECISIONS}
    found |= {f"billing_{change}" for change in ("cancelled", "deleted", "amount", "restored")}
    for path in FLOWS.glob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            named = {keyword.arg: keyword.value for keyword in call.keywords}
            if (isinstance(call.func, ast.Name) and call.func.id == "record") or "invoice_id" in named:
                action = named.get("action")
                if isinstance(action, ast.Constant):
                    found.add(str(action.value))
    return found


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_code_has_a_sentence(lang: str) -> None:
    words = words_of(lang)
    assert set(words.section("reasons")) >= REASONS
    assert set(words.section("reviews")) >= REVIEWS.keys()
    assert set(words.section("decisions")) >= set(DECISIONS)
    assert set(words.section("events")) >= {f"invoice.{event}" for event in EVENTS}
    assert set(words.section("client")) >= {kind.client for kind in KINDS.values()}
    assert set(words.section("next")) >= {kind.next for kind in KINDS.values()}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_audit_action_has_a_sentence(lang: str) -> None:
    missing = written_actions() - set(words_of(lang).section("actions"))
    assert missing == set()


def test_both_languages_have_the_same_sentences_with_the_same_figures() -> None:
    english, russian = (
        {group: words_of(lang).section(group) for group in GROUPS} for lang in LANGUAGES
    )  # plural forms differ by language and are left out
    assert sentences(english).keys() == sentences(russian).keys()
    for path, text in sentences(english).items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", sentences(russian)[path])), path


GROUPS = ("story", "actions", "decisions", "events", "reasons", "now", "client", "billing", "next", "reviews", "actors")


@pytest.mark.parametrize(
    ("lang", "n", "said"),
    [
        ("en", 1, "1 confirmation"),
        ("en", 6, "6 confirmations"),
        ("ru", 1, "1 подтверждение"),
        ("ru", 2, "2 подтверждения"),
        ("ru", 5, "5 подтверждений"),
        ("ru", 11, "11 подтверждений"),
        ("ru", 12, "12 подтверждений"),
        ("ru", 21, "21 подтверждение"),
        ("ru", 1_022, "1 022 подтверждения"),
        ("ru", 1_114, "1 114 подтверждений"),
    ],
)
def test_numbers_take_their_plural_form(lang: str, n: int, said: str) -> None:
    assert words_of(lang).count("confirmation", n) == said


def test_times_are_read_as_people_say_them() -> None:
    at = datetime(2026, 3, 4, 9, 5, tzinfo=UTC)
    assert words_of("en").when(at) == "4 March 2026, 09:05 UTC"
    assert words_of("ru").when(at) == "4 марта 2026, 09:05 UTC"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(Refused, match="en, ru"):
        words_of("xx")
