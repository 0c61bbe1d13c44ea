"""The pages about safety hold: threats, promises and runbooks name what exists, and everything that must be named is.

Owns the ties between docs/ and code; must not judge the words.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from bridge.cli.group import main
from bridge.core.kinds import REASONS, REVIEWS
from bridge.upkeep.check import OWNERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAMED_TEST = re.compile(r"`tests/([\w/.-]+)(?:::(\w+))?`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def section(code: str) -> str:
    found = re.search(rf"^### {re.escape(code)}\n(.*?)(?=^##|\Z)", (DOCS / "runbooks.md").read_text(), re.M | re.S)
    assert found, f"runbooks.md has no section {code}"
    return found[1]


@pytest.mark.parametrize("page", ["threats.md", "promises.md", "runbooks.md"])
def test_every_test_that_a_page_names_exists(page):
    named = NAMED_TEST.findall((DOCS / page).read_text())
    assert len(named) >= 10
    for place, function in named:
        path = ROOT / "tests" / place
        assert path.exists(), place
        assert not function or function in functions_of(path), f"{place}::{function}"


def test_every_threat_has_a_row_with_a_test():
    rows = re.findall(r"^\| (T-\d+) \|.*\| (.*) \|$", (DOCS / "threats.md").read_text(), re.M)
    assert [number for number, _ in rows] == [f"T-{n}" for n in range(1, 42)]
    assert {number for number, tests in rows if tests == "later"} == {"T-28", "T-29", "T-30"}
    assert all("`tests/" in tests for _, tests in rows if tests != "later")


def test_every_promise_of_the_readme_is_on_the_page_of_promises():
    readme = (ROOT / "README.md").read_text().split("## Promises")[1].split("## ")[0]
    promises = [" ".join(p.split()) for p in re.findall(r"^\d\. (.*(?:\n   .*)*)", readme, re.M)]
    assert len(promises) == 5
    page = " ".join((DOCS / "promises.md").read_text().split())
    for promise in promises:
        assert promise in page


def test_every_promise_of_lightning_names_its_test_or_says_that_none_shows_it():
    page = (DOCS / "promises.md").read_text().split("## Lightning")[1]
    rows = [row for row in re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", page, re.M) if not row[0].startswith("**")][1:]
    assert len(rows) > 30
    for promise, shown_by, _ in rows:
        assert NAMED_TEST.search(shown_by) or shown_by == "a page, no test", promise


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_has_its_runbook_with_a_message_in_both_languages(code):
    text = section(code)
    for part in ("**Client sees:**", "**Safe:**", "**Do:**", "**Tell:**", "> en: ", "> ru: "):
        assert part in text, part
    assert re.search("[а-я]{4}", text.split("> ru: ")[1])


@pytest.mark.parametrize("kind", sorted(REVIEWS))
def test_every_review_kind_has_its_runbook_and_owner(kind):
    text = section(f"review-{kind}")
    assert f"**Tell:** {REVIEWS[kind].owner}." in text
    assert f"**Decisions:** {', '.join(REVIEWS[kind].rulings)}." in text
    for part in ("**Happened:**", "**Do:**"):
        assert part in text


@pytest.mark.parametrize("rule", sorted(OWNERS))
def test_every_alert_has_its_runbook_and_owner(rule):
    text = section(rule)
    assert f"**Tell:** {OWNERS[rule]}." in text
    for part in ("**Means:**", "**Impact:**", "**Do:**"):
        assert part in text


def test_no_runbook_is_about_a_code_that_is_gone():
    written = set(re.findall(r"^### ([\w-]+)$", (DOCS / "runbooks.md").read_text().split("## Procedures")[0], re.M))
    assert written == REASONS | {f"review-{kind}" for kind in REVIEWS} | set(OWNERS)


@pytest.mark.parametrize(
    "alert",
    sorted(set(re.findall(r"runbooks\.md#([\w{} .$-]+)\"", (ROOT / "deploy/monitoring/rules.yml").read_text()))),
)
def test_every_alert_of_prometheus_leads_to_a_section(alert):
    if "$labels.rule" not in alert:
        section(alert)


@pytest.mark.parametrize(
    "page", ["runbooks.md", "operator-guide.en.md", "operator-guide.ru.md", "ownership.md", "launch-checklist.md"]
)
def test_every_command_with_its_options_exists(page):
    text = (DOCS / page).read_text()
    commands = re.findall(r"subtc-bridge ((?:--config \S+ )?[a-z][a-z-]*(?: [a-z]+(?= |`))?)([^`\n]*)", text)
    assert commands
    for words, rest in commands:
        first, _, second = re.sub(r"--config \S+ ", "", words).partition(" ")
        command = main.commands[first]
        if hasattr(command, "commands") and second:
            command = command.commands[second]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert set(re.findall(r"(?<= )--[a-z-]+", f"{rest}")) <= options, (words, rest)


def test_both_operator_guides_have_the_same_parts():
    counts = [len(re.findall(r"^## ", (DOCS / f"operator-guide.{lang}.md").read_text(), re.M)) for lang in ("en", "ru")]
    fences = [
        re.findall(r"```sh\n(.*?)```", (DOCS / f"operator-guide.{lang}.md").read_text(), re.S) for lang in ("en", "ru")
    ]
    assert counts[0] == counts[1] >= 8
    # The commands are the same; what stands behind a # is in the page's own language.
    assert [re.sub(r" +# .*", "", each) for each in fences[0]] == [re.sub(r" +# .*", "", each) for each in fences[1]]


def test_the_examples_of_the_integrator_guide_are_the_ones_that_are_tested():
    for lang in ("en", "ru"):
        text = (DOCS / f"integrator-guide.{lang}.md").read_text()
        assert "(examples/receiver.py)" in text
        assert "(examples/receiver.php)" in text
