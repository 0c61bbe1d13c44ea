"""Times on the command line: what is taken, and what is refused before anything is opened."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from bridge.cli.group import main
from bridge.cli.opened import MOMENT


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T08:30:00Z", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("0001-01-01", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime.max.replace(microsecond=0, tzinfo=UTC)),
    ],
)
def test_a_day_or_a_second_is_a_time_in_utc(text: str, taken: datetime) -> None:
    found = MOMENT.convert(text, None, None)
    assert (found, found.tzinfo) == (taken, UTC)


@pytest.mark.parametrize(
    "text", ["tomorrow", "2026-02-30", "10000-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.parametrize(
    "words", [("events", "list", "--since"), ("grace", "grant", "inv_1", "--until"), ("reconcile", "--from")]
)
def test_a_time_that_is_none_in_utc_is_refused_with_the_formats(words: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(main, ["--config", "/nowhere.yaml", *words, text])
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert f"'{text}' does not match the formats" in result.output
