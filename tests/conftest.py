"""Fixtures every test may use: a fresh migrated database on each engine.

Owns databases and the hypothesis profile; must not build parts of the bridge, `tests/builders.py` does.
"""

import gc
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from tests.parts import in_turn
from tests.pooler import open_pooler
from tests.postgres import Cluster, start_cluster, undurable_place

# The same histories at every run of continuous integration: luck finds faults on a developer's machine, not in a merge.
hypothesis.settings.register_profile("bridge", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("bridge")


def _share_statements(engine: Engine) -> None:
    """Statements that one test had SQLAlchemy compile serve the next: an engine of its own would compile them all anew.

    What was compiled belongs to a dialect. The first one of its driver that knows its server is everybody's.
    """
    dialect, compiled = _COMPILED.get(engine.driver, (engine.dialect, engine._compiled_cache))
    if dialect.server_version_info is None:
        _COMPILED[engine.driver] = engine.dialect, LRUCache(5_000)
    else:
        engine.dialect, engine._compiled_cache = dialect, compiled


_COMPILED: dict[str, tuple[Any, Any]] = {}
# SQLAlchemy calls this for each engine that was made.
DefaultDialect.engine_created = staticmethod(_share_statements)


class _Translated(BytecodeCache):
    """Templates that one test had Jinja translate serve the next: each application would translate all its pages anew."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {"bytecode_cache": _Translated()}


def _builder_of(rule: Rule, append_unknown: bool = True) -> Any:
    """What writes a route's addresses: the same code for the same route, and most of what a new application costs."""
    key = (rule.rule, append_unknown, *rule._trace, *(rule.defaults or {}).items())
    if key not in _BUILDERS:
        _BUILDERS[key] = _compile_builder(rule, append_unknown)
    return _BUILDERS[key]


_BUILDERS: dict[Any, Any] = {}
_compile_builder, Rule._compile_builder = Rule._compile_builder, _builder_of


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Outside continuous integration a test of both engines takes one of them, as tests/parts.py says."""
    left = in_turn(item.nodeid for item in items)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests and modules stay to the end: Python need not walk them whenever it looks for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """Runs a test once per engine. Narrow it with `@pytest.mark.parametrize("engine_name", ["sqlite"])`."""
    return str(request.param)


@pytest.fixture
def database_url(engine_name: str, request: pytest.FixtureRequest) -> str:
    """URL of a migrated database that this test has for itself."""
    return str(request.getfixturevalue(f"{engine_name}_url"))


@pytest.fixture
def store(database_url: str) -> Iterator[Any]:
    """An open store over `database_url`."""
    from bridge.store.db import open_store

    with closing(open_store(database_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """URL of a copy of the migrated SQLite file, removed afterwards."""
    with TemporaryDirectory(prefix="bridge-sqlite-", dir=undurable_place()) as place:
        shutil.copyfile(sqlite_template, f"{place}/bridge.db")
        yield f"sqlite:///{place}/bridge.db"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file migrated once per run, with nothing left in its write-ahead log."""
    from bridge.store.db import migrate

    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def postgresql_url(postgresql_template: str, postgresql_cluster: Cluster) -> Iterator[str]:
    """URL of a copy of the migrated PostgreSQL database, dropped afterwards."""
    name = f"test_{next(_DATABASE_NUMBERS)}"
    postgresql_cluster.create_database(name, template=postgresql_template)
    yield postgresql_cluster.url(name)
    postgresql_cluster.drop_database(name)


@pytest.fixture
def pooled_url(postgresql_url: str) -> Iterator[str]:
    """URL of such a copy through a pooler, where each transaction is on another session of the server."""
    with open_pooler(postgresql_url) as pooler:
        yield pooler.url


@pytest.fixture(scope="session")
def postgresql_template(postgresql_cluster: Cluster) -> str:
    """Name of a PostgreSQL database migrated once per run."""
    from bridge.store.db import migrate

    postgresql_cluster.create_database("template_bridge")
    migrate(postgresql_cluster.url("template_bridge"))
    return "template_bridge"


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A private PostgreSQL server of this test run: no network port, gone at the end."""
    try:
        cluster = start_cluster()
    except FileNotFoundError as missing:
        # In CI a missing engine is a failure; on a person's machine `make test` installs it.
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{missing}; `make test` installs it")
    yield cluster
    cluster.stop()


_DATABASE_NUMBERS = count(1)
