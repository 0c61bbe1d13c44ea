"""CHANGELOG drives the version: what is installed, what is stored for upgrades and what the container is called follow it."""

import itertools
import re
from configparser import ConfigParser
from pathlib import Path

from tests.upgrade import stored

ROOT = Path(__file__).parents[2]
Version = tuple[int, int, int]


def version(text: str) -> Version:
    major, minor, patch = (int(part) for part in text.split("."))
    return major, minor, patch


def sections() -> dict[str, str]:
    """The text below each heading of the changelog, newest first."""
    parts = re.split(r"^## (.+)\n", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def released() -> list[str]:
    found = [
        re.fullmatch(r"(\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}", heading)
        for heading in sections()
        if heading != "Unreleased"
    ]
    assert all(found), "a heading is a version and its day"
    return [match[1] for match in found if match]


def ours() -> str:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings["metadata"]["version"]


def successors(of: Version) -> set[Version]:
    major, minor, patch = of
    return {(major + 1, 0, 0), (major, minor + 1, 0), (major, minor, patch + 1)}


def test_unreleased_stands_first_and_the_releases_descend() -> None:
    assert next(iter(sections())) == "Unreleased"
    numbers = [version(text) for text in released()]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(newer in successors(older) for newer, older in itertools.pairwise(numbers))


def test_the_version_is_the_newest_release_or_the_one_that_comes_after_it() -> None:
    newest, text = version(released()[0]), sections()["Unreleased"].strip()
    assert version(ours()) in (successors(newest) if text else {newest})


def test_a_database_of_every_release_is_stored() -> None:
    assert stored.names() == released()[::-1]


def test_the_container_carries_the_version() -> None:
    assert f"image: subtc-bridge:{ours()}" in (ROOT / "deploy" / "container" / "compose.yaml").read_text()
