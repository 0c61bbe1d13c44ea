"""The pages hold: what they name exists, and what must be named is.

Owns the checks of README, CONTRIBUTING and docs/ against the tree; must not judge their style.
"""

import ast
import importlib
import re
from pathlib import Path

import pytest

from bridge.core import invoice
from tests import source_rules

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def rows_of(page: str, *, after: str) -> list[list[str]]:
    """The cells of the first table that follows the header line `after`."""
    lines = text_of(page).split(after, 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code_of(page: str) -> str:
    """Everything on a page that is set as code: fenced blocks and backticks."""
    text = text_of(page)
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([*fenced, *inline])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_on_a_page_exists(page):
    assert set(re.findall(r"^make ([a-z]+)", code_of(page), re.MULTILINE)) <= make_targets()


def test_the_help_lists_every_target_with_a_description():
    described = set(re.findall(r"^([a-z]+):.*## .", text_of("Makefile"), re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", text_of("Makefile"), re.MULTILINE).group(1).split())
    assert phony == make_targets()
    assert phony - described <= {"bench"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_pages_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(page))
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/where-to-change.md"])
def test_every_path_to_change_exists(page):
    named = [path for row in rows_of(page, after="| to change | go to |") for path in re.findall(r"`([^`]+)`", row[1])]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_path_of_the_layout_exists():
    named = [path for row in rows_of("README.md", after="| path | what |") for path in re.findall(r"`([^`]+)`", row[0])]
    assert [path for path in named if not (ROOT / path).is_dir()] == []


def test_every_class_of_the_glossary_exists():
    named = [row[2].strip("`") for row in rows_of("docs/glossary.md", after="| word | meaning | class |") if row[2]]
    assert named
    for dotted in named:
        *module, name = dotted.split(".")
        tree = ast.parse((ROOT / Path(*module).with_suffix(".py")).read_text())
        assert name in [node.name for node in tree.body if isinstance(node, ast.ClassDef)], dotted


def test_the_glossary_lists_every_state():
    statuses = [row[0].strip("`") for row in rows_of("docs/glossary.md", after="| status | means |")]
    exceptions = [row[0].strip("`") for row in rows_of("docs/glossary.md", after="| exception | means |")]
    assert (tuple(statuses), tuple(exceptions)) == (invoice.STATUSES, invoice.EXCEPTIONS)


def test_the_glossary_lists_the_banned_names():
    listed = set(re.findall(r"`(\w+)`", text_of("docs/glossary.md").split("## Words that say nothing")[1]))
    assert listed == source_rules.BANNED_NAMES | source_rules.BANNED_WORDS


def test_the_table_of_rooms_is_the_rule():
    def as_text(allowed: frozenset[str]) -> str:
        return "everything" if "*" in allowed else ", ".join(sorted(allowed)) or "nothing"

    rows = rows_of("CONTRIBUTING.md", after="| room | may import | owns |")
    rule = {room: as_text(allowed) for room, allowed in source_rules.MAY_IMPORT.items() if room != "__init__"}
    assert {row[0].strip("`"): row[1] for row in rows} == rule


def test_every_pin_is_exact_and_says_what_it_is_for():
    lines = text_of("setup.cfg").splitlines()
    pins = [number for number, line in enumerate(lines) if re.match(r"    [A-Za-z][\w.\[\],-]*[=<>~!]", line)]
    assert len(pins) > 10
    for number in pins:
        assert re.fullmatch(r"    [\w.\[\],-]+==[\w.]+", lines[number]), lines[number]
        assert lines[number - 1].startswith("    # "), f"{lines[number]} has no comment"


def test_the_example_configuration_loads():
    config = importlib.import_module("bridge.config")
    example = ROOT / "config.example.yaml"
    names = sorted(set(re.findall(r"\$\{env:(\w+)\}", example.read_text())))
    made_up = {
        name: f"whsec_c2VjcmV0IG9mIHRoZSBleGFtcGx{letter}" for letter, name in zip("abcdefgh", names, strict=False)
    }
    assert config.load_settings(example, made_up)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists(page):
    named = set(re.findall(r"subtc-bridge (?:--\w+ \S+ )*([a-z][a-z-]*)", code_of(page)))
    assert named <= set(importlib.import_module("bridge.cli.group").main.commands)
