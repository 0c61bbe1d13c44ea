"""`probe subtc` against the sandbox's gateway."""

from pathlib import Path

from tests.drills.place import Place
from tests.flows.world import KEY


def probed(place: Place, tmp_path: Path, *more: str) -> tuple[int, str, str]:
    key_file = tmp_path / "probe-key"
    key_file.write_text(KEY + "\n")
    report = tmp_path / "report.md"
    arguments = ("--base-url", place.sandbox.url, "--key-file", str(key_file), "--report", str(report), *more)
    done = place.run("probe", "subtc", *arguments)
    return done.exit_code, done.output, report.read_text() if report.exists() else ""


def test_the_probe_answers_every_question_it_can_and_leaves_the_rest_to_a_person(empty_place, tmp_path):
    code, output, report = probed(empty_place, tmp_path, "--testnet")
    assert (code, "broke off" in output) == (0, False), output
    for title in ("1. Health", "2. Keys", "3, 5. Wallets", "4. Addresses", "6. Polls", "7. Sends", "13. Rate limit"):
        assert f"## {title}" in report
    assert "| inbox_create twice | two addresses |" in report
    assert "Left for a person" in report
    assert "50 times 200" in report


def test_the_report_holds_no_key(empty_place, tmp_path):
    _, output, report = probed(empty_place, tmp_path, "--testnet")
    assert KEY not in report + output
    assert "[redacted]" in report  # key_status echoes the key


def test_without_the_word_testnet_nothing_is_asked(empty_place, tmp_path):
    assert probed(empty_place, tmp_path)[0] == 2
    assert probed(empty_place, tmp_path, "--testnet", "--wallet-id", "wm_" + "0" * 44)[0] == 1
    assert not empty_place.sandbox.world.calls


def test_a_gateway_that_is_gone_breaks_off_every_probe_and_still_makes_a_report(empty_place, tmp_path):
    empty_place.sandbox.stop()
    code, output, report = probed(empty_place, tmp_path, "--testnet")
    assert (code, "broke off" in output) == (0, True)
    assert "CallFailed: unreachable" in report
