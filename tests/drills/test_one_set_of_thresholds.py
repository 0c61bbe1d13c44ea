"""The command, the timer and the desk judge by the same operations.toml, read anew each time."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.cli.operations import OperationsFile
from bridge.config import load_settings
from bridge.permit import set_mode
from bridge.upkeep.check import Thresholds, Watching, alerts
from bridge.wsgi import application
from tests.admin.conftest import office  # noqa: F401  (a fixture)
from tests.drills.place import Place


def write(config: Path, line: str) -> None:
    path = config.with_name("operations.toml")
    name = line.partition(" = ")[0]
    # The thresholds come first, then the owners of the same names.
    count = 0 if name == "mode_changed" else 1
    path.write_text(re.sub(rf"^{name} = .*$", line, path.read_text(), count=count, flags=re.MULTILINE))


def test_the_application_and_the_command_trip_by_the_same_file(place: Place):
    application_ = application(load_settings(place.config), config=place.config)
    web = application_.extensions["bridge"]
    try:
        set_mode(web.bridge, scope="bridge", mode="read_only", actor="anna", reason="a test")

        def both() -> tuple[bool, bool]:
            desk = {alert.rule: alert.owner for alert in alerts(web.bridge, web.watching())}
            command = place.run("check", "--no-outside").output
            assert desk.get("mode_changed", "night") == "night"
            return "mode_changed" in desk, "mode_changed (night)" in command

        write(place.config, 'mode_changed = "night"')
        write(place.config, "mode_changed_seconds = 0")
        assert both() == (True, True)
        write(place.config, "mode_changed_seconds = 86400")
        assert both() == (False, False)
    finally:
        web.bridge.store.close()


def test_a_file_that_cannot_be_used_keeps_what_was_read_before(place: Place, caplog: pytest.LogCaptureFixture):
    file = OperationsFile(place.config)
    write(place.config, "deliveries_parked = 3")
    assert file().thresholds.deliveries_parked == 3
    write(place.config, "deliveries_parked = 'many'")
    assert file().thresholds.deliveries_parked == 3
    assert "operations.refused" in caplog.text


def test_without_a_file_every_default_holds(tmp_path: Path):
    assert OperationsFile(tmp_path / "config.yaml")() == Watching()


def test_the_desk_shows_what_the_file_makes_of_it(office):  # noqa: F811
    web = office.site.app.extensions["bridge"]
    office.late()
    page = office.client("root").get("/admin/health?lang=en").text
    assert "reviews_open" not in page
    strict = Watching(thresholds=Thresholds(reviews_open=0), owners={"reviews_open": "night shift"})
    office.site.app.extensions["bridge"] = replace(web, watching=lambda: strict)
    page = office.client("root").get("/admin/health?lang=en").text
    assert "reviews_open" in page and "night shift" in page
