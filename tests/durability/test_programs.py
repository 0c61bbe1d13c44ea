"""Whom the tests kill: nobody but what they started."""

from pathlib import Path

from tests.durability.programs import Zygote


def test_the_number_of_a_program_that_has_ended_is_nobody_elses_until_it_was_killed(
    zygote: Zygote, tmp_path: Path
) -> None:
    program = zygote.start("command", tmp_path / "config.yaml", "--help")
    process = Path(f"/proc/{program.pid}")
    assert (program.wait(), process.exists(), program.is_over) == (0, True, False)
    program.kill()
    assert (program.exit_code, process.exists(), program.is_over) == (0, False, True)
    program.kill()
    assert program.stop() == 0


def test_a_program_that_was_killed_says_so(zygote: Zygote, tmp_path: Path) -> None:
    program = zygote.start("worker", tmp_path / "config.yaml", "sandbox", "bitcoin", "--port", "0")
    assert program.exit_code is None
    program.kill()
    assert (program.exit_code, program.was_killed) == (-9, True)
