"""Writes deploy/requirements.lock: every library the program and its build need, exactly, with its hash. Run it after a pin has changed.

Usage: python deploy/make_lock.py. The hashes are of the wheels for the machine it runs on (CPython 3.11, x86_64 Linux for the image).
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
HEAD = "# Written by deploy/make_lock.py. For CPython 3.11 on x86_64 Linux: pip install --require-hashes -r requirements.lock\n"


def build_needs() -> list[str]:
    """What builds our own package: with it in place, `pip install --no-build-isolation .` fetches nothing."""
    needs: list[str] = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["build-system"]["requires"]
    return needs


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), str(HERE.parent), *build_needs()], check=True)
        found = json.loads(report.read_text())["install"]
    lines = []
    for each in found:
        hashes = each["download_info"].get("archive_info", {}).get("hashes", {})
        name, version = each["metadata"]["name"].lower().replace("_", "-"), each["metadata"]["version"]
        if "sha256" in hashes:  # our own package is a folder and has none
            lines.append(f"{name}=={version} --hash=sha256:{hashes['sha256']}\n")
    (HERE / "requirements.lock").write_text(HEAD + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
