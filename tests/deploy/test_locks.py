"""The locks: they hold every pin of setup.cfg and all that it needs, for every supported Python, and nothing of the place of writing.

Owns the agreement of setup.cfg, the locks and what is installed; how set-up uses them is in test_setup.py.
"""

from configparser import ConfigParser
from importlib.metadata import metadata, requires, version
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from deploy.make_locks import DEV, LOCKS, OTEL, PYTHONS, REQUIREMENTS, Lock, Locked, changes, entries, pins

ROOT = Path(__file__).parents[2]
EVERY_LOCK = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.path)
INSTALLED = [lock for lock in LOCKS if lock.path in (REQUIREMENTS, OTEL, DEV)]
SYSTEMS = [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]
Environment = dict[str, str]


def on(python: str, system: tuple[str, str, str]) -> Environment:
    """What markers see there."""
    names = dict(zip(("sys_platform", "platform_system", "platform_machine"), system, strict=True))
    return {**default_environment(), **names, "python_version": python, "python_full_version": f"{python}.0"}


def text_of(lock: Lock) -> str:
    return (ROOT / lock.path).read_text()


def locked(lock: Lock, environment: Environment) -> dict[str, Locked]:
    """What is installed from the lock there. Nothing twice."""
    found = [each for each in entries(text_of(lock)) if not each.marker or Marker(each.marker).evaluate(environment)]
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def needs(lock: Lock, environment: Environment) -> dict[str, list[Requirement]]:
    """Everything that the pins of a lock lead to there, by the libraries' own word, and how each was asked for."""
    found: dict[str, list[Requirement]] = {}
    waiting = [Requirement(pin) for pin in pins(lock)]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if str(asked) in map(str, found.get(name, ())):
            continue
        found.setdefault(name, []).append(asked)
        for line in requires(name) or ():
            further = Requirement(line)
            wanted = [{**environment, "extra": extra} for extra in asked.extras or {""}]
            if further.marker is None or any(further.marker.evaluate(each) for each in wanted):
                further.marker = None
                waiting.append(further)
    return found


@EVERY_LOCK
def test_every_pin_is_locked_to_the_same_version(lock):
    versions = {(each.name, each.version) for each in entries(text_of(lock))}
    wanted = [Requirement(pin) for pin in pins(lock)]
    assert wanted
    assert {(canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in wanted} <= versions


@pytest.mark.parametrize("system", SYSTEMS, ids="-".join)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", INSTALLED, ids=lambda lock: lock.path)
def test_a_lock_has_what_its_pins_need_on_every_python_and_nothing_else(lock, python, system):
    environment = on(python, system)
    needed, found = needs(lock, environment), locked(lock, environment)
    assert sorted(needed) == sorted(found)
    for name, asked in needed.items():
        for each in asked:
            assert each.specifier.contains(found[name].version, prereleases=True), f"{name}: {each}"


@pytest.mark.parametrize("lock", INSTALLED, ids=lambda lock: lock.path)
def test_what_is_installed_is_what_is_locked_and_says_it_runs_on_every_python(lock):
    for name, each in locked(lock, default_environment()).items():
        assert version(name) == each.version, name
        runs_on = SpecifierSet(metadata(name).get("Requires-Python") or "")
        assert [python for python in PYTHONS if f"{python}.0" not in runs_on] == [], name


def test_locks_of_one_environment_agree_on_every_version():
    for python in PYTHONS:
        found: dict[str, set[tuple[str, frozenset[str]]]] = {}
        for lock in LOCKS:
            if lock.beside or lock.path == REQUIREMENTS:
                for name, each in locked(lock, on(python, SYSTEMS[0])).items():
                    found.setdefault(name, set()).add((each.version, each.hashes))
        assert {name for name, seen in found.items() if len(seen) > 1} == set()


@EVERY_LOCK
def test_a_lock_names_no_index_and_no_place_and_takes_only_wheels(lock):
    lines = [line for line in text_of(lock).splitlines() if line and not line.lstrip().startswith("#")]
    assert [line for line in lines if line.startswith("--")] == lock.options
    assert lock.options[0] == "--only-binary :all:"
    for mark in ("://", " @ ", "file:", "/tmp", "/home", "/root"):
        assert mark not in text_of(lock)
    paths = {each.path for each in LOCKS}
    named = [part for line in text_of(lock).splitlines() if "# via" in line for part in line.split("-c ")[1:]]
    assert {part.rstrip(", ") for part in named} <= paths


@pytest.mark.parametrize("entry", ["flask", "flask==3.1.3", "flask>=3.1.3 --hash=sha256:" + 64 * "0", "-e ."])
def test_an_entry_without_version_or_hash_is_no_lock(entry):
    with pytest.raises(ValueError, match="not an exact version with its hashes"):
        entries(f"# head\n{entry}\n")


def test_what_changed_is_said_a_line_per_library():
    def lock(*lines: str) -> str:
        return "".join(f"{line} \\\n    --hash=sha256:{64 * '0'}\n    # via requests\n" for line in lines)

    before = lock("certifi==2026.10.18", "click==8.5.1", "idna==3.20", "six==1.17.0")
    after = lock("certifi==2026.11.9", "click==8.5.2", "idna==3.20", "tzdata==2026.6 ; sys_platform == 'win32'")
    assert list(changes(before, after, {"click"})) == [
        "certifi 2026.10.18 → 2026.11.9 (indirect)",
        "click 8.5.1 → 8.5.2 (direct)",
        "six 1.17.0 is gone",
        "tzdata 2026.6 is new (indirect)",
    ]
    assert list(changes(before, before, set())) == []
    assert list(changes(lock("idna==3.20"), lock("idna==3.20").replace("0" * 64, "1" * 64), set())) == [
        "idna 3.20 has other files or another marker (indirect)"
    ]


def test_the_supported_pythons_are_said_alike():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    supported = SpecifierSet(settings["options"]["python_requires"])
    assert PYTHONS == ("3.11", "3.12", "3.13")
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.5" in supported] == list(PYTHONS)
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / "README.md").read_text()
