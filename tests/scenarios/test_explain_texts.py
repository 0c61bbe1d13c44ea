"""The catalogues of explanations: every code has its sentence in both languages, and plural forms are right."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

import bridge
from bridge.core.errors import Refused
from bridge.core.kinds import KINDS
from bridge.desk.resolve_review import DECISIONS
from bridge.language import languages, plain_texts

BRIDGE = Path(bridge.__file__).parent
EVENTS = ("created", "processing", "settled", "expired", "cancelled", "invalid", "review", "updated")


def written_actions() -> set[str]:
    """Every audit action of an invoice that a flow writes: by `record`, or by `audit.write` or an act with an invoice."""
    found = {f"ruled_{decision}" for decision in DECISIONS}
    found |= {f"billing_{change}" for change in ("cancelled", "deleted", "amount", "restored")}
    for path in BRIDGE.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            named = {keyword.arg: keyword.value for keyword in call.keywords}
            if (isinstance(call.func, ast.Name) and call.func.id == "record") or "invoice_id" in named:
                of_act = isinstance(call.func, ast.Attribute) and call.func.attr == "audit"
                action = call.args[0] if of_act else named.get("action")
                if isinstance(action, ast.Constant):
                    found.add(str(action.value))
    return found


@pytest.mark.parametrize("lang", languages().whole)
def test_every_code_has_a_sentence(lang: str) -> None:
    words = plain_texts(lang)
    assert set(words.section("story.events")) >= {f"invoice.{event}" for event in EVENTS}
    assert set(words.section("story.client")) >= {kind.client for kind in KINDS.values()}
    assert set(words.section("story.next")) >= {kind.next for kind in KINDS.values()}


@pytest.mark.parametrize("lang", languages().whole)
def test_every_audit_action_has_a_sentence(lang: str) -> None:
    missing = written_actions() - set(plain_texts(lang).section("story.actions"))
    assert missing == set()


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
    assert plain_texts(lang).count("confirmation", n) == said


def test_times_are_read_as_people_say_them() -> None:
    at = datetime(2026, 3, 4, 9, 5, tzinfo=UTC)
    assert plain_texts("en").when(at) == "4 March 2026, 09:05 UTC"
    assert plain_texts("ru").when(at) == "4 марта 2026, 09:05 UTC"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(Refused, match="en, ru"):
        plain_texts("xx")
