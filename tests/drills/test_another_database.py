"""The drill of the runbook another-database: files in the wrong place, as the operator's commands say it and put it right."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from bridge.config import load_settings
from bridge.context import Bridge
from bridge.runtime import build
from bridge.store import generation, leases
from bridge.store.db import migrate, open_store
from bridge.upkeep.check import readiness
from bridge.upkeep.doctor import Place as DoctorsPlace
from bridge.upkeep.doctor import examine
from bridge.upkeep.watch import keep_generation
from tests.drills.place import Place
from tests.flows.world import World, open_world
from tests.postgres import Cluster

WHO = ("--actor", "anna", "--reason", "a drill")


def files(place: Place) -> Path:
    return place.directory / "bridge.db"


def write(place: Place) -> None:
    done = place.run("mode", "limited", *WHO)
    assert done.exit_code == 0, done.output
    done = place.run("mode", "normal", *WHO)
    assert done.exit_code == 0, done.output


@pytest.fixture
def older(place: Place) -> Place:
    """Yesterday's file was copied over the database, and everything but the programs believes it."""
    with closing(build(load_settings(place.config)).store) as store:
        generation.keep(store)
    shutil.copyfile(files(place), yesterday := place.directory / "yesterday.db")
    write(place)
    yesterday.replace(files(place))
    return place


def standing(place: Place) -> tuple[int, str]:
    with closing(open_store(f"sqlite:///{files(place)}")) as store, store.read() as tx:
        return generation.find(tx).number, leases.mode_of(tx)


def test_an_older_file_is_refused_by_every_command_and_the_doctor_says_the_mend(older: Place) -> None:
    for command in (("mode", "normal", *WHO), ("migrate",), ("invoices",), ("after-failover", *WHO)):
        refused = older.run(*command)
        assert refused.exit_code == 1, (command, refused.output)
        assert "database_fenced" in refused.output, command
    found = older.run("doctor").output
    assert "database: database_fenced" in found
    assert "after-failover --this-one" in found
    assert "database_down (operations): database_fenced" in older.run("check", "--no-outside").output


def test_a_person_says_that_it_is_the_one(older: Place) -> None:
    done = older.run("after-failover", "--this-one", *WHO)
    assert "Generation 2, read_only." in done.output, done.output
    assert "0 findings" in done.output
    assert standing(older) == (2, "read_only")
    assert older.run("mode", "normal", *WHO).exit_code == 0
    assert standing(older) == (2, "normal")


def test_a_copy_is_restored_where_a_later_database_was(place: Place) -> None:
    copies = place.directory / "copies"
    assert place.run("backup", "--directory", str(copies)).exit_code == 0
    write(place)
    files(place).rename(place.directory / "damaged.db")
    [copy] = copies.iterdir()
    done = place.run("restore", str(copy), *WHO)
    assert done.exit_code == 0, done.output
    assert standing(place)[1] == "read_only"
    assert place.run("mode", "normal", *WHO).exit_code == 0


def test_a_machine_that_tried_another_server_moves_to_a_new_one(
    place: Place, postgresql_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    for name in ("tried", "moved_to"):
        postgresql_cluster.create_database(name)
    tried, moved_to = postgresql_cluster.url("tried"), postgresql_cluster.url("moved_to")
    migrate(tried, state_directory=tmp_path)
    with closing(open_store(tried, state_directory=tmp_path)) as store:
        generation.keep(store)
    with closing(build(load_settings(place.config)).store) as store:
        generation.keep(store)
    write(place)
    copied = place.run("copy-database", f"sqlite:///{files(place)}", moved_to)
    assert copied.exit_code == 0, copied.output
    settings = place.config.read_text()
    place.config.write_text(settings.replace(f"sqlite:///{files(place)}", moved_to))
    assert place.config.read_text() != settings
    write(place)
    for name in ("tried", "moved_to"):
        postgresql_cluster.drop_database(name)


def refused(bridge: Bridge) -> tuple[str, str]:
    """What `/readyz` and the doctor say of the database."""
    [check] = [each for each in readiness(bridge) if each.name == "database"]
    [finding] = [each for each in examine(bridge, DoctorsPlace()) if each.name == "database"]
    assert finding.detail == check.detail
    return check.detail, finding.mend


def test_readiness_and_doctor_say_it_on_either_engine(database_url: str, tmp_path: Path) -> None:
    with open_world(database_url, state_directory=str(tmp_path)) as world:
        keep_generation(world.bridge)
        assert refused(world.bridge)[0] == "mode normal"
        _put_back(world, database_url)
        code, mend = refused(world.bridge)
        assert code == "database_fenced"
        assert "after-failover --this-one" in mend


def _put_back(world: World, database_url: str) -> None:
    """As a former primary that did not hear of the next generation."""
    known = world.bridge.store.fence.known
    world.bridge.store.fence.learn(type(known)(number=known.number + 1, mark="next"))
    world.bridge.store.engine.dispose()
