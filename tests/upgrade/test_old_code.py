"""`scripts/old_code.sh` finds the code of a release also in a clone that came without its tags."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "old_code.sh"
# Stands in for Python and pytest: says which code it was given.
PYTHON = '#!/bin/sh\ncat "$PYTHONPATH/tests/which"\n'


def git(place: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True)


def commit(place: Path, subject: str) -> None:
    (place / "tests" / "which").write_text(f"code of {subject}")
    git(place, "add", "-A")
    git(place, "commit", "-m", subject)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with two releases and neither of their tags."""
    for folder in ("scripts", "tests", "bridge/store/migrations/versions", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "scripts")
    for name in ("setup.cfg", "pyproject.toml", "bridge/store/append_only.py"):
        (tmp_path / name).touch()
    (tmp_path / "bridge/store/migrations/versions/0001_first.py").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init", "--quiet")
    for subject in ("Release 0.1.0 in the changelog; go on as 0.2.0", "Release 0.1.01", "Release 0.2.0", "Go on"):
        commit(tmp_path, subject)
    return tmp_path


def old_code(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "scripts/old_code.sh", *arguments], cwd=place, capture_output=True, text=True)


def test_a_release_is_found_by_the_message_of_its_commit_where_its_tag_is_missing(clone: Path) -> None:
    for named in ("v0.1.0", "0.1.0"):
        ran = old_code(clone, named)
        assert ran.returncode == 0, ran.stderr
        assert "code of Release 0.1.0 in the changelog" in ran.stdout
    assert "code of Release 0.2.0" in old_code(clone, "v0.2.0").stdout


def test_a_tag_or_a_commit_is_taken_as_it_is(clone: Path) -> None:
    git(clone, "tag", "v0.1.0", "HEAD")
    assert "code of Go on" in old_code(clone, "v0.1.0").stdout
    assert "code of Release 0.2.0" in old_code(clone, "HEAD~1").stdout


def test_a_release_that_is_not_in_this_history_says_what_to_do(clone: Path) -> None:
    ran = old_code(clone, "v0.9.0")
    assert ran.returncode == 2
    assert "no commit 'Release 0.9.0'" in ran.stderr
    assert "git fetch --unshallow --tags" in ran.stderr
